"""The course: every solved notebook is run here, cell by cell, in one process. On the way,

* at each exercise, its check and the hidden numbers of grade.py accept the solution and the other right ways,
  and refuse the plausible mistakes (mistakes.md);
* at each picture with sliders, code moves them, and the picture changes.

The tests of a notebook come in its order, and each cell runs once for all of them. What trains for long is
cut short; notebooks/make.py ran it to the end.
"""

import ast
import contextlib
import functools
import re
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch

from notebooks import grade, judge, make

RIGHT = "right: "  # so begins the name of what is no mistake, but another right way
SHORTER = {  # what stands in a notebook, and what the tests run in its place
    "00": {"UPDATES = 400": "UPDATES = 20"},
    "01": {"test[:100]": "test[:30]", "half = 200": "half = 50",
           "initial_state(100)": "initial_state(30)"},
    "02": {"training.STEPS[k], *given": "20, *given", "[:32]": "[:8]"},
    "03": {"steps=500, M_max": "steps=60, M_max", "maze_test[:300], 9": "maze_test[:60], 9"},
    "04": {"segments=40)": "segments=4)", "votes=8)": "votes=2)", "[:64]]": "[:24]]",
           "test[:100]": "test[:50]"},
    "05": {"(nine, nine_inputs)": "(nine, nine_inputs, segments=4)"},
    "06": {"SEED = 3\n": 'SEED = 3\nMISSING[MINE] += " --steps 20"\n'},
}


def mistakes():
    """{"00 exercise 1": [(a name, what the solution says, what the student wrote), ...]}."""
    text = Path(__file__).with_name("mistakes.md").read_text(encoding="utf-8")
    found = {}
    for key, block in re.findall(r"^## (.*?)$(.*?)^```$", text, flags=re.M | re.S):
        found[key] = []
        for mistake in block.split("\n# ")[1:]:
            name, *lines = mistake.splitlines()
            said = [line[2:] for line in lines if line.startswith("-")]
            written = [line[2:] for line in lines if line.startswith("+")]
            found[key].append((name, "\n".join(said), "\n".join(written)))
    return found


MISTAKES = mistakes()


class Lesson:
    """A solved notebook, run as far as a test needs it."""

    def __init__(self, path):
        self.notebook = make.read(path)
        self.number = path.name[:2]
        self.cells = [cell for cell in self.notebook.cells if cell.cell_type == "code"]
        for cell in self.cells:
            cell.source = re.sub(r"^%.*$", "", cell.source, flags=re.M)  # IPython's own commands
        for long, short in SHORTER.get(self.number, {}).items():
            found = [cell for cell in self.cells if long in cell.source]
            assert found, long
            for cell in found:
                cell.source = cell.source.replace(long, short)
        self.begin()

    def begin(self):
        self.values = {"__name__": "__main__"}  # the notebook's global names
        self.done = 0  # cells that have run

    def run(self, end):
        """The cells before number `end`."""
        if end < self.done:
            self.begin()
        for cell in self.cells[self.done : end]:
            self.execute(cell.source, draw=True)
            self.done += 1

    def execute(self, source, kind="exec", draw=False):
        """A piece of code, as a cell -> its value, for the kind "eval"."""
        with contextlib.chdir(make.FOLDER.parent):
            value = eval(compile(source, "cell", kind), self.values)
        for number in plt.get_fignums() if draw else ():
            plt.figure(number).canvas.draw()
        plt.close("all")
        return value

    def check(self, at, source):
        """Cell `at`, an exercise, with this source for its own, and its check. Then all is as before."""
        before = dict(self.values)
        try:
            with torch.random.fork_rng():
                self.execute(source)
                self.execute(self.cells[at + 1].source)
        finally:
            self.values.clear()
            self.values.update(before)

    @functools.cached_property
    def given(self):
        return judge.given(self.number, grade.sources(self.notebook))

    def judge(self, exercise, source):
        """What the hidden numbers say."""
        solved = judge.Names(**self.given)
        return judge.judge(source, self.given, judge.probe_of(self.number, exercise), solved, 5)


LESSONS = {path.name[:2]: Lesson(path) for path in make.solutions()}


def stops():
    """Where the tests stop in a notebook: at its exercises, its pictures with sliders, and at its end."""
    for number, lesson in LESSONS.items():
        pictures = 0
        for at, cell in enumerate(lesson.cells):
            if "exercise" in make.tags(cell):
                yield pytest.param(number, at, id=f"{number} exercise {make.exercise_number(cell)}")
            if "play" in make.tags(cell):
                pictures += 1
                yield pytest.param(number, at, id=f"{number} sliders {pictures}")
        assert pictures
        yield pytest.param(number, len(lesson.cells), id=f"{number} to its end")


def rewritten(source, said, written):
    """An exercise with `written` in place of what the solution says; "": of the whole (first) solution."""
    above, begin, solution = source.partition(make.BEGIN)
    assert said in solution, said
    if said:
        return above + begin + solution.replace(said, written)
    indent = above.rpartition("\n")[2]
    _, _, below = solution.partition(make.END)
    return above + textwrap.indent(written, indent).lstrip() + below


@pytest.mark.parametrize("notebook, at", list(stops()))
def test_the_course(notebook, at):
    lesson = LESSONS[notebook]
    lesson.run(at)
    tags = make.tags(lesson.cells[at]) if at < len(lesson.cells) else ()
    if "exercise" in tags:
        solution_is_right_and_mistakes_are_not(lesson, at)
    if "play" in tags:
        every_control_changes_the_picture(lesson, at)


def solution_is_right_and_mistakes_are_not(lesson, at):
    cell = lesson.cells[at]
    exercise = make.exercise_number(cell)
    assert lesson.judge(exercise, cell.source) is None
    empty = lesson.judge(exercise, make.unsolved(cell))
    assert empty.startswith(f"NotImplementedError: exercise {exercise}:")
    for name, said, written in MISTAKES[f"{lesson.number} exercise {exercise}"]:
        changed = rewritten(cell.source, said, written)
        verdict = lesson.judge(exercise, changed)
        if name.startswith(RIGHT):
            lesson.check(at, changed)
            assert verdict is None, name
            continue
        with pytest.raises(AssertionError, match=".") as caught:
            lesson.check(at, changed)
            raise RuntimeError(f"accepted: {name}")
        print(name, "->", caught.value)
        assert verdict or name == "not floats", name  # True counts as 1.0 in the hidden numbers


def every_control_changes_the_picture(lesson, at):
    assert "image/png" in str(lesson.cells[at - 1].outputs), "a picture for paper stands before the sliders"
    *statements, box = ast.parse(lesson.cells[at].source).body  # Jupyter shows the last line's value
    lesson.execute(ast.Module(statements, []))
    *controls, picture = lesson.execute(ast.Expression(box.value), "eval").children
    at_first = bytes(picture.value)
    assert controls and at_first[:4] == b"\x89PNG"
    for control in controls:
        assert control.description
        trait, values = moves(control)
        start = getattr(control, trait)
        shown = at_first
        for value in {*values} - {start}:
            setattr(control, trait, value)
            assert bytes(picture.value) != shown, (control.description, value)
            shown = bytes(picture.value)
        setattr(control, trait, start)
        assert bytes(picture.value) == at_first
    assert not plt.get_fignums(), "a figure is left open: Jupyter would show it once more"


def moves(control):
    """What there is to set (a menu's index, a slider's value), and to which values."""
    if hasattr(control, "options"):
        return "index", range(len(control.options))
    return "value", (control.min, control.max)


def test_every_exercise_has_two_mistakes_and_another_right_way():
    exercises = set()
    for path in make.solutions():
        for exercise in grade.exercises(make.read(path)):
            exercises.add(f"{path.name[:2]} exercise {exercise}")
    complete = set()
    for key, entries in MISTAKES.items():
        right = sum(name.startswith(RIGHT) for name, _, _ in entries)
        if right and len(entries) - right >= 2:
            complete.add(key)
    assert complete == exercises

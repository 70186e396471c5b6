"""The checks of the notebooks' exercises accept the solution and reject plausible mistakes (mistakes.md), and
so do the hidden numbers of grade.py. Both accept the other right ways that mistakes.md has.

Before an exercise only those cells run whose names it needs, found by walking back from the names that it and
its check use.
"""

import ast
import contextlib
import functools
import re
import symtable
import textwrap
from pathlib import Path

import pytest

from notebooks import grade, judge, make

ROOT = make.FOLDER.parent
LENIENT = {"not floats"}  # True counts as 1.0 in the hidden numbers
RIGHT = "right: "  # so begins the name of what is no mistake, but another right way


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


@functools.cache
def cells_of(number):
    """The code cells of a solved notebook."""
    [path] = make.solutions([number])
    cells = [cell for cell in make.read(path).cells if cell.cell_type == "code"]
    for cell in cells:
        cell.source = re.sub(r"^%.*$", "", cell.source, flags=re.MULTILINE)  # IPython's own commands
    return cells


def symbols(source):
    """The global names that a piece of code gives a value to, and those that it reads."""
    top = symtable.symtable(source, "cell", "exec")
    made = set()
    for symbol in top.get_symbols():
        if symbol.is_assigned() or symbol.is_imported():
            made.add(symbol.get_name())
    read = set()
    tables = [top]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (table is top or symbol.is_global()):
                read.add(symbol.get_name())
    return made, read


@functools.cache
def names(source):
    """The names that a cell gives a value to, and those that it reads before it has made them."""
    made = set()
    used = set()
    for statement in ast.parse(source).body:
        its_own, read = symbols(ast.unparse(statement))
        if isinstance(statement, (ast.For, ast.With, ast.FunctionDef, ast.ClassDef)):
            read -= its_own
        used |= read - made
        made |= its_own
    return made, used


def needed(number, first, last, given=()):
    """The cells that must run before those from `first` to `last`, in order, for names that are not given."""
    cells = cells_of(number)
    wanted = {(name, first) for cell in cells[first : last + 1] for name in names(cell.source)[1]}
    found = set()
    while wanted:
        name, before = wanted.pop()
        for i in reversed(range(before)):
            made, used = names(cells[i].source)
            if name in given or name not in made or "check" in make.tags(cells[i]):
                continue
            if i not in found:
                found.add(i)
                wanted |= {(other, i) for other in used}
            break
    return tuple(sorted(found))


@functools.cache
def prepared(number, numbers):
    """What the names mean after these cells have run."""
    if not numbers:
        return {"__name__": "exercise"}
    values = dict(prepared(number, numbers[:-1]))
    exec(cells_of(number)[numbers[-1]].source, values)
    return values


def check(number, at, source):
    """Run cell `at`, an exercise, with this source in place of its own, and its check."""
    with contextlib.chdir(ROOT):
        values = dict(prepared(number, needed(number, at, at + 1)))
        exec(source, values)
        exec(cells_of(number)[at + 1].source, values)


@functools.cache
def given(number):
    [path] = make.solutions([number])
    return judge.given(number, grade.sources(make.read(path)))


def judged(number, exercise, source):
    """What the hidden numbers say."""
    solved = judge.Names(**given(number))
    probe = judge.probe_of(number, exercise)
    return judge.judge(source, given(number), probe, solved, 5)


def rewritten(source, said, written):
    """An exercise with `written` in place of what the solution says; "": of the whole (first) solution."""
    above, begin, solution = source.partition(make.BEGIN)
    assert said in solution, said
    if said:
        return above + begin + solution.replace(said, written)
    indent = above.rpartition("\n")[2]
    _, _, below = solution.partition(make.END)
    return above + textwrap.indent(written, indent).lstrip() + below


@pytest.mark.parametrize("key", MISTAKES)
def test_the_solution_is_right_and_plausible_mistakes_are_not(key):
    number, _, exercise = key.split()
    sources = [cell.source for cell in cells_of(number)]
    [at] = [i for i, source in enumerate(sources) if source.startswith(f"# Exercise {exercise}\n")]
    check(number, at, sources[at])
    assert judged(number, exercise, sources[at]) is None
    empty = make.unsolved(cells_of(number)[at])
    assert judged(number, exercise, empty).startswith(f"NotImplementedError: exercise {exercise}:")
    for name, said, written in MISTAKES[key]:
        wrong = rewritten(sources[at], said, written)
        if name.startswith(RIGHT):
            check(number, at, wrong)
            assert judged(number, exercise, wrong) is None, name
            continue
        with pytest.raises(AssertionError, match=".") as caught:
            check(number, at, wrong)
            raise RuntimeError(f"accepted: {name}")
        print(name, "->", caught.value)
        assert judged(number, exercise, wrong) or name in LENIENT, name


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

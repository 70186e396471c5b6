"""Student notebooks: derived from the solved ones, and failing at the unsolved exercises and nowhere else.

nbmake runs the solved notebooks (`python -m pytest notebooks/solutions`). A student copy holds the same
cells, so that what is no exercise and no check runs as it does there, if it needs nothing of these two.
"""

import json
import os
import re
import shutil
import subprocess
import symtable
import sys
from types import FunctionType
from unittest.mock import Mock

import nbformat
import pytest
import torch

from notebooks import make
from training.files import UserError

SOLUTIONS = make.solutions()
each_notebook = pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)


def outputs(cell, kind):
    return [output for output in cell.get("outputs", []) if output.output_type == kind]


@each_notebook
def test_the_student_copy_is_the_one_derived_from_the_solution(path):
    student, derived = make.read(make.FOLDER / path.name), make.derive(make.read(path), path.stem)
    assert student == derived, f"run python notebooks/make.py {path.name[:2]}"
    code = [cell for cell in student.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code), "an output gives the answer away"


@each_notebook
def test_exercises_and_committed_outputs(path):
    solution = make.read(path)
    assert sum("exercise" in make.tags(cell) for cell in solution.cells) >= 4
    assert "NotImplementedError" not in str(solution) and any(
        "solution-notes" in make.tags(c) for c in solution.cells
    )
    code = [cell for cell in solution.cells if cell.cell_type == "code" and cell.source]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), (
        "run make.py: outputs missing"
    )
    assert any("image/png" in output.get("data", {}) for cell in code for output in cell.outputs)
    assert "/home/" not in str(solution) and "/tmp/" not in str(solution)  # of the machine that ran it
    assert not any(outputs(cell, "error") for cell in solution.cells)
    assert path.stat().st_size < 1.2e6
    lines = [line for cell in code for line in cell.source.splitlines()]
    assert max(map(len, lines)) <= 110


def names_in(cell):
    """The global names that a code cell binds, and those that it reads, at any depth."""
    source = "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))
    top = symtable.symtable(source, "cell", "exec")
    bound = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned()}
    read, tables = set(), [top]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        here = (symbol for symbol in table.get_symbols() if symbol.is_referenced())
        read |= {symbol.get_name() for symbol in here if table is top or symbol.is_global()}
    return bound, read


@pytest.mark.parametrize("path", SOLUTIONS[1:], ids=lambda path: path.stem)
def test_no_other_cell_needs_an_exercise_or_a_check(path):
    """So the student copy fails at its checks alone, as the solved notebook runs through."""
    uncertain = set()
    for cell in make.derive(make.read(path), path.stem).cells:
        if cell.cell_type != "code":
            continue
        bound, read = names_in(cell)
        if {"exercise", "check"} & set(make.tags(cell)):
            uncertain |= bound
            continue
        uncertain -= bound
        assert not uncertain & read, cell.source


def test_the_first_notebook_unsolved():
    """Where later cells do need the exercises, it is run: no check passes, and nothing else fails."""
    path = SOLUTIONS[0]
    student = make.derive(make.read(path), path.stem)
    make.execute(student, make.FOLDER)
    make.refuse_other_failures(student, path.name)


def test_the_first_notebook_solved_learned_sudoku():
    said = json.dumps(make.read(SOLUTIONS[0]))
    updates, solved = re.search(r"(\d+) updates: ([01]\.\d+) of 573 test puzzles solved", said).groups()
    assert int(updates) == 400 and float(solved) >= 0.9


class Parent:
    """Stands for HRM where an exercise is a class: it can be made of anything."""

    def __init__(self, config):
        pass


@each_notebook
def test_an_unsolved_exercise_says_so_and_its_check_uses_it(path):
    cells = make.derive(make.read(path)).cells
    for exercise, check in zip(cells, cells[1:]):
        if "exercise" not in make.tags(exercise):
            continue
        defined = {}
        exec(exercise.source, {"torch": torch, "HRM": Parent}, defined)  # alone: no cell before it ran
        assert defined
        for name, made in defined.items():
            assert re.search(rf"\b{name}\b", check.source), f"the check does not use {name}"
            is_class = isinstance(made, type)
            parts = list(vars(made).values()) if is_class else [made]
            functions = [part for part in parts if isinstance(part, FunctionType)]
            assert functions
            for function in functions:
                function = getattr(function, "__wrapped__", function)  # under torch.no_grad
                arguments = [Mock() for _ in range(function.__code__.co_argcount)]
                if is_class:
                    arguments[0] = made.__new__(made)
                with pytest.raises(NotImplementedError, match=f"exercise {make.exercise_number(exercise)}: "):
                    function(*arguments)


def test_notebooks_run_in_the_python_that_runs_the_tests():
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("import sys; print(sys.executable)")]
    )
    make.execute(notebook, make.FOLDER)
    assert notebook.cells[0].outputs[0].text.strip() == sys.executable


def test_no_notebook_is_left_over_and_the_readme_names_all():
    names = {path.name for path in SOLUTIONS}
    assert names and names == {path.name for path in make.FOLDER.glob("*.ipynb")}
    readme = (make.FOLDER / "README.md").read_text()
    assert all(f"({name})" in readme and f"(solutions/{name})" in readme for name in names)


EXERCISE = '''# Exercise 1
def half(x):
    """Half of x."""
    # --- solution
    return x / 2
    # --- end
'''


def notebook(*cells):
    return nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(source, metadata={"tags": [tag] if tag else []})
            for source, tag in cells
        ]
    )


def test_deriving(tmp_path):
    solved = notebook(("y = 3", None), (EXERCISE, "exercise"), ("assert half(2) == 1", "check"), ("y", None))
    solved.cells.append(nbformat.v4.new_markdown_cell("Mistakes.", metadata={"tags": ["solution-notes"]}))
    student = make.derive(solved)
    assert student == make.derive(solved)
    assert [cell.source for cell in student.cells] == [
        "y = 3",
        '# Exercise 1\ndef half(x):\n    """Half of x."""\n'
        '    raise NotImplementedError("exercise 1: write half")',
        "assert half(2) == 1",
        "y",
    ]
    assert make.tags(solved.cells[2]) == ["check"], "the source must stay as it was"
    make.execute(student, tmp_path)
    make.execute(solved, tmp_path)
    make.refuse_other_failures(student, "this")
    with pytest.raises(UserError, match="cell 'assert half.*: no failure"):
        make.refuse_other_failures(solved, "this")
    assert (
        student.cells[3].outputs[0].data["text/plain"] == "3"
    )  # the notebook went on after the failed check
    make.tidy(student)
    assert not any("execution" in cell.metadata for cell in student.cells)


def test_first_cell_badges_and_hints():
    solved = notebook(("y = 3", None), (EXERCISE, "exercise"), ("assert half(2) == 1", "check"))
    for _ in range(2):  # once more changes nothing
        make.label(solved, "00_build_hrm")
        assert [make.tags(cell) for cell in solved.cells] == [[], ["difficulty"], ["exercise"], ["check"]]
    assert solved.cells[1].source.startswith("● · about")
    plain = make.derive(solved, "00_build_hrm", "")
    assert plain.cells[0].id == "first" and plain.cells[2].source == solved.cells[1].source
    public = make.derive(solved, "00_build_hrm", "https://github.com/OWNER/NAME")
    assert "github/OWNER/NAME/blob/main/notebooks/00_build_hrm.ipynb" in public.cells[0].source
    assert "gh/OWNER/NAME/main?labpath=notebooks/00_build_hrm.ipynb" in public.cells[0].source
    assert '"https://github.com/OWNER/NAME"' in public.cells[1].source
    with pytest.raises(UserError, match="hints.md has no section '## 99 exercise 1"):
        make.label(solved, "99_unknown")
    with pytest.raises(UserError, match="'00 exercise 1: hard' is not of the form"):
        make.hints("## 00 exercise 1: hard\n")
    assert make.hints("## 07 exercise 2: ●●, 10 minutes\nThink.\n")["07"][2] == (
        "●● · about 10 minutes\n\n<details><summary>A hint</summary>\n\nThink.\n\n</details>"
    )


def test_every_exercise_has_a_difficulty_and_the_harder_ones_a_hint():
    known = make.hints()
    for path in SOLUTIONS:
        solved = make.read(path)
        exercises = [c for c in solved.cells if "exercise" in make.tags(c)]
        before = list(solved.cells)
        make.label(solved, path.stem)
        assert solved.cells == before, f"run python notebooks/make.py --no-run {path.name[:2]}"
        assert sorted(known[path.name[:2]]) == list(range(1, len(exercises) + 1))
    teaching = (make.FOLDER / "TEACHING.md").read_text()
    for notebook, lines in known.items():
        short = [re.match("(●+) · about (\\d+)", lines[number]).groups() for number in sorted(lines)]
        each, total = ", ".join(map(" ".join, short)), sum(int(minutes) for _, minutes in short)
        assert f"\n| {notebook} | {each} | {total} |\n" in teaching
    for line in (line for lines in known.values() for line in lines.values()):
        assert ("<details>" in line) == line.startswith("●●")


def test_the_first_cell_fetches_the_repository_where_it_is_not(tmp_path, monkeypatch):
    """A clone of a folder with hrm.py stands for the public one; in it, the cell does nothing more."""
    source = tmp_path / "public"
    (source / "notebooks").mkdir(parents=True)
    (source / "hrm.py").touch()
    (source / "notebooks/README.md").touch()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *command], cwd=source, check=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with pytest.raises(FileNotFoundError, match="hrm.py is not here"):
        exec(make.first_cell(""), {})
    exec(make.first_cell(source.as_uri()), {})
    assert os.getcwd() == str(elsewhere / "course/notebooks")
    exec(make.first_cell("nowhere"), {})
    assert os.getcwd() == str(elsewhere / "course/notebooks")


def test_the_address_is_set_everywhere_and_taken_away_again(tmp_path, monkeypatch):
    names = ("notebooks/make.py", "notebooks/README.md", "README.md", "CITATION.cff")
    (tmp_path / "notebooks").mkdir()
    before = {}
    for name in names:
        shutil.copy(make.FOLDER.parent / name, tmp_path / name)
        before[name] = (tmp_path / name).read_text()
    monkeypatch.setattr(make, "FOLDER", tmp_path / "notebooks")
    monkeypatch.setattr(make, "REPOSITORY", "")
    make.set_repository("https://github.com/OWNER/NAME/")
    assert make.REPOSITORY == "https://github.com/OWNER/NAME"
    for name in names:
        assert (tmp_path / name).read_text().count(make.REPOSITORY + "\n") <= 1
        assert make.REPOSITORY in (tmp_path / name).read_text().replace("OWNER/NAME    #", "")
    assert "\nrepository-code: https://github.com/OWNER/NAME\n" in (tmp_path / "CITATION.cff").read_text()
    assert '\nREPOSITORY = "https://github.com/OWNER/NAME"\n' in (tmp_path / "notebooks/make.py").read_text()
    make.set_repository("")
    assert {name: (tmp_path / name).read_text() for name in names} == before
    with pytest.raises(UserError, match="--repository ftp://x is not of the form"):
        make.set_repository("ftp://x")


@pytest.mark.parametrize(
    "cells, message",
    [
        ([(EXERCISE, "exercise"), ("1", None)], "exercise 1 is not followed by a cell with the tag check"),
        ([(EXERCISE.replace("1", "2"), "exercise"), ("1", "check")], "exercise 2 comes where 1 should"),
        (
            [(EXERCISE.replace("# --- end", ""), "exercise"), ("1", "check")],
            "exercise 1 has no solution between",
        ),
        ([(EXERCISE.replace("def half(x):", "if True:"), "exercise"), ("1", "check")], "out of place"),
        ([(EXERCISE[2:], "exercise"), ("1", "check")], "its first line must be"),
    ],
)
def test_mistakes_in_a_source_are_named(cells, message):
    with pytest.raises(UserError, match=message):
        make.derive(notebook(*cells))


def test_errors_of_the_command_line_are_one_line(tmp_path, monkeypatch, capsys):
    with pytest.raises(UserError, match="boom failed: (.|\n)*division by zero"):
        make.execute(notebook(("1 / 0", None)), tmp_path, "boom")
    monkeypatch.setattr(sys, "argv", ["make.py", "99"])
    assert make.main() == 2
    assert capsys.readouterr().err.startswith("error: no notebook starts with 99")


@pytest.mark.parametrize("text", [
    "x", "[]", "{}", "[" * 100_000, '{"cells": 3, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
    '{"cells": [{"cell_type": "code", "metadata": {}}], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
])
def test_a_file_that_is_no_notebook(tmp_path, text):
    (tmp_path / "a.ipynb").write_text(text)
    with pytest.raises(UserError, match="cannot read .*a.ipynb: .*; restore it") as error:
        make.read(tmp_path / "a.ipynb")
    assert "\n" not in str(error.value)

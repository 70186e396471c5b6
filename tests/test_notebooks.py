"""Student notebooks: derived from the solved ones, and failing at the unsolved exercises and nowhere else.

nbmake runs the solved notebooks (`python -m pytest notebooks/solutions`). A student copy holds the same
cells, and notebooks/make.py ran it: what it printed then is read here, rather than every notebook run twice.
"""

import re
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


def assert_fails_only_at_checks(student):
    number = 0
    for cell in student.cells:
        number += "exercise" in make.tags(cell)
        errors = [(error.ename, error.evalue.split(":")[0]) for error in outputs(cell, "error")]
        expected = [("NotImplementedError", f"exercise {number}")] if "check" in make.tags(cell) else []
        assert errors == expected, cell.source


@each_notebook
def test_the_student_copy_is_the_one_derived_from_the_solution(path):
    student, derived = make.read(make.FOLDER / path.name), make.derive(make.read(path))
    make.clear(student)
    assert student == derived, f"run python notebooks/make.py {path.name[:2]}"


@each_notebook
def test_exercises_and_committed_outputs(path):
    solution, student = make.read(path), make.read(make.FOLDER / path.name)
    assert sum("exercise" in make.tags(cell) for cell in solution.cells) >= 4
    assert "NotImplementedError" not in str(solution) and any(
        "solution-notes" in make.tags(c) for c in solution.cells
    )
    for notebook in (solution, student):
        code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source]
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), (
            "run make.py: outputs missing"
        )
        assert any("image/png" in output.get("data", {}) for cell in code for output in cell.outputs)
        assert "/home/" not in str(notebook) and "/tmp/" not in str(notebook)  # of the machine that ran it
    assert not any(outputs(cell, "error") for cell in solution.cells)
    assert_fails_only_at_checks(student)
    assert max(p.stat().st_size for p in (path, make.FOLDER / path.name)) < 1.2e6


class Parent:
    """Stands for HRM where an exercise is a class: it can be made of anything."""

    def __init__(self, config):
        pass


@each_notebook
def test_an_unsolved_exercise_says_so_and_its_check_uses_it(path):
    cells = make.read(make.FOLDER / path.name).cells
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
    assert all(name in readme for name in names)


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
    assert_fails_only_at_checks(student)
    assert (
        student.cells[3].outputs[0].data["text/plain"] == "3"
    )  # the notebook went on after the failed check
    make.tidy(student)
    assert not any("execution" in cell.metadata for cell in student.cells)


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

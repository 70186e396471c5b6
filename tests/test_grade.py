"""grade.py gives each submission the points it deserves. (Single exercises: test_course.py.)"""

import csv

import nbformat
import pytest
import torch

from notebooks import grade, judge, make
from puzzles.errors import UserError

SOLVED = {path.stem: make.read(path) for path in make.solutions()}
FIRST = SOLVED["00_build_hrm"]


def handed_in(changes):
    """The solved notebook 00 as a student might hand it in: {number: lines} in place of solutions."""
    notebook = make.derive(FIRST)
    for cell in notebook.cells:
        if "exercise" not in make.tags(cell):
            continue
        number = make.exercise_number(cell)
        unsolved = cell.source
        cell.source = grade.exercises(FIRST)[number]
        if number in changes:
            before, _, _ = unsolved.rpartition("raise NotImplementedError")
            cell.source = before + changes[number]
    return notebook


def test_submissions(tmp_path, capsys):
    mistakes = {
        1: "return torch.tensor([[22.0, 8, 8], [22, 6, 8]])[..., None].expand(2, 3, 8)",  # as the check wants
        2: "import hrm; return hrm.rms_norm(x, eps)",
        3: 'import importlib; return importlib.import_module("hrm").rotate(x)',
        4: "retrun 3",
        5: "raise SystemExit",
        6: "while True: pass",
    }
    for name, changes in {"anna": {}, "ben": mistakes}.items():
        (tmp_path / name).mkdir()
        nbformat.write(handed_in(changes), tmp_path / name / "homework.ipynb")
    (tmp_path / "broken.ipynb").write_text("{")
    grade.main([str(tmp_path), "--limit", "8", "--seed", "3"])
    assert "anna/homework.ipynb: 27 of 27" in capsys.readouterr().out
    with open(tmp_path / "points.csv", encoding="utf-8") as file:
        anna, ben, broken = csv.DictReader(file)
    assert anna["notebook"] == "00_build_hrm" and anna["remarks"] == ""
    assert [anna[f"exercise {number}"] for number in (1, 4, 8)] == ["1", "2", "3"]
    assert ben["points"] == "19"
    assert [ben[f"exercise {number}"] for number in range(1, 8)] == [*"000000", "1"]
    for remark in ("2: ModuleNotFoundError", "3: ModuleNotFoundError", "4: SyntaxError", "5: SystemExit"):
        assert remark in ben["remarks"]
    assert "6: not done after 8 s" in ben["remarks"]
    assert broken["points"] == "0" and broken["remarks"].startswith("it cannot be read")


@pytest.mark.parametrize("result, expected, why", [
    ((torch.ones(2), 3), [torch.ones(2) + 1e-7, 3.0], None),
    (torch.ones(2), torch.ones(2, 1), "shape (2,) and not (2, 1)"),
    (100_001, 100_000, "other numbers"),
    (None, torch.zeros(2), "NoneType, where numbers are expected"),
    ([1], [1, 2], "2 results are expected"),
    ("a", "b", "'a' and not 'b'"),
])
def test_what_counts_as_the_same(result, expected, why):
    assert judge.differ(result, expected) == why


def test_definitions_leave_out_what_runs_and_what_is_ours():
    cell = "%time\nimport math, hrm\nfrom data import x\nN = 3\nM = load()\nprint(N)\ndef f():\n    return N"
    names = {}
    judge.define(cell, names)
    assert names["f"]() == 3
    assert "math" in names and not {"hrm", "x", "M"} & names.keys()


def test_a_notebook_is_known_by_its_functions(tmp_path):
    for name, notebook in SOLVED.items():
        assert grade.recognise(notebook, SOLVED) == name
    with pytest.raises(UserError, match="no function of any exercise is in it"):
        grade.recognise(nbformat.v4.new_notebook(), SOLVED)
    with pytest.raises(UserError, match="no notebook is in"):
        grade.grade_folder(tmp_path, 1, 0)

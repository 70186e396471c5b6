"""The search for hard Sudokus, and the puzzles that it made and we ship, against brute force."""

import csv

import numpy as np
import pytest

from extras import make_sudoku
from puzzles import sudoku
from puzzles.errors import exit_status
from tests.puzzles.test_sudoku import brute_force, digits
from tests.runs import ROOT

BOX = 3, 3


def read(folder):
    """Puzzles, solutions and ratings of both files of a folder, if each is what it says."""
    rows = []
    for name in ("train.csv", "test.csv"):
        with open(folder / name) as file:
            rows += csv.DictReader(file)
    assert {row["source"] for row in rows} == {"generated_hard"}
    puzzles = np.array([digits(row["question"]) for row in rows])
    solutions, count, guesses = sudoku.solve(puzzles)
    assert (count == 1).all()
    assert (solutions == [digits(row["answer"]) for row in rows]).all()
    assert (guesses == [int(row["rating"]) for row in rows]).all()
    assert len(np.unique(sudoku.fingerprint(puzzles, BOX))) == len(puzzles), "two are equal up to symmetry"
    return puzzles, solutions, guesses


def test_harden_keeps_solutions_and_finds_harder_puzzles():
    puzzles, solutions = sudoku.generate_puzzles(12, BOX, np.random.default_rng(0))
    harder = make_sudoku.harden(puzzles, np.random.default_rng(0), rounds=2)
    before = sudoku.solve(puzzles)[2]
    after = sudoku.solve(harder)[2]
    assert (after >= before).all() and (after > before).any()
    for puzzle, solution in zip(harder.tolist(), solutions.tolist()):
        assert brute_force(puzzle, BOX) == [solution]
    assert (sudoku.dig(harder, BOX, np.random.default_rng(1)) == harder).all(), "not minimal"


def test_shipped_files():
    puzzles, solutions, guesses = read(ROOT / "data/sudoku-9x9")
    assert len(puzzles) == 2000 and guesses.mean() > 14
    for i in (0, 1, 1000):
        assert brute_force(puzzles[i].tolist(), BOX) == [solutions[i].tolist()]


def test_make_writes_the_same_inequivalent_puzzles_again(tmp_path):
    for folder in (tmp_path / "first", tmp_path / "again"):
        make_sudoku.make(folder, seed=1, n=3, rounds=1)
        assert len(read(folder)[0]) == 6
    for name in ("train.csv", "test.csv"):
        assert (tmp_path / "first" / name).read_text() == (tmp_path / "again" / name).read_text()


@pytest.mark.parametrize("arguments, message", [("", "folder"), ("there --seed x", "invalid int value: 'x'")])
def test_bad_arguments_are_one_line(arguments, message, capsys):
    assert exit_status(make_sudoku.main, arguments.split()) == 2
    assert message in capsys.readouterr().err

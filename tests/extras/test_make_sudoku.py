"""The search for hard Sudokus, and the puzzles that it made and we ship, against brute force."""

import sys
from pathlib import Path

import numpy as np
import pytest

from extras import make_sudoku
from puzzles import sudoku
from tests.puzzles.test_sudoku import HARD, brute_force, digits
from training.options import exit_status

ROOT = Path(__file__).resolve().parents[2]
SOME = np.array([digits(text) for text in HARD] * 20, np.uint8)


def test_harden_keeps_solutions_and_finds_harder_puzzles():
    box = (3, 3)
    puzzles, solutions = sudoku.generate_puzzles(12, box, np.random.default_rng(0))
    harder, same = make_sudoku.harden(puzzles, solutions, box, np.random.default_rng(0), rounds=2)
    assert (same == solutions).all()
    before, after = sudoku.solve(puzzles, box)[2], sudoku.solve(harder, box)[2]
    assert (after >= before).all() and (after > before).any()
    assert all(brute_force(p, box) == [s] for p, s in zip(harder.tolist(), same.tolist(), strict=True))
    assert (sudoku.dig(harder, box, np.random.default_rng(1)) == harder).all(), "not minimal"


@pytest.fixture(scope="module")
def shipped():
    """name -> rows of the shipped file, each split in its four fields"""
    folder = ROOT / "data" / "sudoku-9x9"
    names = ("train.csv", "test.csv")
    return {name: [line.split(",") for line in (folder / name).read_text().split()] for name in names}


def test_shipped_files(shipped):
    puzzles = []
    for header, *rows in shipped.values():
        assert header == ["source", "question", "answer", "rating"] and len(rows) == 1000
        assert {row[0] for row in rows} == {"generated_hard"}
        questions, answers = (np.array([digits(row[field]) for row in rows]) for field in (1, 2))
        ratings = np.array([int(row[3]) for row in rows])
        solved, counts, guesses = sudoku.solve(questions)
        assert (counts == 1).all() and (solved == answers).all() and (guesses == ratings).all()
        for question, answer in zip(questions[:3].tolist(), answers[:3].tolist(), strict=True):
            assert brute_force(question, (3, 3)) == [answer]
        puzzles.append(questions)
    assert len(np.unique(sudoku.fingerprint(np.concatenate(puzzles), (3, 3)))) == 2000


def test_make_writes_the_same_inequivalent_puzzles_again(tmp_path):
    texts = []
    for folder in (tmp_path / "first", tmp_path / "again"):
        folder.mkdir()
        make_sudoku.make(folder, seed=1, n=3, rounds=1)
        assert sorted(path.name for path in folder.iterdir()) == ["test.csv", "train.csv"]
        texts.append([(folder / name).read_text() for name in ("train.csv", "test.csv")])
    assert texts[0] == texts[1]
    rows = [line.split(",") for text in texts[0] for line in text.split()[1:]]
    puzzles, answers = (np.array([digits(row[field]) for row in rows]) for field in (1, 2))
    assert len(rows) == 6 == len(np.unique(sudoku.fingerprint(puzzles, (3, 3))))
    assert (sudoku.solve(puzzles)[0] == answers).all()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "folder"),
        (["DIR", "--seed", "-1"], "-1 must be at least 0"),
        (["DIR", "--seed", "x"], "'x' is no whole number"),
        (["FILE"], "cannot write"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr(make_sudoku, "generate_puzzles", lambda n, *rest, **more: (SOME[:n], SOME[:n]))
    monkeypatch.setattr(make_sudoku, "harden", lambda puzzles, solutions, *rest, **more: (puzzles, solutions))
    paths = {"DIR": str(tmp_path), "FILE": str(tmp_path / "file")}
    monkeypatch.setattr(
        sys, "argv", ["make_sudoku.py", *(paths.get(argument, argument) for argument in arguments)]
    )
    assert exit_status(make_sudoku.main) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1

"""The shortest task, against a search cell by cell; and a copy of it as a task of one's own."""

from pathlib import Path

import numpy as np

import train
from data import load_task
from puzzles import flood
from puzzles.flood import DRY, WALL, WATER
from puzzles.task import transform
from tests.puzzles.test_maze import neighbours


def test_water_reaches_what_it_can():
    task = load_task("flood", size=6)
    inputs, labels = task.generate(100, np.random.default_rng(0))
    for board, label in zip(inputs, labels):
        wet, todo = set(), [int(cell) for cell in np.flatnonzero(board == WATER)]
        assert len(todo) == 1
        while todo:
            wet.add(cell := todo.pop())
            todo += [other for other in neighbours(cell, 6) if board[other] == DRY and other not in wet]
        expected = [WATER if cell in wet else int(token) for cell, token in enumerate(board)]
        assert label.tolist() == expected
    assert (labels != inputs).any() and {WALL, DRY, WATER} == set(labels.ravel().tolist())
    assert task.check(inputs, labels).all() and not task.check(inputs, np.roll(labels, 1, axis=0)).all()
    symmetry = task.symmetries(100, np.random.default_rng(1))
    assert task.check(transform(inputs, *symmetry), transform(labels, *symmetry)).all()


def test_a_copy_of_flood_is_a_task_of_ones_own(tmp_path, monkeypatch, capsys):
    """What the README says: copy flood.py under another name, and it trains, evaluates, votes."""
    monkeypatch.chdir(tmp_path)
    Path("drain.py").write_text(Path(flood.__file__).read_text().replace('"flood"', '"drain"'))
    options = (
        "--steps 4 --train-size 40 --val-size 8 --test-size 8 --hidden-size 16 --puzzle-emb-ndim 16 "
        "--H-layers 1 --L-layers 1 --batch-size 4 --device cpu --no-compile"
    )
    assert train.main(["--task", "drain", *options.split()]) == 0
    assert Path("runs/drain/solved.png").stat().st_size > 5_000
    assert train.main(["--eval", "runs/drain/best.pt", "--max-segments", "2", "--votes", "4"]) == 0
    assert "exact" in capsys.readouterr().out

"""The shortest task, against a search cell by cell; and a copy of it as a task of one's own."""

from pathlib import Path

import numpy as np

import train
from data import load_task
from puzzles import flood
from puzzles.flood import WATER
from tests.puzzles.test_maze import search


def test_water_reaches_what_it_can():
    task = load_task("flood", size=6)
    inputs, labels = task.generate(100, np.random.default_rng(0))
    for board, label in zip(inputs.copy(), labels):
        [spring] = np.flatnonzero(board == WATER)
        wet = search(board, 6, spring)  # a wall is the same token in both tasks
        board[list(wet)] = WATER
        assert (board == label).all()
    assert task.check(inputs, labels).all()
    assert not task.check(inputs, inputs).all()


def test_a_copy_of_flood_is_a_task_of_ones_own(here, capsys):
    """What the README says: copy flood.py under another name, and it trains, evaluates, votes."""
    Path("drain.py").write_text(Path(flood.__file__).read_text().replace('"flood"', '"drain"'))
    options = """--task drain --steps 4 --train-size 40 --val-size 8 --test-size 8 --hidden-size 16
        --H-layers 1 --L-layers 1 --batch-size 4 --no-compile"""
    assert train.main(options.split()) == 0
    assert Path("runs/drain/solved.png").stat().st_size > 5_000
    assert train.main(["--eval", "runs/drain/best.pt", "--max-segments", "2", "--votes", "4"]) == 0
    assert "exact" in capsys.readouterr().out

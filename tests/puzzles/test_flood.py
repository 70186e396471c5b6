"""The shortest task, against a search cell by cell; and a copy of it as a task of one's own."""

from pathlib import Path

import numpy as np

import train
from data import load_task
from puzzles import flood
from puzzles.flood import DRY, WATER


def test_water_reaches_what_it_can():
    task = load_task("flood", size=6)
    inputs, labels = task.generate(100, np.random.default_rng(0))
    for board, label in zip(inputs, labels):
        grid = board.reshape(6, 6).copy()
        wet = list(zip(*np.nonzero(grid == WATER)))
        assert len(wet) == 1
        for row, column in wet:  # it grows on the way
            for cell in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if min(cell) >= 0 and max(cell) < 6 and grid[cell] == DRY:
                    grid[cell] = WATER
                    wet.append(cell)
        assert (grid.ravel() == label).all()
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

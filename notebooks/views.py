"""Hard 9x9 Sudokus, each seen in several ways by the shipped model: the table behind section 6.9 of notebook
06.

    python notebooks/views.py    # 100 puzzles in 16 views: about eight minutes on one core

A row of the table is one view of one puzzle: how many segments the model thought, whether its answer keeps
the rules of Sudoku, and whether it is the solution.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from data import load_splits
from hrm import solve
from puzzles.errors import exit_status
from puzzles.split import transform, undo
from training.checkpoints import load_model
from training.options import Parser

CHECKPOINT = ROOT / "checkpoints/sudoku-9x9.pt"
PUZZLES = ROOT / "data/sudoku-9x9"
TABLE = ROOT / "notebooks/data/views.csv"
VIEWS = 16


def ask(model, task, split, k, confidence):
    """Show view k of each puzzle to the model -> its answers to the puzzles (n, S), segments (n,)."""
    view = task.view(k, len(split))
    seen = torch.from_numpy(transform(split.inputs, *view)).long()
    solution = solve(model, seen, confidence=confidence)
    return undo(solution.predictions.byte().numpy(), *view), solution.segments


def main(argv=None, n=100, table=TABLE):
    Parser("notebooks/views.py", __doc__).parse_args(argv)
    model, task, options = load_model(CHECKPOINT)
    split = load_splits(task, PUZZLES, val_size=0)["test"][:n]
    views = []
    for k in tqdm(range(VIEWS), unit="view"):
        answers, segments = ask(model, task, split, k, options["confidence"])
        keeps = task.keeps_rules(split.inputs, answers)
        right = (answers == split.labels).all(axis=1)
        views.append(np.stack([np.arange(n), np.full(n, k), segments, keeps, right], axis=1))
    header = "puzzle,view,segments,keeps_rules,right"
    np.savetxt(table, np.concatenate(views), "%d", ",", header=header, comments="")


if __name__ == "__main__":
    sys.exit(exit_status(main))

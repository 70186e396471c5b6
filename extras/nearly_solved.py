"""Are puzzles solved that are nearly solved already? Of each test puzzle only so many cells are left open.

    python extras/nearly_solved.py checkpoints/maze-9x9.pt checkpoints/sudoku-9x9.pt

The published model fails on some Sudokus with a single blank (Ren & Liu 2026, arXiv 2601.10679); `--hints` in
training is what helps.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder above

from puzzles.errors import exit_status
from train import evaluate
from training.checkpoints import held_out, load_model
from training.options import Options, Parser

OPEN = 1, 2, 5, 10, 20, 1000  # cells; the last: the puzzle as it is
PUZZLES = 500  # of the test puzzles


def with_open_cells(split, count, rng):
    """The puzzles of a split with so many unknown cells, chosen at random; the others hold the answer."""
    unknown = (split.inputs != split.labels) & (split.labels > 0)
    lots = np.where(unknown, rng.random(unknown.shape), 2)
    place = lots.argsort(axis=1).argsort(axis=1)
    part = split[:]
    part.inputs = np.where(unknown & (place >= count), split.labels, split.inputs)
    return part


def main(argv=None):
    parser = Parser("extras/nearly_solved.py", __doc__)
    parser.add_argument("checkpoint", nargs="+")
    args = parser.parse_args(argv)
    print("| open cells", *OPEN, sep=" | ")
    print("|---" * (len(OPEN) + 1))
    for path in args.checkpoint:
        model, task, trained = load_model(path)
        test = held_out([path], task, Options(**trained))[:PUZZLES]
        print(f"| {path}", end=" ")
        for count in OPEN:
            split = with_open_cells(test, count, np.random.default_rng(0))
            result = evaluate([model], task, split, confidence=trained["confidence"])
            print(f"| {result['exact']:.3f}", end=" ")
        print()


if __name__ == "__main__":
    sys.exit(exit_status(main))

"""n puzzles as arrays, and what is done to all rows of one at once."""

from dataclasses import dataclass

import numpy as np


@dataclass(eq=False)  # two splits are never compared, and a split can be the key of a cache
class Split:
    """n puzzles."""
    inputs: np.ndarray  # (n, S) uint8
    labels: np.ndarray  # (n, S) uint8, 0 = ignored by the loss
    puzzle_ids: np.ndarray  # (n,) int32, row of the puzzle embedding; 0 for mazes and Sudoku

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, rows):
        """The split of these rows only (a slice, indices or a mask)."""
        return Split(self.inputs[rows], self.labels[rows], self.puzzle_ids[rows])

    @property
    def num_puzzles(self):
        """Rows that its ids need in the puzzle embedding."""
        return 1 + int(self.puzzle_ids.max(initial=0))


def hash_rows(rows):
    """(n, S) uint8 -> (n,) uint64, a random linear function: different rows hardly ever get equal numbers."""
    rng = np.random.default_rng(0)
    weights = rng.integers(2**63, size=rows.shape[1], dtype=np.uint64)
    parts = np.array_split(rows, len(rows) // 65536 + 1)  # the product takes 8 bytes a cell: in parts
    return np.concatenate([part @ weights for part in parts])


def transform(rows, cell, token):
    """Apply a symmetry (see Task.symmetries) to every one of the rows (n, S)."""
    moved = np.take_along_axis(rows, cell, axis=1)
    return np.take_along_axis(token, moved, axis=1)


def undo(rows, cell, token):
    """The inverse of `transform`."""
    back = np.argsort(cell, axis=1)
    before = np.argsort(token, axis=1).astype(rows.dtype)
    return transform(rows, back, before)

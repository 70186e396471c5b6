"""The shortest task: water fills every cell that it can reach. Symbols: '#' wall, '.' dry, 'o' water.

    python train.py --task flood

A task of your own is a file like this one: a class with a name, symbols and a way to make puzzles. Call the
file NAME.py, put it into the folder that you work in, and `python train.py --task NAME` finds it there.
"""

import numpy as np

from puzzles.task import Task

WALL = 1  # token 0 is padding
DRY = 2
WATER = 3


class Flood(Task):
    name = "flood"  # what --task calls it
    symbols = "_#.o"  # symbols[t] writes token t
    default_size = 7  # side of the board: vocabulary (4) and sequence length (49) follow

    def generate(self, n, rng):
        """n puzzles: inputs, labels, both (n, S) uint8."""
        is_wall = rng.random((n, self.seq_len)) < 0.4
        inputs = np.where(is_wall, WALL, DRY).astype(np.uint8)
        spring = rng.integers(self.seq_len, size=n)
        inputs[np.arange(n), spring] = WATER
        return inputs, self.flood(inputs)

    def flood(self, boards):
        """(n, S) -> (n, S): the water spreads until nothing changes."""
        grids = boards.reshape(-1, *self.grid)
        while True:
            wet = np.pad(grids == WATER, 1)[1:-1]  # a dry edge around every board
            above = wet[:, :-2, 1:-1]
            below = wet[:, 2:, 1:-1]
            left = wet[:, 1:-1, :-2]
            right = wet[:, 1:-1, 2:]
            reached = (grids == DRY) & (above | below | left | right)
            if not reached.any():
                return grids.reshape(boards.shape)
            grids = np.where(reached, WATER, grids).astype(np.uint8)

    # The rest is worth having: more to learn from, answers that can be checked, and votes (--votes 4).

    def symmetries(self, n, rng):
        """Upside down, the other way round, both or neither: where each cell comes from (n, S), and what each
        token becomes (n, V): itself."""
        cells, tokens = super().symmetries(n, rng)
        grid = cells[0].reshape(self.grid)
        sides = np.array([grid, np.flipud(grid), np.fliplr(grid), np.flip(grid)])
        drawn = sides[rng.integers(4, size=n)]
        return drawn.reshape(cells.shape), tokens

    def check(self, inputs, answers):
        """(n,) bool: right by the rules, without a look at the label."""
        return (answers == self.flood(inputs)).all(axis=1)

"""The shortest task: water fills every cell that it can reach. Symbols: '#' wall, '.' dry, 'o' water.

    python train.py --task flood

A task of your own is a file like this one: a class with a name, symbols and a way to make puzzles. Call the
file NAME.py, put it into the folder that you work in, and `python train.py --task NAME` finds it there.
"""

import numpy as np

from puzzles.task import Task

WALL, DRY, WATER = 1, 2, 3  # token 0 is padding


class Flood(Task):
    name = "flood"  # what --task calls it
    symbols = "_#.o"  # symbols[t] writes token t
    default_size = 7  # side of the board: vocabulary (4) and sequence length (49) follow

    def generate(self, n, rng):
        """n puzzles: inputs, labels, both (n, S) uint8."""
        inputs = np.where(rng.random((n, self.seq_len)) < 0.4, WALL, DRY).astype(np.uint8)
        inputs[np.arange(n), rng.integers(self.seq_len, size=n)] = WATER  # the spring
        return inputs, self.flood(inputs)

    def flood(self, boards):
        """(n, S) -> (n, S): the water spreads until nothing changes."""
        while True:
            grids = boards.reshape(-1, *self.grid)
            wet = np.pad(grids == WATER, ((0, 0), (1, 1), (1, 1)))
            near = wet[:, 2:, 1:-1] | wet[:, :-2, 1:-1] | wet[:, 1:-1, 2:] | wet[:, 1:-1, :-2]
            spread = np.where((grids == DRY) & near, WATER, grids).reshape(boards.shape)
            if (spread == boards).all():
                return boards
            boards = spread.astype(np.uint8)

    # The rest is worth having: more to learn from, answers that can be checked, and votes (--votes 4).

    def symmetries(self, n, rng):
        """Upside down, the other way round, both or neither: where each cell comes from (n, S), and what each
        token becomes (n, V)."""
        cells = np.arange(self.seq_len).reshape(self.grid)
        sides = cells, cells[::-1], cells[:, ::-1], cells[::-1, ::-1]
        mirrored = np.stack([side.ravel() for side in sides])
        tokens = np.arange(self.vocab_size, dtype=np.uint8)
        return mirrored[rng.integers(4, size=n)], np.tile(tokens, (n, 1))

    def check(self, inputs, answers):
        """(n,) bool: right by the rules, without a look at the label."""
        return (answers == self.flood(inputs)).all(axis=1)

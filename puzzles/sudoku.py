"""Sudoku: what it is (class `Sudoku`), a batched solver for any box shape, a generator of minimal puzzles.

Below the class, a puzzle is a row of C = side*side digits in reading order, 0 = blank; box = (rows, cols) of
one box, side = rows*cols: (3, 3) is the usual 9x9, (2, 3) is 6x6, (2, 2) is 4x4. Everything works on n
puzzles at once. Generating is slow beyond 10x10.

Inside the solver a board is C bit masks: bit d-1 of a cell is set while digit d is still possible there.
Boards lie along the last axis, (C, n), so that one NumPy operation treats the same cell of all boards.
"""

import math
from functools import cache
from pathlib import Path

import numpy as np

from puzzles.boards import DARK, draw_lines
from puzzles.task import Task, explain

LANES = 1536  # boards propagated together: enough to hide NumPy's overhead, few enough for the CPU cache


class Sudoku(Task):
    """No digit twice in a row, column or box. Puzzles are minimal, with up to `extra` givens put back. Where
    training gives hints, they are at most `hint_share` of the cells: a very hard puzzle teaches more with a
    few."""
    name = "sudoku"
    aliases = {"0": "."}
    unit = "rating (guesses of a solver)"
    default_options = {
        "extra": -1,  # none, but 11 on the 4x4 board, as it has few minimal puzzles
        "hint_share": 1.0,
    }
    boxes = {  # rows and columns of one box
        4: (2, 2),
        6: (2, 3),
        9: (3, 3),
    }
    allowed = {"size": boxes}

    def __init__(self, size=None, **options):
        super().__init__(size, **options)
        self.box = self.boxes[self.size]
        self.symbols = "_.123456789"[:self.size + 2]
        if self.options["extra"] < 0:
            self.options["extra"] = 11 if self.size == 4 else 0
        if self.size == 9 and self.options["extra"] == 0:  # made by extras/make_sudoku.py, in minutes
            self.shipped = Path(__file__).resolve().parents[1] / "data/sudoku-9x9"

    def generate(self, n, rng):
        """The token of a digit is one more, that of a blank is 1."""
        puzzles, solutions = generate_puzzles(n, self.box, rng, self.options["extra"])
        return puzzles + 1, solutions + 1

    def symmetries(self, n, rng):
        """Digits, bands, stacks and the lines in them are shuffled; the board is perhaps transposed."""
        _, tokens = super().symmetries(n, rng)
        tokens[:, 2:] = rng.permuted(tokens[:, 2:], axis=1)  # PAD and blank stay
        lines = []
        for per_band in self.box:
            bands = rng.random((n, self.size // per_band)).argsort(axis=1)
            places = np.repeat(bands, per_band, axis=1) + rng.random((n, self.size))
            lines.append(places.argsort(axis=1))
        row, column = lines
        cells = self.size * row[:, :, None] + column[:, None]  # (n, size, size)
        if self.box[0] == self.box[1]:
            turned = rng.random(n) < 0.5
            cells[turned] = cells[turned].swapaxes(1, 2)
        return cells.reshape(n, self.seq_len), tokens

    def fingerprint(self, inputs):
        return fingerprint(inputs - 1, self.box)

    def rating(self, inputs, labels):
        """Guesses that our solver needs."""
        return solve(inputs - 1, self.box)[2].astype(np.float32)

    def check(self, inputs, answers):
        """(n,) bool: every cell filled, no rule broken, givens kept."""
        kept = (inputs == 1) | (inputs == answers)
        filled = answers > 1
        return (kept & filled & ~self.broken(answers)).all(axis=1)

    def broken(self, tokens):
        """(n, S) bool: the digits that break a rule. PAD, which a model may answer, counts as blank."""
        return violations(np.maximum(tokens, 1) - 1, self.box)

    def problem(self, inputs, answers=None):
        clash = self.broken(inputs).any(axis=1)
        reasons = {"the same digit twice in a row, column or box of the question": clash}
        if answers is not None:
            wrong = ~self.check(inputs, answers)
            reasons["the answer changes a given, has a blank or breaks a rule"] = wrong
        if answers is None or len(inputs) <= 5000:  # a hard puzzle takes a millisecond: not for millions
            counts = solve(inputs - 1, self.box)[1]
            reasons["the puzzle has no solution"] = counts == 0
            reasons["the puzzle has more than one solution"] = counts > 1
        return explain(reasons)

    def wrong_cells(self, inputs, answer, label=None):
        return self.broken(answer[None])[0]

    def draw(self, ax, inputs, answer=None, label=None):
        """Givens bold, answer blue, broken rules vermillion, heavy lines around the boxes."""
        super().draw(ax, inputs, answer, label)
        draw_lines(ax, *self.grid, self.box, color=DARK, lw=1.8)


# ------------------------------------------------------------------------------------- solving many at once
@cache
def geometry(box):
    """The units are the rows, then the columns, then the boxes. Returns cells_of (side, 3*side), the cells of
    each unit, one unit a column, and units_of (3, C), the row, column and box of each cell."""
    rows, columns = box
    side = rows * columns
    row, column = np.divmod(np.arange(side**2), side)
    in_box = row // rows * rows + column // columns
    units_of = np.array([row, side + column, 2 * side + in_box])
    cells_of = units_of.argsort(axis=1, kind="stable").reshape(-1, side)
    return cells_of.T.copy(), units_of


def to_masks(puzzles):
    """(n, C) digits -> (C, n) bit masks; a blank may be any digit."""
    side = math.isqrt(puzzles.shape[1])
    mask_of = np.append(2**side - 1, 2 ** np.arange(side))
    return mask_of.astype(np.uint16)[np.ascontiguousarray(puzzles.T)]


def seen(masks, cells_of):
    """masks (C, n) -> the digits in each unit, and those that occur there more than once: 2 x (3*side, n)."""
    once = masks[cells_of[0]]
    twice = np.zeros_like(once)
    for cells in cells_of[1:]:
        mask = masks[cells]
        twice |= once & mask
        once |= mask
    return once, twice


def propagate(board, box):
    """One round of naked and hidden singles on board (C, n). Returns the new board and alive (n,) bool: no
    cell is empty, no digit without a place, none placed twice in a unit."""
    cells_of, units_of = geometry(box)
    placed = board * (board & (board - 1) == 0)  # a single bit is a placed digit (np.where would be slower)
    taken, taken_twice = seen(placed, cells_of)
    around = np.bitwise_or.reduce(taken[units_of], 0)
    after = board & ~around | placed
    possible, possible_twice = seen(after, cells_of)
    has_all = possible == 2 ** len(cells_of) - 1  # a place for each digit
    alive = ~taken_twice.any(0) & has_all.all(0) & (after > 0).all(0)

    only_place = (possible & ~possible_twice)[units_of]
    hidden = after & np.bitwise_or.reduce(only_place, 0)
    after *= hidden == 0
    after |= hidden & -hidden  # two in one cell: we keep one, the next round finds no place for the other
    return after, alive


def search(puzzles, box, limit, rng=None):
    """Solutions of puzzles, as masks (C, n), by propagation and guessing; results as in `solve`.

    The boards in work are a stack, and in each round the LANES newest are propagated. One that propagation
    leaves open is split on one cell: it goes on with the lowest digit there (with rng: a random one), and its
    sibling without that digit."""
    C, n = puzzles.shape
    bits = 1 << np.arange(box[0] * box[1], dtype=np.uint16)
    solutions = np.zeros((n, C), np.uint8)
    counts = np.zeros(n, int)
    guesses = np.zeros(n, int)
    stack = puzzles
    owners = np.arange(n)  # the puzzle that each board belongs to
    while len(owners):
        stack, board = np.split(stack, [-LANES], axis=1)
        owners, owner = np.split(owners, [-LANES])
        after, alive = propagate(board, box)
        stable = alive & (after == board).all(axis=0)  # propagation has nothing more to say
        sizes = np.bitwise_count(after)
        full = stable & (sizes == 1).all(axis=0)
        solutions[owner[full]] = np.bitwise_count(after[:, full] - 1).T + 1
        np.add.at(counts, owner[full], 1)

        split = np.flatnonzero(stable & ~full)
        np.add.at(guesses, owner[split], 1)
        cell = branching_cell(sizes[:, split], box)
        possible = after[cell, split, None] & bits > 0
        if rng is not None:
            possible = possible * rng.random(possible.shape)
        guess = bits[possible.argmax(axis=1)]
        without = after.copy()
        without[cell, split] ^= guess
        after[cell, split] = guess

        go_on = alive & ~full & (counts[owner] < limit)
        stack = np.hstack([stack, without[:, split], after[:, go_on]])
        owners = np.hstack([owners, owner[split], owner[go_on]])
    return solutions, np.minimum(counts, limit), guesses


def branching_cell(sizes, box):
    """sizes (C, n), the number of candidates of each cell -> (n,): the open cell with the fewest; of these
    the one with most two-candidate cells in its units, as a guess there has consequences; then the first."""
    cells_of, units_of = geometry(box)
    two = sizes == 2
    in_unit = two[cells_of].sum(axis=0, dtype=np.int16)
    around = in_unit[units_of].sum(axis=0)
    order = 1000 * sizes.astype(int) - around
    order[sizes == 1] = 1_000_000
    return order.argmin(axis=0)


def solve(puzzles, box=(3, 3), limit=2):
    """puzzles (n, C) uint8, 0 = blank -> solutions (n, C) uint8, counts (n,), guesses (n,).

    solutions: one solution of each puzzle, zeros if it has none. counts: how many there are, at most `limit`.
    guesses: boards visited that naked and hidden singles neither solve nor refute. With fewer than `limit`
    solutions that includes the proof that there is no other; otherwise it depends on the batch. It rates the
    shipped files, and is NOT the count of the tdoku solver that rates Sudoku-Extreme."""
    return search(to_masks(puzzles), box, limit)


# ---------------------------------------------------------------------------------------- making many at once
def random_grids(n, box, rng):
    """(n, C) uint8 solved grids: a uniformly random first row, then a search that tries digits in random
    order. Every grid can occur; the distribution is close to uniform, not exactly so."""
    side = box[0] * box[1]
    first_row = 1 + rng.random((n, side)).argsort(axis=1)
    grids = np.zeros((n, side**2), int)
    grids[:, :side] = first_row
    return search(to_masks(grids), box, 1, rng)[0]


def dig(puzzles, box, rng):
    """Minimal puzzles (n, C) out of uniquely solvable ones: tries every given once, each puzzle in its own
    random order, and blanks it if no solution has another digit there. One pass is enough: a given that was
    necessary stays so while others go."""
    puzzles = puzzles.copy()
    each = np.arange(len(puzzles))
    any_digit = 2 ** (box[0] * box[1]) - 1
    order = rng.random(puzzles.shape).argsort(axis=1)
    for cell in order.T:
        boards = to_masks(puzzles)
        boards[cell, each] ^= any_digit  # any digit but the given one; in a blank none, and so it stays blank
        counts = search(boards, box, 1)[1]
        puzzles[each, cell] *= counts > 0
    return puzzles


def put_back(puzzles, solutions, how_many, rng):
    """puzzles (n, C) with how_many (n,) random blanks filled in from solutions."""
    lots = rng.random(puzzles.shape)
    lots[puzzles > 0] = 2
    rank = lots.argsort(axis=1).argsort(axis=1)  # the blanks come first
    return np.where(rank < how_many[:, None], solutions, puzzles)


def generate_puzzles(n, box, rng, extra=0):
    """n puzzles with exactly one solution -> puzzles (n, C) uint8, solutions (n, C) uint8. They are minimal
    (no given can go); then each gets 0..extra (uniform) random givens back. Equal puzzles can occur."""
    solutions = random_grids(n, box, rng)
    puzzles = dig(solutions, box, rng)
    how_many = rng.integers(0, extra, n, endpoint=True)
    return put_back(puzzles, solutions, how_many, rng), solutions


# --------------------------------------------------------------------------------------- comparing, checking
def violations(grids, box):
    """grids (n, C), 0 = blank -> (n, C) bool: the digit occurs twice in the cell's row, column or box."""
    cells_of, units_of = geometry(box)
    filled = grids.T > 0
    digits = to_masks(grids) * filled
    _, twice = seen(digits, cells_of)
    clash = digits & np.bitwise_or.reduce(twice[units_of], 0)
    return clash.T > 0


def scramble(x):
    """A fixed bijection of uint64 that looks random (the end of splitmix64)."""
    x = x ^ (x >> 30)
    x = x * np.uint64(0xBF58476D1CE4E5B9)
    x = x ^ (x >> 27)
    x = x * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> 31)


def fingerprint(puzzles, box):
    """(n, C) -> (n,) uint64, equal for puzzles that are equal up to relabelling digits, permuting bands,
    stacks, rows in a band and columns in a stack, and, if boxes are square, transposing. Complete grids all
    share a value; for inequivalent minimal puzzles that is very rare."""
    if len(puzzles) > LANES:  # in parts: a puzzle takes kilobytes here
        halves = np.array_split(puzzles, 2)
        return np.concatenate([fingerprint(half, box) for half in halves])
    prints = refined_colours(puzzles, box, [1, 2, 3])
    if box[0] == box[1]:
        prints += refined_colours(puzzles, box, [2, 1, 3])  # transposed: the rows are columns
    return prints


def refined_colours(puzzles, box, kinds):
    """(n, C) -> (n,) uint64 by colour refinement: a cell starts as blank or given; round after round its
    colour becomes a hash of its own and of those in its row, column, box and of its digit. `kinds`: three
    numbers that tell rows, columns and boxes apart."""
    cells_of, units_of = geometry(box)
    side = len(cells_of)
    kind = np.repeat(kinds, side).astype(np.uint64)
    digits = puzzles.T.astype(int)
    place = digits, np.arange(len(puzzles))  # of each cell in with_digit
    given = digits > 0
    colour = scramble(1 + given.astype(np.uint64))
    for _ in range(8):
        in_unit = colour[cells_of].sum(axis=0) + kind[:, None]
        around = scramble(in_unit)[units_of].sum(axis=0)
        with_digit = np.zeros((side + 1, len(puzzles)), np.uint64)
        np.add.at(with_digit, place, colour)
        alike = scramble(with_digit)[place]
        colour = scramble(3 * colour + around + 5 * alike)
    return colour.sum(axis=0)

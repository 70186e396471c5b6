"""Sudoku: what it is (class `Sudoku`), a batched solver for any box shape, a generator of minimal puzzles.

Below the class, a puzzle is a row of C = side*side digits in reading order, 0 = blank; box = (rows, cols) of
one box, side = rows*cols: (3, 3) is the usual 9x9, (2, 3) is 6x6, (2, 2) is 4x4. Everything works on n
puzzles at once. Generating is slow beyond 10x10.

Inside the solver a board is C bit masks: bit d-1 of a cell is set while digit d is still possible there.
Boards lie along the last axis, (C, n), so that one NumPy operation treats the same cell of all boards.
"""

from functools import cache
from pathlib import Path

import numpy as np
from einops import rearrange
from tqdm import tqdm

from puzzles.task import DARK, Task, explain

LANES = 1536  # boards propagated together: enough to hide NumPy's overhead, few enough for the CPU cache


class Sudoku(Task):
    """No digit twice in a row, column or box. Puzzles are minimal, with up to `extra` givens put back."""
    name = "sudoku"
    aliases = {"0": "."}
    unit = "rating (guesses of a solver)"
    default_options = {"extra": -1}  # -1: none, but 6 on the 4x4 board, as it has few minimal puzzles
    boxes = {4: (2, 2), 6: (2, 3), 9: (3, 3)}  # rows and columns of one box
    allowed = {"size": boxes}

    def __init__(self, size=None, **options):
        super().__init__(size, **options)
        if self.extra < 0:
            self.extra = self.options["extra"] = 6 if self.size == 4 else 0
        self.box = self.boxes[self.size]
        self.symbols = "_.123456789"[:self.size + 2]
        if self.size == 9 and self.extra == 0:  # made by extras/make_sudoku.py, which takes minutes
            self.shipped = Path(__file__).resolve().parents[1] / "data/sudoku-9x9"

    def digits(self, tokens):
        """Tokens -> digits as sudoku.py takes them, 0 = blank (or PAD)."""
        return np.maximum(tokens, 1) - np.uint8(1)

    def generate(self, n, rng):
        puzzles, solutions = generate_puzzles(n, self.box, rng, extra=self.extra)
        return puzzles + np.uint8(1), solutions + np.uint8(1)

    def symmetries(self, n, rng):
        """Digits, bands, stacks and the lines in them are shuffled; the board is perhaps transposed."""
        box_rows, box_columns = self.box
        token = np.tile(np.arange(self.vocab_size, dtype=np.uint8), (n, 1))  # PAD and blank stay
        token[:, 2:] = 2 + rng.random((n, self.size)).argsort(axis=1)
        down = self.size * self.shuffled_lines(n, box_rows, rng)  # first cell of the row that each comes from
        across = self.shuffled_lines(n, box_columns, rng)
        if box_rows == box_columns:
            transpose = rng.random((n, 1)) < 0.5
            down, across = np.where(transpose, across, down), np.where(transpose, down, across)
        cell = down[:, :, None] + across[:, None, :]
        return rearrange(cell, "n r c -> n (r c)"), token

    def shuffled_lines(self, n, per_band, rng):
        """Random orders (n, size) of the rows: bands of per_band rows, and the rows in each, are shuffled."""
        band = rng.random((n, self.size // per_band, 1)).argsort(axis=1)
        inside = rng.random((n, self.size // per_band, per_band)).argsort(axis=2)
        return rearrange(band * per_band + inside, "n bands rows -> n (bands rows)")

    def fingerprint(self, inputs):
        return fingerprint(self.digits(inputs), self.box)

    def rating(self, inputs, labels):
        """Guesses that our solver needs."""
        return solve(self.digits(inputs), self.box)[2].astype(np.float32)

    def check(self, inputs, answers):
        """(n,) bool: every cell filled, no rule broken, givens kept."""
        digits = self.digits(answers)
        kept = (inputs <= 1) | (inputs == answers)
        return (kept & (digits > 0) & ~violations(digits, self.box)).all(axis=1)

    def problem(self, inputs, answers=None):
        puzzles = self.digits(inputs)
        clash = "the same digit twice in a row, column or box of the"
        reasons = {f"{clash} question": violations(puzzles, self.box).any(axis=1)}
        if answers is not None:
            solution = self.digits(answers)
            reasons["the answer has blanks"] = (solution == 0).any(axis=1)
            reasons["the answer changes a given"] = ((puzzles > 0) & (puzzles != solution)).any(axis=1)
            reasons[f"{clash} answer"] = violations(solution, self.box).any(axis=1)
        if answers is None or len(inputs) <= 5000:  # a hard puzzle takes a millisecond: not for millions
            count, sound = np.zeros(len(inputs), int), ~reasons[f"{clash} question"]
            count[sound] = solve(puzzles[sound], self.box)[1]
            reasons["the puzzle has no solution"] = count == 0
            reasons["the puzzle has more than one solution"] = count > 1
        return explain(reasons, len(inputs))

    def wrong_cells(self, inputs, answer, label=None):
        return violations(self.digits(answer)[None], self.box)[0]

    def draw(self, ax, inputs, answer=None, label=None):
        """Givens bold, answer blue, broken rules vermillion, heavy lines around the boxes."""
        super().draw(ax, inputs, answer, label)
        rows, columns = (np.arange(0, self.size + 1, step) - 0.5 for step in self.box)
        ax.hlines(rows, -0.5, self.size - 0.5, color=DARK, lw=1.8, capstyle="projecting")
        ax.vlines(columns, -0.5, self.size - 0.5, color=DARK, lw=1.8, capstyle="projecting")


# ------------------------------------------------------------------------------------- solving many at once
@cache
def geometry(box):
    """The units are the rows, then the columns, then the boxes. Returns cells_of (side, 3*side), the cells of
    each unit, one unit a column, and units_of (3, C), the row, column and box of each cell."""
    side = box[0] * box[1]
    row, col = np.divmod(np.arange(side**2), side)
    units_of = np.stack([row, side + col, 2 * side + row // box[0] * box[0] + col // box[1]])
    cells_of = units_of.ravel().argsort(kind="stable") % side**2
    return cells_of.reshape(3 * side, side).T.copy(), units_of


def to_masks(puzzles, box):
    """(n, C) digits -> (C, n) bit masks; a blank may be any digit."""
    side, puzzles = box[0] * box[1], np.asarray(puzzles)
    mask_of = np.append((1 << side) - 1, 1 << np.arange(side))
    return mask_of.astype(np.uint16 if side <= 16 else np.uint32)[np.ascontiguousarray(puzzles.T)]


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
    """One round of naked and hidden singles on board (C, n). Returns the new board and dead (n,) bool, set
    for a board with an empty cell, a digit without a place or a digit placed twice in a unit."""
    cells_of, units_of = geometry(box)
    placed = board * (board & (board - 1) == 0)  # a single bit is a placed digit (np.where would be slower)
    taken, taken_twice = seen(placed, cells_of)
    after = board & ~np.bitwise_or.reduce(taken[units_of], 0)
    after |= placed
    possible, possible_twice = seen(after, cells_of)
    dead = taken_twice.any(0) | (possible != (1 << len(cells_of)) - 1).any(0) | (after == 0).any(0)

    only_place = possible & ~possible_twice
    hidden = after & np.bitwise_or.reduce(only_place[units_of], 0)
    after *= hidden == 0
    after |= hidden & -hidden  # two in one cell: we keep one, the next round finds no place for the other
    return after, dead


def search(boards, box, limit, rng=None):
    """Solutions of boards (C, n) by propagation and guessing; arguments and results as in `solve`.

    A stack of waiting boards is worked off, newest first, about LANES at a time. A board that propagation
    leaves open is split on one cell: it goes on with the lowest digit there (with rng: a random one), and its
    sibling, where that digit is forbidden, goes on the stack."""
    C, n = boards.shape
    solutions = np.zeros_like(boards)
    counts, guesses = np.zeros(n, int), np.zeros(n, int)
    waiting = [(boards[:, i : i + LANES], np.arange(n)[i : i + LANES]) for i in reversed(range(0, n, LANES))]
    board, owner = boards[:, :0], np.arange(0)  # owner: the puzzle that each board belongs to
    while waiting or len(owner):
        while waiting and len(owner) < LANES:
            more, more_owner = waiting.pop()
            board, owner = np.append(board, more, axis=1), np.append(owner, more_owner)

        after, dead = propagate(board, box)
        still = np.flatnonzero(~dead & (after == board).all(0))  # propagation has nothing more to say
        sizes = np.bitwise_count(after[:, still])
        is_solved = (sizes == 1).all(0)
        solved, split = still[is_solved], still[~is_solved]
        np.add.at(counts, owner[solved], 1)
        solutions[:, owner[solved]] = after[:, solved]

        cell = branching_cell(sizes[:, ~is_solved], box)
        options = after[cell, split]
        guess = options & -options if rng is None else random_bit(options, box, rng)
        np.add.at(guesses, owner[split], 1)
        sibling = after[:, split]
        sibling[cell, np.arange(len(split))] ^= guess
        after[cell, split] = guess
        if len(split):
            waiting.append((sibling, owner[split]))

        go_on = ~dead & (counts[owner] < limit)
        go_on[solved] = False
        board, owner = after[:, go_on], owner[go_on]
    digits = np.where(solutions, np.bitwise_count(solutions - 1) + 1, 0)
    return digits.T.astype(np.uint8), np.minimum(counts, limit), guesses


def branching_cell(sizes, box):
    """sizes (C, n), the number of candidates of each cell -> (n,): the open cell with the fewest; of these
    the one with most two-candidate cells in its units, as a guess there has consequences; then the first."""
    cells_of, units_of = geometry(box)
    pairs = (sizes == 2)[cells_of].sum(0, dtype=np.int16)[units_of].sum(0, dtype=np.int16)
    return np.where(sizes > 1, 1000 * sizes.astype(np.int16) - pairs, np.iinfo(np.int16).max).argmin(0)


def random_bit(masks, box, rng):
    """One set bit of each mask (n,), all with the same chance."""
    bits = (1 << np.arange(box[0] * box[1])).astype(masks.dtype)[:, None]
    return bits[np.where(masks & bits, rng.random((len(bits), len(masks))), -1).argmax(0), 0]


def solve(puzzles, box=(3, 3), limit=2):
    """puzzles (n, C) uint8, 0 = blank -> solutions (n, C) uint8, counts (n,), guesses (n,).

    solutions: one solution of each puzzle, zeros if it has none. counts: how many there are, at most `limit`.
    guesses: boards visited that naked and hidden singles neither solve nor refute. With fewer than `limit`
    solutions that includes the proof that there is no other; otherwise it depends on the batch. It rates the
    shipped files, and is NOT the count of the tdoku solver that rates Sudoku-Extreme."""
    return search(to_masks(puzzles, box), box, limit)


def random_grids(n, box, rng):
    """(n, C) uint8 solved grids: a uniformly random first box, then a search that tries digits in random
    order. Every grid can occur; the distribution is close to uniform, not exactly so."""
    cells_of, _ = geometry(box)
    side = len(cells_of)
    grids = np.zeros((n, side**2), np.uint8)
    grids[:, cells_of[:, 2 * side]] = rng.permuted(np.tile(np.arange(1, side + 1), (n, 1)), axis=1)
    return search(to_masks(grids, box), box, limit=1, rng=rng)[0]


def dig(puzzles, box, rng, progress=False):
    """Minimal puzzles (n, C) out of uniquely solvable ones: tries every given once, each puzzle in its own
    random order, and blanks it if no solution has another digit there. One pass is enough: a given that was
    necessary stays so while others go."""
    puzzles = puzzles.copy()
    givens = (puzzles > 0).sum(1)
    order = np.where(puzzles > 0, rng.random(puzzles.shape), 2).argsort(1)
    for step in tqdm(range(givens.max(initial=0)), desc="digging", disable=not progress, leave=False):
        todo = np.flatnonzero(step < givens)
        cell = order[todo, step]
        boards = to_masks(puzzles[todo], box)
        boards[cell, np.arange(len(todo))] ^= (1 << box[0] * box[1]) - 1  # any digit but the given one
        blank = search(boards, box, limit=1)[1] == 0
        puzzles[todo[blank], cell[blank]] = 0
    return puzzles


def put_back(puzzles, solutions, how_many, rng):
    """puzzles (n, C) with how_many (n,) random blanks filled in from solutions."""
    rank = np.where(puzzles == 0, rng.random(puzzles.shape), 2).argsort(1).argsort(1)
    return np.where(rank < how_many[:, None], solutions, puzzles)


def generate_puzzles(n, box, rng, extra=0, progress=False):
    """n puzzles with exactly one solution -> puzzles (n, C) uint8, solutions (n, C) uint8. They are minimal
    (no given can go); then each gets 0..extra (uniform) random givens back. Equal puzzles can occur."""
    solutions = random_grids(n, box, rng)
    puzzles = dig(solutions, box, rng, progress)
    return put_back(puzzles, solutions, rng.integers(0, extra, n, endpoint=True), rng), solutions


def violations(grids, box):
    """grids (n, C), 0 = blank -> (n, C) bool: the digit occurs twice in the cell's row, column or box."""
    cells_of, units_of = geometry(box)
    digits = to_masks(grids, box) * (np.asarray(grids).T > 0)
    _, twice = seen(digits, cells_of)
    return (digits & np.bitwise_or.reduce(twice[units_of], 0)).T > 0


def scramble(x):
    """A fixed bijection of uint64 that looks random (the end of splitmix64)."""
    x = (x ^ (x >> 30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> 27)) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> 31)


def fingerprint(puzzles, box):
    """(n, C) -> (n,) uint64, equal for puzzles that are equal up to relabelling digits, permuting bands,
    stacks, rows in a band and columns in a stack, and, if boxes are square, transposing.

    Colour refinement: a cell starts as blank or given; round after round its colour becomes a hash of its own
    and of those in its row, column, box and of its digit. Complete grids all share a value; for inequivalent
    minimal puzzles that is very rare."""
    cells_of, units_of = geometry(box)
    side = len(cells_of)
    kind = np.repeat(np.arange(1, 4, dtype=np.uint64), side)[:, None]  # tells rows, columns and boxes apart

    def refined(digits):  # (C, n) -> (n,)
        colour = scramble(1 + (digits > 0).astype(np.uint64))
        for _ in range(8):
            unit = scramble(colour[cells_of].sum(0) + kind)
            by_digit = np.stack([(colour * (digits == d)).sum(0) for d in range(side + 1)])
            same_digit = np.take_along_axis(scramble(by_digit), digits, 0)
            colour = scramble(3 * colour + unit[units_of].sum(0) + 5 * same_digit)
        return colour.sum(0)

    prints = np.empty(len(puzzles), np.uint64)
    for i in range(0, len(puzzles), LANES):  # in parts: a puzzle takes kilobytes here
        square = np.asarray(puzzles[i : i + LANES], np.intp).T.reshape(side, side, -1)
        prints[i : i + LANES] = refined(square.reshape(side**2, -1))
        if box[0] == box[1]:
            prints[i : i + LANES] += refined(square.swapaxes(0, 1).reshape(side**2, -1))
    return prints

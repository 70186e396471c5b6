"""Sudoku of any box shape: a batched solver, a generator of minimal puzzles, a search for hard ones.

Everything works on n puzzles at once. A puzzle is a row of C = side*side digits in reading order, 0 = blank;
box = (rows, cols) of one box, side = rows*cols: (3, 3) is the usual 9x9, (2, 3) is 6x6, (2, 2) is 4x4.
Generating is slow beyond 10x10.

Inside the solver a board is C bit masks: bit d-1 of a cell is set while digit d is still possible there.
Boards lie along the last axis, (C, n), so that one NumPy operation treats the same cell of all boards.

    python sudoku.py --make data/sudoku-9x9 --seed 0

wrote the 1000 + 1000 hard puzzles we ship: 7 minutes on one busy core (5.3 of CPU time), mean guesses 15.1 in
train.csv and 14.9 in test.csv. Random minimal 9x9 puzzles need 1.5.
"""
import argparse
import os
from functools import cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

LANES = 1536  # boards propagated together: enough to hide NumPy's overhead, few enough for the CPU cache


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
    if puzzles.ndim != 2 or puzzles.shape[1] != side**2:
        raise ValueError(f"puzzles of shape {puzzles.shape}: boxes of {box[0]}x{box[1]} need (n, {side**2})")
    if puzzles.size and not 0 <= puzzles.min() <= puzzles.max() <= side:
        raise ValueError(f"puzzles hold {puzzles.min()}..{puzzles.max()}: expected 0..{side}, 0 = blank")
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

    A stack of waiting boards is worked off from the top, about LANES at a time. A board that propagation
    leaves open is split on one cell: the board goes on with the lowest digit there (with rng: a random one),
    its sibling, where that digit is forbidden, goes on the stack. Newest first keeps the stack short.
    """
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
    guesses: how often the search had to choose, i.e. the boards visited that naked and hidden singles neither
    solve nor refute; each is split in two ("this digit here", "not here"). With fewer than `limit` solutions
    the whole tree is searched, so guesses includes the proof that there is no other one; otherwise the
    search stops early, and guesses depends on the batch. It is the rating of the shipped files. It is NOT the
    count of the tdoku solver that rates Sudoku-Extreme, which has other rules and another order.
    """
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


def generate(n, box, rng, extra=0, progress=False):
    """n puzzles with exactly one solution -> puzzles (n, C) uint8, solutions (n, C) uint8. They are minimal
    (no given can go); then each gets 0..extra (uniform) random givens back. Equal puzzles can occur."""
    solutions = random_grids(n, box, rng)
    puzzles = dig(solutions, box, rng, progress)
    return put_back(puzzles, solutions, rng.integers(0, extra, n, endpoint=True), rng), solutions


def harden(puzzles, solutions, box, rng, rounds, give=8, progress=False):
    """Harder minimal puzzles with the same solutions (n, C): in each round every puzzle gets 1..give random
    givens back and is dug anew in another order; the result is kept if it needs at least as many guesses."""
    puzzles, guesses = puzzles.copy(), solve(puzzles, box)[2]
    for _ in (bar := tqdm(range(rounds), desc="hardening", disable=not progress)):
        how_many = rng.integers(1, give, len(puzzles), endpoint=True)
        trial = dig(put_back(puzzles, solutions, how_many, rng), box, rng)
        trial_guesses = solve(trial, box)[2]
        better = trial_guesses >= guesses
        puzzles[better], guesses[better] = trial[better], trial_guesses[better]
        bar.set_postfix_str(f"mean guesses {guesses.mean():.1f}")
    return puzzles, solutions


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
    and of those in its row, its column, its box and of its digit, whatever their order. Inequivalent puzzles
    may share a value: complete grids all do, for minimal puzzles it is very rare."""
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


def make(folder, seed, n=1000, rounds=60):
    """Writes folder/train.csv and test.csv, n hard 9x9 puzzles each, all inequivalent, in the format of
    Sudoku-Extreme. Starts with the hardest fifth of many, because picking is cheaper than hardening."""
    box, rng = (3, 3), np.random.default_rng(seed)
    puzzles, solutions = generate(11 * n, box, rng, progress=True)
    hardest = solve(puzzles, box)[2].argsort(kind="stable")[-11 * n // 5 :]
    puzzles, solutions = harden(puzzles[hardest], solutions[hardest], box, rng, rounds, progress=True)
    _, distinct = np.unique(fingerprint(puzzles, box), return_index=True)
    chosen = rng.permutation(distinct)[: 2 * n]
    ratings = solve(puzzles, box)[2]
    symbols = np.array(list(".123456789"))
    for name, part in ("train.csv", chosen[:n]), ("test.csv", chosen[n:]):
        rows = ["source,question,answer,rating"]
        for i in part:
            question, answer = "".join(symbols[puzzles[i]]), "".join(symbols[solutions[i]])
            rows.append(f"generated_hard,{question},{answer},{ratings[i]}")
        unfinished = folder / (name + ".tmp")  # renamed when complete: nobody reads half a file
        unfinished.write_text("\n".join(rows) + "\n")
        os.replace(unfinished, folder / name)
        print(f"{folder / name}: {len(part)} puzzles, mean guesses {ratings[part].mean():.1f}")


def main():
    parser = argparse.ArgumentParser(description="Make hard 9x9 puzzles.", usage=argparse.SUPPRESS)
    parser.add_argument("--make", metavar="DIR", type=Path, required=True, help="for train.csv and test.csv")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.seed < 0:
        parser.error(f"--seed {args.seed}: expected 0 or more")
    try:
        args.make.mkdir(parents=True, exist_ok=True)
        make(args.make, args.seed)
    except OSError as error:
        parser.error(f"cannot write to {args.make}: {error.strerror}")


if __name__ == "__main__":
    main()

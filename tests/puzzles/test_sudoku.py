"""puzzles/sudoku.py against brute force: a backtracking solver and a canonical form that share no code with
it."""

from itertools import permutations, product

import numpy as np
import pytest

from data import load_task
from puzzles import sudoku

SUDOKU_4 = "1234341221434321"
BOXES = [(2, 2), (2, 3), (3, 3)]
HARD = {  # two well-known puzzles and their solutions; the second has 17 givens
    "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4..":
    "812753649943682175675491283154237896369845721287169534521974368438526917796318452",
    "4.....8.5.3..........7......2.....6.....8.4......1.......6.3.7.5..2.....1.4......":
    "417369825632158947958724316825437169791586432346912758289643571573291684164875293",
}


def digits(text):
    return [int(symbol) for symbol in text.replace(".", "0")]


def brute_force(puzzle, box, limit=2):
    """Up to `limit` solutions of one puzzle (a list of ints), trying every digit in the tightest cell."""
    side = box[0] * box[1]
    grid, found = list(puzzle), []
    units = []  # the row, column and box of each cell
    for cell in range(side**2):
        r, c = divmod(cell, side)
        units.append((r, side + c, 2 * side + r // box[0] * box[0] + c // box[1]))
    free = [set(range(1, side + 1)) for _ in range(3 * side)]  # digits still missing in each unit
    for cell, d in enumerate(grid):
        for unit in units[cell] if d else ():
            if d not in free[unit]:
                return []
            free[unit].remove(d)

    def descend():
        fewest = None
        for cell in range(side**2):
            if not grid[cell]:
                row, col, area = units[cell]
                options = free[row] & free[col] & free[area]
                if fewest is None or len(options) < len(fewest):
                    fewest, best = options, cell
                if len(fewest) < 2:
                    break
        if fewest is None:
            found.append(list(grid))
            return
        for d in sorted(fewest):
            grid[best] = d
            for unit in units[best]:
                free[unit].remove(d)
            descend()
            grid[best] = 0
            for unit in units[best]:
                free[unit].add(d)
            if len(found) >= limit:
                return

    descend()
    return found


def is_complete(grid, box):
    """Every row, column and box of one grid (C,) holds every digit."""
    rows, cols = box
    side = rows * cols
    square = np.asarray(grid).reshape(side, side)
    corners = product(range(0, side, rows), range(0, side, cols))
    boxes = [square[r : r + rows, c : c + cols].ravel() for r, c in corners]
    return all(sorted(unit) == list(range(1, side + 1)) for unit in [*square, *square.T, *boxes])


def line_orders(band, side):
    """All orders of the rows (or columns) that keep bands of `band` together: a list of lists."""
    inside = list(permutations(range(band)))
    return [
        [b * band + i for b, order in zip(bands, orders, strict=True) for i in order]
        for bands in permutations(range(side // band))
        for orders in product(inside, repeat=side // band)
    ]


def random_symmetry(puzzle, box, rng):
    side = box[0] * box[1]

    def line_order(band):
        return np.concatenate([b * band + rng.permutation(band) for b in rng.permutation(side // band)])

    rows, cols = line_order(box[0]), line_order(box[1])
    square = puzzle.reshape(side, side)[rows][:, cols]
    if box[0] == box[1] and rng.random() < 0.5:
        square = square.T
    return np.append(0, 1 + rng.permutation(side))[square].ravel()


def canonical(puzzle, box):
    """The smallest of all symmetric images, digits numbered in order of appearance."""
    side = box[0] * box[1]
    square = puzzle.reshape(side, side)
    best = None
    for image in [square, square.T] if box[0] == box[1] else [square]:
        for rows, cols in product(line_orders(box[0], side), line_orders(box[1], side)):
            number = {0: 0}
            form = [number.setdefault(d, len(number)) for d in image[rows][:, cols].ravel().tolist()]
            best = form if best is None else min(best, form)
    return tuple(best)


@pytest.fixture(scope="module")
def generated():
    """box -> (minimal puzzles, solutions)"""
    rng = np.random.default_rng(0)
    return {box: sudoku.generate_puzzles(n, box, rng) for box, n in zip(BOXES, (100, 50, 12), strict=True)}


@pytest.mark.parametrize("box", BOXES)
def test_generated_puzzles_are_unique_and_minimal(box, generated):
    puzzles, solutions = generated[box]
    assert puzzles.dtype == solutions.dtype == np.uint8
    for puzzle, solution in zip(puzzles.tolist(), solutions.tolist(), strict=True):
        assert is_complete(solution, box)
        assert brute_force(puzzle, box) == [solution]
        for cell in np.flatnonzero(puzzle):
            assert len(brute_force(puzzle[:cell] + [0] + puzzle[cell + 1 :], box)) == 2, "this given can go"


@pytest.mark.parametrize("box", BOXES)
def test_solver_agrees_with_the_generator(box, generated):
    puzzles, solutions = generated[box]
    solved, counts, guesses = sudoku.solve(puzzles, box)
    assert (solved == solutions).all() and (counts == 1).all() and (guesses >= 0).all()


def test_extra_givens_are_put_back():
    box, rng = (2, 3), np.random.default_rng(1)
    puzzles, solutions = sudoku.generate_puzzles(40, box, rng, extra=8)
    assert all(brute_force(p, box) == [s] for p, s in zip(puzzles.tolist(), solutions.tolist(), strict=True))
    shown = puzzles > 0
    assert (puzzles[shown] == solutions[shown]).all()
    minimal = sudoku.dig(puzzles, box, rng)
    surplus = shown.sum(1) - (minimal > 0).sum(1)
    assert 2 < surplus.mean() < 6  # mean 4, minus luck in digging anew


def test_generation_is_seeded():
    first, again, other = (
        sudoku.generate_puzzles(20, (2, 3), np.random.default_rng(seed))[0] for seed in (3, 3, 4)
    )
    assert (first == again).all() and (first != other).any()


def test_grids_are_diverse():
    """All 288 grids of 4x4 occur about equally often."""
    grids = sudoku.random_grids(28800, (2, 2), np.random.default_rng(0))
    distinct, times = np.unique(grids, axis=0, return_counts=True)
    assert len(distinct) == 288 and times.min() > 40 and times.max() < 200


def test_hard_puzzles():
    puzzles, answers = np.array([digits(p) for p in HARD]), np.array([digits(a) for a in HARD.values()])
    solved, counts, guesses = sudoku.solve(puzzles)
    assert (solved == answers).all() and (counts == 1).all() and (guesses > 0).all()


@pytest.mark.parametrize("box, grids", [((2, 2), 288), ((1, 4), 576), ((1, 3), 12)])
def test_an_empty_board_has_every_grid_as_solution(box, grids):
    """288 Sudoku grids of 4x4; boxes of one row are rows: the others count Latin squares of side 4 and 3."""
    blank = np.zeros((1, (box[0] * box[1]) ** 2), np.uint8)
    solved, counts, _ = sudoku.solve(blank, box, limit=1000)
    assert counts[0] == grids and is_complete(solved[0], box)
    assert sudoku.solve(blank, box)[1][0] == 2  # capped


def test_counts_agree_with_brute_force_on_random_givens():
    """Few givens at random: none, one and several solutions all occur."""
    box, rng = (2, 2), np.random.default_rng(2)
    puzzles = rng.integers(1, 5, (300, 16)) * (rng.random((300, 16)) < 0.3)
    solved, counts, _ = sudoku.solve(puzzles, box, limit=4)
    expected = [brute_force(puzzle, box, limit=4) for puzzle in puzzles.tolist()]
    assert counts.tolist() == [len(solutions) for solutions in expected]
    assert set(counts.tolist()) == {0, 1, 2, 3, 4}
    for puzzle, grid, count in zip(puzzles, solved, counts, strict=True):
        shown = puzzle > 0
        assert is_complete(grid, box) and (grid[shown] == puzzle[shown]).all() if count else not grid.any()


def test_no_solution():
    twice_in_a_row = [5, 5] + [0] * 79
    no_digit_left = [1, 2, 3, 4, 5, 6, 7, 8, 0] + [0] * 8 + [9] + [0] * 63
    full_but_wrong = digits(next(iter(HARD.values())))
    full_but_wrong[0], full_but_wrong[1] = full_but_wrong[1], full_but_wrong[0]
    solved, counts, guesses = sudoku.solve([twice_in_a_row, no_digit_left, full_but_wrong])
    assert not counts.any() and not solved.any() and not guesses.any()


def test_a_result_does_not_depend_on_the_batch(generated, monkeypatch):
    puzzles = np.concatenate([generated[3, 3][0], [digits(p) for p in HARD]])
    together = sudoku.solve(puzzles)
    monkeypatch.setattr(sudoku, "LANES", 3)
    alone = sudoku.solve(puzzles[::-1])
    assert all((a == b[::-1]).all() for a, b in zip(together, alone, strict=True))


def test_no_puzzles_at_all():
    solved, counts, guesses = sudoku.solve(np.zeros((0, 81), np.uint8))
    assert solved.shape == (0, 81) and counts.shape == guesses.shape == (0,)


def test_wrong_shapes_and_digits_are_named():
    with pytest.raises(IndexError, match="index 80 is out of bounds"):
        sudoku.solve(np.zeros((1, 80), np.uint8))
    with pytest.raises(IndexError, match="index 5 is out of bounds"):
        sudoku.solve(np.eye(1, 16, dtype=np.uint8) * 5, (2, 2))


def test_violations_by_hand():
    grid = np.zeros((6, 6), int)
    grid[0, 0] = grid[0, 5] = 1  # same row
    grid[1, 3] = grid[5, 3] = 2  # same column
    grid[2, 1] = grid[3, 2] = 3  # same box of 2x3
    grid[4, 0] = grid[3, 3] = 4  # no unit in common
    expected = np.isin(grid, [1, 2, 3])
    assert (sudoku.violations(grid.reshape(1, 36), (2, 3)).reshape(6, 6) == expected).all()


@pytest.mark.parametrize("box", BOXES)
def test_solved_grids_have_no_violations(box, generated):
    assert not sudoku.violations(generated[box][1], box).any()


@pytest.mark.parametrize("box", BOXES)
def test_fingerprint_is_invariant(box, generated):
    rng = np.random.default_rng(5)
    puzzles = np.concatenate(generated[box])
    images = np.array([random_symmetry(p, box, rng) for p in puzzles])
    assert (sudoku.fingerprint(images, box) == sudoku.fingerprint(puzzles, box)).all()


def test_fingerprint_tells_4x4_puzzles_apart_exactly():
    """36 minimal 4x4 puzzles are essentially different (13 with 4 givens, 22 with 5, one with 6)."""
    box = (2, 2)
    puzzles, _ = sudoku.generate_puzzles(3000, box, np.random.default_rng(0))
    prints, first = np.unique(sudoku.fingerprint(puzzles, box), return_index=True)
    assert np.bincount((puzzles[first] > 0).sum(1)).tolist() == [0, 0, 0, 0, 13, 22, 1]
    assert len({canonical(p, box) for p in puzzles[first]}) == len(prints) == 36


def test_equal_fingerprints_of_6x6_are_equivalent_puzzles():
    box = (2, 3)
    puzzles, _ = sudoku.generate_puzzles(5000, box, np.random.default_rng(0))
    prints = sudoku.fingerprint(puzzles, box)
    values, times = np.unique(prints, return_counts=True)
    pairs = [puzzles[prints == value][:2] for value in values[times > 1]]
    assert pairs, "the test needs some"
    for a, b in pairs[:3]:
        assert canonical(a, box) == canonical(b, box)


def test_fingerprint_of_9x9_changes_with_any_given(generated):
    puzzle, solution = (part[0] for part in generated[3, 3])
    neighbours = []
    for cell in range(81):
        neighbour = puzzle.copy()
        neighbour[cell] = 0 if puzzle[cell] else solution[cell]
        neighbours.append(neighbour)
    assert len(np.unique(sudoku.fingerprint(np.array([puzzle, *neighbours]), (3, 3)))) == 82


def test_sudoku_problems_and_check():
    task = load_task("sudoku", size=4)
    rows = [
        SUDOKU_4,
        SUDOKU_4[:-1] + ".",
        "." * 16,
        "11" + "." * 14,
        "123....4........",
    ]  # the blank in row 1 can only be 4, which its box has
    solved, good, several, contradiction, none = task.problem(task.encode(rows))
    assert solved is None and good is None and "twice" in contradiction
    assert several == "the puzzle has more than one solution" and none == "the puzzle has no solution"
    answers = task.encode([SUDOKU_4, SUDOKU_4[:-1] + ".", "2134341221434321"])
    inputs = task.encode([SUDOKU_4[:-1] + "."] * 3)
    assert task.check(inputs, answers).tolist() == [True, False, False]
    other_solution = task.encode(["2143431212343421"])
    assert not task.check(inputs[:1], other_solution)[0]  # solved, but not this puzzle
    assert not task.check(inputs[:1], np.zeros((1, 16), np.uint8))[0]

"""puzzles/sudoku.py against brute force: a backtracking solver and a canonical form that share no code with
it."""

from functools import cache
from itertools import permutations, product

import numpy as np
import pytest

from data import load_task
from puzzles import sudoku
from puzzles.split import transform

SUDOKU_4 = "1234341221434321"
HARD = {  # two well-known puzzles and their solutions; the second has 17 givens
    "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4..":
    "812753649943682175675491283154237896369845721287169534521974368438526917796318452",
    "4.....8.5.3..........7......2.....6.....8.4......1.......6.3.7.5..2.....1.4......":
    "417369825632158947958724316825437169791586432346912758289643571573291684164875293",
}


def digits(text):
    return [int(symbol) for symbol in text.replace(".", "0")]


@cache
def peers(box):
    """For each cell the other cells of its row, column and box."""
    side = box[0] * box[1]
    row, column = np.divmod(np.arange(side**2), side)
    found = []
    for r, c in zip(row, column):
        same_box = (row // box[0] == r // box[0]) & (column // box[1] == c // box[1])
        near = (row == r) | (column == c) | same_box
        near[r * side + c] = False
        found.append(np.flatnonzero(near).tolist())
    return found


def clashes(grid, box):
    """For each cell of a grid (a list): does its digit occur twice?"""
    return [d > 0 and any(grid[other] == d for other in around) for d, around in zip(grid, peers(box))]


def brute_force(puzzle, box, limit=2):
    """Up to `limit` solutions of one puzzle (a list of ints), trying every digit in the tightest cell."""
    fewest = None
    for i, around in enumerate(peers(box)):
        if not puzzle[i]:
            options = {*range(1, box[0] * box[1] + 1)} - {puzzle[other] for other in around}
            if fewest is None or len(options) < len(fewest):
                fewest, cell = options, i
            if len(fewest) < 2:
                break
    if fewest is None:
        return [] if any(clashes(puzzle, box)) else [puzzle]
    found = []
    for d in fewest:
        found += brute_force(puzzle[:cell] + [d] + puzzle[cell + 1 :], box, limit - len(found))
        if len(found) >= limit:
            break
    return found


def canonical(puzzle):
    """The smallest of all symmetric images of a 4x4 puzzle, digits numbered in order of appearance."""
    orders = [order for order in permutations(range(4)) if order[0] // 2 == order[1] // 2]
    square = puzzle.reshape(4, 4)
    forms = []
    for image, rows, columns in product([square, square.T], orders, orders):
        number = {0: 0}
        form = [number.setdefault(d, len(number)) for d in image[np.ix_(rows, columns)].ravel().tolist()]
        forms.append(form)
    return tuple(min(forms))


@pytest.mark.parametrize("box, n", [((2, 2), 100), ((2, 3), 30), ((3, 3), 4)])
def test_generated_puzzles_are_unique_and_minimal(box, n):
    puzzles, solutions = sudoku.generate_puzzles(n, box, np.random.default_rng(0))
    for puzzle, solution in zip(puzzles.tolist(), solutions.tolist()):
        assert 0 not in solution and brute_force(puzzle, box) == [solution]
        for cell in np.flatnonzero(puzzle):
            assert len(brute_force(puzzle[:cell] + [0] + puzzle[cell + 1 :], box)) == 2, "this given can go"
    assert (sudoku.solve(puzzles, box)[0] == solutions).all()


def test_givens_are_put_back():
    rng = np.random.default_rng(1)
    solution = np.array([digits(SUDOKU_4)] * 10)
    puzzles = np.where(solution < 3, 0, solution)  # 8 blanks each
    fuller = sudoku.put_back(puzzles, solution, np.arange(10), rng)
    assert (fuller == 0).sum(axis=1).tolist() == [8, 7, 6, 5, 4, 3, 2, 1, 0, 0]
    assert ((fuller == solution) | (fuller == puzzles)).all()
    inputs, labels = load_task("sudoku", size=4).generate(300, rng)
    assert ((inputs == labels) | (inputs == 1)).all()
    blanks = (inputs == 1).sum(axis=1)
    assert blanks.min() <= 1 and blanks.max() >= 11  # from nearly full to minimal


def test_grids_are_diverse():
    """All 288 grids of 4x4 occur about equally often."""
    grids = sudoku.random_grids(28800, (2, 2), np.random.default_rng(0))
    distinct, times = np.unique(grids, axis=0, return_counts=True)
    assert len(distinct) == 288 and times.min() > 40 and times.max() < 200


def test_hard_puzzles_alone_and_together(monkeypatch):
    puzzles = np.array([digits(puzzle) for puzzle in HARD] * 3)
    solved, counts, guesses = sudoku.solve(puzzles)
    assert solved.tolist() == [digits(answer) for answer in HARD.values()] * 3
    assert (counts == 1).all() and (guesses > 0).all()
    monkeypatch.setattr(sudoku, "LANES", 2)
    assert (sudoku.solve(puzzles)[2] == guesses).all()
    assert len(np.unique(sudoku.fingerprint(puzzles, (3, 3)))) == 2


def test_an_empty_board_has_every_grid_as_solution():
    blank = np.zeros((1, 16), np.uint8)
    assert sudoku.solve(blank, (2, 2), limit=1000)[1] == 288
    assert sudoku.solve(blank, (2, 2))[1] == 2  # capped
    assert sudoku.solve(blank[:0], (2, 2))[0].shape == (0, 16)  # no puzzles at all


def test_solve_and_violations_agree_with_brute_force_on_random_givens():
    """Few givens at random: none, one and several solutions all occur."""
    box, rng = (2, 2), np.random.default_rng(2)
    puzzles = rng.integers(1, 5, (300, 16)) * (rng.random((300, 16)) < 0.3)
    solved, counts, _ = sudoku.solve(puzzles, box, limit=4)
    assert set(counts) == {0, 1, 2, 3, 4}
    for puzzle, grid, count in zip(puzzles.tolist(), solved.tolist(), counts):
        solutions = brute_force(puzzle, box, limit=16**4)
        assert count == min(4, len(solutions))
        assert grid in solutions or not any(grid)
    assert sudoku.violations(puzzles, box).tolist() == [clashes(puzzle, box) for puzzle in puzzles.tolist()]


def test_fingerprints_of_4x4_are_equal_exactly_for_equivalent_puzzles():
    puzzles, _ = sudoku.generate_puzzles(300, (2, 2), np.random.default_rng(0))
    prints = sudoku.fingerprint(puzzles, (2, 2)).tolist()
    forms = [canonical(puzzle) for puzzle in puzzles]
    assert 1 < len(set(prints)) == len(set(forms)) == len(set(zip(prints, forms))) < 100


def test_fingerprint_of_9x9_changes_with_any_given_and_with_no_symmetry():
    task, rng = load_task("sudoku", size=9), np.random.default_rng(0)
    [[inputs], [labels]] = task.generate(1, rng)
    puzzles = np.tile(inputs, (82, 1))
    for cell in range(81):
        puzzles[cell, cell] = labels[cell] if inputs[cell] == 1 else 1
    prints = task.fingerprint(puzzles)
    images = transform(puzzles, *task.symmetries(82, rng))
    assert len(np.unique(prints)) == 82 and (task.fingerprint(images) == prints).all()


def test_problems_and_check():
    task = load_task("sudoku", size=4)
    questions = {
        SUDOKU_4: None,
        SUDOKU_4[:-1] + ".": None,
        "11" + "." * 14: "the same digit twice in a row, column or box of the question",
        "." * 16: "the puzzle has more than one solution",
        "123....4........": "the puzzle has no solution",  # the blank in row 1 can only be 4: its box has one
    }
    assert task.problem(task.encode(list(questions))) == list(questions.values())
    answers = {
        SUDOKU_4: True,
        SUDOKU_4[:-1] + ".": False,
        "2134341221434321": False,
        "2143431212343421": False,  # solved, but not this puzzle
    }
    tokens = task.encode(list(answers))
    inputs = np.repeat(tokens[1:2], len(tokens), axis=0)
    assert task.check(inputs, tokens).tolist() == list(answers.values())
    assert not task.check(inputs, np.zeros_like(inputs)).any()
    wrong = "the answer changes a given, has a blank or breaks a rule"
    assert task.problem(inputs, tokens) == [None, wrong, wrong, wrong]

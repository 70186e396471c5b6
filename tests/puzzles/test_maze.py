"""puzzles/maze.py against plain, slow Python: brute-force search, every path walked cell by cell."""

from collections import deque

import numpy as np
import pytest

from data import load_task
from puzzles import maze as mazes
from puzzles.maze import GOAL, OPEN, PATH, START, WALL
from training.files import UserError


def neighbours(cell, side):
    row, column = divmod(cell, side)
    for r, c in [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]:
        if 0 <= r < side and 0 <= c < side:
            yield r * side + c


def search(maze, side):
    """Breadth-first search from S: {cell: (steps, number of shortest paths)}, the obvious way."""
    start = list(maze).index(START)
    found, queue = {start: (0, 1)}, deque([start])
    while queue:
        cell = queue.popleft()
        steps, ways = found[cell]
        for other in neighbours(cell, side):
            if maze[other] == WALL:
                continue
            if other not in found:
                found[other] = (steps + 1, 0)
                queue.append(other)
            if found[other][0] == steps + 1:
                found[other] = (steps + 1, found[other][1] + ways)
    return found


def follow(label, side):
    """Steps of the path of 'o' from S to G, walked cell by cell; every 'o' must be on it."""
    left = {int(cell) for cell in np.flatnonzero(label == PATH)}
    cell, goal, steps = list(label).index(START), list(label).index(GOAL), 0
    while goal not in neighbours(cell, side) or left:
        cell = next(other for other in neighbours(cell, side) if other in left)
        left.remove(cell)
        steps += 1
    return steps + 1


MAZES = [
    dict(size=5),
    dict(size=9),
    dict(size=11, min_path=12),
    dict(kind="random", size=2),
    dict(kind="random", size=9),
    dict(kind="random", size=8, min_path=10),
    dict(kind="random", size=33, min_path=40),
    dict(kind="random", size=30, min_path=110),
]


@pytest.mark.parametrize("options", MAZES, ids=str)
def test_mazes_against_brute_force(options):
    task = load_task("maze", **options)
    n = 8 if task.size >= 30 else 100
    inputs, labels = task.generate(n, np.random.default_rng(1))
    assert inputs.shape == labels.shape == (n, task.seq_len) and inputs.dtype == labels.dtype == np.uint8
    for maze, label in zip(inputs, labels):
        found = search(maze, task.size)
        steps, ways = found[list(maze).index(GOAL)]
        assert (np.where(label == PATH, OPEN, label) == maze).all()
        assert follow(label, task.size) == steps > task.min_path
        if task.kind == "perfect":
            assert ways == 1
            passages = [(a, b) for a in found for b in neighbours(a, task.size) if a < b and b in found]
            assert len(found) == (maze != WALL).sum() == len(passages) + 1  # connected, no cycle: a tree
            rooms = maze.reshape(task.grid)[1::2, 1::2]
            assert (rooms != WALL).all() and START in rooms and GOAL in rooms
    assert (task.rating(inputs, labels) == [follow(label, task.size) for label in labels]).all()
    assert task.check(inputs, labels).all() and task.keeps_rules(inputs, labels).all()
    assert task.problem(inputs) == task.problem(inputs, labels) == [None] * n


def test_random_mazes_draw_the_pair_uniformly():
    """Within one maze all ordered pairs far enough apart are equally likely: here 4 pairs."""
    maze = np.pad(np.ones((2, 3), bool), ((0, 1), (0, 0)))  # an open 2 x 3 room: 3 steps across
    rng = np.random.default_rng(0)
    pairs = [tuple(map(int, mazes.distant_pair(maze, 2, rng))) for _ in range(800)]
    assert set(pairs) == {(0, 5), (5, 0), (2, 3), (3, 2)}
    assert all(150 < pairs.count(pair) < 250 for pair in set(pairs))


def test_ties_are_broken_at_random():
    steps = mazes.distances(np.ones((400, 3, 3), bool), mazes.one_hot(np.zeros(400, int), 3))
    paths = mazes.walk_back(steps, np.full(400, 8), np.random.default_rng(0)).reshape(400, 9)
    assert len(np.unique(paths, axis=0)) == 6  # all the ways from corner to corner of an empty 3 x 3 board


def test_impossible_mazes_are_refused():
    for options, message in [
        (dict(kind="random", size=5, min_path=30), "none of .* size 5 .* over 30"),
        (dict(size=10), "odd size"),
        (dict(size=3), "odd size"),
    ]:
        with pytest.raises(UserError, match=message):
            load_task("maze", **options).generate(1, np.random.default_rng(0))
    for options, message in [
        (dict(size=65), "2 to 64"),
        (dict(kind="round"), "perfect, random"),
        (dict(size=-3), "-3"),
        (dict(min_path=-1), "-1"),
        (dict(size="big"), "'big' is not of type int"),
        (dict(colour=1), "no option 'colour'; it has size, kind"),
    ]:
        with pytest.raises(UserError, match=message):
            load_task("maze", **options)


def test_maze_check_judges_by_the_rules():
    task = load_task("maze", kind="random", size=4)
    maze = "S    ##  ## G   "
    right, detour = "S   o## o## G   ", "Sooo ##o ##oGooo"
    wrong = [
        "S   o##  ## G   ",  # a gap
        "So  o## o## G   ",  # a cell to spare
        "S   oo# o## G   ",  # through a wall
        "o   o## o## G   ",  # S overwritten
        maze,
    ]
    inputs = task.encode([maze] * (2 + len(wrong)))
    answers = task.encode([right, detour, *wrong])
    assert task.check(inputs, answers).tolist() == [True, False] + [False] * len(wrong)
    assert task.keeps_rules(inputs, answers).tolist() == [True, True] + [False] * len(wrong)
    tie = task.encode(["S         G ####"] * 2)
    both = task.encode(["Soo   o   G ####", "S   ooo   G ####"])
    assert task.check(tie, both).all()  # any shortest path will do

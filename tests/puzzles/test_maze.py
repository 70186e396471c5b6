"""puzzles/maze.py against plain, slow Python: a search cell by cell."""

from collections import deque

import numpy as np
import pytest

from data import load_task
from puzzles import maze as mazes
from puzzles.errors import UserError
from puzzles.maze import GOAL, PATH, START, WALL


def neighbours(cell, side):
    """Down, left, right, up: the order of the published labels."""
    row, column = divmod(cell, side)
    for r, c in [(row + 1, column), (row, column - 1), (row, column + 1), (row - 1, column)]:
        if 0 <= r < side and 0 <= c < side:
            yield r * side + c


def search(maze, side, source):
    """{cell: steps from the source}, the obvious way."""
    found = {source: 0}
    queue = deque([source])
    while queue:
        cell = queue.popleft()
        for other in neighbours(cell, side):
            if maze[other] != WALL and other not in found:
                found[other] = found[cell] + 1
                queue.append(other)
    return found


def solve(maze, side):
    """The label, by the rule of the published files."""
    cell = list(maze).index(START)
    steps = search(maze, side, list(maze).index(GOAL))
    label = maze.copy()
    while steps[cell] > 1:
        cell = next(other for other in neighbours(cell, side) if steps.get(other) == steps[cell] - 1)
        label[cell] = PATH
    return label


MAZES = [
    dict(size=5),
    dict(size=9),
    dict(size=11, min_path=12),
    dict(kind="random", size=2),
    dict(kind="random", size=8, min_path=10),
    dict(kind="random", size=30, min_path=110),
]


@pytest.mark.parametrize("options", MAZES, ids=str)
def test_mazes_against_brute_force(options):
    task = load_task("maze", **options)
    n = 5 if task.size == 30 else 100
    inputs, labels = task.generate(n, np.random.default_rng(1))
    for maze, label in zip(inputs, labels):
        assert (label == solve(maze, task.size)).all()
        assert (label == PATH).sum() + 1 > task.min_path
    if task.kind == "perfect":
        for maze in inputs:
            found = search(maze, task.size, list(maze).index(START))
            ways = [other for cell in found for other in neighbours(cell, task.size) if other in found]
            assert len(found) == (maze != WALL).sum() == len(ways) // 2 + 1  # connected, no cycle: a tree
            assert (maze.reshape(task.grid)[1::2, 1::2] != WALL).all()
    assert task.check(inputs, labels).all()
    assert task.problem(inputs) == task.problem(inputs, labels) == [None] * n
    assert task.augments == (task.kind == "perfect")


def test_of_several_shortest_paths_the_label_is_the_published_one():
    """Down before left before right before up."""
    task = load_task("maze", kind="random", size=3)
    for text in ("S  o  ooG", "  S  oGoo", "  G  oSoo", "G  o  ooS"):
        [label] = task.encode([text])
        ends = np.array([[text.index("S")], [text.index("G")]])
        _, labels = mazes.with_paths(label[None] != WALL, *ends)
        assert task.decode(labels) == [text]


def test_random_mazes_draw_the_pair_uniformly():
    """Within one maze all ordered pairs far enough apart are equally likely: here 4 pairs."""
    maze = np.array([1, 1, 1, 1, 1, 1, 0, 0, 0], bool)  # an open 2 x 3 room: 3 steps across
    rng = np.random.default_rng(0)
    pairs = [mazes.distant_pair(maze, 2, rng) for _ in range(800)]
    assert set(pairs) == {(0, 5), (5, 0), (2, 3), (3, 2)}
    assert all(150 < pairs.count(pair) < 250 for pair in set(pairs))


def test_impossible_mazes_are_refused():
    for options, message in [
        (dict(kind="random", size=3, min_path=30), "no random maze of size 3 .* over 30"),
        (dict(size=65), "2 to 64"),
        (dict(kind="round"), "perfect, random"),
    ]:
        with pytest.raises(UserError, match=message):
            load_task("maze", **options).generate(1, np.random.default_rng(0))


def test_check_judges_by_the_rules():
    task = load_task("maze", kind="random", size=4)
    maze = "S    ##  ## G   "
    answers = {
        "S   o## o## G   ": (True, True),
        "Sooo ##o ##oGooo": (False, True),  # a detour
        "S   o##  ## G   ": (False, False),  # a gap
        "So  o## o## G   ": (False, False),  # a cell to spare
        "S   oo# o## G   ": (False, False),  # through a wall
        "o   o## o## G   ": (False, False),  # S overwritten
        maze: (False, False),
    }
    inputs = task.encode([maze] * len(answers))
    tokens = task.encode(list(answers))
    judged = zip(task.check(inputs, tokens), task.keeps_rules(inputs, tokens))
    assert list(judged) == list(answers.values())
    tie = task.encode(["S         G ####"] * 2)
    both = task.encode(["Soo   o   G ####", "S   ooo   G ####"])
    assert task.check(tie, both).all()  # any shortest path will do


def test_problems_are_named():
    task = load_task("maze", kind="random", size=3)
    questions = ["S G      ", "  G      ", "S G  G   ", "SoG      ", "S#G###   "]
    messages = [None, "not exactly one S", "not exactly one G", "path cells", "no path from S to G"]
    for problem, message in zip(task.problem(task.encode(questions)), messages, strict=True):
        assert problem == message or problem.startswith(message)
    maze = task.encode(questions[:1])
    assert "not a path" in task.problem(maze, maze)[0]

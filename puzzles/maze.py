"""Mazes: what they are (class `Maze`), and how they are made: many at once, by breadth-first search.

Below the class, n mazes are `passable` (n, S) bool: S = side*side cells in reading order. A cell is its
number in that order. Random mazes follow Lehnert et al., "Beyond A*", 2024.
"""

import functools
import math

import numpy as np
from matplotlib.colors import ListedColormap

from puzzles.boards import BLUE, DARK, LIGHT_BLUE, VERMILLION, WHITE, show_board
from puzzles.errors import UserError
from puzzles.task import Task, explain

PAD, WALL, OPEN, START, GOAL, PATH, WRONG = range(7)
PALETTE = ListedColormap([WHITE, DARK, WHITE, BLUE, BLUE, LIGHT_BLUE, VERMILLION])
BATCH = 1024  # mazes made at once: few enough to stay in the processor's cache
PATIENCE = 200  # batches without a maze to keep, before `generate` gives up


class Maze(Task):
    """Mark a shortest path from S to G, counted in steps. Every maze made here has one longer than min_path.

    kind="perfect" (see `perfect_mazes`; maze, S and G are drawn again until the path is long enough) has a
    single path. kind="random" (see `random_mazes`) may have several shortest ones, and the label is the one
    that the published files have: from S always to the first of down, left, right, up that is nearer to G.
    With size=30 and min_path=110 that is Maze-Hard."""
    name = "maze"
    symbols = "_# SGo"
    in_text = {"#": "██", "o": "• "}
    aliases = {".": " "}
    default_options = {"kind": "perfect", "min_path": 0}
    allowed = {
        "size": range(2, 65),
        "kind": ("perfect", "random"),
        "min_path": range(64 * 64),
    }
    unit = "length of the path (steps)"

    def __init__(self, size=None, **options):
        super().__init__(size, **options)
        self.kind = self.options["kind"]
        self.min_path = self.options["min_path"]
        self.augments = self.kind == "perfect"  # of random ones there are enough
        self.ties = False  # may a maze have several shortest paths? Those in a file may
        cells = np.arange(self.seq_len).reshape(self.grid)
        turned = []
        for side in (cells, cells.T):
            turned += [np.rot90(side, k) for k in range(4)]
        self.orders = np.reshape(turned, (8, -1))  # where each cell comes from

    def generate(self, n, rng):
        """n mazes -> inputs, labels (n, S) uint8."""
        make = random_mazes
        if self.kind == "perfect":
            make = perfect_mazes
            if self.size < 5 or self.size % 2 == 0:
                raise UserError(f"perfect mazes have an odd size from 5 on, not {self.size}; "
                                f"or use kind=random")
        boards = []
        batches = 0
        while len(boards) < n:
            if batches == PATIENCE and not boards:
                raise UserError(f"found no {self.kind} maze of size {self.size} with a path over "
                                f"{self.min_path}; lower min_path")
            passable, start, goal = make(n - len(boards), self.size, self.min_path, rng)
            inputs, labels = with_paths(passable, start, goal)
            far = self.rating(inputs, labels) > self.min_path
            boards += zip(inputs[far], labels[far])
            batches += 1
        return np.array(boards[:n]).swapaxes(0, 1)

    def read(self, *where):
        self.ties = True
        return super().read(*where)

    def vary(self, *arguments):
        """As other tasks do it, but with ties a turned maze has its label made anew, by the same rule."""
        part = super().vary(*arguments)
        if self.augments and self.ties:
            start = (part.inputs == START).argmax(axis=1)
            goal = (part.inputs == GOAL).argmax(axis=1)
            _, part.labels = with_paths(part.inputs != WALL, start, goal)
        return part

    def symmetries(self, n, rng):
        """The 8 rotations and reflections."""
        _, tokens = super().symmetries(n, rng)
        return self.orders[rng.integers(8, size=n)], tokens

    def rating(self, inputs, labels):
        """Length of the path in steps."""
        return 1 + (labels == PATH).sum(axis=1, dtype=np.float32)

    def keeps_rules(self, inputs, answers):
        """(n,) bool: the maze is unchanged, and its 'o' are one path from S to G, maybe not a shortest one. A
        path with a branch is not valid, nor is one that touches itself: both have cells to spare."""
        maze = np.where(answers == PATH, OPEN, answers)
        unchanged = (maze == inputs).all(axis=1)
        one_path = path_length(answers, START) == self.rating(inputs, answers)
        return unchanged & one_path

    def check(self, inputs, answers):
        """(n,) bool: a valid path, and a shortest one; with ties, any of them."""
        shortest = path_length(inputs, OPEN) == self.rating(inputs, answers)
        return shortest & self.keeps_rules(inputs, answers)

    def problem(self, inputs, answers=None):
        reasons = {
            "not exactly one S": (inputs == START).sum(axis=1) != 1,
            "not exactly one G": (inputs == GOAL).sum(axis=1) != 1,
            "path cells 'o' in the question": (inputs == PATH).any(axis=1),
            "no path from S to G": path_length(inputs, OPEN) < 0,
        }
        if answers is not None:
            wrong = ~self.keeps_rules(inputs, answers)
            reasons["the answer is not a path from S to G in the same maze"] = wrong
        return explain(reasons)

    def wrong_cells(self, inputs, answer, label=None):
        """Path cells on walls, or off the label's path (unless the answer is a shortest path too)."""
        right = inputs == OPEN
        if label is not None and not self.check(inputs[None], answer[None])[0]:
            right = label == PATH
        return (answer == PATH) & ~right

    def draw(self, ax, inputs, answer=None, label=None):
        """Walls dark, path blue, wrong path cells vermillion, dots where only the label's path goes."""
        answer = inputs if answer is None else answer
        board = np.where(answer == PATH, PATH, inputs)
        board[self.wrong_cells(inputs, answer, label)] = WRONG
        ax.imshow(board.reshape(self.grid), cmap=PALETTE, vmin=PAD, vmax=WRONG)
        missed = np.flatnonzero((label == PATH) & (answer != PATH))  # without a label: nowhere
        ax.plot(missed % self.size, missed // self.size, ".", color=BLUE)
        for cell in np.flatnonzero(np.isin(inputs, (START, GOAL))):
            row, column = divmod(cell, self.size)
            ax.text(
                column,
                row,
                self.symbols[inputs[cell]],
                color=WHITE,
                weight="bold",
                fontsize=140 / self.size,
                ha="center",
                va="center_baseline",
            )
        show_board(ax, *self.grid)


# ----------------------------------------------------------------------------------------- how a maze is made
def perfect_mazes(at_most, side, min_path, rng):
    """Mazes with one path between any two cells. A batch -> passable, S (n,) and G (n,), any two rooms.

    Rooms are at odd coordinates. Prim's algorithm: a maze begins as one room and grows by a wall and the room
    behind it, always through the wall with the smallest of random numbers: the minimum spanning tree of
    random weights (not the uniform distribution over spanning trees)."""
    n = BATCH if min_path else min(BATCH, at_most)  # with a min_path, only some will do
    rooms = np.arange(side**2).reshape(side, side)[1::2, 1::2]
    before = np.append(rooms[:, :-1], rooms[:-1])  # the rooms on the two sides of every wall
    behind = np.append(rooms[:, 1:], rooms[1:])
    doors = np.array([before, (before + behind) // 2, behind])  # with the cell of the wall between them

    mazes = np.arange(n)
    number = rng.random((n, len(before)))
    passable = np.zeros((n, side**2), bool)
    passable[:, rooms[0, 0]] = True
    for _ in range(rooms.size - 1):
        leads_out = passable[:, before] != passable[:, behind]
        smallest = np.where(leads_out, number, 2).argmin(axis=1)
        passable[mazes, doors[:, smallest]] = True

    rooms = rng.permuted(np.tile(rooms.ravel(), (n, 1)), axis=1)
    return passable, rooms[:, 1], rooms[:, 0]


def random_mazes(at_most, side, min_path, rng):
    """Mazes of random walls with a path longer than min_path. What a batch yields, perhaps nothing ->
    passable, S (n,) and G (n,).

    Each cell is a wall with a probability that is drawn for the maze, from 30 to 50 %. A *double sweep* looks
    for a long path: from a random open cell to the farthest one, and from there to the farthest again. If it
    is longer than min_path, (S, G) is drawn uniformly from *all* ordered pairs of cells that far apart. Paths
    are a little shorter than by naive rejection: docs/paper.md says why."""
    density = rng.uniform(0.3, 0.5, size=(BATCH, 1))
    passable = rng.random((BATCH, side**2)) >= density
    cell = (passable * rng.random(passable.shape)).argmax(axis=1)
    for _ in range(2):
        steps = distances(passable, cell)
        cell = steps.argmax(axis=1)
    passable = passable[steps.max(axis=1) > min_path][:at_most]
    pairs = [distant_pair(maze, min_path, rng) for maze in passable]
    return passable, *np.reshape(pairs, (-1, 2)).astype(int).T


def distant_pair(maze, min_path, rng):
    """A random ordered pair of cells (S, G) of one maze (S,), over min_path apart, by search from every open
    cell."""
    goals = np.flatnonzero(maze)
    steps = distances(np.tile(maze, (len(goals), 1)), goals)
    pair = rng.choice(np.flatnonzero(steps > min_path))
    goal, start = divmod(pair, len(maze))
    return start, goals[goal]


def with_paths(passable, start, goal):
    """n mazes (n, S) bool with S (n,) and G (n,) -> inputs, labels (n, S). The path goes always to the first
    of down, left, right, up that is nearer to G."""
    each = np.arange(len(passable))
    inputs = passable + np.uint8(WALL)  # or OPEN, which is one more
    inputs[each, start] = START
    inputs[each, goal] = GOAL
    labels = inputs.copy()
    steps = distances(passable, goal).view(np.uint16)  # no way, -1: the largest number
    cell = start
    for _ in range(steps[each, start].max(initial=0)):
        near = np.vstack([cell, cell + moves(passable.shape[1])[:, cell]])  # who has arrived stays
        cell = near[steps[each, near].argmin(axis=0), each]
        labels[each, cell] = PATH
    labels[each, goal] = GOAL
    return inputs, labels


# ---------------------------------------------------------------------------------------- searching for a way
@functools.cache
def moves(S):
    """What to add to each cell's number to go down, left, right and up (4, S); 0 at the edge of the board."""
    side = math.isqrt(S)
    down = np.full(S, side)
    left = np.full(S, -1)
    down[-side:] = 0
    left[::side] = 0
    return np.array([down, left, -left[::-1], -down[::-1]])  # a half turn of the board makes left right


def distances(passable, source):
    """Steps (n, S) int16 from the source (n,) of each maze to its passable cells; -1 = out of reach.

    A breadth-first search in all mazes at once, which lie in one long row: `wave` are the cells that are 0,
    1, 2, ... steps away, and each of the four moves takes it to cells that were not seen before."""
    n, S = passable.shape
    unseen = passable.flatten()
    steps = np.full(n * S, -1, np.int16)
    wave = np.arange(n) * S + source
    unseen[wave] = False
    step = 0
    while len(wave):
        steps[wave] = step
        step += 1
        reached = []
        for near in wave + moves(S).take(wave % S, axis=1):
            near = near[unseen[near]]
            unseen[near] = False
            reached.append(near)
        wave = np.concatenate(reached)
    return steps.reshape(n, S)


def path_length(boards, lowest):
    """Steps (n,) from S to G through the cells of boards (n, S) with tokens from `lowest` on; -1 = no way."""
    start = (boards == START).argmax(axis=1)
    steps = distances(boards >= lowest, start)
    steps[boards != GOAL] = -1
    return steps.max(axis=1)

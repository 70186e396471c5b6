"""Mazes: what they are (class `Maze`), and how they are made: many at once, by breadth-first search in bits.

Below the class, mazes are (n, side, side); the random ones follow Lehnert et al., "Beyond A*", 2024. For the
search each of their rows is one integer, bit c for column c, so that one shift moves a whole row. These are
(side, n), mazes last: long contiguous stretches for NumPy.
"""

import math

import numpy as np
from einops import rearrange
from matplotlib.colors import ListedColormap

from puzzles.task import BLUE, DARK, LIGHT_BLUE, PALE, VERMILLION, WHITE, Task, explain, hash_rows, show_board
from training.files import UserError

PAD, WALL, OPEN, START, GOAL, PATH = range(6)
BATCH = 4096  # mazes made at once: few enough to stay in the processor's cache
PATIENCE = 50  # batches in a row without a maze to keep, before `generate_mazes` gives up


class Maze(Task):
    """Mark a shortest path from S to G, counted in steps. Every maze made here has one longer than min_path.

    kind="perfect" (see `perfect_mazes`; maze, S and G are drawn again until the path is long enough) has a
    single path; kind="random" (see `random_mazes`) with size=30, min_path=110 is Maze-Hard."""
    name = "maze"
    symbols = "_# SGo"
    in_text = {"#": "██", "o": "• "}
    aliases = {".": " "}
    default_options = {"kind": "perfect", "min_path": 0}
    allowed = {"size": range(2, 65), "kind": ("perfect", "random"), "min_path": range(64 * 64)}
    unit = "length of the path (steps)"

    def __init__(self, size=None, **options):
        super().__init__(size, **options)
        cells = np.arange(self.seq_len).reshape(self.grid)
        turned = [np.rot90(side, k) for side in (cells, cells.T) for k in range(4)]
        self.orders = np.reshape(turned, (8, self.seq_len))  # where each cell comes from

    def generate(self, n, rng):
        if self.kind == "perfect" and (self.size < 5 or self.size % 2 == 0):
            raise UserError(f"perfect mazes have an odd size from 5 on, not {self.size}; or use kind=random")
        return generate_mazes(n, self.kind, self.size, self.min_path, rng)

    def symmetries(self, n, rng):
        """The 8 rotations and reflections."""
        tokens = np.tile(np.arange(self.vocab_size, dtype=np.uint8), (n, 1))
        return self.orders[rng.integers(8, size=n)], tokens

    def fingerprint(self, inputs):
        return np.min([hash_rows(inputs[:, source]) for source in self.orders], axis=0)

    def rating(self, inputs, labels):
        """Length of the path in steps."""
        return (labels == PATH).sum(axis=1).astype(np.float32) + 1

    def keeps_rules(self, inputs, answers):
        """(n,) bool: the maze is unchanged, and its 'o' are one path from S to G, maybe not a shortest one. A
        path with a branch is not valid, nor is one that touches itself: both have cells to spare."""
        unchanged = (np.where(answers == PATH, OPEN, answers) == inputs).all(axis=1)
        return unchanged & (path_length(inputs, answers >= START) == self.rating(inputs, answers))

    def check(self, inputs, answers):
        """(n,) bool: a valid path, and a shortest one; with ties, any of them."""
        shortest = path_length(inputs, inputs != WALL)
        return self.keeps_rules(inputs, answers) & (self.rating(inputs, answers) == shortest)

    def problem(self, inputs, answers=None):
        starts, goals = (inputs == START).sum(axis=1), (inputs == GOAL).sum(axis=1)
        reasons = {"no S": starts == 0, "more than one S": starts > 1,
                   "no G": goals == 0, "more than one G": goals > 1,
                   "path cells 'o' in the question": (inputs == PATH).any(axis=1),
                   "no path from S to G": path_length(inputs, inputs != WALL) < 0}
        if answers is not None:
            changed = np.where(answers == PATH, OPEN, answers) != inputs
            reasons["the answer changes the maze"] = changed.any(axis=1)
            reasons["the answer is not a path from S to G"] = ~self.keeps_rules(inputs, answers)
        return explain(reasons, len(inputs))

    def wrong_cells(self, inputs, answer, label=None):
        """Path cells on walls, or off the label's path (unless the answer is a shortest path too)."""
        right = label is None or self.check(inputs[None], answer[None])[0]
        return (answer == PATH) & ((inputs != OPEN) | ((label != PATH) & (not right)))

    def draw(self, ax, inputs, answer=None, label=None):
        """Walls dark, path blue, wrong path cells vermillion, dots where a wrong answer misses the path."""
        answer = inputs if answer is None else answer
        wrong = self.wrong_cells(inputs, answer, label)
        colour = np.select([wrong, answer == PATH, inputs == WALL, inputs >= START], [3, 2, 1, 4], default=0)
        palette = ListedColormap([WHITE, DARK, LIGHT_BLUE, VERMILLION, BLUE])
        ax.pcolormesh(np.arange(self.size), np.arange(self.size), colour.reshape(self.grid), cmap=palette,
                      vmin=0, vmax=4, edgecolors=PALE if self.size <= 20 else "none", lw=0.2)
        if label is not None and not self.check(inputs[None], answer[None])[0]:
            row, column = np.divmod(np.flatnonzero((label == PATH) & (answer != PATH)), self.size)
            ax.scatter(column, row, s=(40 / self.size) ** 2, color=BLUE)
        for cell in np.flatnonzero((inputs == START) | (inputs == GOAL)):
            ax.text(cell % self.size, cell // self.size, self.symbols[inputs[cell]], color=WHITE,
                    weight="bold", ha="center", va="center_baseline", fontsize=140 / self.size)
        show_board(ax, *self.grid)


# ---------------------------------------------------------------------------------------- making many at once
def generate_mazes(n, kind, side, min_path, rng):
    """n mazes whose shortest path is over min_path steps -> inputs, labels (n, S)."""
    found, missing, barren = [], n, 0
    while missing > 0:
        if kind == "random":
            mazes = random_mazes(missing, side, min_path, rng)
        else:
            mazes = perfect_mazes(BATCH if min_path else min(missing, BATCH), side, rng)
        found.append(with_paths(*mazes, min_path, rng))
        missing -= len(found[-1][0])
        barren = 0 if len(found[-1][0]) else barren + 1
        if barren == PATIENCE:
            raise UserError(f"none of {barren * BATCH} {kind} mazes of size {side} has a shortest path over "
                            f"{min_path}; lower min_path")
    inputs, labels = (np.concatenate(parts)[:n] for parts in zip(*found))
    return inputs, labels


def with_paths(passable, start, goal, min_path, rng):
    """Tokens (k, S), inputs and labels, of those of the n mazes that `generate_mazes` keeps."""
    n, side = passable.shape[:2]
    distance = distances(passable, one_hot(start, side))
    keep = distance.reshape(n, side**2)[np.arange(n), goal] > min_path
    passable, start, goal, distance = passable[keep], start[keep], goal[keep], distance[keep]
    inputs = np.where(passable, OPEN, WALL).astype(np.uint8)
    inputs[one_hot(start, side)], inputs[one_hot(goal, side)] = START, GOAL
    labels = np.where(walk_back(distance, goal, rng) & (inputs == OPEN), np.uint8(PATH), inputs)
    return inputs.reshape(-1, side**2), labels.reshape(-1, side**2)


def pack(cells):
    """(n, side, side) bool -> (side, n) uint32, or uint64 if the side is over 32."""
    width = 32 if cells.shape[2] <= 32 else 64
    padded = np.pad(cells, ((0, 0), (0, 0), (0, width - cells.shape[2])))
    words = np.packbits(padded, axis=2, bitorder="little").view(f"<u{width // 8}")
    return np.ascontiguousarray(rearrange(words, "n rows 1 -> rows n"))


def unpack(bits):
    """(side, n) integers -> (n, side, side) bool."""
    words = np.ascontiguousarray(rearrange(bits, "rows n -> n rows 1"))
    return np.unpackbits(words.view(np.uint8), axis=2, count=len(bits), bitorder="little").view(bool)


def one_hot(cell, side):
    """Cell numbers (n,) -> (n, side, side) bool."""
    return (cell[:, None] == np.arange(side**2)).reshape(-1, side, side)


def waves(open_bits, source_bits):
    """Breadth-first search: yields the cells (side, n) at distance 0, 1, 2, ... of the sources."""
    wave, unseen = source_bits, open_bits & ~source_bits
    while wave.any():
        yield wave
        reach = (wave << 1) | (wave >> 1)
        reach[1:] |= wave[:-1]
        reach[:-1] |= wave[1:]
        wave = reach & unseen
        unseen = unseen ^ wave


def distances(passable, source):
    """Steps (n, side, side) int16 from the source through passable cells, both bool; -1 = out of reach."""
    steps = np.full(passable.shape, -1, np.int16)
    for step, wave in enumerate(waves(pack(passable), pack(source))):
        steps[unpack(wave)] = step
    return steps


def farthest(open_bits, source_bits):
    """Steps (n,) from the source to the farthest cell in reach, and one such cell as bits (side, n)."""
    mazes = np.arange(source_bits.shape[1])
    steps, last = np.full(len(mazes), -1), source_bits
    for wave in waves(open_bits, source_bits):
        alive = wave.any(axis=0)
        steps += alive
        last = np.where(alive, wave, last)
    row = (last != 0).argmax(axis=0)
    word = last[row, mazes]
    cell = np.zeros_like(last)
    cell[row, mazes] = word & (~word + 1)  # its lowest bit
    return steps, cell


def perfect_mazes(n, side, rng):
    """Mazes with one path between any two cells -> passable (n, side, side) bool, start (n,), goal (n,).

    Rooms are at odd coordinates. Kruskal's algorithm joins them, taking walls away in random order: the
    minimum spanning tree of random weights (not the uniform distribution over spanning trees)."""
    rooms = np.arange(side**2).reshape(side, side)[1::2, 1::2]
    number = np.arange(rooms.size, dtype=np.int16).reshape(rooms.shape)
    room_a = np.append(number[:, :-1], number[:-1])  # the rooms on the two sides of every wall
    room_b = np.append(number[:, 1:], number[1:])
    walls = (rooms.flat[room_a] + rooms.flat[room_b]) // 2

    mazes = np.arange(n)
    passable = np.zeros((n, side**2), bool)
    passable[:, rooms.ravel()] = True
    component = np.tile(number.ravel(), (n, 1))  # rooms that are joined have the same number
    for wall in rng.random((n, len(walls))).argsort(axis=1).T:  # each maze takes its walls in its own order
        a, b = component[mazes, room_a[wall]], component[mazes, room_b[wall]]
        passable[mazes, walls[wall]] = a != b
        component = np.where(component == b[:, None], a[:, None], component)
    start = rng.integers(rooms.size, size=n)
    goal = (start + rng.integers(1, rooms.size, size=n)) % rooms.size  # any other room
    return passable.reshape(n, side, side), rooms.flat[start], rooms.flat[goal]


def random_mazes(at_most, side, min_path, rng):
    """Mazes of random walls with a path longer than min_path. The k (perhaps 0) that a batch yields ->
    passable (k, side, side) bool, start (k,), goal (k,).

    Each cell is a wall with a probability that is drawn for the maze, from 30 to 50 %. A *double sweep* looks
    for a long path: from a random open cell to the farthest one, and from there to the farthest again. If it
    is longer than min_path, (S, G) is drawn uniformly from *all* ordered pairs of cells that far apart. Paths
    are a little shorter than by naive rejection: docs/paper.md says why."""
    density = rng.uniform(0.3, 0.5, size=(BATCH, 1, 1))
    passable = rng.random((BATCH, side, side), dtype=np.float32) >= density
    random_cell = (passable * rng.random(passable.shape, dtype=np.float32)).reshape(BATCH, -1).argmax(axis=1)
    open_bits = pack(passable)
    steps, end = farthest(open_bits, pack(one_hot(random_cell, side)) & open_bits)
    hopeful = np.flatnonzero(2 * steps > min_path)  # no two cells are farther apart than twice these steps
    steps, _ = farthest(open_bits[:, hopeful], end[:, hopeful])
    passable = passable[hopeful[steps > min_path]][:at_most]
    ends = np.array([distant_pair(maze, min_path, rng) for maze in passable], int)
    return passable, *ends.reshape(-1, 2).T


def distant_pair(maze, min_path, rng):
    """A random ordered pair of cells of one maze (side, side) over min_path apart, by search from each."""
    starts = np.flatnonzero(maze)
    open_bits = pack(maze[None])  # (side, 1): the same maze for every start
    far = np.zeros((len(maze), len(starts)), open_bits.dtype)
    for step, wave in enumerate(waves(open_bits, pack(one_hot(starts, len(maze))))):
        if step > min_path:
            far |= wave
    start, goal = divmod(rng.choice(np.flatnonzero(unpack(far))), maze.size)
    return starts[start], goal


def walk_back(steps, goal, rng):
    """One shortest path (n, side, side) bool: from the goal, always to a random nearer neighbour."""
    n, side = steps.shape[:2]
    steps = rearrange(np.pad(steps, ((0, 0), (1, 1), (1, 1)), constant_values=-1), "n r c -> n (r c)")
    path = np.zeros_like(steps, bool)
    mazes = np.arange(n)
    cell = (goal // side + 1) * (side + 2) + goal % side + 1  # its number on the padded board
    while len(mazes):
        path[mazes, cell] = True
        under_way = steps[mazes, cell] > 1
        mazes, cell = mazes[under_way], cell[under_way]
        neighbours = cell[:, None] + np.array([-side - 2, -1, 1, side + 2])
        nearer = steps[mazes[:, None], neighbours] == steps[mazes, cell][:, None] - 1
        choice = np.where(nearer, rng.random(nearer.shape), -1).argmax(axis=1)
        cell = neighbours[np.arange(len(mazes)), choice]
    return rearrange(path, "n (r c) -> n r c", r=side + 2)[:, 1:-1, 1:-1]


def path_length(inputs, passable):
    """Steps (n,) from S to G through passable cells, both (n, S); -1 if there is no way."""
    side = math.isqrt(inputs.shape[1])
    as_grid = [rearrange(cells, "n (r c) -> n r c", r=side) for cells in (passable, inputs == START)]
    return np.where(inputs == GOAL, distances(*as_grid).reshape(inputs.shape), -1).max(axis=1)

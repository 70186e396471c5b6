"""What a puzzle is: the class `Task`, its symmetries, how an answer is checked and a board drawn.

A puzzle is two rows of S tokens, `inputs` and `labels`; n of them are two arrays (n, S) uint8. Token 0 is
PAD, which the loss ignores in the labels. maze.py and sudoku.py are two kinds, flood.py is the shortest.
"""

import functools
from dataclasses import dataclass

import numpy as np

from training.files import UserError

DARK, GREY, PALE, WHITE = "#2f3640", "#9aa5b1", "#dde2e7", "#ffffff"
BLUE, LIGHT_BLUE = "#0072b2", "#8ecae6"  # with the next two, told apart by colour-blind readers
VERMILLION, LILAC = "#d55e00", "#cc79a7"


@dataclass(eq=False)  # two splits are never compared, and a split can be the key of a cache
class Split:
    """n puzzles."""
    inputs: np.ndarray  # (n, S) uint8
    labels: np.ndarray  # (n, S) uint8, 0 = ignored by the loss
    puzzle_ids: np.ndarray  # (n,) int32, row of the puzzle embedding; 0 for mazes and Sudoku
    rating: np.ndarray  # (n,) float32, difficulty: guesses, path length, or as in the file; nan = unknown

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, rows):
        """The split of these rows only (a slice, indices or a mask)."""
        return Split(self.inputs[rows], self.labels[rows], self.puzzle_ids[rows], self.rating[rows])

    @property
    def num_puzzles(self):
        """Rows that its ids need in the puzzle embedding."""
        return 1 + int(self.puzzle_ids.max(initial=0))


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
    shipped = None  # folder whose train.csv and test.csv load_splits reads instead of generating
    load = report = draw_examples = None  # arc.py has its own ways to do what data.py and train.py do
    kinds = {}  # every subclass by its name

    def __init_subclass__(cls):
        Task.kinds[cls.name] = cls

    def __init__(self, size=None, **options):
        self.options = {"size": self.default_size, **self.default_options}
        for key, value in {"size": size, **options}.items():
            if key not in self.options:
                raise UserError(f"task {self.name} has no option {key!r}; it has {', '.join(self.options)}")
            if value is not None:
                self.options[key] = convert(f"{self.name} option {key}", value, type(self.options[key]))
        for key, values in self.allowed.items():
            if self.options[key] not in values:
                use = ", ".join(map(str, values))
                if isinstance(values, range):
                    use = f"{values[0]} to {values[-1]}"
                raise UserError(f"{self.name} {key} {self.options[key]} does not exist; use {use}")
        vars(self).update(self.options)  # self.size, ...; load_task(name, **options) makes the same task

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

    # ---- making and varying puzzles
    def generate(self, n, rng):
        """n puzzles made with the NumPy generator rng: inputs, labels, both (n, S) uint8."""
        raise UserError(f"{type(self).__name__} has no method generate(self, n, rng); write one")

    def symmetries(self, n, rng):
        """n random symmetries of the puzzle: cell (n, S), where each cell comes from, and token (n, V), what
        each token becomes. None: it has none."""
        return None

    @functools.cached_property
    def views(self):
        """Different symmetries, or all there are, first the puzzle as it is: cell (K, S) and token (K, V)."""
        drawn = self.symmetries(1000, np.random.default_rng(0))
        if drawn is None:
            return None
        same = np.arange(self.seq_len), np.arange(self.vocab_size, dtype=np.uint8)
        both = [np.vstack(parts) for parts in zip(same, drawn)]
        first = np.sort(np.unique(np.hstack(both), axis=0, return_index=True)[1])
        return [part[first] for part in both]

    def view(self, k, n):
        """The k-th way to look at a puzzle, for n of them: --votes takes one after the other."""
        return self.views and [part[[k % len(part)] * n] for part in self.views]

    def offer(self, split, step, options, rng):
        """The training puzzles that this step offers -> Split, a function of (options.seed, step) alone: one
        endless row of shuffled epochs, cut into batches, each puzzle under a random symmetry."""
        B = options.batch_size
        epoch, place = np.divmod(np.arange(step * B, (step + 1) * B), len(split))
        rows = [epoch_order(len(split), e, options.seed)[place[epoch == e]] for e in np.unique(epoch)]
        part = split[np.concatenate(rows)]
        symmetry = self.symmetries(B, rng) if options.augment else None
        if symmetry is not None:
            S, V = self.seq_len, self.vocab_size
            symmetry = returned(self, "symmetries", symmetry, ((B, S), S), ((B, V), V))
            part.inputs, part.labels = transform(part.inputs, *symmetry), transform(part.labels, *symmetry)
        return part

    # ---- what the rules say
    def fingerprint(self, inputs):
        """(n,) numbers, equal for puzzles that are the same up to symmetry."""
        return hash_rows(inputs)

    def rating(self, inputs, labels):
        """(n,) float32: how hard each puzzle is."""
        return np.full(len(inputs), np.nan, np.float32)

    def check(self, inputs, answers):
        """(n,) bool: is the answer right by the rules? None: only a comparison with the label can tell."""
        return None

    def is_right(self, inputs, labels, answers):
        """(n,) bool: it is the label, or right by the rules (a maze may have several shortest paths)."""
        right, by_rules = ((answers == labels) | (labels == 0)).all(axis=1), self.check(inputs, answers)
        return right if by_rules is None else right | by_rules

    def keeps_rules(self, inputs, answers):
        """(n,) bool: does the answer keep all rules that can be checked without solving the puzzle?"""
        return self.check(inputs, answers)

    def problem(self, inputs, answers=None):
        """Why a row is no puzzle, or not solved by its answer: a list of n, each a str or None."""
        return [None] * len(inputs)

    def check_votes(self, given, models, votes, noise, views):
        """Refuse what makes no sense when `models` checkpoints give `votes` answers each (extras/vote.py) ->
        how many are useful. `given`: the options on the command line."""
        votes = votes or 1
        if votes == 1 and noise:
            raise UserError(f"--noise {noise} needs --votes 2 or more: the first vote is without noise")
        if votes > 1 and not views and not noise:
            raise UserError(f"--votes {votes} would give {votes} times the same answer; leave out --no-views")
        if votes > 1 and views and self.views is None:
            raise UserError(f"task {self.name} has no symmetries for --votes; use --no-views --noise 0.5")
        if votes > 1 and not noise and votes > len(self.views[0]):
            print(f"{self.name} has {len(self.views[0])} different views: there are no more votes than that")
            return len(self.views[0])
        return votes

    # ---- text
    def encode(self, texts):
        """A list of n texts -> tokens (n, S) uint8. Other spaces than symbols do not count."""
        token_of = {symbol: token for token, symbol in enumerate(self.symbols)}
        token_of |= {alias: token_of[symbol] for alias, symbol in self.aliases.items()}
        rows = np.zeros((len(texts), self.seq_len), np.uint8)
        for row, text in zip(rows, texts):
            if len(text) != self.seq_len:
                text = "".join(each for each in text if each in self.symbols or not each.isspace())
            if len(text) != self.seq_len:
                raise UserError(f"{len(text)} characters, not {self.seq_len}")
            row[:] = [token_of.get(each, 0) for each in text]
            if not row.all():
                raise UserError(f"{text[row.argmin()]!r}, no symbol of {self.name}; use {self.symbols[1:]!r}")
        return rows

    def decode(self, tokens):
        """Tokens (n, S) -> list of n texts."""
        return ["".join(self.symbols[token] for token in row) for row in tokens]

    # ---- pictures
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
            ax.text(cell % columns, cell // columns, symbol.strip("_."), color=colour,
                    weight="bold" if given[cell] else "normal", ha="center", va="center_baseline",
                    fontsize=110 / max(rows, columns))
        ax.hlines(np.arange(rows + 1) - 0.5, -0.5, columns - 0.5, color=GREY, lw=0.6)
        ax.vlines(np.arange(columns + 1) - 0.5, -0.5, rows - 0.5, color=GREY, lw=0.6)
        show_board(ax, rows, columns)


def returned(task, method, parts, *expected):
    """The arrays that a method of a task returned, if each is as expected: its shape, and whole numbers."""
    arrays = [np.asarray(part) for part in (parts if isinstance(parts, (list, tuple)) else [parts])]
    good = [array.shape == shape and array.dtype.kind in "biu" and ((0 <= array) & (array < limit)).all()
            for array, (shape, limit) in zip(arrays, expected)]
    if len(arrays) == len(expected) and all(good):
        return arrays
    wanted = " and ".join(f"{shape} of 0 to {limit - 1}" for shape, limit in expected)
    got = " and ".join(f"{array.dtype} {array.shape} such as {array.ravel()[:3]}" for array in arrays)
    raise UserError(f"{type(task).__name__}.{method} must return whole numbers {wanted}, not {got}; its "
                    f"symbols are {task.symbols!r}")


def convert(what, value, kind):
    """An option's value, perhaps text from the command line, as int, bool or str."""
    try:
        return {"true": True, "false": False}[str(value).lower()] if kind is bool else kind(value)
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{what}: {value!r} is not of type {kind.__name__}") from None


@functools.lru_cache(maxsize=2)
def epoch_order(n, epoch, seed):
    return np.random.default_rng([seed, epoch]).permutation(n)


def transform(rows, cell, token):
    """Apply a symmetry (see Task.symmetries) to every one of the rows (n, S)."""
    each = np.arange(len(rows))[:, None]
    moved = rows.ravel().take(each * rows.shape[1] + cell)  # flat: several times as fast as rows[each, cell]
    return token.ravel().take(each * token.shape[1] + moved)


def undo(rows, cell, token):
    """The inverse of `transform`."""
    return transform(rows, np.argsort(cell, axis=1), np.argsort(token, axis=1).astype(rows.dtype))


def hash_rows(rows):
    """(n, S) uint8 -> (n,) uint64, a random linear function: different rows hardly ever get equal numbers."""
    weights = np.random.default_rng(0).integers(2**63, size=rows.shape[1], dtype=np.uint64)
    parts = np.array_split(rows, len(rows) // 65536 + 1)  # the product takes 8 bytes a cell: in parts
    return np.concatenate([part @ weights for part in parts])


def explain(reasons, n):
    """{reason: (n,) bool} -> list of n: the first reason that holds for this row, or None."""
    problems = [None] * n
    for reason, rows in reversed(reasons.items()):
        for row in np.flatnonzero(rows):
            problems[row] = reason
    return problems


def show_board(ax, rows, columns):
    """Square cells in a frame, row 0 on top, no axes."""
    right, bottom = columns - 0.5, rows - 0.5
    ax.plot([-0.5, right, right, -0.5, -0.5], [-0.5, -0.5, bottom, bottom, -0.5], color=GREY, lw=0.8)
    ax.set(xlim=(-0.55, columns - 0.45), ylim=(rows - 0.45, -0.55), aspect="equal")
    ax.axis("off")

"""Puzzles in files: the published ones and the cache of our own; and what every script shares: Split, UserError.

Published files are train.csv and test.csv with the columns source,question,answer,rating (Sudoku-Extreme, Maze-Hard:
Wang et al., arXiv 2506.21734v3), in a folder or on Hugging Face. Millions of rows stay what they are, bytes of a
memory-mapped file; only the rows that were chosen become arrays. What a symbol means, the task says.
"""
import functools
import math
import os
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SPLITS = ("train", "val", "test")


class UserError(Exception):
    """Wrong input: one line that names the value and the remedy. The scripts print it and exit with 2."""


@dataclass(eq=False)  # two splits are never compared, and a split can be the key of a cache
class Split:
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


@functools.lru_cache(maxsize=2)
def epoch_order(n, epoch, seed):
    return np.random.default_rng([seed, epoch]).permutation(n)


def offered_rows(n, batch_size, step, seed):
    """Which of n training puzzles this step offers (batch_size,): one endless row of shuffled epochs, cut up."""
    epoch, place = np.divmod(np.arange(step * batch_size, (step + 1) * batch_size), n)
    return np.concatenate([epoch_order(n, e, seed)[place[epoch == e]] for e in np.unique(epoch)])


def make_split(task, inputs, labels, rating=None):
    rating = task.rating(inputs, labels) if rating is None else rating
    return Split(inputs, labels, np.zeros(len(inputs), np.int32), rating)


def convert(what, value, kind):
    """An option's value, perhaps text from the command line, as int, bool or str."""
    try:
        return {"true": True, "false": False}[str(value).lower()] if kind is bool else kind(value)
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{what}: {value!r} is not of type {kind.__name__}") from None


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


def cached(path, make, *arguments):
    """The inputs and labels kept in the file `path` (None: no file), or made now and then kept there."""
    if path is None:
        return make(*arguments)
    try:
        with np.load(path) as arrays:
            return arrays["inputs"], arrays["labels"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        inputs, labels = make(*arguments)  # there is no such file, or it is damaged
    partial = path.with_suffix(f".{os.getpid()}")  # an interrupted run, or a second one, leaves no half file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            np.savez_compressed(file, inputs=inputs, labels=labels)
        os.replace(partial, path)
    except OSError as error:
        print(f"the puzzles are not kept for the next run: {error}", file=sys.stderr)
    return inputs, labels


def find_files(data):
    """Where the data is -> {"train": path, "test": path}, or {"test": path} for a bare file."""
    path = Path(data)
    if path.is_file():
        return {"test": path}
    if path.is_dir():
        return {"train": path / "train.csv", "test": path / "test.csv"}
    if str(data).count("/") != 1 or str(data).startswith(("/", ".")) or str(data).endswith(".csv"):
        raise UserError(f"no file or folder {data}; pass a .csv file, a folder with train.csv and test.csv, "
                        "or OWNER/NAME of a Hugging Face data set")
    try:
        from huggingface_hub import hf_hub_download
        return {name: Path(hf_hub_download(str(data), f"{name}.csv", repo_type="dataset"))
                for name in ("train", "test")}
    except ImportError:
        raise UserError(f"no folder {data}; for Hugging Face: pip install huggingface_hub") from None
    except Exception as error:  # the library has many kinds: no network, no such data set, no access
        reason = str(error).partition("\n")[0]
        raise UserError(f"cannot download {data}: {type(error).__name__} {reason}") from None


def read_splits(task, data, train_size, val_size, test_size, seed):
    """Seeded subsamples of published files as the three splits."""
    files, rng = find_files(data), np.random.default_rng(seed)
    tables = {name: CsvTable(path) for name, path in files.items()}
    rows = dict.fromkeys(SPLITS, np.zeros(0, int))
    for name, size in [("train", train_size), ("test", test_size)]:
        if name in tables:
            n = len(tables[name])
            if size is not None and size > n:
                print(f"{tables[name].path} holds {n} puzzles: all are taken, {size} were asked for")
            if name == "train" and size is None:
                size = n - min(val_size or 0, n // 10)
            order = rng.permutation(n)
            rows[name] = np.sort(order[:size])
            if name == "train":
                rows["val"] = np.sort(order[size:][:val_size])
    tables["val"] = tables.get("train", tables["test"])  # with a bare file: no rows of it
    splits = {name: tables.get(name, tables["test"]).read(rows[name], task) for name in SPLITS}
    repeated = np.isin(hash_rows(splits["test"].inputs), hash_rows(splits["train"].inputs)).sum()
    if repeated:
        print(f"{repeated} of {len(splits['test'])} test puzzles are training puzzles too (as published)")
    return splits


def board_size(*paths):
    """Side of the square boards in the first file, from the length of its first question."""
    table = CsvTable(paths[0])
    start, stop = table.field("question", np.array([0]))
    length = int(stop[0] - start[0])
    if length == 0 or math.isqrt(length) ** 2 != length:
        raise UserError(f"{table.path}, line 2: a question of {length} characters is no square board")
    return math.isqrt(length)


class CsvTable:
    """A CSV file as the positions of its commas and line ends. Row 0 is line 2, below the header."""

    def __init__(self, path):
        self.path = path
        try:
            self.bytes = np.memmap(path, np.uint8, mode="r")
        except (OSError, ValueError) as error:  # NumPy maps no empty file
            reason = "is empty" if isinstance(error, ValueError) else f"cannot be read: {error.strerror}"
            raise UserError(f"{path} {reason}; it must be a CSV file with question and answer") from None
        end = len(self.bytes)
        while end and self.bytes[end - 1] in b"\r\n":
            end -= 1
        separators = []
        for start in range(0, end, 2**24):
            text = self.bytes[start:min(start + 2**24, end)]
            separators.append(start + np.flatnonzero((text == ord(",")) | (text == ord("\n"))))
        separators = np.concatenate(separators + [[end]])
        ends_line = np.append(self.bytes[separators[:-1]] == ord("\n"), True)

        header = bytes(self.bytes[:separators[ends_line.argmax()]]).decode("utf-8-sig", "replace")
        self.columns = [name.strip() for name in header.split(",")]
        for name in ("question", "answer"):
            if name not in self.columns:
                raise UserError(f"{path}, line 1: no column {name!r}, only {header.strip()[:80]!r}")
        fields = np.diff(np.flatnonzero(ends_line), prepend=-1)  # of every line
        for line in np.flatnonzero(fields != len(self.columns))[:1]:
            raise UserError(f"{path}, line {line + 1}: {fields[line]} columns, "
                            f"but the header has {len(self.columns)}")
        self.separators = separators.reshape(-1, len(self.columns))  # (lines, columns), where each field ends
        if len(self) == 0:
            raise UserError(f"{path} holds no puzzles, only a header")

    def __len__(self):
        return len(self.separators) - 1

    def field(self, name, rows):
        """First byte and byte after the last of this column's fields, (n,) each."""
        column = self.columns.index(name)
        before = self.separators[rows, -1] if column == 0 else self.separators[rows + 1, column - 1]
        start, stop = before + 1, self.separators[rows + 1, column].copy()
        if column == len(self.columns) - 1:
            stop -= (self.bytes[stop - 1] == ord("\r")) & (stop > start)  # lines may end with \r\n
        return start, stop

    def where(self, row):
        return f"{self.path}, line {row + 2}:"

    def read(self, rows, task):
        """Parse and check these rows -> Split."""
        parts = [self.read_part(part, task) for part in np.array_split(rows, len(rows) // 50_000 + 1)]
        return make_split(task, *(np.concatenate(arrays) for arrays in zip(*parts)))

    def read_part(self, rows, task):
        inputs, labels = self.tokens("question", rows, task), self.tokens("answer", rows, task)
        for row, reason in zip(rows, task.problem(inputs, labels)):
            if reason:
                raise UserError(f"{self.where(row)} {reason}")
        return inputs, labels, self.ratings(rows)

    def tokens(self, name, rows, task):
        """A column of boards -> (n, S) uint8."""
        start, stop = self.field(name, rows)
        for i in np.flatnonzero(stop - start != task.seq_len)[:1]:
            raise UserError(f"{self.where(rows[i])} {name} of {stop[i] - start[i]} characters, "
                            f"but {task.name} of size {task.size} has {task.seq_len}; pass another --size")
        text = self.bytes[start[:, None] + np.arange(task.seq_len)]
        tokens = task.tokens(text)
        for i, cell in np.argwhere(tokens == 0)[:1]:
            raise UserError(f"{self.where(rows[i])} unknown symbol {chr(text[i, cell])!r} in {name}; "
                            f"use {task.symbols[1:]!r}")
        return tokens

    def ratings(self, rows):
        """The column rating -> (n,) float32, nan where there is none."""
        if "rating" not in self.columns:
            return np.full(len(rows), np.nan, np.float32)
        start, stop = self.field("rating", rows)
        offset = np.arange((stop - start).max(initial=1))
        inside = offset < (stop - start)[:, None]
        text = np.where(inside, self.bytes[np.where(inside, start[:, None] + offset, 0)], 0).astype(np.uint8)
        words = text.view(f"S{len(offset)}")[:, 0]  # zeros at the end do not count
        words = np.where(words == b"", b"nan", words)
        try:
            return words.astype(np.float32)
        except ValueError:
            for row, word in zip(rows, words):
                convert(f"{self.where(row)} rating", word.decode("latin-1"), float)

"""The published puzzles: train.csv and test.csv with the columns source,question,answer,rating
(Sudoku-Extreme, Maze-Hard: Wang et al., arXiv 2506.21734v3), in a folder or on Hugging Face.
"""

import csv
import itertools
import math
from pathlib import Path

import numpy as np

from puzzles.task import Split, hash_rows
from training.files import UserError


def find_files(data):
    """Where the data is -> {"train": path, "test": path}, or only those that are there."""
    path = Path(data)
    if path.is_file():
        return {"test": path}
    if path.is_dir():
        files = {file.stem: file for file in (path / "train.csv", path / "test.csv") if file.exists()}
        if "test" not in files:
            raise UserError(f"{path} holds no test.csv; pass a folder that does")
        return files
    try:
        from huggingface_hub import hf_hub_download
        return {name: Path(hf_hub_download(str(data), f"{name}.csv", repo_type="dataset"))
                for name in ("train", "test")}
    except Exception as error:  # the library has many kinds: no network, no such data set, no access
        reason = str(error).partition("\n")[0]
        raise UserError(f"no file or folder {data}, nor such a data set on Hugging Face ({reason}); pass a "
                        f".csv file, a folder with train.csv and test.csv, or OWNER/NAME, which needs "
                        f"pip install huggingface_hub") from None


def rows(path):
    """Every puzzle of a CSV file: the number of its line, and its columns {name: text}."""
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.DictReader(file)
        try:
            reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
            for name in ("question", "answer"):
                if name not in reader.fieldnames:
                    raise ValueError(f"no column {name!r}, only {','.join(reader.fieldnames)[:80]!r}")
            for row in reader:
                if None in row or None in row.values():
                    raise ValueError(f"not the {len(reader.fieldnames)} columns that the header has")
                yield reader.line_num, row
        except (csv.Error, ValueError) as error:
            raise UserError(f"{path}, line {max(1, reader.line_num)}: {error}; it must be a CSV file with "
                            f"question and answer") from None


def board_size(data):
    """Side of the square boards in the files of `data`, from the length of the first question."""
    path = next(iter(find_files(data).values()))
    line, row = next(rows(path), (1, {"question": ""}))
    for board in (row["question"], row["question"].strip()):  # a space may be a symbol
        if board and math.isqrt(len(board)) ** 2 == len(board):
            return math.isqrt(len(board))
    raise UserError(f"{path}, line {line}: a question of {len(board)} characters is no square board")


def read(path, chosen, task):
    """The puzzles chosen (increasing numbers, from 0) of a file, parsed and checked -> Split."""
    n, found = len(chosen), rows(path)
    boards, ratings, lines = np.zeros((2, n, task.seq_len), np.uint8), np.zeros(n, np.float32), []
    for i, skipped in enumerate(np.diff(chosen, prepend=-1) - 1):
        line, row = next(itertools.islice(found, skipped, None))
        lines.append(line)
        try:
            boards[:, i] = task.encode([row["question"], row["answer"]])
            ratings[i] = float(row.get("rating", "").strip() or "nan")
        except (UserError, ValueError) as error:
            raise UserError(f"{path}, line {line}: {error}; {task.name} of size {task.size} has "
                            f"{task.seq_len} cells, and the rating is a number") from None
    for line, reason in zip(lines, task.problem(*boards)):
        if reason:
            raise UserError(f"{path}, line {line}: {reason}")
    return Split(*boards, np.zeros(n, np.int32), ratings)


def read_splits(task, data, train_size, val_size, test_size, seed):
    """Seeded subsamples of published files as the three splits."""
    files, rng, splits = find_files(data), np.random.default_rng(seed), {}
    for name, size in (("train", train_size), ("test", test_size)):
        if name not in files:
            continue
        n = sum(1 for _ in rows(files[name]))
        if n == 0:
            raise UserError(f"{files[name]} holds no puzzles, only a header")
        if size is not None and size > n:
            print(f"{files[name]} holds {n} puzzles: all are taken, {size} were asked for")
        if name == "train" and size is None:
            size = n - min(val_size or 0, n // 10)
        order = rng.permutation(n)
        splits[name] = read(files[name], np.sort(order[:size]), task)
        if name == "train":
            splits["val"] = read(files[name], np.sort(order[size:][:val_size]), task)
    none = splits["test"][:0]
    splits = {"train": none, "val": none, **splits}
    # Are they equal up to symmetry? To ask that of millions takes long.
    same = task.fingerprint if max(map(len, splits.values())) <= 100_000 else hash_rows
    repeated = np.isin(same(splits["test"].inputs), same(splits["train"].inputs)).sum()
    if repeated:
        print(f"{repeated} of {len(splits['test'])} test puzzles are training puzzles, perhaps turned over")
    return splits

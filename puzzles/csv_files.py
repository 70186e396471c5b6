"""The published puzzles: train.csv and test.csv with the columns source,question,answer,rating
(Sudoku-Extreme, Maze-Hard: Wang et al., arXiv 2506.21734v3), in a folder or on Hugging Face.
"""

import csv
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
    if str(data).count("/") != 1 or str(data).startswith(("/", ".")) or str(data).endswith(".csv"):
        raise UserError(f"no file or folder {data}; pass a .csv file, a folder with train.csv and test.csv, "
                        "or OWNER/NAME of a Hugging Face data set")
    try:
        from huggingface_hub import hf_hub_download
        return {name: Path(hf_hub_download(str(data), f"{name}.csv", repo_type="dataset"))
                for name in ("train", "test")}
    except ImportError:
        raise UserError(f"no folder {data}; pip install huggingface_hub, or pass --data FOLDER") from None
    except Exception as error:  # the library has many kinds: no network, no such data set, no access
        reason = f"{type(error).__name__} {error}".partition("\n")[0]
        raise UserError(f"cannot download {data}: {reason}; pass --data FOLDER") from None


def rows(path):
    """Every puzzle of a CSV file: the number of its line; question, answer and rating as text."""
    try:
        with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            for name in ("question", "answer"):
                if name not in header:
                    raise UserError(f"{path}, line 1: no column {name!r}, only {','.join(header)[:80]!r}; "
                                    f"it must be a CSV file with question and answer")
            for fields in filter(None, reader):  # without blank lines
                if len(fields) != len(header):
                    raise UserError(f"{path}, line {reader.line_num}: {len(fields)} columns, but the header "
                                    f"has {len(header)}")
                row = dict(zip(header, fields))
                yield reader.line_num, row["question"], row["answer"], row.get("rating", "").strip()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; it must be a CSV file") from None
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}; it must be a CSV file") from None


def board_size(data):
    """Side of the square boards in the files of `data`, from the length of the first question."""
    path = next(iter(find_files(data).values()))
    line, question, _, _ = next(rows(path), (1, "", "", ""))
    for board in (question, question.strip()):  # a space may be a symbol
        if board and math.isqrt(len(board)) ** 2 == len(board):
            return math.isqrt(len(board))
    raise UserError(f"{path}, line {line}: a question of {len(question)} characters is no square board")


def read(path, chosen, task):
    """The puzzles chosen (increasing numbers, from 0) of a file, parsed and checked -> Split."""
    wanted, lines, ratings = iter(chosen), [], []
    text = {"question": bytearray(), "answer": bytearray()}  # boards in a row: strings take too much room
    next_one = next(wanted, None)
    for number, (line, question, answer, rating) in enumerate(rows(path)):
        if number != next_one:
            continue
        next_one = next(wanted, None)
        for name, board in (("question", question), ("answer", answer)):
            board = board if len(board) == task.seq_len else board.strip()
            if len(board) != task.seq_len:
                raise UserError(f"{path}, line {line}: {name} of {len(board)} characters, but {task.name} of "
                                f"size {task.size} has {task.seq_len}; pass another --size")
            text[name] += board.encode("latin-1", "replace")
        try:
            ratings.append(float(rating or "nan"))
        except ValueError:
            raise UserError(f"{path}, line {line}: the rating {rating!r} is no number") from None
        lines.append(line)
    tokens = []
    for name, board in text.items():
        codes = np.frombuffer(board, np.uint8).reshape(len(lines), task.seq_len)
        tokens.append(task.tokens(codes))
        for i, cell in np.argwhere(tokens[-1] == 0)[:1]:
            raise UserError(f"{path}, line {lines[i]}: unknown symbol {chr(codes[i, cell])!r} in {name}; "
                            f"use {task.symbols[1:]!r}")
    for line, reason in zip(lines, task.problem(*tokens)):
        if reason:
            raise UserError(f"{path}, line {line}: {reason}")
    return Split(*tokens, np.zeros(len(lines), np.int32), np.array(ratings, np.float32))


def read_splits(task, data, train_size, val_size, test_size, seed):
    """Seeded subsamples of published files as the three splits."""
    files, rng = find_files(data), np.random.default_rng(seed)
    chosen = {"train": [], "val": [], "test": []}
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
        chosen[name] = np.sort(order[:size])
        if name == "train":
            chosen["val"] = np.sort(order[size:][:val_size])
    files["val"] = files.get("train")
    some = next(path for path in files.values() if path)  # of a split without a file, no row is read
    splits = {name: read(files.get(name) or some, numbers, task) for name, numbers in chosen.items()}
    # Are they equal up to symmetry? To ask that of millions takes long.
    same = task.fingerprint if max(map(len, splits.values())) <= 100_000 else hash_rows
    repeated = np.isin(same(splits["test"].inputs), same(splits["train"].inputs)).sum()
    if repeated:
        print(f"{repeated} of {len(splits['test'])} test puzzles are training puzzles, perhaps turned over")
    return splits

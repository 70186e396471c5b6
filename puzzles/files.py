"""Files: written whole or not at all; and the published puzzles, train.csv and test.csv with the columns
source,question,answer,rating, of which question and answer are read (Sudoku-Extreme, Maze-Hard: Wang et al.,
arXiv 2506.21734v3), in a folder or on Hugging Face.
"""

import csv
import hashlib
import io
import math
import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tqdm import tqdm

from puzzles.errors import UserError
from puzzles.split import Split, hash_rows

LARGE = 20e6  # bytes of a file that is read once


# ---------------------------------------------------------------------------------------------------- writing
@contextmanager
def writing(path):
    """Makes the folder; a write that fails becomes one line for the user."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, RuntimeError) as error:  # PyTorch reports a full disk as a RuntimeError
        reason = getattr(error, "strerror", None) or "the disk may be full"
        raise UserError(f"cannot write {path}: {reason}; what was saved before is untouched, "
                        f"make room or choose another --out") from None


def write(path, save):
    """Write a file whole or not at all, also in a power cut: save(temporary path), then rename."""
    temporary = path.with_name(f".{os.getpid()}.{path.name}")  # of two programs, each has its own
    with writing(path):
        try:
            save(temporary)
            with open(temporary, "r+b") as file:
                os.fsync(file.fileno())  # the bytes are on the disk before the name is
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path, text):
    write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def kept(folder, name, key, make):
    """The list of arrays that make() returns, kept in a file of the folder (None: not kept) for the next time
    that this key is asked for."""
    if folder is None:
        return make()
    path = Path(folder) / f"{name}-{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.npz"
    if path.exists():
        return [*np.load(path).values()]
    arrays = make()
    content = io.BytesIO()  # into a file, np.savez may write half of it and say nothing
    np.savez(content, *arrays)
    write(path, lambda temporary: temporary.write_bytes(content.getvalue()))
    return arrays


# ------------------------------------------------------------------------------------------ published puzzles
def find_files(data):
    """Where the data is -> {"train": path, "test": path}, maybe without "train"."""
    path = Path(data)
    if path.is_file():
        return {"test": path}
    if path.is_dir():
        files = {file.stem: file for file in path.glob("*.csv")}
        if "test" not in files:
            raise UserError(f"{path} holds no test.csv; pass a folder that does (arrays of the authors' code "
                            f"are not read)")
        return files
    try:
        from huggingface_hub import hf_hub_download
        return {name: hf_hub_download(str(data), f"{name}.csv", repo_type="dataset")
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
        columns = reader.fieldnames or []
        if "question" not in columns:
            raise UserError(f"{path}, line 1: no column 'question'; it must be a CSV file with question, and "
                            f"answer if it is known")
        for row in reader:
            if None in row or None in row.values():
                raise UserError(f"{path}, line {reader.line_num}: not the {len(columns)} columns that the "
                                f"header has")
            yield reader.line_num, row


def board_size(data):
    """Side of the square boards in the files of `data`, from the length of the first question; None: they are
    no squares."""
    path = find_files(data)["test"]
    for _, row in rows(path):
        size = math.isqrt(len(row["question"]))
        return size if size**2 == len(row["question"]) else None


def read(path, task, cache, progress):
    """All puzzles of a file -> Split, with labels of 0 (PAD) where it holds no answers, and the numbers of
    their lines for puzzle ids. To read millions takes a minute, so they are kept in the folder `cache`."""
    about = os.stat(path)
    folder = cache if about.st_size > LARGE else None
    key = os.path.abspath(path), about.st_mtime, about.st_size, task.symbols, task.seq_len
    boards, lines = kept(folder, task.name, key, lambda: parse(path, task, progress))
    labels = boards[:, 1:].sum(1, dtype=np.uint8)  # of one answer or of none
    return Split(boards[:, 0], labels, lines)


def parse(path, task, progress):
    """A file's questions and maybe answers (n, 1 or 2, S) uint8, and the numbers of their lines (n,)."""
    boards = bytearray()
    lines = []
    for line, row in tqdm(rows(path), f"reading {path}", disable=not progress, delay=1, leave=False):
        lines.append(line)
        texts = [row[name] for name in ("question", "answer") if name in row]
        try:
            boards += task.encode(texts).tobytes()
        except UserError as error:
            raise UserError(f"{path}, line {line}: {error}; {task.name} of size {task.size} has "
                            f"{task.seq_len} cells") from None
    if not lines:
        raise UserError(f"{path} holds no puzzles, only a header")
    boards = np.frombuffer(boards, np.uint8).reshape(len(lines), -1, task.seq_len)
    return boards, np.array(lines, np.int32)


def choose(path, task, puzzles, numbers):
    """These of the puzzles in a file, in its order, checked -> Split."""
    split = puzzles[np.sort(numbers)]
    problems = task.problem(split.inputs, split.labels if split.labels.any() else None)
    for line, problem in zip(split.puzzle_ids, problems):
        if problem:
            raise UserError(f"{path}, line {line}: {problem}")
    split.puzzle_ids[:] = 0
    return split


def read_splits(task, data, train_size, val_size, test_size, seed, cache, progress):
    """Seeded subsamples of published files -> {"train": Split, "val": Split, "test": Split}; what
    data.load_splits says of the sizes."""
    files = find_files(data)
    rng = np.random.default_rng(seed)
    if "train" in files:
        path = files["train"]
        puzzles = read(path, task, cache, progress)
        order = rng.permutation(len(puzzles))
        if train_size is None:
            train_size = len(order) - min(val_size, len(order) // 10)
        train = choose(path, task, puzzles, order[:train_size])
        val = choose(path, task, puzzles, order[train_size:][:val_size])
        if not train.labels.any():
            raise UserError(f"{path} holds no answers, nothing can be learned from it")
    path = files["test"]
    puzzles = read(path, task, cache, progress)
    test = choose(path, task, puzzles, rng.permutation(len(puzzles))[:test_size])
    if "train" not in files:
        train = val = test[:0]

    # Are they equal up to symmetry? To ask that of millions takes long.
    same = task.fingerprint if len(train) <= 100_000 else hash_rows
    repeated = np.isin(same(test.inputs), same(train.inputs)).sum()
    if repeated:
        print(f"{repeated} of {len(test)} test puzzles are in {files['train']} too, perhaps turned over")
    return {"train": train, "val": val, "test": test}


def write_answers(path, task, inputs, solutions):
    """A CSV file of what a model answered to n questions: inputs (n, S), and their Solutions (hrm.py), batch
    by batch. keeps_rules is empty where the task cannot tell."""
    fields = zip(*[vars(each).values() for each in solutions])
    answers, segments, q_halt = [np.concatenate(batches) for batches in fields]  # as in hrm.Solution
    answers = answers.astype(np.uint8)
    confidence = 1 / (1 + np.exp(-q_halt.astype(float)))
    keeps = task.keeps_rules(inputs, answers)
    if keeps is None:
        keeps = [""] * len(inputs)
    text = "question,answer,keeps_rules,confidence,segments\n"
    questions = task.decode(inputs)
    answers = task.decode(answers)
    for row in zip(questions, answers, keeps, confidence.round(4), segments):
        text += "{},{},{},{},{}\n".format(*row)
    write_text(path, text)

"""From a task's name to its puzzles: `load_task` and `load_splits`, and a command that draws some.

The tasks themselves are in tasks.py (mazes, Sudoku, the class `Task` for your own) and arc.py; published.py reads the
published files.

    python data.py --task maze --show 4             # draws four mazes with their solutions
    python data.py --task sudoku --data DIR         # from DIR/test.csv
"""
import argparse
import hashlib
import importlib.util
import json
import sys
import traceback
from pathlib import Path

import numpy as np
from tqdm import tqdm

import arc
import maze
import sudoku
import tasks
from published import SPLITS, Split, UserError, cached, hash_rows, make_split, read_splits  # noqa: F401
from tasks import (BLUE, DARK, GREY, LIGHT_BLUE, LILAC, PALE, ROOT, VERMILLION, WHITE, Maze, Sudoku,  # noqa: F401
                   Task, show_board, transform, undo)


def load_task(name, data=None, **options):
    """The task of this name: built in, or a Task subclass in <name>.py, here or beside this file.

    Options are those of the task, None means its default. With `data`, the size is that of the file's boards.
    """
    for folder in (Path.cwd(), ROOT):
        if name not in known_tasks() and name.isidentifier() and (folder / f"{name}.py").exists():
            spec = importlib.util.spec_from_file_location(f"task_{name}", folder / f"{name}.py")
            sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
            except Exception as error:  # it is the user's code: anything may be wrong with it
                where = traceback.extract_tb(error.__traceback__)[-1].lineno
                line = error.lineno if isinstance(error, SyntaxError) else where
                raise UserError(f"{folder / name}.py, line {line}: {type(error).__name__}: {error}; mend it") from None
    if name not in known_tasks():
        raise UserError(f"unknown task {name!r}; there are {', '.join(known_tasks())}, "
                        f"or write a Task subclass with name = {name!r} in {name}.py")
    if data is not None and options.get("size") is None:
        options["size"] = known_tasks()[name].file_size(data)
    return known_tasks()[name](**options)


def parse_options(text):
    """NAME=VALUE words, as on the command line -> dict of the task's further options."""
    for word in text.split():
        if "=" not in word:
            raise UserError(f"--task-options {word!r} is not of the form NAME=VALUE")
    return dict(word.split("=", 1) for word in text.split())


def known_tasks():
    return {task.name: task for task in (*Task.__subclasses__(), arc.Arc2)}


def load_splits(task, data=None, train_size=None, val_size=500, test_size=1000, seed=0, cache="data/cache",
                progress=True):
    """The task's puzzles -> {"train": Split, "val": Split, "test": Split}, made here or read from `data`.

    data=None: generated, all three splits disjoint up to symmetry, and kept in the folder `cache` (None: not
    kept); or the task's shipped files. train_size=None: 10 000, or what there is of a task with few puzzles.
    data=DIR with train.csv and test.csv, OWNER/NAME on Hugging Face, or FILE.csv (the test split): seeded
    subsamples of at most these sizes, None = all; val takes rows of train.csv that training leaves over,
    and with train_size=None up to a tenth of them.
    """
    for what, size in [("train_size", train_size), ("val_size", val_size), ("test_size", test_size)]:
        if size is not None and size < (0 if what == "val_size" else 1):
            raise UserError(f"{what} {size} is too small; pass a positive number")
    if task.load:
        return task.load(data, test_size, progress)
    if data is not None or task.shipped is not None:
        return read_splits(task, data or task.shipped, train_size, val_size, test_size, seed)

    val_size, test_size = val_size or 0, test_size or 1000
    n = (train_size or 10_000) + val_size + test_size
    inputs, labels = cached(cache_path(cache, task, n, seed), distinct_puzzles, task, n, seed, progress)
    if len(inputs) < n:
        if train_size is not None or len(inputs) < 3:
            raise UserError(f"there are only about {len(inputs)} different {task.name} puzzles of size {task.size}, "
                            f"{n} are needed; raise the size or lower the split sizes")
        val_size, test_size = min(val_size, len(inputs) // 6), min(test_size, max(1, len(inputs) // 6))
    train_size = len(inputs) - val_size - test_size
    bounds = np.cumsum([0, train_size, val_size, test_size])
    split = make_split(task, inputs, labels)
    return {name: split[bounds[i]:bounds[i + 1]] for i, name in enumerate(SPLITS)}


def distinct_puzzles(task, n, seed, progress):
    """n puzzles, or all that are found if there are fewer, no two of them equal up to symmetry, in random
    order -> inputs, labels (n, S)."""
    rng, chunk, new = np.random.default_rng(seed), min(n, max(100, n // 20)), n
    inputs = labels = np.zeros((0, task.seq_len), np.uint8)
    prints = np.zeros(0, np.uint64)
    with tqdm(total=n, desc=f"making {task.name} puzzles", unit="", disable=not progress) as bar:
        while len(inputs) < n and new >= 0.02 * chunk:  # a chunk with hardly a new one: these are nearly all
            more_inputs, more_labels = task.generate(chunk, rng)
            inputs, labels = np.concatenate([inputs, more_inputs]), np.concatenate([labels, more_labels])
            prints = np.concatenate([prints, task.fingerprint(more_inputs)])
            first = np.sort(np.unique(prints, return_index=True)[1])[:n]
            new = len(first) - (len(inputs) - len(more_inputs))
            inputs, labels, prints = inputs[first], labels[first], prints[first]
            bar.update(new)
    order = rng.permutation(len(inputs))
    return inputs[order], labels[order]


def cache_path(folder, task, n, seed):
    """The file for these puzzles: another one whenever the code that makes them is edited."""
    own = getattr(sys.modules[type(task).__module__], "__file__", None)
    if folder is None or own is None:  # a class typed into a notebook has no file to compare
        return None
    code = [Path(path).read_text() for path in (__file__, tasks.__file__, maze.__file__, sudoku.__file__, own)]
    key = hashlib.sha256(json.dumps([task.name, task.options, n, seed, code]).encode()).hexdigest()
    return Path(folder) / f"{task.name}-{key[:16]}.npz"


def main():
    parser = argparse.ArgumentParser(description="Draw puzzles with their solutions to a PNG.", usage=argparse.SUPPRESS)
    parser.error = lambda message: parser.exit(2, f"error: {message}; python data.py --help lists the options\n")
    parser.add_argument("--task", default="maze", help="maze, sudoku, or the name of a task in <name>.py")
    parser.add_argument("--show", type=int, default=4, metavar="N", help="how many puzzles")
    parser.add_argument("--size", type=int, help="side of the board")
    parser.add_argument("--task-options", default="", help="such as 'kind=random min_path=20'")
    parser.add_argument("--data", help="FILE.csv, a folder with train.csv and test.csv, or OWNER/NAME")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="examples.png")
    args = parser.parse_args()
    try:
        if not 1 <= args.show <= 100:
            raise UserError(f"--show {args.show} is out of range; pass 1 to 100")
        task = load_task(args.task, args.data, **{"size": args.size, **parse_options(args.task_options)})
        splits = load_splits(task, args.data, 1, 0, args.show, args.seed, cache=None, progress=False)
        task.draw_examples(splits["test"], args.out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    import data  # under its own name, so that a student's `from data import Task` means the same class
    sys.exit(data.main())

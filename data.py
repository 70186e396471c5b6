"""From a task's name to its puzzles: `load_task` and `load_splits`, and a command that draws some.

    python data.py --task maze --show 4             # draws four mazes with their solutions
    python data.py --task sudoku --data DIR         # from DIR/test.csv

What a puzzle is stands in puzzles/: task.py (the class `Task`), and a file for each kind.
"""

import hashlib
import importlib
import importlib.util
import inspect
import json
import sys
import traceback
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from hrm import IGNORE
from puzzles.csv_files import board_size, read_splits
from puzzles.task import Split, Task, returned
from training.files import UserError, write
from training.options import Parser, existing, exit_status, parse_options, whole
from training.pictures import draw_boards

BUILT_IN = {"maze": "puzzles.maze", "sudoku": "puzzles.sudoku", "arc1": "puzzles.arc", "arc2": "puzzles.arc",
            "flood": "puzzles.flood"}


# -------------------------------------------------------------------------------------- from a name to a task
def load_task(name, data=None, **options):
    """The task of this name. An option that is None means its default; `data` says the size of its boards."""
    kind = task_class(name)
    if data is not None and options.get("size") is None and kind.load is None:
        options["size"] = board_size(data)
    return kind(**options)


def task_class(name, own=True):
    """The Task subclass of this name: built in, or, if `own` ones are trusted, in ./NAME.py."""
    if name in BUILT_IN:
        importlib.import_module(BUILT_IN[name])
    elif own and name.isidentifier() and Path(f"{name}.py").exists():
        import_file(Path(f"{name}.py").resolve())
    if name not in Task.kinds and not own:
        raise UserError(f"the checkpoint's task {name!r} is not built in; to run {name}.py in this "
                        f"folder for it, add --task {name}")
    if name not in Task.kinds:
        raise UserError(f"unknown task {name!r}; there are {', '.join(sorted({*BUILT_IN, *Task.kinds}))}, "
                        f"or write a Task subclass with name = {name!r} in {name}.py")
    return Task.kinds[name]


def import_file(path):
    """Run a user's file, where anything may be wrong."""
    spec = importlib.util.spec_from_file_location(f"task_{path.stem}", path)
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1].lineno
        line = error.lineno if isinstance(error, SyntaxError) else last
        raise UserError(f"{path}, line {line}: {type(error).__name__}: {error}; mend it") from None


# ------------------------------------------------------------------------------------- from a task to puzzles
def load_splits(task, data=None, train_size=None, val_size=500, test_size=1000, seed=0, cache="data/cache",
                progress=True):
    """The task's puzzles -> {"train": Split, "val": Split, "test": Split}, made here or read from `data`.

    data=None: the task's shipped files; or generated, the splits disjoint up to symmetry, and kept in the
    folder `cache` (None: not kept). train_size=None: 10 000, or what there is of a task with few puzzles.
    data=DIR with train.csv and test.csv, OWNER/NAME on Hugging Face, or FILE.csv (test only): subsamples of
    at most these sizes, None = all; val is what train leaves over, with train_size=None up to a tenth."""
    if task.load:
        return task.load(data, test_size)
    if data is not None or task.shipped is not None:
        return read_splits(task, data or task.shipped, train_size, val_size, test_size, seed)

    val_size, test_size = val_size or 0, test_size or 1000
    n = (train_size or 10_000) + val_size + test_size
    inputs, labels = cached(cache_path(cache, task, n, seed), task, n, seed, progress)
    if len(inputs) < n:
        if train_size is not None or len(inputs) < 3:
            raise UserError(f"there are only about {len(inputs)} different {task.name} puzzles of size "
                            f"{task.size}, {n} are needed; raise the size or lower the split sizes")
        val_size = min(val_size, len(inputs) // 6)
        test_size = min(test_size, max(1, len(inputs) // 6))
    made = Split(inputs, labels, np.zeros(len(inputs), np.int32), task.rating(inputs, labels))
    test, val = len(inputs) - test_size, len(inputs) - test_size - val_size  # where they begin
    return {"train": made[:val], "val": made[val:test], "test": made[test:]}


def distinct_puzzles(task, n, seed, progress):
    """n puzzles, or all there are, no two equal up to symmetry, in random order -> inputs, labels (n, S)."""
    rng, chunk, new = np.random.default_rng(seed), min(n, max(100, n // 20)), n
    inputs = labels = np.zeros((0, task.seq_len), np.uint8)
    prints = np.zeros(0, np.uint64)
    with tqdm(total=n, desc=f"making {task.name} puzzles", unit="", disable=not progress) as bar:
        while len(inputs) < n and new >= 0.02 * chunk:  # a chunk with hardly a new one: these are nearly all
            expected = (chunk, task.seq_len), task.vocab_size
            made = returned(task, "generate", task.generate(chunk, rng), expected, expected)
            more_inputs, more_labels = (rows.astype(np.uint8) for rows in made)
            if not more_labels.any(axis=1).all():
                raise UserError(f"{type(task).__name__}.generate made labels of PAD (0) alone: mend it")
            inputs, labels = np.concatenate([inputs, more_inputs]), np.concatenate([labels, more_labels])
            prints = np.concatenate([prints, task.fingerprint(more_inputs)])
            first = np.sort(np.unique(prints, return_index=True)[1])[:n]
            new = len(first) - (len(inputs) - len(more_inputs))
            inputs, labels, prints = inputs[first], labels[first], prints[first]
            bar.update(new)
    order = rng.permutation(len(inputs))
    return inputs[order], labels[order]


def cached(path, task, n, seed, progress):
    """`distinct_puzzles` as one array (2, n, S), kept in the file `path` (None: no file)."""
    try:
        return np.load(path or "")
    except (OSError, ValueError, EOFError):  # there is no such file, or it is damaged
        made = np.stack(distinct_puzzles(task, n, seed, progress))
    try:
        if path:
            write(path, lambda temporary: np.save(temporary, made))
    except UserError as error:
        print(f"the puzzles are not kept for the next run: {error}", file=sys.stderr)
    return made


def cache_path(folder, task, n, seed):
    """The file for these puzzles: another one whenever the code that makes them is edited."""
    modules = [sys.modules[kind.__module__] for kind in type(task).__mro__ if issubclass(kind, Task)]
    if folder is None or not all(hasattr(module, "__file__") for module in modules):
        return None  # a class typed into a notebook has no file to compare
    code = [inspect.getsource(distinct_puzzles), *(Path(module.__file__).read_text() for module in modules)]
    key = hashlib.sha256(json.dumps([task.name, task.options, n, seed, code]).encode()).hexdigest()
    return Path(folder) / f"{task.name}-{key[:16]}.npy"


def to_tensors(split, device, *others):
    """A split's inputs, labels (PAD becomes IGNORE) and puzzle ids, int64, and others, all on the device."""
    labels = np.where(split.labels == 0, IGNORE, split.labels.astype(np.int64))
    arrays = split.inputs, labels, split.puzzle_ids
    tensors = [*(torch.from_numpy(array.astype(np.int64)) for array in arrays), *others]
    if device.type == "cuda":  # pinned memory is copied while the GPU computes
        return [tensor.pin_memory().to(device, non_blocking=True) for tensor in tensors]
    return [tensor.to(device) for tensor in tensors]


# ------------------------------------------------------------------------------------------------ the command
def main(argv=None):
    parser = Parser("data.py", "Draw puzzles with their solutions to a PNG.")
    parser.add_argument("--task", default="maze", help="maze, sudoku, arc1, arc2, flood or your own NAME")
    parser.add_argument("--show", type=whole(1, 100), default=4, metavar="N", help="how many puzzles")
    parser.add_argument("--size", type=whole(1), help="side of the board")
    parser.add_argument("--task-options", default="", help="such as 'kind=random min_path=20'")
    parser.add_argument("--data", type=existing, help="FILE.csv, a folder with such files, or OWNER/NAME")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--out", type=Path, default="examples.png")
    args = parser.parse_args(argv)
    task = load_task(args.task, args.data, **{"size": args.size, **parse_options(args.task_options)})
    split = load_splits(task, args.data, 1, 0, args.show, args.seed, cache=None, progress=False)["test"]
    if task.draw_examples:
        return task.draw_examples(split, args.out)
    draw_boards(task, split, args.out, ["" if np.isnan(r) else f"rating {r:g}" for r in split.rating])
    rows, columns = task.grid
    print(f"{len(split)} {task.name} puzzles of {rows} x {columns} with their solutions: {args.out}")


if __name__ == "__main__":
    sys.exit(exit_status(main))

"""From a task's name to batches: `load_task`, `load_splits`, `offer_batch`; and a command that draws puzzles.

    python data.py --task maze --show 4             # draws four mazes with their solutions
    python data.py --task sudoku --data DIR         # from DIR/test.csv

What a puzzle is stands in puzzles/: task.py (the class `Task`), and a file for each kind.
"""

import argparse
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from hrm import IGNORE
from puzzles.boards import save_figure
from puzzles.errors import UserError, exit_status
from puzzles.files import board_size, kept
from puzzles.split import Split
from puzzles.task import Task, returned

BUILT_IN = {
    "maze": "puzzles.maze",
    "sudoku": "puzzles.sudoku",
    "arc1": "puzzles.arc",
    "arc2": "puzzles.arc",
    "flood": "puzzles.flood",
}
TRAIN_SIZE = 10_000  # puzzles that are made to train on when nobody says how many
TEST_SIZE = 1000  # and to test with


# -------------------------------------------------------------------------------------- from a name to a task
def load_task(name, data=None, **options):
    """The task of this name. An option that is None means its default; `data` says the size of its boards."""
    kind = task_class(name)
    if data is not None and not kind.votes_over_variants and options.get("size") is None:
        options["size"] = board_size(data)
    return kind(**options)


def task_class(name, own=True):
    """The Task subclass of this name. To import a file enters its classes into Task.kinds; which file, says
    BUILT_IN for our tasks, and for all others it is ./NAME.py. A name that comes from a checkpoint must not
    choose what code is run: then own=False, and ./NAME.py is not imported."""
    path = Path(f"{name}.py")
    if name in BUILT_IN:
        importlib.import_module(BUILT_IN[name])
    elif own and name.isidentifier() and path.exists():  # where Python's own path may not lead
        spec = importlib.util.spec_from_file_location(f"task_{name}", path.resolve())
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    if name in Task.kinds:
        return Task.kinds[name]
    if not own:
        raise UserError(f"the checkpoint's task {name!r} is not built in; to run {path} in this folder "
                        f"for it, add --task {name}")
    known = ", ".join(sorted({*BUILT_IN, *Task.kinds}))
    raise UserError(f"unknown task {name!r}; there are {known}, or write a Task subclass with "
                    f"name = {name!r} in {path}")


def parse_options(text):
    """NAME=VALUE words, as --task-options takes them -> dict of the task's further options."""
    options = {}
    for word in text.split():
        name, is_there, value = word.partition("=")
        if not is_there or name in (*options, "size"):
            raise UserError(f"--task-options {word!r}: write NAME=VALUE, each name once, and size as --size")
        options[name] = value
    return options


# ------------------------------------------------------------------------------------- from a task to puzzles
def load_splits(
    task,
    data=None,
    train_size=None,
    val_size=500,
    test_size=None,
    seed=0,
    cache="data/cache",
    progress=True,
):
    """The task's puzzles -> {"train": Split, "val": Split, "test": Split}, read from `data` or made here.

    data=DIR with train.csv and test.csv, OWNER/NAME on Hugging Face, or FILE.csv (test only): subsamples of
    at most these sizes, None = all; val is what train leaves over, with train_size=None up to a tenth.
    data=None: the task's shipped files, if it has some. Else the puzzles are made, no two of them equal up to
    symmetry, and kept in the folder `cache` (None: not kept). Then None means TRAIN_SIZE, or what there is of
    a task with few puzzles, and TEST_SIZE. UserError if there are too few."""
    data = data or task.shipped
    if data:
        return task.read(data, train_size, val_size, test_size, seed, cache, progress)

    if test_size is None:
        test_size = TEST_SIZE
    most = TRAIN_SIZE if train_size is None else train_size
    wanted = most + val_size + test_size
    inputs, labels = cached(cache, task, wanted, seed, progress)
    n = len(inputs)
    if n < wanted:
        if train_size is not None:
            raise UserError(f"there are only about {n} different {task.name} puzzles of size {task.size}, "
                            f"{wanted} are needed; raise the size or lower the split sizes")
        val_size = min(val_size, n // 6)
        test_size = min(test_size, max(1, n // 6))
    made = Split(inputs, labels, np.zeros(n, np.int32))
    test = n - test_size  # where they begin
    val = test - val_size
    return {
        "train": made[:val],
        "val": made[val:test],
        "test": made[test:],
    }


def cached(folder, task, n, seed, progress):
    """`distinct_puzzles`, kept in a file of the folder (None: not kept): in another one whenever the code
    that makes them is edited."""
    try:
        files = [__file__, *map(inspect.getfile, type(task).__mro__[:-1])]  # without `object`
    except (OSError, TypeError):  # a class typed into a notebook has no file to compare
        folder = None
        files = []
    code = [Path(file).read_text(encoding="utf-8") for file in files]
    key = [task.options, n, seed, code]
    [puzzles] = kept(folder, task.name, key, lambda: [distinct_puzzles(task, n, seed, progress)])
    return puzzles


def distinct_puzzles(task, n, seed, progress):
    """n puzzles, or all there are, no two equal up to symmetry, in random order: inputs and labels as one
    array (2, n, S)."""
    rng = np.random.default_rng(seed)
    chunk = min(n, max(100, n // 20))
    found = {}  # by its fingerprint, each puzzle (2, S)
    new = chunk
    with tqdm(total=n, desc=f"making {task.name} puzzles", unit="", disable=not progress) as bar:
        while len(found) < n and new >= 0.02 * chunk:  # a chunk with hardly a new one: these are nearly all
            before = len(found)
            inputs, labels = make(task, chunk, rng)
            for fingerprint, *puzzle in zip(task.fingerprint(inputs).tolist(), inputs, labels):
                found.setdefault(fingerprint, puzzle)
            new = len(found) - before
            bar.update(new)
    puzzles = np.array(list(found.values())[:n])
    return puzzles[rng.permutation(len(puzzles))].swapaxes(0, 1)


def make(task, n, rng):
    """`task.generate`, whose arrays are checked: inputs, labels (n, S) uint8."""
    inputs, labels = task.generate(n, rng)
    shape = n, task.seq_len
    inputs = returned(task, "generate", inputs, shape, task.vocab_size).astype(np.uint8)
    labels = returned(task, "generate", labels, shape, task.vocab_size).astype(np.uint8)
    if not labels.any(axis=1).all():
        raise UserError(f"{type(task).__name__}.generate made labels of PAD (0) alone: mend it")
    return inputs, labels


# ------------------------------------------------------------------------------------ from puzzles to batches
def offer_batch(task, split, step, batch_size, seed, hints=0.0, mine=slice(None)):
    """The training puzzles that this step offers -> Split, a function of (seed, step) alone: one endless row
    of shuffled epochs, cut into batches, each puzzle varied as the task does it. `mine`: the rows of the
    batch that are made (of several processes, each makes its own).

    In a share `hints` of them a random share of the answer stands already (up to the task's hint_share, if it
    has one). A model that is never asked a puzzle which is nearly solved may fail on one (Ren & Liu 2026,
    arXiv 2601.10679)."""
    places = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs, places = np.divmod(places, len(split))
    rows = [task.epoch_order(split, epoch, seed)[place] for epoch, place in zip(epochs, places)]
    rng = np.random.default_rng([seed, step, 1])
    batch = task.vary(split, np.array(rows), epochs, seed, rng, mine)
    hinted = rng.random((batch_size, 1)) < hints
    most = task.options.get("hint_share", 1.0)
    share = hinted * rng.random((batch_size, 1)) * most
    shown = rng.random((batch_size, task.seq_len)) < share
    known = shown[mine] & (batch.labels > 0)
    batch.inputs[known] = batch.labels[known]
    return batch


def to_tensors(split, device, *others):
    """A split's inputs, labels (PAD becomes IGNORE) and puzzle ids, int64, and others, all on the device."""
    arrays = split.inputs, split.labels, split.puzzle_ids
    inputs, labels, puzzle_ids = [torch.as_tensor(array, dtype=torch.long) for array in arrays]
    labels[labels == 0] = IGNORE
    tensors = [inputs, labels, puzzle_ids, *others]
    if device.type == "cuda":  # pinned memory is copied while the GPU computes
        return [tensor.pin_memory().to(device, non_blocking=True) for tensor in tensors]
    return [tensor.to(device) for tensor in tensors]


# ------------------------------------------------------------------------------------------------ the command
def main(argv=None):
    parser = argparse.ArgumentParser(description="Draw puzzles with their solutions to a PNG.")
    parser.add_argument("--task", default="maze", help="maze, sudoku, arc1, arc2, flood or your own NAME")
    parser.add_argument("--show", type=int, default=4, metavar="N", help="how many puzzles, at most 100")
    parser.add_argument("--size", type=int, help="side of the board")
    parser.add_argument("--task-options", default="", help="such as 'kind=random min_path=20'")
    parser.add_argument("--data", help="FILE.csv, a folder with such files, or OWNER/NAME")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default="examples.png")
    args = parser.parse_args(argv)
    if not 1 <= args.show <= 100:
        raise UserError(f"--show {args.show} must be in 1..100")
    task = load_task(args.task, args.data, size=args.size, **parse_options(args.task_options))
    split = load_splits(task, args.data, 1, 0, args.show, args.seed, cache=None, progress=False)["test"]
    save_figure(args.out, task.draw_examples(split), dpi=100)
    print(f"{len(split)} {task.name} puzzles of size {task.size} with their solutions: {args.out}")


if __name__ == "__main__":
    sys.exit(exit_status(main))

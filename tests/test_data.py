"""From a task's name to batches: splits disjoint up to symmetry, a cache, epochs; the command that draws."""

from pathlib import Path

import numpy as np
import pytest
import torch

import data
from data import load_splits, load_task, offer_batch, to_tensors
from hrm import IGNORE
from puzzles.errors import UserError, exit_status
from puzzles.split import Split


# -------------------------------------------------------------------------------------- from a name to a task
STUDENT = '''
import numpy as np
from puzzles.task import Task

class Echo(Task):
    """The answer is the input."""
    name = "echo"
    symbols = "_ab"
    default_size = 3

    def generate(self, n, rng):
        rows = rng.integers(1, 3, size=(n, self.seq_len)).astype(np.uint8)
        return rows, rows
'''


def test_a_students_task(here):
    Path("echo.py").write_text(STUDENT)
    task = load_task("echo")
    assert (task.size, task.seq_len, task.vocab_size, task.options) == (3, 9, 3, {"size": 3})
    split = load_splits(task, train_size=50, val_size=5, test_size=5, cache=None, progress=False)["train"]
    assert offer_batch(task, split, 0, 50, 0).inputs.sum() == split.inputs.sum()
    with pytest.raises(UserError, match="unknown task '../data'; there are .*maze, .*sudoku"):
        load_task("../data")


# ------------------------------------------------------------------------------------- from a task to puzzles
def test_made_splits_are_disjoint_up_to_symmetry():
    task = load_task("maze", kind="random", size=3)  # so small that many mazes are equal up to symmetry
    splits = load_splits(task, train_size=60, val_size=15, test_size=15, cache=None, progress=False)
    assert [len(split) for split in splits.values()] == [60, 15, 15]
    seen = set()
    for row in np.concatenate([split.inputs for split in splits.values()]):
        grid = row.reshape(3, 3)
        turned = [np.rot90(side, k).tobytes() for side in (grid, grid.T) for k in range(4)]
        assert seen.isdisjoint(turned)
        seen.add(row.tobytes())


def test_where_there_are_few_puzzles():
    task = load_task("maze", size=5)
    splits = load_splits(task, cache=None, progress=False)
    assert [len(split) for split in splits.values()] == [4, 1, 1]
    with pytest.raises(UserError, match="only about 6 different maze puzzles of size 5, 90 are needed"):
        load_splits(task, train_size=60, val_size=20, test_size=10, cache=None, progress=False)


def test_shipped_sudoku_is_the_default_of_9x9():
    splits = load_splits(load_task("sudoku"))
    assert [len(split) for split in splits.values()] == [900, 100, 1000]


def test_puzzles_are_kept_until_others_are_asked_for_or_the_code_is_edited(here):
    def load(seed, code=STUDENT):
        Path("echo.py").write_text(code)
        split = load_splits(load_task("echo"), None, 30, 5, 10, seed, progress=False)["train"]
        return split.inputs.tolist(), len(list(Path("data/cache").iterdir()))

    inputs, _ = load(seed=0)
    assert load(seed=0) == (inputs, 1)
    other, kept = load(seed=1)
    assert other != inputs and kept == 2
    assert load(seed=0, code=STUDENT + "# edited") == (inputs, 3)


# ------------------------------------------------------------------------------------ from puzzles to batches
@pytest.mark.parametrize("n, batch", [(10, 4), (4, 10)])
def test_every_epoch_offers_each_puzzle_once(n, batch):
    numbers = np.arange(n)
    cells = np.zeros((n, 25), np.uint8)
    split = Split(cells, cells, numbers)
    task = load_task("maze", size=5)
    ids = np.concatenate([offer_batch(task, split, step, batch, 1).puzzle_ids for step in range(n)])
    epochs = ids.reshape(-1, n)
    assert (np.sort(epochs) == numbers).all()
    assert len({tuple(epoch) for epoch in epochs}) > 1  # another order every time
    task.epoch_order.cache_clear()
    assert (offer_batch(task, split, 2, batch, 1).puzzle_ids == ids[2 * batch : 3 * batch]).all()
    assert (offer_batch(task, split, 2, batch, 2).puzzle_ids != ids[2 * batch : 3 * batch]).any()


def test_a_batch_is_varied_and_becomes_tensors():
    task = load_task("sudoku", size=4, hint_share=0.2)  # 0.1 of the cells, as far as they are blank
    split = load_splits(task, train_size=20, val_size=0, test_size=1, cache=None, progress=False)["train"]
    batch = offer_batch(task, split, 3, 20, seed=1)
    assert set(task.fingerprint(batch.inputs)) == set(task.fingerprint(split.inputs))
    assert task.check(batch.inputs, batch.labels).all()
    assert (np.sort(batch.inputs, axis=0) != np.sort(split.inputs, axis=0)).any()
    hinted = offer_batch(task, split, 3, 20, seed=1, hints=1.0)
    is_hint = hinted.inputs != batch.inputs
    assert 0 < is_hint.mean() < 0.1 and (hinted.inputs[is_hint] == batch.labels[is_hint]).all()
    batch.labels[0, 0] = 0
    _, labels, _ = to_tensors(batch, torch.device("cpu"))
    assert labels[0, 0] == IGNORE and (labels[1:].numpy() == batch.labels[1:]).all()


@pytest.mark.parametrize(
    "name, options",
    [("sudoku", {"size": 4}), ("maze", {"size": 5}), ("arc1", {"size": 3, "augmentations": 5})]
)
def test_each_process_makes_its_rows_of_the_same_batch(name, options):
    task = load_task(name, **options)
    task.ties = True  # a maze that is turned needs a new label
    split = load_splits(task, train_size=4, val_size=0, test_size=1, cache=None, progress=False)["train"]
    whole = offer_batch(task, split, 3, 16, 0, hints=0.5)
    assert (offer_batch(task, split, 3, 16, 1, 0.5).inputs != whole.inputs).any()
    for world in (2, 8):
        parts = [offer_batch(task, split, 3, 16, 0, 0.5, mine) for mine in np.split(np.arange(16), world)]
        assert len(parts[0]) == 16 // world
        for field in ("inputs", "labels", "puzzle_ids"):
            together = np.concatenate([getattr(part, field) for part in parts])
            assert np.array_equal(together, getattr(whole, field))


# ------------------------------------------------------------------------------------------------ the command
@pytest.mark.parametrize(
    "options, status, said",
    [
        ("--seed 3", 0, "2 maze puzzles of size 5 with their solutions: two.png"),
        ("--task echo", 0, "2 echo puzzles"),
        ("--task arc1 --size 6 --task-options augmentations=1", 0, "2 arc1 puzzles"),
        ("--show 0", 2, "--show 0"),
        ("--task-options kind", 2, "'kind'"),
    ],
)
def test_the_command_draws_or_refuses_in_one_line(here, capsys, options, status, said):
    Path("echo.py").write_text(STUDENT)
    arguments = ["--size", "5", "--show", "2", "--out", "two.png", *options.split()]
    assert exit_status(data.main, arguments) == status
    [line] = "".join(capsys.readouterr()).splitlines()
    assert said in line
    assert Path("two.png").exists() == (status == 0)

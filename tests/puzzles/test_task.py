"""What every task can do: epochs, symmetries that keep the answer, text, pictures."""

import numpy as np
import pytest

from data import load_task
from puzzles.task import Split, epoch_order, transform
from training.files import UserError
from training.options import Options


def turned(row, side):
    """The 8 rotations and reflections of one row."""
    grid = row.reshape(side, side)
    return [np.rot90(g, k).ravel() for g in (grid, grid.T) for k in range(4)]


@pytest.mark.parametrize("n, batch", [(10, 4), (4, 10), (7, 7)])
def test_every_epoch_offers_each_puzzle_once(n, batch):
    rows = np.arange(n)
    split = Split(np.tile(rows[:, None], 25).astype(np.uint8), np.zeros((n, 25)), rows, np.zeros(n))
    task = load_task("maze", size=5)

    def offered(step, seed):
        options = Options(batch_size=batch, augment=False, seed=seed)
        part = task.offer(split, step, options, np.random.default_rng(0))
        assert (part.inputs == part.puzzle_ids[:, None]).all()
        return part.puzzle_ids

    rows = np.concatenate([offered(step, 1) for step in range(3 * n)])
    epochs = rows[: len(rows) // n * n].reshape(-1, n)
    assert (np.sort(epochs) == np.arange(n)).all() and len(epochs) == 3 * batch
    assert len({tuple(epoch) for epoch in epochs}) > 1  # another order every time
    epoch_order.cache_clear()
    assert (offered(5, 1) == rows[5 * batch : 6 * batch]).all()  # whatever came before
    assert (offered(5, 2) != rows[5 * batch : 6 * batch]).any()


@pytest.mark.parametrize("name, size", [("maze", 7), ("sudoku", 4), ("sudoku", 6), ("sudoku", 9)])
def test_augmented_puzzles_keep_their_answer(name, size):
    task, rng = load_task(name, size=size), np.random.default_rng(2)
    inputs, labels = (np.repeat(rows, 100, axis=0) for rows in task.generate(3, rng))
    before = inputs.copy()
    symmetry = task.symmetries(len(inputs), rng)
    new_inputs, new_labels = transform(inputs, *symmetry), transform(labels, *symmetry)
    assert (inputs == before).all() and new_inputs.dtype == new_labels.dtype == np.uint8
    assert task.check(new_inputs, new_labels).all()
    assert (task.fingerprint(new_inputs) == task.fingerprint(inputs)).all()
    assert len(np.unique(task.fingerprint(inputs))) == 3
    distinct = len(np.unique(new_inputs, axis=0))
    if name == "maze":
        assert distinct == 3 * 8
        for old, new, label, new_label in zip(inputs, new_inputs, labels, new_labels):
            undone = [k for k, row in enumerate(turned(new, 7)) if (row == old).all()]
            assert any((turned(new_label, 7)[k] == label).all() for k in undone)
    else:
        assert distinct > 150  # of 300: hardly any symmetry comes twice


def test_encode_and_decode():
    task = load_task("sudoku", size=4)
    assert task.decode(task.encode(["12..\n0000\n....\n...1\n"])) == ["12.............1"]
    for text, message in [
        ("12", "2 characters, not 16"),
        ("_" * 16, "'_', no symbol"),
        ("é" * 16, "'é', no symbol"),
        ("→" * 16, "'→', no symbol"),
    ]:
        with pytest.raises(UserError, match=message):
            task.encode([text])


@pytest.mark.parametrize("name, size", [("maze", 5), ("sudoku", 4)])
def test_draw_marks_errors(name, size):
    """Drawing works for every kind of answer: none, right, wrong, and tokens that make no sense."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    task = load_task(name, size=size)
    [inputs], [label] = task.generate(1, np.random.default_rng(0))
    nonsense = np.random.default_rng(1).integers(task.vocab_size, size=task.seq_len).astype(np.uint8)
    figure, ax = plt.subplots()
    for answer in (None, label, inputs, nonsense):
        task.draw(ax, inputs, answer, label)
    figure.canvas.draw()
    assert not task.wrong_cells(inputs, label, label).any()
    assert task.wrong_cells(inputs, nonsense, label).any()
    plt.close(figure)

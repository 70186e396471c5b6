"""What every task can do: symmetries that keep the answer, text, pictures, refusals."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from data import load_task, make
from puzzles.errors import UserError
from puzzles.split import transform, undo
from puzzles.task import Task


@pytest.mark.parametrize("name, size", [("maze", 7), ("flood", 5), ("sudoku", 4), ("sudoku", 6)])
def test_symmetries_keep_the_answer(name, size):
    task = load_task(name, size=size)
    rng = np.random.default_rng(2)
    inputs, labels = task.generate(300, rng)
    symmetry = task.symmetries(300, rng)
    new_inputs = transform(inputs, *symmetry)
    new_labels = transform(labels, *symmetry)
    assert (new_inputs != inputs).any()
    assert task.check(new_inputs, new_labels).all()
    assert (task.fingerprint(new_inputs) == task.fingerprint(inputs)).all()


@pytest.mark.parametrize("name, number", [("maze", 8), ("flood", 4), ("sudoku", 1001)])
def test_views_are_different_begin_with_the_puzzle_itself_and_are_undone_exactly(name, number):
    """Of random boards, not only of puzzles."""
    task = load_task(name)
    views = np.hstack(task.views)
    assert len(views) == len(np.unique(views, axis=0)) == number
    rng = np.random.default_rng(0)
    boards = rng.integers(task.vocab_size, size=(1000, task.seq_len), dtype=np.uint8)
    assert (transform(boards, *task.view(0, 1000)) == boards).all()
    for symmetry in (task.symmetries(1000, rng), task.view(1, 1000), task.view(3, 1000)):
        seen = transform(boards, *symmetry)
        assert seen.dtype == np.uint8 and not (seen == boards).all()
        assert (undo(seen, *symmetry) == boards).all()


def test_encode_and_decode():
    task = load_task("sudoku", size=4)
    assert task.decode(task.encode(["12..\n0000\n....\n...1\n"])) == ["12.............1"]
    for text, message in [("12", "2 characters, not 16"), ("_" * 16, "'_', no symbol"), ("→" * 16, "'→'")]:
        with pytest.raises(UserError, match=message):
            task.encode([text])


@pytest.mark.parametrize("name, size", [("maze", 5), ("sudoku", 4), ("flood", 4)])
def test_draw_marks_errors(name, size):
    """Drawing works for every kind of answer: none, right, and tokens that make no sense."""
    task = load_task(name, size=size)
    rng = np.random.default_rng(0)
    [inputs], [label] = task.generate(1, rng)
    nonsense = rng.integers(task.vocab_size, size=task.seq_len, dtype=np.uint8)
    sheet = Figure()
    for answer in (None, label, nonsense):
        task.draw(sheet.subplots(), inputs, answer, label)
    sheet.draw_without_rendering()
    assert not task.wrong_cells(inputs, label, label).any()
    assert task.wrong_cells(inputs, nonsense, label).any()


class Bad(Task):
    name = "bad"
    symbols = "_ab"
    made = None

    def generate(self, n, rng):
        return np.ones((n, 9), np.uint8), self.made


@pytest.mark.parametrize("made", [np.full((2, 9), 3), np.full((2, 9), -1), np.ones((3, 9)), np.eye(2, 9)])
def test_bad_arrays_are_refused(made):
    task = Bad(size=3)
    task.made = made
    with pytest.raises(UserError, match=r"Bad.generate must return whole numbers \(2, 9\) of 0 to 2, not"):
        make(task, 2, None)


def test_a_token_is_a_byte(monkeypatch):
    monkeypatch.setattr(Bad, "symbols", "a" * 300)
    with pytest.raises(UserError, match="bad has 300 symbols"):
        Bad()

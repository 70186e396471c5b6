"""What every task can do: symmetries that keep the answer, rules, text, pictures; and the shortest task."""

from pathlib import Path

import numpy as np
import pytest

import train
from data import load_task
from puzzles import flood
from puzzles.task import transform
from training.files import UserError

SUDOKU_4 = "1234341221434321"


def turned(row, side):
    """The 8 rotations and reflections of one row."""
    grid = row.reshape(side, side)
    return [np.rot90(g, k).ravel() for g in (grid, grid.T) for k in range(4)]


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


def test_sudoku_problems_and_check():
    task = load_task("sudoku", size=4)
    rows = [
        SUDOKU_4,
        SUDOKU_4[:-1] + ".",
        "." * 16,
        "11" + "." * 14,
        "123....4........",
    ]  # the blank in row 1 can only be 4, which its box has
    solved, good, several, contradiction, none = task.problem(task.encode(rows))
    assert solved is None and good is None and "twice" in contradiction
    assert several == "the puzzle has more than one solution" and none == "the puzzle has no solution"
    answers = task.encode([SUDOKU_4, SUDOKU_4[:-1] + ".", "2134341221434321"])
    inputs = task.encode([SUDOKU_4[:-1] + "."] * 3)
    assert task.check(inputs, answers).tolist() == [True, False, False]
    other_solution = task.encode(["2143431212343421"])
    assert not task.check(inputs[:1], other_solution)[0]  # solved, but not this puzzle
    assert not task.check(inputs[:1], np.zeros((1, 16), np.uint8))[0]


def test_encode_and_decode():
    task = load_task("sudoku", size=4)
    assert task.decode(task.encode(["12..\n0000\n....\n...1\n"])) == ["12.............1"]
    for text, message in [
        ("12", "2 characters, but sudoku of size 4 has 16"),
        ("_" * 16, "'_' is no symbol"),
        ("é" * 16, "'é' is no symbol"),
        ("→" * 16, "'→' is no symbol"),
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


def test_a_copy_of_flood_is_a_task_of_ones_own(tmp_path, monkeypatch, capsys):
    """What the README says: copy flood.py under another name, and it trains, evaluates, votes."""
    monkeypatch.chdir(tmp_path)
    Path("drain.py").write_text(Path(flood.__file__).read_text().replace('"flood"', '"drain"'))
    options = (
        "--steps 4 --train-size 40 --val-size 8 --test-size 8 --hidden-size 16 --puzzle-emb-ndim 16 "
        "--H-layers 1 --L-layers 1 --batch-size 4 --device cpu --no-compile"
    )
    assert train.main(["--task", "drain", *options.split()]) == 0
    assert Path("runs/drain/solved.png").stat().st_size > 5_000
    assert train.main(["--eval", "runs/drain/best.pt", "--max-segments", "2", "--votes", "4"]) == 0
    assert "exact" in capsys.readouterr().out
    task = load_task("drain", size=5)
    inputs, labels = task.generate(100, np.random.default_rng(0))
    assert task.check(inputs, labels).all() and (labels != inputs).any()

"""When ACT stops, and what it answers, against `solve` and scripted answers."""

import numpy as np
import pytest
import torch

from analysis import halting
from analysis.states import record
from data import load_task, to_tensors
from hrm import solve
from puzzles.task import Split, Task


@pytest.mark.parametrize("halting_by", ["q", "bce"])
@pytest.mark.parametrize("max_segments", [1, 3, 6])
def test_act_says_what_solve_does(puzzles, halting_by, max_segments):
    _, split, model = puzzles
    model.config.halting = halting_by
    inputs, *_ = to_tensors(split, torch.device("cpu"))
    solution = solve(model, inputs, max_segments=max_segments, confidence=0.8)
    # "Right" is what segment 2 answers, so that some answers are right and some are not.
    split.labels = record(model, inputs, segments=2).logits[-1].argmax(-1).numpy().astype(np.uint8)
    answers = halting.think_on(model, split, 6)
    used, right = halting.act(model, answers, max_segments, confidence=0.8)
    assert torch.equal(used, solution.segments)
    assert torch.equal(right, (solution.predictions == torch.from_numpy(split.labels)).all(1))
    assert answers.right[1].all()


def test_puzzles_in_batches_are_the_same_puzzles(monkeypatch, puzzles):
    _, split, model = puzzles
    whole = halting.think_on(model, split, 3)
    monkeypatch.setattr(halting, "BATCH", 7)
    parts = halting.think_on(model, split, 3)
    torch.testing.assert_close(parts.q_halt, whole.q_halt)
    torch.testing.assert_close(parts.q_continue, whole.q_continue)


def scripted(right, q_halt):
    """Answers of puzzles, each a row with one entry for every segment."""
    right, q_halt = torch.tensor(right).T, torch.tensor(q_halt).T
    return halting.Answers(right.bool(), q_halt.float(), torch.zeros(q_halt.shape))


# Stops at once and is wrong; stops in segment 2 and is right; never stops, and trusts its first answer most.
THREE = scripted([[0, 1, 1], [0, 1, 0], [1, 0, 0]], [[1, 2, 3], [-1, 1, -2], [-1, -3, -2]])


def test_act_on_scripted_answers(make):
    model = make(halting="bce")
    used, right = halting.act(model, THREE, 3)
    assert used.tolist() == [1, 2, 3] and right.tolist() == [False, True, True]
    used, right = halting.act(model, THREE, 1)
    assert used.tolist() == [1, 1, 1] and right.tolist() == [False, False, True]


def test_halting_numbers(monkeypatch, make, puzzles):
    split, asked = puzzles[1][:3], []

    def think_on(model, split, segments, task):
        asked.append(segments)
        return THREE

    monkeypatch.setattr(halting, "think_on", think_on)
    numbers = halting.halting(make(halting="bce"), split, 3)
    assert numbers["act"]["exact"] == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert numbers["act"]["segments"] == pytest.approx([1, 5 / 3, 2])
    assert numbers["fixed"]["exact"].tolist() == pytest.approx([1 / 3, 2 / 3, 1 / 3])
    (group,) = numbers["difficulty"]
    assert group["puzzles"] == 3 and group["segments"] == pytest.approx(2)
    halting.halting(make(halting="bce", M_max=2), split)
    assert asked == [3, 8]


@pytest.mark.parametrize("longest", [12, 2])
def test_groups_end_at_the_M_max_of_training_and_the_curves_go_on(puzzles, longest):
    _, split, model = puzzles
    numbers = halting.halting(model, split, longest)
    assert numbers["M"] == list(range(1, longest + 1)) and len(numbers["act"]["exact"]) == longest
    assert all(1 <= group["segments"] <= min(3, longest) for group in numbers["difficulty"])
    figure = halting.plot_halting(numbers)
    for ax in figure.axes[1:3]:
        assert ax.get_xscale() == "log" and [3, 3] in [list(line.get_xdata()) for line in ax.lines]


def test_another_shortest_path_is_right_too():
    """S and G at opposite corners of a square of four cells; the label goes round one way."""
    task = load_task("maze", size=5, kind="random")
    walls = "#" * 10
    boards = task.encode(["#####" + rows + walls for rows in ("#S ### G##", "#So### G##", "#S ###oG##")])
    inputs, labels = boards[[0, 0, 0]], boards[[1, 1, 1]]
    assert Task().is_right(inputs, labels, boards).tolist() == [False, True, False]
    assert task.is_right(inputs, labels, boards).tolist() == [False, True, True]


def test_difficulty_groups():
    rating = np.array([0] * 30 + [1] * 12 + [2] * 3 + [np.nan], np.float32)
    groups = halting.difficulty_groups(rating)
    assert [(name, inside.sum()) for name, inside in groups] == [("0", 30), ("1–2", 15)]
    groups = halting.difficulty_groups(np.arange(100, dtype=np.float32), at_most=4)
    assert len(groups) == 4 and all(24 <= inside.sum() <= 26 for _, inside in groups)
    assert sum(inside for _, inside in groups).all() and groups[0][0] == "0–24"
    assert halting.difficulty_groups(np.full(5, np.nan, np.float32)) == []


def test_an_unrated_split_still_has_its_curves(puzzles):
    _, split, model = puzzles
    split = Split(split.inputs, split.labels, split.puzzle_ids, np.full(len(split), np.nan, np.float32))
    numbers = halting.halting(model, split, 2)
    hard, *_ = halting.plot_halting(numbers).axes
    assert numbers["difficulty"] == [] and not hard.get_visible()

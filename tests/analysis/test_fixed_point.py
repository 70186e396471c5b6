"""What happens after a puzzle is solved, on scripted models and on all kinds of them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from analysis import fixed_point
from analysis.halting import Answers
from data import load_task
from puzzles.task import Split, Task


def test_leave_open(puzzles):
    _, split, _ = puzzles
    rng, was_open = np.random.default_rng(0), split.inputs != split.labels
    for k in (0, 1, 3, 16):
        still_open = fixed_point.leave_open(split, k, rng) != split.labels
        assert np.array_equal(still_open.sum(1), np.minimum(k, was_open.sum(1)))
        assert not (still_open & ~was_open).any()


def scripted(right, q_halt):
    """Answers of puzzles, each a row with one entry for every segment."""
    right, q_halt = torch.tensor(right).T, torch.tensor(q_halt).T
    return Answers(right.bool(), q_halt.float(), torch.zeros(q_halt.shape))


def test_fixed_point_on_a_scripted_model(monkeypatch, make):
    """Puzzle A is solved at once and lost in segment 3, its state moving by 1 a segment; B is solved in
    segment 2, stands still, and two thirds of its open cells come in the last update."""
    ones = np.ones((2, 3), np.uint8)
    split = Split(ones, 2 * ones, np.zeros(2, np.int32), np.zeros(2))
    four = scripted([[1, 1, 0, 1], [0, 1, 1, 1]], [[1, 1, 1, 1], [-1, 1, 1, 1]])
    easy = scripted([[1, 0], [1, 1]], [[1, 1], [1, 1]])
    answers = {4: four, 2: easy}
    monkeypatch.setattr(fixed_point, "think_on", lambda model, split, segments, *_: answers[segments])
    z_H = torch.tensor([[[[1.0]], [[1.0]]], [[[2.0]], [[1.0]]], [[[3.0]], [[1.0]]], [[[4.0]], [[1.0]]]])
    monkeypatch.setattr(fixed_point, "record", lambda *_: SimpleNamespace(z_H_of_segments=z_H))
    boards = torch.tensor([[[2, 2, 2], [1, 1, 1]], [[2, 2, 2], [2, 1, 1]], [[1, 1, 1], [2, 2, 2]]])
    monkeypatch.setattr(fixed_point, "intermediate_predictions", lambda *_: boards)
    numbers = fixed_point.fixed_point(make(halting="bce", M_max=2, H_cycles=1), split, segments=4)
    assert numbers["solved"] == 2 and numbers["still_right"].tolist() == [1, 1, 0.5]
    assert numbers["moved"].tolist() == pytest.approx([(1 / 2 + 0) / 2, (1 / 3 + 0) / 2])
    assert numbers["open"] == [0, 1, 2, 3] and numbers["act"] == [1.0] * 4
    assert numbers["jumps"] == pytest.approx([1, 2 / 3])


def test_jumps_to_another_shortest_path():
    """The share of the open cells is counted towards the right answer that was found, whatever the label."""
    task = load_task("maze", size=5, kind="random")
    around = "#####{}##########".format
    boards = task.encode([around(rows) for rows in ("#S ### G##", "#So### G##", "#S ###oG##")])
    question, label, other = boards
    split = Split(question[None], label[None], np.zeros(1, np.int32), np.zeros(1))
    boards = np.stack([question, other])[:, None]
    assert fixed_point.jumps(split, boards, Task()) == []
    assert fixed_point.jumps(split, boards, task) == [1.0]


@pytest.mark.parametrize("name", ["hrm", "recurrent", "transformer", "trm"])
def test_every_model_moves_from_segment_to_segment(make, puzzles, name):
    """Labels are what the model answers in its first segment, in which the Q-head stops."""
    _, split, _ = puzzles
    split, model = split[:4], make(name, vocab_size=6, seq_len=16, halting="bce", H_layers=2)
    torch.nn.init.constant_(model.q_head.bias, 9.0)
    inputs = torch.from_numpy(split.inputs.astype(np.int64))
    trajectory = fixed_point.record(model, inputs, None, 5)
    split.labels = trajectory.logits[0].argmax(-1).numpy().astype(np.uint8)
    numbers = fixed_point.fixed_point(model, split, segments=5)
    z_H = trajectory.z_H_of_segments
    moved = ((z_H[1:] - z_H[:-1]).norm(dim=-1) / z_H[1:].norm(dim=-1)).mean((1, 2))
    after = 5 - model.config.M_max
    assert numbers["solved"] == 4 and len(numbers["moved"]) == after
    torch.testing.assert_close(numbers["moved"], moved[:after])

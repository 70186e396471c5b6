"""When ACT stops, and the groups of puzzles of equal difficulty."""

import numpy as np
import pytest
import torch

from analysis import halting
from data import to_tensors
from hrm import solve


def test_halting_says_what_solve_does(puzzles):
    task, split, model = puzzles
    inputs, _, _ = to_tensors(split, torch.device("cpu"))
    # "Right" is what always two segments answer, so that some answers are right and some are not.
    split.labels = solve(model, inputs, max_segments=2, confidence=1).predictions.numpy().astype(np.uint8)
    numbers = halting.halting(model, task, split, 12, confidence=0.8)
    for which in ("act", "fixed"):
        assert [result["M"] for result in numbers[which]] == [1, 2, 4, 8]
    assert [result["segments"] for result in numbers["fixed"]] == [1, 2, 4, 8]
    assert numbers["fixed"][1]["valid"] == 1
    solution = solve(model, inputs, max_segments=2, confidence=0.8)
    assert numbers["act"][1]["segments"] == pytest.approx(solution.segments.float().mean().item())
    right = (solution.predictions.numpy() == split.labels).all(1)
    assert numbers["act"][1]["valid"] == pytest.approx(right.mean())
    groups = numbers["difficulty"]
    assert sum(group["n"] for group in groups) == len(split)
    assert all(1 <= group["segments"] <= 3 for group in groups)
    assert len(halting.plot_halting(numbers).axes) == 3


def test_difficulty_groups():
    rating = np.array([0] * 30 + [1] * 12 + [2] * 3 + [np.nan], np.float32)
    groups = halting.difficulty_groups(rating)
    assert [(name, inside.sum()) for name, inside in groups] == [("0", 30), ("1–2", 15)]
    groups = halting.difficulty_groups(np.arange(100, dtype=np.float32), at_most=4)
    assert [inside.sum() for _, inside in groups] == pytest.approx([25] * 4, abs=1)
    assert groups[0][0] == "0–24"


def test_an_unrated_split_still_has_its_curves(puzzles, monkeypatch):
    task, split, model = puzzles
    monkeypatch.setattr(task, "rating", lambda inputs, labels: inputs[:, 0] * np.nan)
    numbers = halting.halting(model, task, split, 2)
    assert numbers["difficulty"] == []
    assert halting.plot_halting(numbers).axes

"""Participation ratio by puzzle, and the numbers of fig. 8."""

import numpy as np
import pytest
import torch

from analysis.dimensions import PuzzleMoments, participation_ratios
from analysis.states import READINGS, participation_ratio, record


def test_moments_give_the_participation_ratio_of_any_choice_of_puzzles():
    generator = torch.Generator().manual_seed(0)
    puzzle_rows = torch.randn(6, 9, 4, generator=generator) * torch.tensor([3.0, 2, 1, 1])
    for chosen in ([0, 1, 2, 3, 4, 5], [1, 4], [0, 0, 3]):
        times = np.bincount(chosen, minlength=6)
        for shaped in (puzzle_rows, puzzle_rows.flatten(1)[:, None]):  # 36 columns, more than rows
            expected = participation_ratio(shaped[chosen].flatten(0, 1))
            assert PuzzleMoments(shaped).participation_ratio(times) == pytest.approx(expected, rel=1e-9)


def test_participation_ratios_of_a_model_that_is_its_own_untrained_twin(make):
    """Fresh weights of the same seed: the "untrained" model is the "trained" one."""
    model, inputs = make(), torch.randint(1, 5, (12, 6), generator=torch.Generator().manual_seed(0))
    numbers = participation_ratios(model, inputs, untrained=1, samples=10, subsets=3)
    assert numbers["counts"] == [5, 10, 12]
    for reading in READINGS:
        for name, result in numbers["trained"][reading].items():
            twin = numbers["untrained"][reading][name]
            assert result["value"] == pytest.approx(twin["value"], rel=1e-9)
            assert result["value"] == pytest.approx(result["by_count"][-1], rel=1e-9)
            assert result["error"] > 0 == twin["error"]
    expected = participation_ratio(record(model, inputs).z_H.flatten(0, 2))
    assert numbers["trained"]["tokens"]["z_H"]["value"] == pytest.approx(expected, rel=1e-6)

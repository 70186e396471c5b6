"""Participation ratio by puzzle, and the numbers of fig. 8."""

import numpy as np
import pytest
import torch

from analysis import dimensions
from analysis.states import READINGS, participation_ratio, record, rows
from tests.models import make


@pytest.mark.parametrize("reading", READINGS)
def test_condensed_rows_give_the_participation_ratio_of_any_choice_of_puzzles(reading):
    model = make()
    inputs = torch.randint(1, 5, (13, 6), generator=torch.Generator().manual_seed(0))  # more than one batch
    choices = [np.arange(13), [1, 4, 12], [0, 0, 3]]
    ratios = dimensions.measure(model, inputs, 0 * inputs[:, 0], None, choices)
    puzzle_rows = rows(record(model, inputs).z_L, reading)
    for ratio, chosen in zip(ratios[reading, "z_L"], choices):
        assert ratio == pytest.approx(participation_ratio(puzzle_rows[chosen].flatten(0, 1)), rel=1e-6)
    np.testing.assert_allclose(ratios[reading, "ratio"], ratios[reading, "z_H"] / ratios[reading, "z_L"])


def test_participation_ratios_of_a_model_that_is_its_own_untrained_twin(monkeypatch):
    """Fresh weights of the same seed: the "untrained" model is the "trained" one."""
    monkeypatch.setattr(dimensions, "SAMPLES", 10)
    monkeypatch.setattr(dimensions, "SUBSETS", 3)
    inputs = torch.randint(1, 5, (12, 6), generator=torch.Generator().manual_seed(0))
    numbers = dimensions.participation_ratios(make(), inputs, 0 * inputs[:, 0], untrained=1)
    assert numbers["counts"] == [5, 10]
    twins = numbers["models"]
    for reading in READINGS:
        for name, result in twins["trained"][reading].items():
            assert result["value"] == pytest.approx(twins["untrained 1"][reading][name]["value"], rel=1e-9)
            assert result["error"] > 0 and len(result["by_count"]) == 2
    assert len(dimensions.plot_participation_ratios(numbers).axes) == 2

"""The numbers of fig. 3."""

import numpy as np
import pytest

from analysis.convergence import convergence, plot_convergence
from analysis.states import record, residuals
from tests.models import INPUTS, make


def test_convergence_numbers():
    numbers = convergence(make(), INPUTS)
    assert list(numbers["z_H"]["update"]) == [3, 6, 9, 12, 15, 18]
    assert list(numbers["z_L"]["update"]) == list(range(1, 19))
    trajectory = record(make(), INPUTS)
    moved = residuals(trajectory.z_L, trajectory.initial[1])
    np.testing.assert_allclose(numbers["z_L"]["mean"], moved.mean(1), rtol=1e-6)


@pytest.mark.parametrize("name, ticks", [("trm", 4), ("recurrent", 4), ("transformer", 2), ("prenorm", 2)])
def test_a_line_after_each_segment(name, ticks):
    numbers = convergence(make(name), INPUTS)
    left, *_ = plot_convergence([numbers]).axes
    assert left.get_xticks().tolist() == np.linspace(0, numbers["updates"], ticks).tolist()

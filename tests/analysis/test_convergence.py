"""The numbers of fig. 3."""

import numpy as np
import pytest

from analysis.convergence import convergence, plot_convergence
from analysis.states import record, residuals


def test_convergence_numbers(make, inputs):
    numbers = convergence(make(), inputs)
    assert list(numbers["z_H"]["update"]) == [3, 6, 9, 12, 15, 18]
    assert list(numbers["z_L"]["update"]) == list(range(1, 19))
    trajectory = record(make(), inputs)
    moved = residuals(trajectory.z_L, trajectory.initial[1])
    np.testing.assert_allclose(numbers["z_L"]["mean"], moved.mean(1), rtol=1e-6)


@pytest.mark.parametrize(
    "name, updates, dotted",
    [("trm", 6, [6.5, 12.5]), ("recurrent", 6, [6.5, 12.5]), ("transformer", 5, []), ("prenorm", 5, [])],
)
def test_a_dotted_line_after_each_segment_but_the_last(make, inputs, name, updates, dotted):
    numbers = convergence(make(name), inputs)
    assert numbers["updates_per_segment"] == updates
    lines = plot_convergence([numbers]).axes[0].lines
    assert [line.get_xdata()[0] for line in lines if line.get_linestyle() == ":"] == dotted

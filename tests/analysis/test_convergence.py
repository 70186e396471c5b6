"""The numbers of fig. 3."""

import numpy as np
import pytest

from analysis.convergence import convergence, plot_convergence
from analysis.states import record, residuals


def test_convergence_numbers(make, inputs):
    model = make()
    numbers, trajectory = convergence(model, inputs), record(model, inputs)
    assert list(numbers["z_H"]["update"]) == [3, 6, 9, 12, 15, 18]
    assert list(numbers["z_L"]["update"]) == list(range(1, 19))
    moved = residuals(trajectory.z_L, trajectory.initial[1])
    np.testing.assert_allclose(numbers["z_L"]["mean"], moved.mean(1), rtol=1e-6)
    assert "z_L" not in convergence(make("recurrent"), inputs)


@pytest.mark.parametrize(
    "name, updates", [("hrm", 6), ("trm", 6), ("recurrent", 6), ("transformer", 5), ("prenorm", 5)]
)
def test_a_dotted_line_after_each_segment_but_the_last(make, inputs, name, updates):
    numbers = convergence(make(name, **({"H_layers": 2, "L_layers": 3} if updates == 5 else {})), inputs)
    assert numbers["updates_per_segment"] == updates
    dotted = [line for line in plot_convergence([numbers]).axes[0].lines if line.get_linestyle() == ":"]
    assert [line.get_xdata()[0] for line in dotted] == ([] if updates == 5 else [6.5, 12.5])

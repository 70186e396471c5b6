"""notebooks/wires.py: each machine is HRM with the wire cut that its name says."""

import torch

from notebooks import wires
from tests.models import make


def answer(name, whole, z_H, z_L, x):
    """What a machine with the weights of `whole` answers."""
    model = wires.WIRES[name](whole.config).double()
    model.load_state_dict(whole.state_dict())
    with torch.no_grad():
        return model.think(z_H, z_L, x)[0]


def test_each_wire():
    whole = make(H_cycles=1, L_cycles=1, puzzle_emb_ndim=0, dtype="float64")
    z_H, z_L, x, other_H, other_L = torch.randn(5, 2, 6, 16, dtype=torch.float64)

    def moves(name, *changed):
        """Is the answer another one?"""
        before = answer(name, whole, z_H, z_L, x)
        return not torch.allclose(before, answer(name, whole, *changed), atol=1e-9)

    assert moves("hrm", z_H, other_L, x)
    assert moves("hrm", other_H, z_L, x)
    assert not moves("cut-L", z_H, other_L, x)
    assert moves("cut-L", other_H, z_L, x)
    # H forgets, so z_H counts only in the sum that L reads: what it loses there, x can give back.
    given_back = other_H, z_L, x + z_H - other_H
    assert not moves("cut-H", *given_back)
    assert moves("hrm", *given_back)
    double = answer("double-input", whole, z_H, z_L, x)
    assert torch.equal(double, answer("hrm", whole, z_H, z_L, 2 * x))

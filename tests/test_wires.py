"""notebooks/wires.py: each machine is HRM with the wire cut that its name says; the table holds all runs."""

import csv

import pytest
import torch

from hrm import HRM, HRMConfig
from notebooks import wires

CONFIG = HRMConfig(
    seq_len=4,
    hidden_size=8,
    num_heads=2,
    H_layers=1,
    L_layers=1,
    inner_multiple=8,
    H_cycles=1,
    L_cycles=1,
    puzzle_emb_ndim=0,
    dtype="float64",
)


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    return HRM(CONFIG).state_dict()


def answer(name, weights, z_H, z_L, x):
    model = wires.WIRES[name](CONFIG).double()
    model.load_state_dict(weights)
    with torch.no_grad():
        return model.think(z_H, z_L, x)[0]


def test_each_wire(weights):
    z_H, z_L, x, other_H, other_L = torch.randn(5, 2, 4, 8, dtype=torch.float64)

    def moves(name, *changed):
        """Is the answer another one?"""
        before = answer(name, weights, z_H, z_L, x)
        return not torch.allclose(before, answer(name, weights, *changed), atol=1e-9)

    assert moves("hrm", z_H, other_L, x)
    assert moves("hrm", other_H, z_L, x)
    assert not moves("cut-L", z_H, other_L, x)
    assert moves("cut-L", other_H, z_L, x)
    # H forgets, so z_H counts only in the sum that L reads: what it loses there, x can give back.
    given_back = other_H, z_L, x + z_H - other_H
    assert not moves("cut-H", *given_back)
    assert moves("hrm", *given_back)
    double = answer("double-input", weights, z_H, z_L, x)
    assert torch.equal(double, answer("hrm", weights, z_H, z_L, 2 * x))


def test_the_table_holds_all_runs(capsys, monkeypatch):
    monkeypatch.setattr(wires, "finish", None)  # none is trained anew
    wires.main([])
    assert "20 runs" in capsys.readouterr().out
    for row in csv.DictReader(wires.TABLE.open()):
        assert row["n"] == "500" and 0 <= float(row["exact"]) <= 1

"""notebooks/wires.py: each model is HRM with the wire cut that its name says; the table holds all runs."""

import csv

import pytest
import torch

from hrm import HRM, HRMConfig
from notebooks import wires

CONFIG = HRMConfig(vocab_size=5, seq_len=4, hidden_size=8, num_heads=2, H_layers=1, L_layers=1,
                   inner_multiple=8, H_cycles=1, L_cycles=1, puzzle_emb_ndim=0, dtype="float64")


@pytest.fixture(scope="module")
def states():
    torch.manual_seed(0)
    return torch.randn(5, 2, 4, 8, dtype=torch.float64)  # z_H, z_L, x, and two other states


def answer(name, weights, z_H, z_L, x):
    model = wires.WIRES[name](CONFIG).double()
    model.load_state_dict(weights)
    with torch.no_grad():
        return model.think(z_H, z_L, x, (model.cos, model.sin), 1)[0]


def test_each_wire(states):
    z_H, z_L, x, other_H, other_L = states
    weights = HRM(CONFIG).double().state_dict()

    def moved(name, *changed):
        return (answer(name, weights, z_H, z_L, x) - answer(name, weights, *changed)).abs().max()

    assert moved("hrm", z_H, other_L, x) > 0.01 and moved("hrm", other_H, z_L, x) > 0.01
    assert moved("cut-L", z_H, other_L, x) == 0 and moved("cut-L", other_H, z_L, x) > 0.01
    # H forgets, so z_H counts only in the sum that L reads: what it loses there, x can give back.
    assert moved("cut-H", other_H, z_L, x + z_H - other_H) < 1e-12
    assert moved("hrm", other_H, z_L, x + z_H - other_H) > 0.01
    double = answer("double-input", weights, z_H, z_L, x)
    assert torch.equal(double, answer("hrm", weights, z_H, z_L, 2 * x))


def test_the_table_holds_all_runs():
    rows = list(csv.DictReader(wires.TABLE.open()))
    runs = {(name, seed) for name in wires.WIRES for seed in wires.SEEDS}
    assert {(row["name"], int(row["seed"])) for row in rows} == runs
    assert all(row["n"] == "500" and 0 <= float(row["exact"]) <= 1 for row in rows)

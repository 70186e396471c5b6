"""Tiny models and puzzles for what analysis/ measures."""

import pytest
import torch

from data import load_splits, load_task
from hrm import HRMConfig
from training.checkpoints import make_model

SIZES = {
    "vocab_size": 5,
    "seq_len": 6,
    "hidden_size": 16,
    "num_heads": 2,
    "H_layers": 1,
    "L_layers": 1,
    "L_cycles": 3,
    "inner_multiple": 8,
    "puzzle_emb_ndim": 16,
    "M_max": 3,
    "halting": "bce",
    "dtype": "float32",
}
ONE_PASS = dict(H_cycles=1, L_cycles=1, M_max=1, H_layers=2, L_layers=3)


@pytest.fixture(scope="session")
def make():
    """make("trm", M_max=2): an untrained model that reads `inputs`."""

    def make(model="hrm", **sizes):
        torch.manual_seed(0)
        once = ONE_PASS if model in ("transformer", "prenorm") else {}
        return make_model(model, HRMConfig(**{**SIZES, **once, **sizes}))

    return make


@pytest.fixture(scope="session")
def inputs():
    return torch.tensor([[1, 2, 3, 4, 1, 2], [4, 3, 2, 1, 4, 3]])


@pytest.fixture
def puzzles(make):
    """4x4 Sudokus, and a model with a random Q-head: it stops here and there."""
    task = load_task("sudoku", size=4)
    split = load_splits(task, train_size=60, val_size=0, test_size=40, cache=None, progress=False)["test"]
    model = make(vocab_size=6, seq_len=16)
    torch.nn.init.normal_(model.q_head.weight, generator=torch.Generator().manual_seed(1))
    torch.nn.init.zeros_(model.q_head.bias)
    return task, split, model

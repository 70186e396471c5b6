"""Puzzles for what analysis/ measures."""

import pytest
import torch

from data import load_splits, load_task
from tests.models import make


@pytest.fixture
def puzzles():
    """4x4 Sudokus, and a model with a random Q-head: it stops here and there."""
    task = load_task("sudoku", size=4)
    split = load_splits(task, train_size=60, val_size=0, test_size=40, cache=None, progress=False)["test"]
    model = make(vocab_size=6, seq_len=16)
    torch.nn.init.normal_(model.q_head.weight, generator=torch.Generator().manual_seed(1))
    torch.nn.init.zeros_(model.q_head.bias)
    return task, split, model

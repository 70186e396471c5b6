"""Optimisers and schedules, against NumPy, PyTorch and counting by hand."""

import numpy as np
import pytest
import torch

from hrm import HRM, HRMConfig
from training.optimisers import (
    AdamAtan2,
    M_max_at,
    Muon,
    average_,
    lr_scale,
    make_optimizers,
    sign_sgd_,
)
from training.options import Options

pytestmark = pytest.mark.usefixtures("double")
ROUNDINGS = 100 * torch.finfo(torch.float64).eps  # dozens of them, none enlarged


def test_adam_atan2_against_numpy():
    rng = np.random.default_rng(0)
    p = rng.normal(size=(3, 4))
    weight = torch.nn.Parameter(torch.tensor(p))
    optimizer = AdamAtan2([weight], lr=0.02, weight_decay=0.3, betas=(0.9, 0.95))
    m = 0
    v = 0
    for t in range(1, 8):
        gradient = rng.normal(size=p.shape) * 10.0 ** rng.integers(-6, 3)
        gradient[0] = 0  # atan2(0, 0) = 0: a weight without gradient only decays
        weight.grad = torch.tensor(gradient)
        optimizer.step()
        m = 0.9 * m + 0.1 * gradient
        v = 0.95 * v + 0.05 * gradient**2
        root = np.sqrt(v / (1 - 0.95**t))
        p = p * (1 - 0.02 * 0.3)
        p -= 0.02 / (1 - 0.9**t) * np.arctan2(m, root)
    off = weight.detach().numpy() - p
    assert np.abs(off).max() < ROUNDINGS


def test_muon_is_that_of_pytorch(monkeypatch):
    """In float64: PyTorch's would compute in bfloat16."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    torch.manual_seed(0)
    shapes = (24, 8), (8, 8), (8, 20), (24, 8)
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    optimizers = Muon(ours, 0.1, 0.3), torch.optim.Muon(theirs, 0.1, weight_decay=0.3)
    for optimizer in optimizers:
        torch.manual_seed(1)
        for _ in range(4):
            for p in optimizer.param_groups[0]["params"]:
                p.grad = torch.randn_like(p)
            optimizer.step()
    for p, q in zip(ours, theirs):
        off = (p - q).abs().max()
        assert off < 3.4445**5 * ROUNDINGS  # by which it enlarges a small singular value


def test_muon_takes_the_matrices_of_the_modules_and_nothing_else():
    model = HRM(HRMConfig(hidden_size=16, num_heads=2, H_layers=1, L_layers=1))
    taken = []
    for optimizer, _ in make_optimizers(model, Options(optimizer="muon")):
        taken.append({id(p) for p in optimizer.param_groups[0]["params"]})
    rest, matrices = taken
    for name, p in model.named_parameters():
        assert (id(p) in matrices) == name.startswith(("H.", "L."))
        assert (id(p) in rest) != (id(p) in matrices)


def test_sign_sgd_moves_only_the_rows_in_the_batch():
    table = torch.full((5, 2), 2.0)
    ids = torch.tensor([3, 1, 3])
    grads = torch.tensor([
        [5.0, -1.0],
        [-2.0, 0.0],
        [-4.0, -3.0],  # of puzzle 3 together: 1, -4
    ])
    sign_sgd_(table, ids, grads, lr=0.1, weight_decay=0.5)
    decayed = 2 * (1 - 0.1 * 0.5)
    assert (table[[0, 2, 4]] == 2).all()
    assert (table[1] - decayed).tolist() == pytest.approx([0.1, 0])
    assert (table[3] - decayed).tolist() == pytest.approx([-0.1, 0.1])


def test_the_average_knows_when_it_began():
    """Of weights that are t in step t. In the long run it lags 1 / (1 - decay) steps behind."""
    model = torch.nn.Linear(1, 1)
    averaged = torch.nn.Linear(1, 1)  # what it was before does not count
    for t in range(1, 301):
        torch.nn.init.constant_(model.weight, t)
        average_(averaged, model, 0.9, t)
        lag = t - averaged.weight.item()
        assert 0 <= lag <= t / 10
        assert t > 1 or lag == 0
    assert lag == pytest.approx(9)


def test_learning_rate_schedule():
    constant = Options(warmup=2000, steps=26_041)
    shares = [lr_scale(step, constant) for step in (0, 999, 1999, 26_040)]
    assert shares == [1 / 2000, 0.5, 1, 1]
    falling = Options(warmup=10, lr_end=0.1, steps=100)
    shares = [lr_scale(step, falling) for step in (4, 9, 40, 70, 100)]
    assert shares == pytest.approx([0.5, 1, 1, 0.55, 0.1])
    assert lr_scale(0, Options(warmup=0)) == 1


@pytest.mark.parametrize("M_max, part, grown", [
    (8, 0.5, "112244888888"),
    (6, 1.0, "1111222244446"),
    (3, 0.0, "3"),
    (1, 0.5, "1"),
])
def test_M_max_doubles_over_the_first_part(M_max, part, grown):
    options = Options(steps=12, grow_M_max=part)
    for step, expected in enumerate(grown):
        assert M_max_at(step, options, M_max) == int(expected)

"""Optimisers and schedules, against NumPy, PyTorch and counting by hand."""

import numpy as np
import pytest
import torch

from hrm import HRM, HRMConfig
from training.optimisers import AdamAtan2, M_max_at, Muon, lr_scale, make_optimizers, orthogonal, sign_sgd_
from training.options import Options


def test_adam_atan2_against_numpy():
    rng = np.random.default_rng(0)
    shapes, lr, decay, beta1, beta2 = [(3, 4), (5,)], 0.02, 0.3, 0.9, 0.95
    params = [rng.normal(size=shape) for shape in shapes]
    tensors = [torch.nn.Parameter(torch.tensor(p)) for p in params]
    optimizer = AdamAtan2(tensors, lr, decay)
    m, v = [0 * p for p in params], [0 * p for p in params]
    for t in range(1, 8):
        for i, tensor in enumerate(tensors):
            gradient = rng.normal(size=shapes[i]) * 10.0 ** rng.integers(-6, 3)
            gradient.flat[0] = 0  # atan2(0, 0) = 0: a weight without gradient only decays
            tensor.grad = torch.tensor(gradient)
            m[i] = beta1 * m[i] + (1 - beta1) * gradient
            v[i] = beta2 * v[i] + (1 - beta2) * gradient**2
            angle = np.arctan2(m[i], np.sqrt(v[i] / (1 - beta2**t)))
            params[i] = params[i] * (1 - lr * decay) - lr / (1 - beta1**t) * angle
        optimizer.step()
        for p, tensor in zip(params, tensors):
            assert np.allclose(tensor.detach().numpy(), p, rtol=1e-12, atol=0)


def test_sign_sgd_moves_only_the_rows_in_the_batch():
    table = torch.full((5, 3), 2.0)
    ids = torch.tensor([3, 1, 3])
    grads = torch.tensor([[5.0, -1.0, 0.0], [-2.0, 0.0, 4.0], [-4.0, -3.0, 0.0]])  # puzzle 3: sums 1, -4, 0
    sign_sgd_(table, ids, grads, lr=0.1, weight_decay=0.5)
    decayed = 2.0 * (1 - 0.1 * 0.5)
    assert torch.equal(table[[0, 2, 4]], torch.full((3, 3), 2.0))
    assert torch.allclose(table[1], torch.tensor([decayed + 0.1, decayed, decayed - 0.1]))
    assert torch.allclose(table[3], torch.tensor([decayed - 0.1, decayed + 0.1, decayed]))


def test_learning_rate_schedule():
    constant = Options(warmup=2000)
    assert lr_scale(0, 26041, constant) == 1 / 2000
    assert lr_scale(999, 26041, constant) == 0.5
    assert lr_scale(1999, 26041, constant) == lr_scale(26040, 26041, constant) == 1
    cosine = Options(warmup=10, lr_end=0.1)
    assert lr_scale(4, 110, cosine) == 0.5
    assert lr_scale(10, 110, cosine) == 1
    assert lr_scale(60, 110, cosine) == pytest.approx(0.55)
    assert lr_scale(110, 110, cosine) == pytest.approx(0.1)
    assert lr_scale(0, 10, Options(warmup=0)) == 1


def test_M_max_doubles_over_the_first_half():
    grown = [M_max_at(step, 120, 8, 0.5) for step in range(120)]
    assert grown == [1] * 20 + [2] * 20 + [4] * 20 + [8] * 60
    assert {M_max_at(step, 120, 16, 0) for step in range(120)} == {16}
    assert [M_max_at(step, 4, 6, 1.0) for step in range(5)] == [1, 1, 2, 4, 6]
    assert M_max_at(0, 10, 1, 0.5) == 1


# --------------------------------------------------------------------------------------------------- learning


def test_orthogonal_moves_singular_values_near_one():
    torch.manual_seed(0)
    for shape in ((3, 24, 8), (2, 8, 20), (4, 16, 16)):
        matrices = torch.randn(shape) * torch.tensor([1e-6, 1e-2, 1.0, 1e4])[: shape[0], None, None]
        U, _, V = torch.linalg.svd(matrices, full_matrices=False)
        inside = U.mT @ orthogonal(matrices) @ V.mT  # in the singular vectors of the matrix: diagonal
        values = inside.diagonal(dim1=1, dim2=2)
        assert (inside - torch.diag_embed(values)).abs().max() < 1e-3
        assert values.min() > 0.3 and values.max() < 1.25


def test_muon_is_that_of_pytorch():
    """PyTorch's computes in bfloat16, hence the tolerance, two hundredths of a step."""
    torch.manual_seed(0)
    shapes = [(24, 8), (8, 8), (8, 20), (24, 8)]
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    optimizers = Muon(ours, 0.1, 0.3), torch.optim.Muon(theirs, lr=0.1, weight_decay=0.3)
    for _ in range(4):
        for p, q in zip(ours, theirs):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for p, q in zip(ours, theirs):
        assert (p - q).abs().max() < 4 * 0.1 * 0.02


def test_muon_takes_the_matrices_of_the_modules_and_nothing_else():
    model = HRM(HRMConfig(hidden_size=16, num_heads=2, H_layers=1, L_layers=1, puzzle_emb_ndim=16))
    names = {p: name for name, p in model.named_parameters()}
    rest, matrices = ({names[p] for p in optimizer.param_groups[0]["params"]}
                      for optimizer in make_optimizers(model, Options(optimizer="muon")))
    assert rest == {"tokens.weight", "head.weight", "q_head.weight", "q_head.bias"}
    assert matrices == set(names.values()) - rest and len(matrices) == 8
    (everything,) = make_optimizers(model, Options())
    assert len(everything.param_groups[0]["params"]) == 12

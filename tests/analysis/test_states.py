"""States, residuals, PCA and participation ratio, against answers that are known or computed another way."""

import numpy as np
import pytest
import torch

from analysis import states
from analysis.states import READINGS, intermediate_predictions, pca, record, residuals, rows
from hrm import solve
from tests.models import INPUTS, make


@torch.no_grad()
def unrolled(model, inputs, segments):
    """All states of HRM or TRM by a plain loop, and the answers as in fig. 7: z_H, z_L, predictions."""
    rope = model.cos, model.sin
    z_H, z_L = model.initial_state(len(inputs))
    x = model.input_network(inputs, model.puzzle_vectors(torch.zeros(len(inputs), dtype=torch.long)))
    H_states = []
    L_states = []
    predictions = []
    for _ in range(segments * model.config.H_cycles):
        for _ in range(model.config.L_cycles):
            z_L = model.L(z_L, z_H + x, rope)
            L_states.append(z_L)
            predictions.append(model.head(model.H(z_H, z_L, rope))[:, 1:].argmax(-1))
        z_H = model.H(z_H, z_L, rope)
        H_states.append(z_H)
    return torch.stack(H_states), torch.stack(L_states), torch.stack(predictions)


@pytest.mark.parametrize("name", ["hrm", "trm"])
def test_record_and_residuals_against_a_plain_loop(name):
    model = make(name)
    z_H, z_L, predictions = unrolled(model, INPUTS, segments=3)
    trajectory = record(model, INPUTS)
    torch.testing.assert_close(trajectory.z_H, z_H)
    torch.testing.assert_close(trajectory.z_L, z_L)
    torch.testing.assert_close(trajectory.logits, model.head(z_H[1::2])[:, :, 1:])
    assert torch.equal(intermediate_predictions(model, trajectory), predictions)
    moved = residuals(trajectory.z_L, trajectory.initial[1])
    start = model.initial_state(2)[1]
    torch.testing.assert_close(moved[0], (z_L[0] - start).norm(dim=-1).mean(-1))
    torch.testing.assert_close(moved[7], (z_L[7] - z_L[6]).norm(dim=-1).mean(-1))
    assert not model.H._forward_hooks  # nobody watches any longer


@pytest.mark.parametrize("name, updates", [("recurrent", 18), ("transformer", 5), ("prenorm", 5)])
def test_record_of_models_with_one_state(name, updates):
    model = make(name, H_layers=2, L_layers=3)
    trajectory = record(model, INPUTS)
    assert trajectory.z_H.shape == (updates, 2, 7, 16) and len(trajectory.z_L) == 0
    predictions = intermediate_predictions(model, trajectory)
    assert torch.equal(predictions[-1], trajectory.logits[-1].argmax(-1))
    assert torch.equal(predictions[-1], solve(model, INPUTS, confidence=1).predictions)
    if updates == 5:  # one after each layer
        first = model.H.blocks[0](trajectory.initial[0], (model.cos, model.sin))
        torch.testing.assert_close(trajectory.z_H[0], first)


@pytest.mark.parametrize("n", [200, 3])  # with fewer rows than columns it goes the other way round
def test_participation_ratio_against_eigenvalues(n):
    X = np.random.default_rng(0).normal(size=(n, 5)) * [4, 3, 2, 1, 1] + 7
    eigenvalues = np.linalg.eigvalsh(np.cov(X.T))
    expected = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    assert states.participation_ratio(X) == pytest.approx(expected, rel=1e-9)


def test_pca_against_numpy():
    X = np.random.default_rng(0).normal(size=(50, 6)) * [3, 2, 1, 1, 0.5, 0.1] + 7
    projection, explained = pca(X, k=3)
    centred = X - X.mean(0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(projection), np.abs(centred @ directions[:3].T), atol=1e-9)
    np.testing.assert_allclose(explained, (singular**2 / (singular**2).sum())[:3], atol=1e-12)


def test_readings_say_what_their_rows_are():
    z = record(make(), INPUTS).z_L  # (18, 2, 7, 16)
    shapes = [tuple(rows(z, reading).shape) for reading in READINGS]
    assert shapes == [(2, 126, 16), (2, 18, 16), (2, 1, 112), (2, 1, 288)]
    torch.testing.assert_close(rows(z, "tokens")[1, 5 * 7 + 3], z[5, 1, 3])
    torch.testing.assert_close(rows(z, "steps")[1, 5], z[5, 1].mean(0))

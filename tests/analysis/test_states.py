"""States, residuals, PCA and participation ratio, against answers that are known or computed another way."""

import numpy as np
import pytest
import torch

from analysis.states import (
    READINGS,
    intermediate_predictions,
    participation_ratio,
    pca,
    record,
    residuals,
    rows,
)
from hrm import solve


@torch.no_grad()
def unrolled(model, inputs, segments):
    """All states of HRM or TRM by a plain loop, and the answers as in fig. 7: z_H, z_L, predictions."""
    rope, (z_H, z_L) = (model.cos, model.sin), model.initial_state(len(inputs))
    x = model.input_network(inputs, model.puzzle_vectors(torch.zeros(len(inputs), dtype=torch.long)))
    H_states, L_states, predictions = [], [], []
    for _ in range(segments * model.config.H_cycles):
        for _ in range(model.config.L_cycles):
            z_L = model.L(z_L, z_H + x, rope)
            L_states.append(z_L)
            predictions.append(model.head(model.H(z_H, z_L, rope))[:, 1:].argmax(-1))
        z_H = model.H(z_H, z_L, rope)
        H_states.append(z_H)
    return torch.stack(H_states), torch.stack(L_states), torch.stack(predictions)


@pytest.mark.parametrize("name", ["hrm", "trm"])
def test_record_and_residuals_against_a_plain_loop(make, inputs, name):
    model = make(name)
    z_H, z_L, predictions = unrolled(model, inputs, segments=3)
    trajectory = record(model, inputs)
    torch.testing.assert_close(trajectory.z_H, z_H)
    torch.testing.assert_close(trajectory.z_L, z_L)
    torch.testing.assert_close(trajectory.logits, model.head(z_H[1::2])[:, :, 1:])
    assert torch.equal(intermediate_predictions(model, inputs), predictions)
    start = model.initial_state(2)[1]
    moved = residuals(trajectory.z_L, trajectory.initial[1])
    assert moved.shape == (18, 2)
    torch.testing.assert_close(moved[0, 1], (z_L[0, 1] - start[1]).norm(dim=-1).mean())
    torch.testing.assert_close(moved[7, 0], (z_L[7, 0] - z_L[6, 0]).norm(dim=-1).mean())
    assert not model.H._forward_hooks and not model.L._forward_hooks


def test_record_of_the_recurrent_network_and_the_transformer(make, inputs):
    model = make("recurrent")
    trajectory = record(model, inputs, segments=2)
    assert trajectory.z_H.shape == (12, 2, 7, 16) and len(trajectory.z_L) == 0
    predictions = intermediate_predictions(model, inputs, segments=2)
    assert torch.equal(predictions[5::6], trajectory.logits.argmax(-1))
    model = make("transformer", H_layers=2, L_layers=3)
    trajectory = record(model, inputs)
    assert trajectory.z_H.shape == (5, 2, 7, 16)  # one state per layer
    first = model.H.blocks[0](trajectory.initial[0], (model.cos, model.sin))
    torch.testing.assert_close(trajectory.z_H[0], first)
    assert torch.equal(intermediate_predictions(model, inputs)[-1], solve(model, inputs).predictions)


@pytest.mark.parametrize("name", ["hrm", "recurrent", "transformer", "trm"])
def test_the_state_at_the_end_of_a_segment_is_what_is_answered_from(make, inputs, name):
    model = make(name, H_layers=2)
    trajectory = record(model, inputs, segments=3)
    last = trajectory.z_H.unflatten(0, (3, -1))[:, -1]
    torch.testing.assert_close(model.head(last)[:, :, 1:], trajectory.logits)


@pytest.mark.parametrize("k, D, rotated", [(1, 8, False), (5, 8, True), (40, 40, True)])
def test_participation_ratio_of_k_equal_variances(k, D, rotated):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50_000, k)) @ np.eye(D)[:k] + rng.normal(size=D)
    if rotated:
        X = X @ np.linalg.qr(rng.normal(size=(D, D)))[0]
    assert participation_ratio(X) == pytest.approx(k, rel=0.01)


def test_participation_ratio_of_a_known_spectrum():
    rng, variances = np.random.default_rng(0), np.array([8.0, 4.0, 2.0, 1.0, 1.0])
    X = rng.normal(size=(200_000, 5)) * np.sqrt(variances)
    assert participation_ratio(X) == pytest.approx(16**2 / 86, rel=0.01)
    few = torch.tensor(X[:3])  # fewer rows than columns take the other way round, to the same answer
    eigenvalues = np.linalg.eigvalsh(np.cov(X[:3].T))
    expected = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    assert participation_ratio(few) == pytest.approx(expected, rel=1e-9)


def test_pca_against_numpy():
    X = np.random.default_rng(0).normal(size=(50, 6)) * [3, 2, 1, 1, 0.5, 0.1] + 7
    projection, ratios = pca(X, k=3)
    _, singular, directions = np.linalg.svd(X - X.mean(0), full_matrices=False)
    expected = (X - X.mean(0)) @ directions[:3].T
    assert isinstance(projection, np.ndarray)
    np.testing.assert_allclose(np.abs(projection), np.abs(expected), atol=1e-9)
    np.testing.assert_allclose(ratios, (singular**2 / (singular**2).sum())[:3], atol=1e-12)
    again, _ = pca(-X, k=3)  # a fixed sign: mirrored data give the mirrored picture
    np.testing.assert_allclose(again, -projection, atol=1e-9)


def test_readings_say_what_their_rows_are(make, inputs):
    z = record(make(), inputs).z_L  # (18, 2, 7, 16)
    shapes = {reading: tuple(rows(z, reading).shape) for reading in READINGS}
    assert shapes == {
        "tokens": (2, 126, 16),
        "steps": (2, 18, 16),
        "puzzles": (2, 1, 112),
        "trajectories": (2, 1, 288),
    }
    torch.testing.assert_close(rows(z, "steps")[1, 5], z[5, 1].mean(0))
    torch.testing.assert_close(rows(z, "tokens")[1, 5 * 7 + 3], z[5, 1, 3])

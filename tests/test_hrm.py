"""The model, tested: its published layout, the one-step gradient and its memory, the losses. The rest of
hrm.py: test_act.py."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import hrm
from hrm import (
    HRM,
    IGNORE,
    HRMConfig,
    Slots,
    act_step,
    segment_loss,
    stablemax_cross_entropy,
)

TINY = dict(
    vocab_size=5,
    seq_len=9,
    hidden_size=16,
    num_heads=2,
    H_layers=1,
    L_layers=1,
    puzzle_emb_ndim=16,
    num_puzzles=3,
    M_max=4,
    dtype="float32",
)


def tiny(seed=0, **changes):
    torch.manual_seed(seed)
    model = HRM(HRMConfig(**{**TINY, **changes}))
    torch.nn.init.normal_(model.q_head.weight)  # so that the Q-values differ between puzzles
    torch.nn.init.zeros_(model.q_head.bias)
    return model


def puzzles(B, model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    V, S = model.config.vocab_size, model.config.seq_len
    inputs, labels = torch.randint(V, (2, B, S), generator=generator)
    return inputs, labels, torch.randint(model.config.num_puzzles, (B,), generator=generator)


# ----------------------------------------------------------------------------------------------- architecture


def test_published_parameter_count():
    assert sum(p.numel() for p in HRM(HRMConfig(vocab_size=11, seq_len=81)).parameters()) == 27_275_266


@pytest.mark.parametrize("std", [1.0, 0.02])
def test_truncated_normal_has_the_std_asked_for(std):
    torch.manual_seed(0)
    sample = hrm.trunc_normal_(torch.empty(1_000_000), std)
    assert sample.std().item() == pytest.approx(std, rel=5e-3)
    assert sample.abs().max() <= 2 * std / 0.8796 * 1.001  # cut at two standard deviations, then rescaled
    assert sample.abs().max() > 2.2 * std


def test_fresh_model_starts_as_published():
    torch.manual_seed(0)
    model = HRM(HRMConfig(hidden_size=128, num_heads=4))
    assert model.L.blocks[0].mlp.down.weight.std().item() == pytest.approx(
        model.L.blocks[0].mlp.down.in_features ** -0.5, rel=0.02
    )
    assert model.tokens.weight.std().item() == pytest.approx(128**-0.5, rel=0.05)
    assert (model.q_head.weight == 0).all() and (model.q_head.bias == -5).all()
    assert (model.puzzle_emb == 0).all()
    assert not any(name in dict(model.named_parameters()) for name in ("H_init", "L_init", "puzzle_emb"))


def test_swiglu_width():
    assert hrm.swiglu_size(512, 4, 256) == 1536
    assert hrm.swiglu_size(64, 4, 256) == 256
    assert hrm.swiglu_size(64, 4, 16) == 176  # 170.7, rounded up


def score(config, a, b, q, k):
    """Attention score of a query at position a with a key at position b."""
    cos, sin = hrm.rope_tables(config)
    return (hrm.rotate(q, cos[a], sin[a]) * hrm.rotate(k, cos[b], sin[b])).sum().item()


def test_rope_sees_only_the_distance():
    config = HRMConfig(**{**TINY, "seq_len": 25})
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    assert score(config, 3, 7, q, k) == pytest.approx(score(config, 13, 17, q, k), abs=1e-5)
    assert score(config, 3, 7, q, k) != pytest.approx(score(config, 3, 8, q, k), abs=1e-3)


def test_rope2d_sees_only_the_offset_in_rows_and_columns():
    config = HRMConfig(**{**TINY, "seq_len": 25, "positions": "rope2d", "rope_base": 10.0})
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    def cell(row, column):
        return 1 + 5 * row + column  # behind one puzzle position

    below = score(config, cell(0, 0), cell(1, 0), q, k)
    assert below == pytest.approx(score(config, cell(3, 4), cell(4, 4), q, k), abs=1e-5)
    assert below != pytest.approx(score(config, cell(0, 0), cell(0, 1), q, k), abs=1e-3)
    # In one dimension the last cell of a row and the first of the next are neighbours; here they are far
    # apart.
    assert score(config, cell(0, 4), cell(1, 0), q, k) != pytest.approx(
        score(config, cell(0, 3), cell(0, 4), q, k), abs=1e-3
    )


def test_puzzle_embedding_fills_its_positions_and_is_padded():
    model = tiny(puzzle_emb_ndim=40)  # 40 = 16 + 16 + 8: three positions, the last one half empty
    vectors = torch.randn(2, 40)
    x = model.input_network(torch.zeros(2, 9, dtype=torch.long), vectors)
    assert x.shape == (2, 12, 16)
    torch.testing.assert_close(x[:, :3].reshape(2, 48)[:, :40], 4 * vectors)  # √D = 4
    assert (x[:, 2, 8:] == 0).all()


@pytest.mark.parametrize("positions", hrm.CHOICES["positions"])
def test_every_parameter_learns(positions):
    model = tiny(positions=positions)
    inputs, labels, ids = puzzles(4, model)
    slots = Slots.empty(model, inputs, labels, ids)
    _, loss, _, vectors = act_step(model, slots, (inputs, labels, ids), M_max=4)
    loss.backward()
    for name, p in [*model.named_parameters(), ("puzzle vectors", vectors)]:
        assert p.grad is not None and p.grad.isfinite().all() and p.grad.abs().sum() > 0, name


def test_bfloat16_stays_close_to_float32():
    wide, narrow = tiny(), tiny(dtype="bfloat16")
    inputs, _, ids = puzzles(3, wide)
    (z_H, _), logits, q_halt, _ = wide(wide.initial_state(3), inputs, wide.puzzle_vectors(ids))
    (z_H_16, _), logits_16, q_halt_16, _ = narrow(narrow.initial_state(3), inputs, narrow.puzzle_vectors(ids))
    assert z_H_16.dtype == logits_16.dtype == torch.bfloat16 and q_halt_16.dtype == torch.float32
    assert (z_H - z_H_16).abs().mean() < 0.05 and (logits - logits_16).abs().mean() < 0.05


@pytest.mark.parametrize(
    "wrong",
    [
        dict(num_heads=3),
        dict(positions="polar"),
        dict(hidden_size=0),
        dict(M_max=0),
        dict(positions="rope2d", seq_len=10),
        dict(exploration=1.5),
        dict(dtype="int8"),
    ],
)
def test_impossible_configurations_are_refused(wrong):
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        HRMConfig(**{**TINY, **wrong})


# ------------------------------------------------------------ one-step gradient


def contractive(L_cycles):
    """A float64 HRM whose L-module is a contraction: a strong injection leaves little influence to the old
    state."""
    model = tiny(
        hidden_size=8,
        seq_len=3,
        num_puzzles=1,
        puzzle_emb_ndim=0,
        H_cycles=1,
        L_cycles=L_cycles,
        dtype="float64",
    ).double()
    with torch.no_grad():
        model.tokens.weight.mul_(5)
    return model


def L_gradient(model, gradient_steps):
    """Gradient of a loss on one segment with respect to the L-module's weights, as one vector."""
    inputs = torch.tensor([[1, 4, 2]])
    _, logits, _, _ = model(model.initial_state(1), inputs, gradient_steps=gradient_steps)
    loss = (logits * torch.linspace(-1, 1, logits.numel(), dtype=torch.float64).view_as(logits)).sum()
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.L.parameters()))])


def test_one_step_gradient_is_the_first_term_of_the_neumann_series():
    """At a fixed point z* of f: dL/dθ = g (I − J)⁻¹ ∂f/∂θ = g (I + J + J² + …) ∂f/∂θ, with J = ∂f/∂z, g =
    dL/dz*."""
    model = contractive(L_cycles=80)
    rope = (model.cos, model.sin)
    inputs = torch.tensor([[1, 4, 2]])
    z_H, z_L = model.initial_state(1)
    injection = (z_H + model.input_network(inputs, None)).detach()
    with torch.no_grad():
        for _ in range(79):
            z_L = model.L(z_L, injection, rope)
        assert (model.L(z_L, injection, rope) - z_L).abs().max() < 1e-12  # it is a fixed point

    def loss_of(z_L):
        logits = model.head(model.H(z_H, z_L, rope))
        return (logits * torch.linspace(-1, 1, logits.numel(), dtype=torch.float64).view_as(logits)).sum()

    star = z_L.clone().requires_grad_()
    g = torch.autograd.grad(loss_of(star), star)[0].flatten()
    J = torch.autograd.functional.jacobian(lambda z: model.L(z, injection, rope), z_L).reshape(
        g.numel(), g.numel()
    )

    def through_weights(v):  # v ∂f/∂θ
        out = model.L(z_L, injection, rope)
        return torch.cat(
            [p.flatten() for p in torch.autograd.grad(out, list(model.L.parameters()), v.view_as(out))]
        )

    exact = through_weights(torch.linalg.solve((torch.eye(len(g), dtype=torch.float64) - J).T, g))

    def error(gradient):
        return ((gradient - exact).norm() / exact.norm()).item()

    errors, term, total = [], g, torch.zeros_like(g)
    for _ in range(30):
        total = total + term
        errors.append(error(through_weights(total)))
        term = J.T @ term

    torch.testing.assert_close(L_gradient(model, gradient_steps=1), through_weights(g), rtol=1e-9, atol=1e-12)
    assert errors[0] > 1e-2  # the first term alone is an approximation …
    assert all(
        later < earlier for earlier, later in zip(errors[:8], errors[1:8])
    )  # … that more terms improve
    assert errors[-1] < 1e-6
    assert error(L_gradient(model, gradient_steps=1000)) < 1e-6  # long back-propagation through time agrees
    assert (
        torch.cosine_similarity(L_gradient(model, gradient_steps=1), exact, dim=0) > 0.8
    )  # and it points the right way


def peak_memory(model, gradient_steps):
    """Most bytes allocated at one time during forward and backward of a segment, from PyTorch's allocator."""
    inputs, _, ids = puzzles(8, model)
    z = model.initial_state(8)
    with torch.profiler.profile(profile_memory=True) as profiler:
        _, logits, _, _ = model(z, inputs, model.puzzle_vectors(ids), gradient_steps=gradient_steps)
        logits.sum().backward()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = np.cumsum([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())])
    model.zero_grad()
    return live.max()


def test_peak_memory_does_not_grow_with_the_cycles():
    shallow, deep = (tiny(H_cycles=n, L_cycles=n, hidden_size=32) for n in (2, 4))  # 6 and 20 updates
    for model in (shallow, deep):
        peak_memory(model, False)  # the first call allocates gradients and caches
    assert peak_memory(deep, gradient_steps=1) < 1.02 * peak_memory(shallow, gradient_steps=1)
    assert peak_memory(deep, gradient_steps=1000) > 2 * peak_memory(shallow, gradient_steps=1000)


def test_full_bptt_agrees_with_one_step_where_there_is_only_one_step():
    gradients = []
    for gradient_steps in (1, 1000):
        model = tiny(H_cycles=1, L_cycles=1)
        inputs, _, ids = puzzles(2, model)
        _, logits, _, _ = model(
            model.initial_state(2), inputs, model.puzzle_vectors(ids), gradient_steps=gradient_steps
        )
        logits.square().sum().backward()
        gradients.append(model.L.blocks[0].attention.qkv.weight.grad)
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


# ----------------------------------------------------------------------------------------------------- losses


def test_stablemax_cross_entropy_by_hand():
    logits, labels = torch.tensor([[[2.0, -1.0, 0.0], [-3.0, 0.5, 0.0]]]), torch.tensor([[1, IGNORE]])
    s = [3.0, 1 / 2, 1.0]
    loss = stablemax_cross_entropy(logits, labels)
    assert loss.tolist() == [[pytest.approx(-math.log(s[1] / sum(s)), rel=1e-12), 0.0]]


def test_segment_loss_averages_tokens_and_sums_sequences():
    config = HRMConfig(**{**TINY, "token_loss": "softmax"})
    torch.manual_seed(0)
    logits, q = torch.randn(3, 9, 5), torch.randn(3)
    labels = torch.randint(5, (3, 9))
    labels[0, 4:] = IGNORE
    labels[2] = IGNORE  # a padding row
    loss, parts, cells, exact = segment_loss(config, logits, labels, q, q, None)
    by_hand = sum(
        F.cross_entropy(logits[i][labels[i] != IGNORE], labels[i][labels[i] != IGNORE]) for i in (0, 1)
    )
    assert parts["lm_loss"].item() == pytest.approx(by_hand.item(), rel=1e-5)
    right = [(logits[i].argmax(-1) == labels[i])[labels[i] != IGNORE].float().mean().item() for i in (0, 1)]
    assert cells.tolist() == pytest.approx(right + [0.0])



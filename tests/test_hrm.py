"""What HRM claims, tested: the one-step gradient, its memory, deep supervision, ACT and the published
layout."""

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
    draw_M_min,
    segment_loss,
    solve,
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


# ------------------------------------------------------------ deep supervision and ACT in training


@pytest.mark.parametrize("gradient_steps", [1, 1000])
def test_no_gradient_crosses_segments(gradient_steps):
    model = tiny()
    inputs, _, ids = puzzles(2, model)
    vectors = model.puzzle_vectors(ids)
    z, first, _, _ = model(model.initial_state(2), inputs, vectors, gradient_steps=gradient_steps)
    assert not z[0].requires_grad and not z[1].requires_grad
    _, second, _, _ = model(z, inputs, vectors, gradient_steps=gradient_steps)
    assert torch.autograd.grad(second.sum(), first, allow_unused=True) == (None,)


def test_a_slot_does_not_depend_on_its_neighbours():
    model = tiny(dtype="float64").double()
    mine, others, strangers = (puzzles(n, model, seed) for n, seed in ((1, 0), (3, 1), (3, 2)))
    results = []
    for neighbours in (others, strangers):
        batch = [torch.cat([a, b]) for a, b in zip(mine, neighbours)]
        slots = Slots.empty(model, *batch)
        for _ in range(3):
            slots, *_ = act_step(model, slots, batch, M_max=4)
        results.append([tensor[0] for tensor in vars(slots).values()])
    for a, b in zip(*results):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


class Script:
    """Stands in for a model: plays prepared Q-values and gives every token the logits of its label or of
    another."""

    def __init__(self, q_halt, q_continue, right, M_max, halting="q"):
        self.config = HRMConfig(**{**TINY, "M_max": M_max, "halting": halting})
        self.q_halt, self.q_continue, self.right, self.calls = q_halt, q_continue, right, 0

    def initial_state(self, B):
        return torch.zeros(B, 10, 16), torch.zeros(B, 10, 16)

    def puzzle_vectors(self, ids):
        return None

    def wants_to_halt(self, q_halt, q_continue):
        return HRM.wants_to_halt(self, q_halt, q_continue)

    def __call__(self, z, inputs, vectors):
        i, self.calls = self.calls, self.calls + 1
        logits = F.one_hot(torch.where(self.right[:, None], 1, 2).expand(-1, 9), 5).float()
        return (z[0] + 1, z[1] + 1), logits, torch.tensor(self.q_halt[i]), torch.tensor(self.q_continue[i])


def bce(logit, target):
    p = 1 / (1 + math.exp(-logit))
    return -target * math.log(p) - (1 - target) * math.log(1 - p)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_q_targets_by_hand():
    """Two slots in their first of two segments, then in their last."""
    right = torch.tensor([True, False])
    batch = (
        torch.zeros(2, 9, dtype=torch.long),
        torch.ones(2, 9, dtype=torch.long),
        torch.zeros(2, dtype=torch.long),
    )
    # calls: segment 1, look-ahead to 2, segment 2, look-ahead to 3
    model = Script(
        [[0.3, -1.0], [0.5, -0.2], [0.9, 0.4], [-0.7, 1.5]],
        [[0.6, 0.2], [0.1, 0.8], [2.0, 0.1], [3.0, 3.0]],
        right,
        M_max=2,
    )
    slots, loss, metrics, _ = act_step(model, Slots.empty(model, *batch), batch, M_max=2)
    assert slots.halted.tolist() == [False, False] and slots.segments.tolist() == [1, 1]
    expected_halt = bce(0.3, 1) + bce(-1.0, 0)
    expected_continue = bce(0.6, sigmoid(max(0.5, 0.1))) + bce(0.2, sigmoid(max(-0.2, 0.8)))
    assert metrics["q_halt_loss"].item() == pytest.approx(expected_halt, rel=1e-5)
    assert metrics["q_continue_loss"].item() == pytest.approx(expected_continue, rel=1e-5)
    assert loss.item() == pytest.approx(
        metrics["lm_loss"].item() + (expected_halt + expected_continue) / 2, rel=1e-5
    )
    assert metrics["count"] == 0

    slots, _, metrics, _ = act_step(
        model, slots, batch, M_max=2
    )  # the last: going on is worth the next q_halt
    assert slots.halted.all() and slots.segments.tolist() == [2, 2]
    assert metrics["q_continue_loss"].item() == pytest.approx(
        bce(2.0, sigmoid(-0.7)) + bce(0.1, sigmoid(1.5)), rel=1e-5
    )
    assert (metrics["count"], metrics["exact_accuracy"], metrics["q_halt_accuracy"], metrics["segments"]) == (
        2,
        1,
        1,
        4,
    )


def test_no_continue_loss_and_no_look_ahead_without_need():
    batch = (
        torch.zeros(1, 9, dtype=torch.long),
        torch.ones(1, 9, dtype=torch.long),
        torch.zeros(1, dtype=torch.long),
    )
    for M_max, halting in ((1, "q"), (4, "bce")):
        model = Script([[0.5]], [[9.0]], torch.tensor([True]), M_max, halting)
        slots, _, metrics, _ = act_step(model, Slots.empty(model, *batch), batch, M_max)
        assert model.calls == 1 and "q_continue_loss" not in metrics
        assert slots.halted.all()  # by M_max = 1; by q_halt > 0 whatever q_continue says


def test_halted_slots_take_new_puzzles_and_the_others_think_on():
    model = tiny()
    old, new = puzzles(3, model, seed=1), puzzles(3, model, seed=2)
    slots = Slots.empty(model, *old).refill(model, *old)
    slots.halted = torch.tensor([True, False, True])
    slots.segments = torch.tensor([3, 2, 1], dtype=torch.int32)
    slots.z_H = torch.ones_like(slots.z_H)
    after = slots.refill(model, *new)
    for row, source in enumerate((new, old, new)):
        assert torch.equal(after.inputs[row], source[0][row]) and torch.equal(
            after.labels[row], source[1][row]
        )
    assert after.segments.tolist() == [0, 2, 0]
    assert torch.equal(after.z_H[0], model.initial_state(1)[0][0]) and (after.z_H[1] == 1).all()


def test_halting_obeys_M_min_and_M_max():
    batch = (
        torch.zeros(3, 9, dtype=torch.long),
        torch.ones(3, 9, dtype=torch.long),
        torch.zeros(3, dtype=torch.long),
    )
    eager = [[1.0, 1.0, -1.0]] * 8, [[0.0, 0.0, 0.0]] * 8  # slots 0 and 1 want to halt at once, slot 2 never
    model = Script(*eager, torch.tensor([True] * 3), M_max=3)
    slots, halted = Slots.empty(model, *batch), []
    for _ in range(3):
        slots, *_ = act_step(model, slots, batch, M_max=3, M_min=torch.tensor([1, 2, 1]))
        halted.append(slots.halted.tolist())
    assert halted == [[True, False, False], [True, True, False], [True, False, True]]


def test_M_min_distribution():
    draws = draw_M_min(200_000, 5, 0.4, torch.Generator().manual_seed(0))
    shares = [(draws == m).float().mean().item() for m in range(1, 7)]
    assert shares == pytest.approx([0.6, 0.1, 0.1, 0.1, 0.1, 0.0], abs=0.005)
    assert (draw_M_min(1000, 5, 0.0) == 1).all()


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


# -------------------------------------------------------------------------------------------------- inference


def test_solve_halts_each_puzzle_by_itself():
    model = tiny(M_max=6, dtype="float64").double()  # rounding depends on the batch size and would grow
    inputs, _, ids = puzzles(40, model)
    together = solve(model, inputs, ids)
    assert len(together.segments.unique()) > 2  # they do stop at different times
    for i in range(0, 40, 5):
        z, path = model.initial_state(1), []
        for segment in range(1, 7):
            z, logits, q_halt, q_continue = model(z, inputs[i : i + 1], model.puzzle_vectors(ids[i : i + 1]))
            path.append((q_halt.item(), logits[0].argmax(-1)))
            if q_halt > q_continue:
                break
        best, answer = max(path, key=lambda step: step[0])
        assert together.segments[i] == segment
        assert together.q_halt[i].item() == pytest.approx(best, abs=1e-6) and torch.equal(
            together.predictions[i], answer
        )


def test_solve_stops_when_it_is_confident():
    model = tiny(halting="bce", M_max=6)
    inputs, _, ids = puzzles(40, model)
    hasty, sure = (solve(model, inputs, ids, confidence=confidence) for confidence in (0.5, 0.95))
    for solution, confidence in ((hasty, 0.5), (sure, 0.95)):
        early = solution.segments < 6
        assert early.any() and (solution.q_halt.sigmoid() > confidence)[early].all()
    assert (sure.segments >= hasty.segments).all() and sure.segments.sum() > hasty.segments.sum()


def test_solve_without_halting_is_the_plain_loop():
    model = tiny()
    inputs, _, ids = puzzles(5, model)
    solution = solve(model, inputs, ids, max_segments=7, halt=False)  # more than in training
    z = model.initial_state(5)
    with torch.no_grad():
        for _ in range(7):
            z, logits, q_halt, _ = model(z, inputs, model.puzzle_vectors(ids))
    assert (solution.segments == 7).all() and torch.equal(solution.predictions, logits.argmax(-1))
    torch.testing.assert_close(solution.q_halt, q_halt)

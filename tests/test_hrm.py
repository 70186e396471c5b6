"""The model, tested: its parts, the one-step gradient and its memory, the losses. The rest of hrm.py:
test_act.py."""

import math

import numpy as np
import pytest
import torch
from torch.autograd import grad

from hrm import (
    HRM,
    IGNORE,
    HRMConfig,
    Slots,
    act_step,
    rope_tables,
    rotate,
    segment_loss,
)
from tests.models import SIZES
from tests.rounding import difference, tolerance

pytestmark = pytest.mark.usefixtures("double")
TINY = dict(SIZES, seq_len=9, L_cycles=2, inner_multiple=256, num_puzzles=3, M_max=4, halting="q",
            dtype="float64")


def tiny(**changes):
    torch.manual_seed(0)
    model = HRM(HRMConfig(**{**TINY, **changes}))
    torch.nn.init.normal_(model.q_head.weight)  # so that the Q-values differ between puzzles
    torch.nn.init.zeros_(model.q_head.bias)
    return model


def puzzles(B, model, seed=0):
    """Random inputs, labels (B, S) and puzzle ids (B,)."""
    generator = torch.Generator().manual_seed(seed)
    shape = 2, B, model.config.seq_len
    inputs, labels = torch.randint(model.config.vocab_size, shape, generator=generator)
    ids = torch.randint(model.config.num_puzzles, (B,), generator=generator)
    return inputs, labels, ids


# ----------------------------------------------------------------------------------------------- architecture
def test_a_fresh_model_starts_as_the_published_one():
    torch.manual_seed(0)
    model = HRM(HRMConfig(hidden_size=128, num_heads=4))
    weights = model.L.blocks[0].mlp.down.weight
    scaled = weights * weights.shape[1] ** 0.5
    assert scaled.std().item() == pytest.approx(1, rel=0.02)
    assert 2.2 < scaled.max() < 2 / 0.8796  # cut at two standard deviations, then stretched
    assert not model.q_head.weight.any()
    assert (model.q_head.bias == -5).all()
    trained = dict(model.named_parameters())
    assert not {"H_init", "L_init", "puzzle_emb"} & trained.keys()


def score(a, b):
    """Attention score of a query at position a with a key at position b, on a board of 5 x 5."""
    config = HRMConfig(**{**TINY, "seq_len": 25, "positions": "rope2d"})
    cos, sin = rope_tables(config)
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    query = rotate(q, (cos[a], sin[a]))
    key = rotate(k, (cos[b], sin[b]))
    return (query @ key).item()


def test_rope2d_sees_only_the_offset_in_rows_and_columns():
    """Behind the puzzle's position, row 0 has the positions 1 to 5."""
    below = score(1, 6)
    right = score(4, 5)
    assert below == pytest.approx(score(20, 25), abs=1e-9)
    # The last cell of a row and the first of the next are neighbours in one dimension, not in two.
    for other in (below, score(5, 6)):
        assert right != pytest.approx(other, abs=1e-3)


def test_puzzle_embedding_fills_its_positions_and_is_padded():
    model = tiny(puzzle_emb_ndim=40)  # 40 = 16 + 16 + 8: three positions, the last one half empty
    vectors = torch.randn(2, 40)
    x = model.input_network(torch.zeros(2, 9, dtype=torch.long), vectors)
    assert x.shape == (2, 12, 16)
    filled = x[:, :3].flatten(1)
    assert torch.equal(filled[:, :40], 4 * vectors)  # √D = 4
    assert not filled[:, 40:].any()


@pytest.mark.parametrize("positions", ["rope", "learned", "rope2d", "rope2d+learned"])
def test_every_parameter_learns(positions):
    model = tiny(positions=positions)
    batch = puzzles(4, model)
    slots = Slots.empty(model, *batch)
    _, loss, _, vectors = act_step(model, slots, batch, M_max=4)
    loss.backward()
    for name, p in [*model.named_parameters(), ("puzzle vectors", vectors)]:
        assert p.grad.isfinite().all(), name
        assert p.grad.any(), name


def test_bfloat16_is_the_same_but_for_rounding():
    sizes = dict(H_cycles=1, L_cycles=1)
    model = tiny(**sizes)
    inputs, _, ids = puzzles(3, model)

    def compute(model):
        vectors = model.puzzle_vectors(ids)
        z, logits, q_halt, _ = model(model.initial_state(3), inputs, vectors)
        return z[0], logits, q_halt

    rounded = compute(tiny(dtype="bfloat16", **sizes))
    assert rounded[0].dtype == torch.bfloat16
    allowed = tolerance(compute, model, torch.bfloat16)
    assert difference(rounded, compute(model)) < allowed


def test_close_q_values_do_not_tie(precision):
    """With weights as small as early in training, about a bias of -5: in bfloat16 a third of them would."""
    precision(torch.float32)
    model = tiny(dtype="bfloat16")
    torch.nn.init.normal_(model.q_head.weight, std=0.005)
    torch.nn.init.constant_(model.q_head.bias, -5)
    z = tuple(torch.randn(2, 1000, 10, 16, dtype=torch.bfloat16))
    inputs, _, ids = puzzles(1000, model)
    _, _, *q_values = model(z, inputs, model.puzzle_vectors(ids))
    ties = [(halt == go_on).double().mean() for halt, go_on in (q_values, [q.bfloat16() for q in q_values])]
    assert ties[0] < 0.01 and ties[1] > 0.2


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
        tiny(**wrong)


# ----------------------------------------------------------------------------------------- one-step gradient
def flat(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors])


def test_one_step_gradient_is_the_first_term_of_the_neumann_series():
    """At a fixed point z* of f: dL/dθ = g (I − J)⁻¹ ∂f/∂θ = g (I + J + J² + …) ∂f/∂θ, with J = ∂f/∂z, g =
    dL/dz*. Back-propagation through k updates is its first k terms."""
    sizes = dict(hidden_size=8, seq_len=3, num_puzzles=1, puzzle_emb_ndim=0)
    model = tiny(H_cycles=1, L_cycles=80, **sizes)
    with torch.no_grad():
        model.tokens.weight *= 5  # a strong input leaves the old state little influence: f contracts
    inputs = torch.tensor([[1, 4, 2]])
    vectors = model.puzzle_vectors(inputs[:, 0])
    rope = model.cos, model.sin
    z_H, z_L = model.initial_state(1)
    injection = (z_H + model.input_network(inputs, vectors)).detach()

    def f(z):
        return model.L(z, injection, rope)

    def weigh(logits):
        """A loss."""
        return logits.flatten() @ torch.linspace(-1, 1, logits.numel())

    def through_time(model):
        _, logits, _, _ = model((z_H, z_L), inputs, vectors)
        return flat(grad(weigh(logits), model.L.parameters()))

    def through_weights(v):
        """v ∂f/∂θ"""
        out = f(star)
        return flat(grad(out, model.L.parameters(), v.view_as(out)))

    star = z_L
    for _ in range(79):
        star = f(star).detach()
    star.requires_grad_()
    logits = model.head(model.H(z_H, star, rope))
    g = flat(grad(weigh(logits), star))
    J = torch.autograd.functional.jacobian(f, star)
    J = J.reshape(len(g), len(g))
    inverse = torch.linalg.inv(torch.eye(len(g)) - J)
    exact = through_weights(g @ inverse)
    allowed = tolerance(lambda model: [through_time(model)], model)

    term = g
    total = 0
    for steps in range(1, 9):
        total = total + term
        term = term @ J
        model.gradient_steps = steps
        gradient = through_time(model)
        assert difference([gradient], [through_weights(total)]) < allowed
    assert difference([gradient], [exact]) < 1e-2  # eight are nearly all


def peak_memory(model, gradient_steps):
    """Most bytes allocated at one time during forward and backward of a segment, from PyTorch's allocator."""
    model.gradient_steps = gradient_steps
    inputs, _, ids = puzzles(8, model)
    z = model.initial_state(8)
    with torch.profiler.profile(profile_memory=True) as profiler:
        _, logits, _, _ = model(z, inputs, model.puzzle_vectors(ids))
        logits.sum().backward()
    events = profiler.profiler.kineto_results.events()
    events = [event for event in events if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return np.cumsum([event.nbytes() for event in events]).max()


def test_peak_memory_does_not_grow_with_the_cycles():
    shallow = tiny(H_cycles=2, L_cycles=2, hidden_size=32)
    deep = tiny(H_cycles=4, L_cycles=4, hidden_size=32)
    for model in (shallow, deep):
        peak_memory(model, 1)  # the first call allocates gradients and caches
    assert peak_memory(deep, 1) < 1.02 * peak_memory(shallow, 1)
    assert peak_memory(deep, 16) > 2 * peak_memory(shallow, 4)


# ----------------------------------------------------------------------------------------------------- losses
@pytest.mark.parametrize("kind, expected", [
    ("stablemax", math.log((3 + 0.5 + 1) / 0.5)),
    ("softmax", math.log(math.exp(3) + 1 + math.e)),
])
def test_losses_by_hand(kind, expected):
    config = HRMConfig(**{**TINY, "token_loss": kind})
    logits = torch.tensor([[[2.0, -1.0, 0.0], [-3.0, 0.5, 0.0]]])
    labels = torch.tensor([[1, IGNORE]])
    q = torch.zeros(1)
    token_loss, loss = segment_loss(config, logits, labels, q, q, exact=q, target_continue=None)
    assert token_loss == pytest.approx(expected, rel=1e-6)  # one of them computes in float32
    assert loss - token_loss == pytest.approx(math.log(2) / 2)

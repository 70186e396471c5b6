"""Deep supervision and ACT in training, and inference, tested."""

import math

import pytest
import torch
import torch.nn.functional as F

from hrm import (
    HRM,
    METRICS,
    HRMConfig,
    Slots,
    act_step,
    draw_M_min,
    solve,
)
from tests.rounding import difference, tolerance
from tests.test_hrm import TINY, puzzles, tiny

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("gradient_steps", [1, 4])
def test_no_gradient_crosses_segments(gradient_steps):
    model = tiny()
    model.gradient_steps = gradient_steps
    inputs, _, ids = puzzles(2, model)
    vectors = model.puzzle_vectors(ids)
    z, first, _, _ = model(model.initial_state(2), inputs, vectors)
    _, second, _, _ = model(z, inputs, vectors)
    crossing = torch.autograd.grad(second.sum(), first, allow_unused=True)
    assert crossing == (None,)


def test_a_slot_does_not_depend_on_its_neighbours():
    mine = puzzles(1, tiny())

    def compute(model, seed=1):
        others = puzzles(3, model, seed)
        batch = [torch.cat(rows) for rows in zip(mine, others)]
        slots = Slots.empty(model, *batch)
        for _ in range(3):
            slots, *_ = act_step(model, slots, batch, M_max=4)
        return [tensor[0] for tensor in vars(slots).values()]

    among_others = compute(tiny(), seed=2)
    assert difference(among_others, compute(tiny())) < tolerance(compute, tiny())


class Script:
    """Stands in for a model: plays prepared Q-values. Puzzles want 1 in every cell; the answers that are not
    `right` have 2."""
    wants_to_halt = HRM.wants_to_halt

    def __init__(self, q_halt, q_continue, right, **config):
        self.config = HRMConfig(**{**TINY, **config})
        self.q_halt = iter(torch.tensor(q_halt))
        self.q_continue = iter(torch.tensor(q_continue))
        cells = torch.where(torch.tensor(right), 1, 2)
        self.logits = F.one_hot(cells[:, None].expand(-1, 9), 5).double()
        inputs = torch.zeros(len(right), 9, dtype=torch.long)
        self.batch = inputs, inputs + 1, inputs[:, 0]

    def initial_state(self, B):
        return torch.zeros(B, 10, 16), torch.zeros(B, 10, 16)

    def puzzle_vectors(self, ids):
        return torch.zeros(len(ids), 16)

    def __call__(self, z, inputs, vectors):
        return z, self.logits, next(self.q_halt), next(self.q_continue)

    def step(self, slots=None, M_min=1):
        """One `act_step`, with empty slots at first."""
        slots = slots or Slots.empty(self, *self.batch)
        return act_step(self, slots, self.batch, self.config.M_max, M_min)


def bce(logit, target):
    """-target log σ(logit) - (1 - target) log σ(-logit)"""
    return math.log1p(math.exp(logit)) - target * logit


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_q_targets_by_hand():
    """Two slots in their first of two segments, then in their last."""
    q_halt = [
        [0.3, -1.0],
        [0.5, -0.2],  # looking one ahead
        [0.9, 0.4],
        [-0.7, 1.5],
    ]
    q_continue = [
        [0.6, 0.2],
        [0.1, 0.8],
        [2.0, 0.1],
        [3.0, 3.0],
    ]
    model = Script(q_halt, q_continue, [True, False], M_max=2)
    slots, loss, metrics, _ = model.step()
    assert slots.segments.tolist() == [1, 1]
    assert metrics["count"] == 0
    q_loss = bce(0.3, 1) + bce(-1.0, 0)
    q_loss += bce(0.6, sigmoid(0.5))  # the better of what comes
    q_loss += bce(0.2, sigmoid(0.8))
    assert loss - metrics["token_loss"] == pytest.approx(q_loss / 2)

    slots, loss, metrics, _ = model.step(slots)
    assert slots.segments.tolist() == [2, 2]
    assert metrics["count"] == 2
    q_loss = bce(0.9, 1) + bce(0.4, 0)
    q_loss += bce(2.0, sigmoid(-0.7))  # after the last, only halting is left
    q_loss += bce(0.1, sigmoid(1.5))
    assert loss - metrics["token_loss"] == pytest.approx(q_loss / 2)
    assert [metrics[name] for name in METRICS] == [1, 1, 4, 1]  # the wrong answer has no right cell


@pytest.mark.parametrize("M_max, halting", [(1, "q"), (4, "bce")])
def test_without_continue_values_nothing_looks_ahead(M_max, halting):
    model = Script([[0.5]], [[9.0]], [True], M_max=M_max, halting=halting)
    slots, loss, metrics, _ = model.step()  # a second call would find no Q-values
    assert loss - metrics["token_loss"] == pytest.approx(bce(0.5, 1) / 2)
    assert slots.halted.all()  # by M_max = 1; by q_halt > 0 whatever q_continue says


def test_halting_obeys_M_min_and_M_max():
    """Slots 0 and 1 want to halt at once, slot 2 never."""
    q_halt = [[1.0, 1.0, -1.0]] * 6
    q_continue = [[0.0, 0.0, 0.0]] * 6
    model = Script(q_halt, q_continue, [True] * 3, M_max=3)
    slots = None
    halted = []
    for _ in range(3):
        slots, *_ = model.step(slots, torch.tensor([1, 2, 1]))
        halted.append(slots.halted.int().tolist())
    assert halted == [
        [1, 0, 0],
        [1, 1, 0],
        [1, 0, 1],
    ]


def test_halted_slots_take_new_puzzles_and_the_others_think_on():
    model = tiny()
    old = puzzles(3, model, seed=1)
    new = puzzles(3, model, seed=2)
    slots = Slots.empty(model, *old)
    slots.halted = torch.tensor([True, False, True])
    slots.segments = torch.tensor([3, 2, 1])
    slots.z_H = slots.z_H + 1
    after = slots.refill(model, *new)
    assert after.segments.tolist() == [0, 2, 0]
    state = after.z_H - model.initial_state(3)[0]
    assert state.mean((1, 2)).tolist() == [0, 1, 0]
    for name, before, offered in zip(("inputs", "labels", "puzzle_ids"), old, new):
        rows = torch.stack([offered[0], before[1], offered[2]])
        assert torch.equal(getattr(after, name), rows)


def test_M_min_distribution():
    generator = torch.Generator().manual_seed(0)
    draws = draw_M_min(200_000, 5, 0.4, generator)
    shares = torch.bincount(draws) / len(draws)
    assert shares.tolist() == pytest.approx([0, 0.6, 0.1, 0.1, 0.1, 0.1], abs=0.005)
    assert (draw_M_min(1000, 5, 0.0) == 1).all()


# -------------------------------------------------------------------------------------------------- inference
@pytest.mark.parametrize("confidence", [0.95, 1])
def test_solve_stops_for_each_puzzle_when_it_is_confident(confidence):
    """With 1 it never stops, and gives the last answer, not the surest."""
    model = tiny(halting="bce")
    inputs, _, ids = puzzles(40, model)
    together = solve(model, inputs, ids, max_segments=6, confidence=confidence)  # more than in training
    assert len(together.segments.unique()) == (2 if confidence < 1 else 1)
    for i in range(0, 40, 5):
        z = model.initial_state(1)
        surest = -torch.inf
        for segment in range(1, 7):
            vectors = model.puzzle_vectors(ids[i, None])
            z, logits, q_halt, _ = model(z, inputs[i, None], vectors)
            if q_halt > surest or confidence == 1:
                surest = q_halt.item()
                answer = logits[0].argmax(-1)
            if q_halt.sigmoid() > confidence:
                break
        assert together.segments[i] == segment
        assert torch.equal(together.predictions[i], answer)
        assert together.q_halt[i] == pytest.approx(surest, rel=1e-6)  # it is kept in float32

"""Deep supervision and ACT in training, and inference, tested."""

import math

import pytest
import torch
import torch.nn.functional as F

from hrm import HRM, HRMConfig, Slots, act_step, draw_M_min, solve
from tests.test_hrm import TINY, puzzles, tiny


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

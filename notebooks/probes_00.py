"""Probes of notebook 00: see probes.py."""

from types import SimpleNamespace

import torch

from draws import Descent, Toy, Whole
from hrm import IGNORE


def exercise_1(f, draw):
    D = 2 * draw.whole(3, 9)
    tokens = draw.tokens(3, 4)
    E = draw.normal(5, D)
    puzzle = draw.normal(1, D)
    positions = draw.normal(5, D)
    return f.input_network(tokens, E, puzzle, positions)


def exercise_2(f, draw):
    default = f.rms_norm(draw.normal(2, 3, 5) + 1)
    short = f.rms_norm(torch.ones(2) / 900)
    eps = draw.uniform(0.1, 2)
    return default, short, f.rms_norm(draw.normal(4, 6), eps)


def exercise_3(f, draw):
    x = draw.normal(2, 3, 4, 8)
    angles = 3 * draw.normal(4, 4)
    return f.rotate(x, angles)


def exercise_4(f, draw):
    heads = 2 ** draw.whole(0, 3)
    D = 4 * heads
    x = draw.normal(2, 5, D)
    W_qkv = draw.normal(3 * D, D)
    W_out = draw.normal(D, D)
    angles = draw.normal(5, 2)
    return f.attention(x, W_qkv, W_out, heads, angles)


def exercise_5(f, draw):
    x = draw.normal(2, 3, 4)
    W_gate_up = draw.normal(12, 4)
    W_down = draw.normal(4, 6)
    return f.swiglu(x, W_gate_up, W_down)


def layer(draw, D):
    """A function that stands for a layer."""
    A = draw.normal(D, D)
    return lambda h: (h @ A).tanh()


def exercise_6(f, draw):
    h = draw.normal(2, 5)
    attend = layer(draw, 5)
    mlp = layer(draw, 5)
    return f.block(h, attend, mlp)


def exercise_7(f, draw):
    z, injection = draw.normal(2, 2, 4)
    blocks = [layer(draw, 4) for _ in range(draw.whole(2, 5))]
    return f.module(z, injection, blocks), z


def two_modules(draw):
    """Functions f_H and f_L, their weights, and z_H, z_L, x."""
    A = draw.normal(3, 3).requires_grad_()
    B = draw.normal(3, 3).requires_grad_()

    def f_H(z, injection):
        return (z @ A + injection).tanh()

    def f_L(z, injection):
        return (z @ B + 0.5 * injection).tanh()

    return (f_H, f_L), (A, B), draw.normal(3, 3)


def thought(think, functions, weights, states):
    """The new states of some segments, and the gradients through them."""
    found = []
    for N, T in ((1, 1), (1, 3), (2, 1), (3, 2)):
        new_H, new_L = think(*functions, *states, N, T)
        loss = new_H.sum() + 2 * new_L.sum()
        found += [new_H, new_L, torch.autograd.grad(loss, weights)]
    return found


def exercise_8(f, draw):
    functions, weights, states = two_modules(draw)
    found = [f.update(i, *functions, *states, 2) for i in (1, 2)]
    return found + thought(f.think, functions, weights, states)


def exercise_9(f, draw):
    logits = 3 * draw.normal(2, 4, 5)
    logits[0, 0, 0] = 1.0
    logits.requires_grad_()
    losses = f.stablemax_loss(logits, draw.labels(2, 4))
    return losses, torch.autograd.grad(losses.sum(), logits)


def exercise_10(f, draw):
    exact = draw.mask(12)
    last = draw.mask(12)
    next_halt, next_continue = 2 * draw.normal(2, 12)
    return f.q_targets(exact, next_halt, next_continue, last)


def exercise_11(f, draw):
    labels = draw.labels(3, 5)
    token_losses = draw.normal(3, 5).abs() * (labels != IGNORE)
    q_halt, q_continue = draw.normal(2, 3)
    target_halt, target_continue = draw.normal(2, 3).sigmoid()
    return f.segment_loss(token_losses, labels, q_halt, q_continue, target_halt, target_continue)


def exercise_12(f, draw):
    found = []
    for model in (Toy(draw), Whole(draw)):
        slots = f.Slots(
            inputs=draw.tokens(8, 3),
            labels=draw.labels(8, 3),
            z=tuple(draw.normal(2, 8, 3, 4)),
            count=draw.wholes(1, 5, 8),
            halted=draw.mask(8, 0.4),
        )
        batch = draw.tokens(8, 3), draw.labels(8, 3)
        new, loss = f.act_step(model, slots, batch, 4, draw.wholes(1, 5, 8))
        found += [list(vars(new).values()), loss, torch.autograd.grad(loss, (model.A, model.out))]
    return found


def exercise_13(f, draw):
    w = draw.normal(3).requires_grad_()
    rates = draw.normal(5).abs() / 10

    def step(model, slots, batch):
        loss = ((model - batch) ** 2 * slots.count[:, None]).sum()
        return SimpleNamespace(count=slots.count + 1), loss

    def lr(number):
        return rates[number].item()

    slots = SimpleNamespace(count=torch.ones(draw.whole(2, 6)))
    batches = draw.normal(5, 3)
    losses = f.train(w, Descent(w), batches, lr, slots, step)
    return losses, w


def exercise_14(f, draw):
    inputs = draw.tokens(12, 3)
    found = []
    for model in (Toy(draw), Whole(draw)):
        found += [f.solve(model, inputs, 1), f.solve(model, inputs, 6)]
    return found


def exercise_15(f, draw):
    z = draw.normal(3).requires_grad_()
    kept = f.NoDetach.cut(None, 2 * z)
    functions, weights, states = two_modules(draw)
    found = [kept, kept.requires_grad]
    for kind in (f.FullGradient, f.OneSpeed):
        found += thought(lambda *given: kind.think(None, *given), functions, weights, states)
    return *found, f.PreNorm.block(None, draw.normal(2, 5), layer(draw, 5), layer(draw, 5))

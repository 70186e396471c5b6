"""Other numbers than those of the visible checks: for each exercise, a function that tries what was written.

A probe calls a student's function (or functions, or class) and returns what came out: numbers, tensors,
gradients. grade.py runs it on the student's and on the solved notebook's, and compares. So no right answer
stands here, and none has to be kept in step. `rng`: a NumPy generator, with another seed in every run.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch

from hrm import HRM, IGNORE, HRMConfig, Slots, swiglu_size

PROBES = {}


def probe(notebook, exercise):
    """Registers the function below as the probe of this exercise."""

    def register(function):
        PROBES[notebook, exercise] = function
        return function

    return register


def normal(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape)).float()


def labels_for(rng, *shape):
    """Tokens 0 to 4, about every fourth left out, but never the first of a row."""
    labels = torch.from_numpy(np.where(rng.random(shape) < 0.25, IGNORE, rng.integers(0, 5, shape)))
    labels[..., 0] = 1
    return labels


# ------------------------------------------------------------------------------------------------ notebook 00
@probe("00", 1)
def input_network(f, rng):
    D = int(rng.integers(3, 9)) * 2
    tokens = torch.from_numpy(rng.integers(0, 5, (3, 4)))
    return f.input_network(tokens, normal(rng, 5, D), normal(rng, 1, D), normal(rng, 5, D))


@probe("00", 2)
def rms_norm(f, rng):
    eps = float(rng.uniform(0.1, 2))
    short = torch.ones(2) / 900
    return f.rms_norm(normal(rng, 2, 3, 5) + 1), f.rms_norm(normal(rng, 4, 6), eps), f.rms_norm(short)


@probe("00", 3)
def rotate(f, rng):
    return f.rotate(normal(rng, 2, 3, 4, 8), 3 * normal(rng, 4, 4))


@probe("00", 4)
def attention(f, rng):
    heads = int(rng.choice([1, 2, 4]))
    D = 4 * heads
    W_qkv, W_out = normal(rng, 3 * D, D), normal(rng, D, D)
    return f.attention(normal(rng, 2, 5, D), W_qkv, W_out, heads, normal(rng, 5, 2))


@probe("00", 5)
def swiglu(f, rng):
    return f.swiglu(normal(rng, 2, 3, 4), normal(rng, 12, 4), normal(rng, 4, 6))


@probe("00", 6)
def block(f, rng):
    A, B = normal(rng, 5, 5), normal(rng, 5, 5)
    return f.block(normal(rng, 2, 5), lambda h: (h @ A).tanh(), lambda h: (h @ B).tanh())


@probe("00", 7)
def update(f, rng):
    matrices = normal(rng, int(rng.integers(2, 5)), 4, 4)
    return f.update(normal(rng, 2, 4), normal(rng, 2, 4), [lambda h, A=A: (h @ A).tanh() for A in matrices])


@probe("00", 8)
def think(f, rng):
    found = []
    for N, T in ((1, 1), (1, 3), (2, 1), (int(rng.integers(2, 4)), int(rng.integers(2, 4)))):
        A, B, C = (normal(rng, 3, 3).requires_grad_() for _ in range(3))
        z_H, z_L = f.think(lambda z, i: (z @ A + i).tanh(), lambda z, i: (z @ B + i @ C).tanh(),
                           normal(rng, 3), normal(rng, 3), normal(rng, 3), N, T)
        (z_H.sum() + 2 * z_L.sum()).backward()
        found += [z_H, z_L, A.grad, B.grad, C.grad]
    return found


@probe("00", 9)
def stablemax_loss(f, rng):
    logits = 3 * normal(rng, 2, 4, 5)
    logits[0, 0, :2] = torch.tensor([1.0, 0.0])
    logits.requires_grad_()
    losses = f.stablemax_loss(logits, labels_for(rng, 2, 4))
    losses.sum().backward()
    return losses, logits.grad


@probe("00", 10)
def q_targets(f, rng):
    exact, last = (torch.from_numpy(rng.random(12) < 0.5) for _ in range(2))
    return f.q_targets(exact, 2 * normal(rng, 12), 2 * normal(rng, 12), last)


@probe("00", 11)
def segment_loss(f, rng):
    labels = labels_for(rng, 3, 5)
    losses = normal(rng, 3, 5).abs() * (labels != IGNORE)
    targets = (torch.from_numpy(rng.random(3)).float() for _ in range(2))
    return f.segment_loss(losses, labels, normal(rng, 3), normal(rng, 3), *targets)


class Toy:
    """A model of two small matrices, which is called as HRM is."""

    def __init__(self, rng, V=5):
        self.A, self.out = (normal(rng, *shape).requires_grad_() for shape in ((4, 4), (4, V + 2)))
        self.start = normal(rng, 2, 4)

    def initial_state(self, B):
        return tuple(z.expand(B, 3, 4) for z in self.start)

    def __call__(self, z, inputs):
        z_H = (z[0] @ self.A + inputs.float()[..., None] / 3 + z[1]).tanh()
        outputs = z_H @ self.out
        q = outputs[:, 0, -2:]
        return (z_H.detach(), 0.9 * z[1]), outputs[..., :-2], q[:, 0], q[:, 1]


@probe("00", 12)
def act_step(f, rng):
    model, B = Toy(rng), 8
    tokens = [torch.from_numpy(rng.integers(0, 5, (B, 3))) for _ in range(2)]
    states = normal(rng, B, 3, 4), normal(rng, B, 3, 4)
    count, M_min = (torch.from_numpy(rng.integers(1, 5, B)) for _ in range(2))
    slots = f.Slots(tokens[0], labels_for(rng, B, 3), states, count, torch.from_numpy(rng.random(B) < 0.4))
    new, loss = f.act_step(model, slots, (tokens[1], labels_for(rng, B, 3)), 4, M_min)
    loss.backward()
    return [*vars(new).values(), loss, model.A.grad, model.out.grad]


class Descent:
    """Plain gradient descent. (PyTorch's takes seconds to import, in every process.)"""

    def __init__(self, w):
        self.w, self.param_groups = w, [{"lr": 9.0}]

    @torch.no_grad()
    def step(self):
        self.w -= self.param_groups[0]["lr"] * self.w.grad

    def zero_grad(self):
        self.w.grad = None


@probe("00", 13)
def train(f, rng):
    w = normal(rng, 3).requires_grad_()
    batches, rates = normal(rng, 5, 3), rng.uniform(0.01, 0.2, 5)

    def step(model, slots, batch):
        return SimpleNamespace(count=slots.count + 1), ((model - batch) ** 2 * slots.count[:, None]).sum()

    slots = SimpleNamespace(count=torch.ones(int(rng.integers(2, 6))))
    losses = f.train(w, Descent(w), batches, lambda number: float(rates[number]), slots, step)
    return losses, w


@probe("00", 14)
def solve_puzzles(f, rng):
    model, inputs = Toy(rng), torch.from_numpy(rng.integers(0, 5, (12, 3)))
    return f.solve(model, inputs, 1), f.solve(model, inputs, 6)


# ----------------------------------------------------------------------------------------- notebooks 01 to 06
def sizes(rng, **others):
    """Random sizes of a model, as an HRMConfig has them."""
    names = ("H_cycles", "L_cycles", "H_layers", "L_layers")
    return SimpleNamespace(**{name: int(rng.integers(1, 6)) for name in names}, **others)


@probe("01", 1)
def layers_computed(f, rng):
    return [f.layers_computed(sizes(rng), int(rng.integers(1, 9))) for _ in range(3)]


PROBES["01", 2] = PROBES["00", 2]


@probe("01", 3)
def turn(f, rng):
    return f.turn(normal(rng, 5, 8), float(rng.uniform(2, 50)))


class Modules(Toy):
    """A model with modules H and L, and heads."""

    def __init__(self, rng):
        super().__init__(rng)
        self.config = sizes(rng, puzzle_positions=int(rng.integers(1, 3)))
        self.B, self.E = normal(rng, 4, 4), normal(rng, 5, 4)
        self.q = normal(rng, 4, 2)

    def initial_state(self, B):
        return tuple(z.expand(B, self.config.puzzle_positions + 3, 4) for z in self.start)

    def H(self, z, injection, rope):
        return (z @ self.A + injection * rope).tanh()

    def L(self, z, injection, rope):
        return (z @ self.B + injection * rope).tanh().roll(1, 1)

    def head(self, z):
        return z @ self.out

    def q_head(self, z):
        return z @ self.q

    def input_network(self, tokens, vectors):
        front = vectors[:, None].expand(-1, self.config.puzzle_positions, -1)
        return torch.cat([front, self.E[tokens]], 1)

    def think(self, z_H, z_L, x, rope, gradient_steps):
        z_L = self.L(z_L, z_H + x, rope)
        return self.H(z_H, z_L, rope), z_L


@probe("01", 4)
def segment(f, rng):
    model = Modules(rng)
    states = (normal(rng, 2, model.config.puzzle_positions + 3, 4) for _ in range(3))
    return f.segment(model, *states, 0.7)


@probe("01", 5)
def count_parameters(f, rng):
    return [f.count_parameters(sizes(
        rng, hidden_size=int(rng.integers(1, 9)) * 8, vocab_size=int(rng.integers(2, 20)), expansion=4.0,
        seq_len=int(rng.integers(4, 90)), puzzle_positions=int(rng.integers(0, 3)), inner_multiple=16,
        positions=positions)) for positions in ("rope", "learned", "rope2d+learned")]


@probe("01", 6)
def shuffle_gap(f, rng):
    model, order = Modules(rng), torch.from_numpy(rng.permutation(3)[[1, 2, 0]])
    model.config.puzzle_positions = 2
    return f.shuffle_gap(model, torch.from_numpy(rng.integers(0, 5, (4, 3))), normal(rng, 4, 4), order, 0.7)


@probe("02", 1)
def implicit_derivative(f, rng):
    return [f.implicit_derivative(*rng.uniform(-0.9, 0.9, 2)) for _ in range(3)]


@probe("02", 2)
def neumann_sums(f, rng):
    return f.neumann_sums(normal(rng, 3, 3), normal(rng, 3), int(rng.integers(3, 7)))


@probe("02", 3)
def last_k_gradient(f, rng):
    A, b = normal(rng, 3, 3), normal(rng, 3)
    theta = torch.tensor(float(rng.uniform(0.2, 1)))
    z = normal(rng, 3)
    return [f.last_k_gradient(lambda z, t: (t * z @ A + b).tanh(), z, theta, 5, k) for k in (1, 2, 5)]


@probe("02", 4)
def updates_with_gradient(f, rng):
    return [tuple(f.updates_with_gradient(*map(int, rng.integers(1, 7, 3)))) for _ in range(9)]


@probe("02", 5)
def neumann_vector(f, rng):
    A, z, g = normal(rng, 3, 3), normal(rng, 2, 3), normal(rng, 2, 3)
    return [f.neumann_vector(lambda z: (z @ A).tanh(), z, g, terms) for terms in (1, 2, 5)]


@probe("02", 6)
def damped_vector(f, rng):
    A, z, g = normal(rng, 3, 3), normal(rng, 2, 3), normal(rng, 2, 3)
    damping = float(rng.uniform(0.2, 1))
    found = [f.damped_vector(lambda z: (z @ A).tanh(), z, g, n, damping) for n in (0, 1, 4)]
    spectra = [torch.complex(2 * normal(rng, 4) - 1, 3 * normal(rng, 4)) for _ in range(8)]
    return found, [bool(f.can_be_damped(eigenvalues)) for eigenvalues in spectra]


PROBES["03", 1] = PROBES["00", 10]


@probe("03", 2)
def halts(f, rng):
    segments, M_min = (torch.from_numpy(rng.integers(1, 7, 30)) for _ in range(2))
    return f.halts(normal(rng, 30), normal(rng, 30), segments, M_min, 5)


@probe("03", 3)
def refill(f, rng):
    model, B = Toy(rng), 6
    tokens = [torch.from_numpy(rng.integers(0, 5, (B, 3))) for _ in range(4)]
    halted = torch.from_numpy(rng.random(B) < 0.5)
    slots = f.Slots(*tokens[:2], torch.arange(B), normal(rng, B, 3, 4), normal(rng, B, 3, 4),
                    torch.arange(1, B + 1), halted)
    new = f.refill(model, slots, *tokens[2:], torch.arange(B) + 10)
    return list(vars(replace(new, halted=halted)).values())


@probe("03", 4)
def bce_segment_loss(f, rng):
    logits, labels = 3 * normal(rng, 4, 6, 5), labels_for(rng, 4, 6)
    logits[0] += 9 * torch.nn.functional.one_hot(labels[0].clamp(min=0), 5)  # one of them is right
    return f.bce_segment_loss(logits, labels, torch.tensor([*rng.normal(size=2), 150.0, -150.0]).float())


class Surer(Toy):
    """Sure after 1 to 8 segments, as the sum of a puzzle says, and not sure any more after that."""

    def puzzle_vectors(self, ids):
        return None if len(ids) == 0 else torch.zeros(len(ids), 4)

    def __call__(self, z, inputs, vectors=None):
        z, logits, _, _ = super().__call__(z, inputs)
        q = 4 * torch.sin(z[0][:, 0] @ self.out[:, 0] * 3)
        return z, logits, q, -q


@probe("03", 5)
def compacting_solve(f, rng):
    return f.compacting_solve(Surer(rng), torch.from_numpy(rng.integers(0, 5, (12, 3))), 5, 0.8)


@probe("04", 1)
def forward_residuals(f, rng):
    return f.forward_residuals(normal(rng, 4, 2, 3, 5), normal(rng, 2, 3, 5))


@probe("04", 2)
def spikes(f, rng):
    T = int(rng.integers(2, 5))
    return f.spikes(normal(rng, 4 * T, 3).exp(), T)


@probe("04", 3)
def auc(f, rng):
    return f.auc(torch.from_numpy(rng.integers(0, 6, 30)).float(), torch.from_numpy(rng.random(30) < 0.4))


@probe("04", 4)
def principal_components(f, rng):
    coordinates, share = f.principal_components(normal(rng, 9, 4) @ normal(rng, 4, 4) + 3, 2)
    return coordinates.abs(), share  # a direction has no sign


@probe("04", 5)
def permutation_test(f, rng):
    label = np.arange(10) < 4
    found = [f.permutation_test(rng.normal(size=10) + shift * label, label, 400, np.random.default_rng(1))
             for shift in (-1, 0.3)]
    return [(difference, round(float(p), 1)) for difference, p in found]


@probe("05", 1)
def pr_of_spectrum(f, rng):
    return f.pr_of_spectrum(normal(rng, 6).exp())


@probe("05", 2)
def geometric_pr(f, rng):
    return f.geometric_pr(float(rng.uniform(0.1, 0.9))), f.decay_for(float(rng.uniform(2, 30)))


@probe("05", 3)
def pr_of_rows(f, rng):
    return f.pr_of_rows(normal(rng, 12, 4) @ normal(rng, 4, 4) + 2)


@probe("05", 4)
def corrected_pr(f, rng):
    n = int(rng.integers(20, 200))
    return f.corrected_pr(float(rng.uniform(2, n / 2)), n)


@probe("05", 5)
def bootstrap_interval(f, rng):
    values, seed = rng.normal(size=40), int(rng.integers(1000))
    low, high = f.bootstrap_interval(lambda rows: values[rows].mean(), 40, 2000, np.random.default_rng(seed))
    sigma = values.std() / 40**0.5
    return [round(float(end - values.mean()) / sigma) for end in (low, high)]


@probe("05", 6)
def centre_within(f, rng):
    z = normal(rng, 3, 4, 2, 5) + normal(rng, 3, 1, 1, 5) + normal(rng, 1, 4, 1, 5)
    groups = "position", "update", "puzzle"
    return [(f.centre_within(z, group), f.share_between(z, group)) for group in groups]


@probe("06", 1)
def layers_and_gradient(f, rng):
    return [tuple(f.layers_computed(sizes(rng, model=model))) for model in ("hrm", "recurrent", "hrm")]


@probe("06", 2)
def my_prediction(f, rng):
    guess = f.my_prediction()
    return sorted(guess), [bool(0 <= share <= 1) for share in guess.values()]


@probe("06", 3)
def answers_by_segment(f, rng):
    return f.answers_by_segment(Surer(rng), torch.from_numpy(rng.integers(0, 5, (6, 3))), 4)


@probe("06", 4)
def looped_transformer(f, rng):
    model = Modules(rng)
    z = [normal(rng, 2, model.config.puzzle_positions + 3, 4) for _ in range(3)]
    return f.LoopedTransformer.think(model, *z, 0.7, 1)


@probe("06", 5)
def my_trm(f, rng):
    L_cycles = int(rng.integers(2, 7))
    model = f.MyTRM(f.HRMConfig(hidden_size=8, num_heads=2, H_layers=1, L_layers=1, L_cycles=L_cycles,
                                inner_multiple=8, puzzle_emb_ndim=0, seq_len=4, dtype="float32"))
    return model.H is model.L, model.gradient_steps, len(list(model.parameters()))


# What the exercises use of this repository: a few names, and no function that is asked for.
GIVEN = {
    "01": {"hrm": SimpleNamespace(swiglu_size=swiglu_size)},
    "03": {"IGNORE": IGNORE, "Slots": Slots},
    "06": {"HRM": HRM, "HRMConfig": HRMConfig},
}

"""Other numbers than those of the visible checks: for each exercise, a function that tries what was written.

A probe calls a student's function (or functions, or class) and returns what came out: numbers, tensors,
gradients. grade.py runs it on the student's and on the solved notebook's, and compares. So no right answer
stands here, and none has to be kept in step. `draw`: a Draw (draws.py), with another seed in every run.

Those of notebook 00 are in probes_00.py; here are 01 to 06.
"""

from types import SimpleNamespace

import numpy as np
import torch

import probes_00
from draws import Toy
from hrm import HRM, IGNORE, HRMConfig, swiglu_size


def probe_of(notebook, exercise):
    """The probe of exercise 3 of notebook "02"."""
    if notebook == "00":
        return getattr(probes_00, f"exercise_{exercise}")
    return globals()[f"notebook_{notebook}_exercise_{exercise}"]


# ------------------------------------------------------------------------------------------------ notebook 01
def sizes(draw, **others):
    """Random sizes of a model, as an HRMConfig has them."""
    names = "H_cycles", "L_cycles", "H_layers", "L_layers"
    return SimpleNamespace(**{name: draw.whole(1, 6) for name in names}, **others)


class Modules(Toy):
    """A model with modules H and L, and heads."""

    def __init__(self, draw, P):
        super().__init__(draw)
        self.config = sizes(draw, puzzle_positions=P)
        self.B = draw.normal(4, 4)
        self.E = draw.normal(5, 4)
        self.q = draw.normal(4, 2)

    def states(self, draw):
        """z_H, z_L and x of two puzzles."""
        return draw.normal(3, 2, self.config.puzzle_positions + 3, 4)

    def initial_state(self, B):
        z_H, z_L = self.start
        shape = B, self.config.puzzle_positions + 3, 4
        return z_H.expand(shape), z_L.expand(shape)

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

    def update(self, i, z_H, z_L, x, rope):
        return HRM.update(self, i, z_H, z_L, x, rope)


def notebook_01_exercise_1(f, draw):
    return [f.layers_computed(sizes(draw), draw.whole(1, 9)) for _ in range(3)]


def notebook_01_exercise_2(f, draw):
    widths = dict(hidden_size=24, num_heads=3, H_layers=2, L_layers=2, inner_multiple=8, dtype="float32")
    model = HRM(HRMConfig(vocab_size=5, seq_len=9, puzzle_emb_ndim=24, **widths))
    place = "HL"[draw.whole(0, 2)], draw.whole(0, 2), draw.whole(0, 3)
    h = draw.normal(2, 10, 24)
    found = []
    for each in (f.without_head(model, *place), model):
        for block in [*each.H.blocks, *each.L.blocks]:
            found.append(block.attention(h, (model.cos, model.sin)))
    return found


def notebook_01_exercise_3(f, draw):
    model = Modules(draw, P=draw.whole(1, 3))
    states = model.states(draw)
    cuts = (), ("H>L",), ("x>L",), ("L>H",), ("H>L", "x>L")
    return [f.segment(model, *states, 0.7, cut) for cut in cuts] + [f.segment(model, *states, 0.7)]


def notebook_01_exercise_4(f, draw):
    model = Modules(draw, P=2)
    inputs = draw.tokens(4, 3)
    vectors = draw.normal(4, 4)
    order = torch.tensor([1, 2, 0])
    return f.shuffle_gap(model, inputs, vectors, order, 0.7)


def notebook_01_exercise_5(f, draw):
    return f.read_out(draw.normal(20, 4) + 1, draw.normal(20, 3) + 2, draw.normal(5, 4))


def notebook_01_exercise_6(f, draw):
    found = []
    for positions in ("rope", "learned", "rope2d+learned"):
        config = sizes(draw, expansion=4.0, inner_multiple=16, positions=positions)
        config.hidden_size = 8 * draw.whole(1, 9)
        config.vocab_size = draw.whole(2, 20)
        config.seq_len = draw.whole(4, 90)
        config.puzzle_positions = draw.whole(0, 3)
        found.append(f.count_parameters(config))
    return found


class Led(Toy):
    """A toy whose puzzle vector says where its state goes."""

    def __call__(self, z, inputs, vectors):
        return super().__call__((z[0] + vectors[:, None], z[1]), inputs)


def notebook_01_exercise_7(f, draw):
    model = Led(draw)
    inputs = draw.tokens(12, 3)
    vectors = draw.normal(12, 4)
    z = model.initial_state(12)
    for _ in range(3):
        z, logits, _, _ = model(z, inputs, vectors)
    labels = logits.argmax(-1)
    labels[:8, 0] = draw.tokens(8)
    labels[4:, 1] = IGNORE
    return [f.answered_right(model, inputs, labels, vectors, segments).float() for segments in (1, 3)]


# ------------------------------------------------------------------------------------------------ notebook 02
def notebook_02_exercise_1(f, draw):
    df_dz = draw.uniform(-0.9, 0.9)
    return f.implicit_derivative(df_dz, draw.uniform(-1, 1))


def notebook_02_exercise_2(f, draw):
    J = draw.normal(3, 3)
    v = draw.normal(3)
    return f.neumann_sums(J, v, draw.whole(3, 7))


def notebook_02_exercise_3(f, draw):
    A = draw.normal(3, 3)
    b = draw.normal(3)
    z = draw.normal(3)
    theta = torch.tensor(draw.uniform(0.2, 1))

    def update(z, theta):
        return (theta * z @ A + b).tanh()

    return [f.last_k_gradient(update, z, theta, 5, k) for k in (1, 2, 5)]


def notebook_02_exercise_4(f, draw):
    found = []
    for _ in range(9):
        N = draw.whole(1, 5)
        T = draw.whole(1, 5)
        found.append(f.updates_with_gradient(N, T, draw.whole(1, N * T + 1)))
    return found


class Counted:
    """A function that counts its calls."""

    def __init__(self, f):
        self.f = f
        self.calls = 0

    def __call__(self, z):
        self.calls += 1
        return self.f(z)


def notebook_02_exercise_5(f, draw):
    layer = Counted(probes_00.layer(draw, 3))
    z = draw.normal(2, 3)
    g = draw.normal(2, 3)
    return [f.neumann_vector(layer, z, g, terms) for terms in (2, 3, 5)], layer.calls


def notebook_02_exercise_6(f, draw):
    layer = Counted(probes_00.layer(draw, 3))
    z = draw.normal(2, 3)
    g = draw.normal(2, 3)
    damping = draw.uniform(0.2, 1)
    found = [f.damped_vector(layer, z, g, iterations, damping) for iterations in (1, 2, 4)]
    for _ in range(12):
        eigenvalues = torch.complex(draw.wholes(-3, 2, 3).float(), 3 * draw.normal(3))  # some are 1 + ...i
        found.append(bool(f.can_be_damped(eigenvalues)))
    return found, layer.calls


# ------------------------------------------------------------------------------------------------ notebook 03
def notebook_03_exercise_1(f, draw):
    p = draw.rng.random(draw.whole(3, 9))
    prices = 0.0, draw.uniform(0.01, 0.2)
    return [np.asarray(f.worth_of_going_on(p.tolist(), price)) for price in prices]


def notebook_03_exercise_2(f, draw):
    logits = 3 * draw.normal(4, 6, 5)
    labels = draw.labels(4, 6)
    logits[0] += 9 * torch.nn.functional.one_hot(labels[0].clamp(min=0), 5)  # one of them is right
    q_halt = torch.cat([draw.normal(2), torch.tensor([150.0, -150.0])])
    return f.bce_segment_loss(logits, labels, q_halt)


def notebook_03_exercise_3(f, draw):
    segments = draw.wholes(1, 9, 23).tolist()
    return [f.steps_needed(segments, B) for B in (1, 3, 5)]


def notebook_03_exercise_4(f, draw):
    M_max = draw.whole(3, 9)
    epsilon = draw.uniform(0.1, 1)
    return [f.still_there(M_max, epsilon, anew) for anew in (True, False)]


def notebook_03_exercise_5(f, draw):
    right = draw.rng.random((5, 40)) < 0.7
    right[:, 0] = True
    right[:, 1] = False
    return f.right_from(right)


# ------------------------------------------------------------------------------------------------ notebook 04
def notebook_04_exercise_1(f, draw):
    z = draw.normal(4, 2, 3, 5)
    initial = draw.normal(2, 3, 5)
    return f.forward_residuals(z, initial)


def notebook_04_exercise_2(f, draw):
    T = draw.whole(2, 5)
    moved = draw.normal(4 * T, 3).exp()
    return f.spikes(moved, T)


def notebook_04_exercise_3(f, draw):
    scores = draw.wholes(0, 6, 30).float()
    return f.auc(scores, draw.mask(30, 0.4))


def notebook_04_exercise_4(f, draw):
    signal = draw.wholes(0, 9, 60).float().reshape(4, 15)  # some equal to the threshold
    return f.halt_below(signal, draw.mask(60).reshape(4, 15), draw.whole(1, 5))


def notebook_04_exercise_5(f, draw):
    X = draw.normal(9, 4) @ draw.normal(4, 4) + 3
    coordinates, share = f.principal_components(X, 2)
    return np.abs(np.asarray(coordinates)), np.asarray(share)  # a direction has no sign


def notebook_04_exercise_6(f, draw):
    label = np.arange(10) < 4
    noise = draw.rng.normal(size=10)
    found = []
    for values in (noise - label, noise + 0.3 * label, np.roll(label, 2).astype(float)):
        difference, p = f.permutation_test(values, label, 400, np.random.default_rng(1))
        found += [difference, round(10 * float(p))]
    _, lowest = f.permutation_test(noise + 10 * label, label, 3, np.random.default_rng(1))
    return found, lowest


# ------------------------------------------------------------------------------------------------ notebook 05
def notebook_05_exercise_1(f, draw):
    return f.pr_of_spectrum(draw.normal(6).exp())


def notebook_05_exercise_2(f, draw):
    X = draw.normal(12, 4) @ draw.normal(4, 4) + 2
    return f.pr_of_rows(X)


def notebook_05_exercise_3(f, draw):
    n = draw.whole(20, 200)
    return f.corrected_pr(draw.uniform(2, n / 2), n)


def notebook_05_exercise_4(f, draw):
    z = draw.normal(draw.whole(2, 5), 3, 4, 5)
    return [f.rows_of(z, reading) for reading in ("tokens", "steps", "puzzles", "trajectories")]


def notebook_05_exercise_5(f, draw):
    z = draw.normal(3, 4, 2, 5)
    z += draw.normal(3, 1, 1, 5)
    z += draw.normal(1, 4, 1, 5)
    found = []
    for group in ("position", "update", "puzzle"):
        found.append(f.centre_within(z, group))
        found.append(f.share_between(z, group))
    return found


def notebook_05_exercise_6(f, draw):
    """Both ends are powers of 2, whatever is drawn: the chance that a quantile lies at another is 1e-10."""
    weight = draw.uniform(0.5, 2)
    ones = np.arange(9) >= draw.whole(4, 6)
    rng = np.random.default_rng(draw.whole(0, 1000))
    return f.bootstrap_interval(lambda index: weight * 2.0 ** ones[index].sum(), 9, 4000, rng)


# ------------------------------------------------------------------------------------------------ notebook 06
def notebook_06_exercise_1(f, draw):
    guess = f.my_prediction()
    shares = guess.values()
    return sorted(guess), min(shares) >= 0, max(shares) <= 1, len(set(shares)) > 1


def notebook_06_exercise_2(f, draw):
    return [f.sign_test(*draw.rng.integers(0, 4, (2, n))) for n in (2, 3, 4, 6, 6, 7)]


def small_model(make, draw):
    """A model with random weights, and the states and input of two puzzles."""
    config = HRMConfig(
        vocab_size=5, seq_len=3, hidden_size=8, num_heads=2, H_layers=1, L_layers=2, inner_multiple=8,
        puzzle_emb_ndim=0, dtype="float32", H_cycles=3, L_cycles=draw.whole(2, 7))
    model = make(config)
    return model, draw.normal(3, 2, 3, 8).requires_grad_()


def notebook_06_exercise_3(f, draw):
    model, states = small_model(f.LoopedTransformer, draw)
    z_H, z_L = model.update(1, *states, (model.cos, model.sin))
    gradient, = torch.autograd.grad(z_H.square().mean(), states)
    return z_H, z_L, gradient


def notebook_06_exercise_4(f, draw):
    model, states = small_model(f.MyTRM, draw)
    weights = list(model.L.parameters())
    z_H, z_L = model.think(*states)
    gradients = torch.autograd.grad((z_H * states[0].detach()).mean(), weights)
    return z_H, z_L, len(list(model.parameters())), len(weights), *gradients


def notebook_06_exercise_5(f, draw):
    segments = draw.rng.integers(1, 9, (5, 40))
    keeps = draw.rng.random((5, 40)) < 0.3
    return *f.first_to_halt(segments), *f.first_valid(segments, keeps)


# What the exercises use of this repository: a few names, and no function that is asked for.
GIVEN = {
    "01": {"hrm": SimpleNamespace(swiglu_size=swiglu_size)},
    "03": {"IGNORE": IGNORE},
    "06": {"HRM": HRM, "HRMConfig": HRMConfig},
}

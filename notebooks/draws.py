"""What the probes (probes_00.py, probes.py) try functions on: numbers drawn anew, and small models."""

import numpy as np
import torch

from hrm import IGNORE


class Draw:
    """Random numbers, with another seed in every run of grade.py."""

    def __init__(self, *seed):
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape):
        """Float32, standard normal."""
        return torch.from_numpy(self.rng.normal(size=shape)).float()

    def uniform(self, low, high):
        """A number."""
        return float(self.rng.uniform(low, high))

    def whole(self, low, high):
        """A whole number, `high` not among them."""
        return int(self.rng.integers(low, high))

    def wholes(self, low, high, n):
        """n of them (n,)."""
        return torch.from_numpy(self.rng.integers(low, high, n))

    def tokens(self, *shape):
        """0 to 4."""
        return torch.from_numpy(self.rng.integers(0, 5, shape))

    def labels(self, *shape):
        """Tokens, about every fourth left out, but never the first of a row."""
        labels = self.tokens(*shape)
        labels[torch.from_numpy(self.rng.random(shape) < 0.25)] = IGNORE
        labels[..., 0] = 1
        return labels

    def mask(self, n, share=0.5):
        """(n,) bool."""
        return torch.from_numpy(self.rng.random(n) < share)


class Toy:
    """A model of two small matrices, which is called as HRM is."""

    def __init__(self, draw):
        self.A = draw.normal(4, 4).requires_grad_()
        self.out = draw.normal(4, 7).requires_grad_()  # 5 tokens, q_halt, q_continue
        self.start = draw.normal(2, 4)

    def initial_state(self, B):
        z_H, z_L = self.start
        return z_H.expand(B, 3, 4), z_L.expand(B, 3, 4)

    def __call__(self, z, inputs, vectors=None):
        z_H, z_L = z
        z_H = (z_H @ self.A + inputs.float()[..., None] / 3 + z_L).tanh()
        outputs = z_H @ self.out
        return (z_H.detach(), 0.9 * z_L), outputs[..., :5], outputs[:, 0, 5], outputs[:, 0, 6]


class Whole(Toy):
    """Its Q-values are whole numbers: often two of them are equal."""

    def __call__(self, z, inputs):
        z, logits, q_halt, q_continue = super().__call__(z, inputs)
        return z, logits, q_halt.round(), q_continue.round()


class Descent:
    """Plain gradient descent. (PyTorch's takes seconds to import, in every process.)"""

    def __init__(self, w):
        self.w = w
        self.param_groups = [{"lr": 9.0}]

    @torch.no_grad()
    def step(self):
        self.w -= self.param_groups[0]["lr"] * self.w.grad

    def zero_grad(self):
        self.w.grad = None

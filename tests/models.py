"""Small models, untrained: one of each kind, and what they read. One that thinks nothing."""

from types import SimpleNamespace

import torch

from hrm import HRMConfig
from training.checkpoints import make_model

SIZES = dict(
    vocab_size=5,
    seq_len=6,
    hidden_size=16,
    num_heads=2,
    H_layers=1,
    L_layers=1,
    L_cycles=3,
    inner_multiple=8,
    puzzle_emb_ndim=16,
    M_max=3,
    halting="bce",
    dtype="float32",
)
ONE_PASS = {"H_cycles": 1, "L_cycles": 1, "M_max": 1}
INPUTS = torch.tensor([[1, 2, 3, 4, 1, 2], [4, 3, 2, 1, 4, 3]])


def make(name="hrm", **sizes):
    """make("trm", M_max=2): it reads INPUTS."""
    torch.manual_seed(0)
    once = ONE_PASS if name in ("transformer", "prenorm") else {}
    return make_model(name, HRMConfig(**{**SIZES, **sizes, **once}))


class Copycat(torch.nn.Module):
    """Answers with the input, and wants to halt in the segment that the first cell names."""
    config = SimpleNamespace(M_max=4)

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.asked = []

    def puzzle_vectors(self, puzzle_ids):
        self.asked += puzzle_ids.tolist()
        return puzzle_ids

    def initial_state(self, B):
        return torch.zeros(B), torch.zeros(B)

    def forward(self, z, inputs, puzzle_vectors):
        segment = z[0] + 1
        logits = torch.nn.functional.one_hot(inputs, 12).float()
        q_halt = torch.where(inputs[:, 0] <= segment, 1.0, -1.0)
        return (segment, segment), logits, q_halt, torch.zeros_like(q_halt)

    def wants_to_halt(self, q_halt, q_continue, confidence):
        return q_halt > q_continue

"""The models that HRM is compared with: HRM with other modules, trained by the same loop, losses and data.

    python train.py --task sudoku --model recurrent      # one module in place of two
    python train.py --task sudoku --model transformer    # the same layers once: "direct prediction"
    python train.py --task sudoku --model prenorm        # that too, with the norm before each sublayer
    python train.py --task sudoku --model trm            # one small network in both roles
    python train.py --task sudoku --model bptt           # gradient through all of a segment

A Transformer *in* HRM's outer loop (deep supervision, ACT), which the ARC Prize found nearly as good as HRM,
is `--model recurrent --H-cycles 1 --L-cycles 1`: one pass through all layers per segment.
"""

from torch import nn

from hrm import HRM, Block, ReasoningModule, rms_norm
from puzzles.errors import UserError


class Recurrent(HRM):
    """One module f with all H_layers + L_layers layers and one state: z ← f(z, x̃), N·T times in a segment.

    As many parameters as HRM, as many layers that carry gradient (those of the last update), and no
    hierarchy: the state z takes the place of z_H. A segment computes N·T·(H_layers + L_layers) layers, HRM
    N·T·L_layers + N·H_layers."""

    def __init__(self, config):
        super().__init__(config)
        self.H = ReasoningModule(config, config.H_layers + config.L_layers)
        self.L = None

    def update(self, i, z_H, z_L, x, rope):
        return self.H(z_H, x, rope), z_L


class Transformer(Recurrent):
    """No recurrence at all: the input passes once through H_layers + L_layers layers, and that is the
    answer. UserError if H_cycles, L_cycles or M_max is not 1."""

    def __init__(self, config):
        for name in ("H_cycles", "L_cycles", "M_max"):
            value = getattr(config, name)
            if value != 1:
                raise UserError(f"{name} is {value}; a Transformer predicts in one pass, it must be 1")
        super().__init__(config)


class PreNormBlock(Block):
    """The norm comes before attention and MLP, and not after: the sum h grows from layer to layer."""

    def forward(self, h, rope):
        h = h + self.attention(rms_norm(h, self.eps), rope)
        return h + self.mlp(rms_norm(h, self.eps))


class PreNorm(Transformer):
    """The Transformer as most are built today; a last norm comes before the heads."""

    def __init__(self, config):
        super().__init__(config)
        self.H.blocks = nn.ModuleList(PreNormBlock(config) for _ in self.H.blocks)

    def update(self, i, z_H, z_L, x, rope):
        z_H, z_L = super().update(i, z_H, z_L, x, rope)
        return rms_norm(z_H, self.config.norm_eps), z_L


class TRM(HRM):
    """Tiny Recursive Model (Jolicoeur-Martineau 2025, arXiv 2510.04871): one network, of L_layers, is both L
    and H, and the gradient goes through the whole last cycle, T updates of L and one of H, in place of one
    step.

    Published: 2 layers, N=3, T=6, halting by "bce", EMA 0.999. Its z is our z_L and its y our z_H."""

    def __init__(self, config):
        super().__init__(config)
        self.H = self.L
        self.gradient_steps = config.L_cycles


class BPTT(HRM):
    """HRM itself, trained by back-propagation through time: all updates of a segment carry gradient, in place
    of the last two. Memory grows with N·T; a step took 1.8 times as long on one core (N = T = 2)."""
    gradient_steps = 1_000_000  # more than there are


MODELS = {
    "recurrent": Recurrent,
    "transformer": Transformer,
    "prenorm": PreNorm,
    "trm": TRM,
    "bptt": BPTT,
}

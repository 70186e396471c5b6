"""The Hierarchical Reasoning Model (Wang et al. 2025, arXiv 2506.21734) in one file.

Two recurrent Transformer modules share one puzzle: a slow one (H, for "high-level") that plans and a fast one
(L, "low-level") that works out the details. L makes T updates for every update of H, and H makes N in a
*segment*. Training needs no back-propagation through time: each segment gets its own loss (deep supervision),
only its last two updates carry gradient (the one-step gradient), and a Q-head learns when the answer is good
enough to stop (adaptive computation time, ACT).

Read from top to bottom: the parts of a Transformer; HRM with ONE SEGMENT (`HRM.think`); the losses; deep
supervision and ACT in training (`act_step`); inference (`solve`).

Shapes: B batch, S tokens of a puzzle (a flattened grid), P positions taken by the puzzle embedding, D hidden
size, V vocabulary. "Published" means the behaviour of the authors' released implementation, which this file
reproduces number for number (tests/test_reference.py). Where the paper differs, a comment marks it [≠].
"""

import math
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from einops import rearrange

IGNORE = -100  # label of a token that the loss leaves out
CHOICES = {
    "model": ("hrm", "recurrent", "transformer", "prenorm", "trm"),  # the others: extras/baselines.py
    "positions": ("rope", "learned", "rope2d", "rope2d+learned"),  # the 2-D ones are ours, for small models
    "halting": ("q", "bce"),  # halt and continue values, as in the paper; or the halt value alone (as in TRM)
    "token_loss": ("stablemax", "softmax"),  # softmax is the paper's choice for Sudoku-Extreme-Full
    "dtype": ("float32", "bfloat16", "float64"),  # of activations; the parameters stay float32
}


@dataclass
class HRMConfig:
    """Sizes of an HRM. The defaults are the published model with its 27 275 266 parameters."""
    model: str = "hrm"
    vocab_size: int = 11
    seq_len: int = 81
    hidden_size: int = 512
    num_heads: int = 8
    H_layers: int = 4
    L_layers: int = 4
    H_cycles: int = 2  # N of the paper: H-updates per segment
    L_cycles: int = 2  # T of the paper: L-updates per H-update
    expansion: float = 4.0  # of the SwiGLU, see `swiglu_size`
    inner_multiple: int = 256  # the SwiGLU's inner width is rounded up to a multiple of this
    positions: str = "rope"
    rope_base: float = 10000.0
    norm_eps: float = 1e-5
    num_puzzles: int = 1  # rows of the puzzle embedding table
    puzzle_emb_ndim: int = 512  # length of one row; 0 = no puzzle embedding
    M_max: int = 16  # most segments per puzzle
    exploration: float = 0.1  # ε of the paper: how often a slot draws a longer minimum of segments
    halting: str = "q"
    q_weight: float = 0.5  # of the Q-head's losses, beside the tokens' 1
    token_loss: str = "stablemax"
    dtype: str = "bfloat16"

    def __post_init__(self):
        for name, value in vars(self).items():
            if name in CHOICES:
                if value not in CHOICES[name]:
                    raise ValueError(f"{name} is {value!r}; choose from {', '.join(CHOICES[name])}")
            elif not 0 <= value < math.inf or value == 0 and name not in ("puzzle_emb_ndim", "exploration"):
                raise ValueError(f"{name} is {value}; it must be positive")
        if self.exploration > 1:
            raise ValueError(f"exploration is {self.exploration}; it is a probability, at most 1")
        if self.hidden_size % self.num_heads or self.head_size % 4:
            raise ValueError(f"hidden_size {self.hidden_size} and num_heads {self.num_heads} give heads of "
                             f"{self.hidden_size / self.num_heads:g}; rotary positions need a multiple of 4")
        if "2d" in self.positions and math.isqrt(self.seq_len) ** 2 != self.seq_len:
            raise ValueError(f"positions {self.positions!r} need a square grid, not seq_len {self.seq_len}")

    @property
    def head_size(self):
        return self.hidden_size // self.num_heads

    @property
    def puzzle_positions(self):
        """P: how many positions the puzzle embedding fills."""
        return math.ceil(self.puzzle_emb_ndim / self.hidden_size)


# --------------------------------------------------------------------------------- the parts of a Transformer
def swiglu_size(hidden_size, expansion, multiple):
    """Width inside the SwiGLU: 2/3 of the expansion, as it has three matrices and not two, rounded up."""
    return multiple * max(1, math.ceil(round(expansion * hidden_size * 2 / 3) / multiple))


def trunc_normal_(tensor, std):
    """Fill with a normal cut at two standard deviations, then rescaled so that the *result* has the given std
    (`torch.nn.init.trunc_normal_` leaves this out, and its result is 12 % too narrow)."""
    density, mass = math.exp(-2) / math.sqrt(2 * math.pi), math.erf(math.sqrt(2))  # at ±2, and between
    std_after_cut = math.sqrt(1 - 4 * density / mass)  # 0.8796
    with torch.no_grad():
        return nn.init.trunc_normal_(tensor, std=1.0, a=-2.0, b=2.0).mul_(std / std_after_cut)


class Linear(nn.Linear):
    """No bias; LeCun normal initialisation; the float32 weight is cast to the dtype of the input."""

    def __init__(self, in_features, out_features):
        super().__init__(in_features, out_features, bias=False)

    def reset_parameters(self):
        trunc_normal_(self.weight, std=self.in_features**-0.5)

    def forward(self, x):
        return F.linear(x, self.weight.to(x.dtype))


def rms_norm(x, eps):
    """Scale every vector to root mean square 1, without trained scale or bias, in at least float32."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x.dtype)


def rope_tables(config):
    """Cosine and sine of the rotary angles, float32, each (P+S, head_size).
    "rope" turns each pair of dimensions with the position in the flattened sequence, as published. "rope2d"
    turns half of the pairs with the cell's row and half with its column, so that "the cell below" looks the
    same all over the grid. Puzzle positions come first; in 2-D they stand at row 0, column 0, off the grid.
    """
    P, S, pairs = config.puzzle_positions, config.seq_len, config.head_size // 2
    if "2d" in config.positions:
        cell, side = torch.arange(S), math.isqrt(S)
        rows, cols = F.pad(cell // side + 1, (P, 0)), F.pad(cell % side + 1, (P, 0))
        frequency = config.rope_base ** -(torch.arange(0, pairs, 2) / pairs)
        angles = torch.cat([rows[:, None] * frequency, cols[:, None] * frequency], dim=-1)
    else:
        frequency = config.rope_base ** -(torch.arange(pairs) / pairs)
        angles = torch.arange(P + S)[:, None] * frequency  # (P+S, head_size/2)
    angles = torch.cat([angles, angles], dim=-1)  # dimension i turns together with i + head_size/2
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    """Rotary positions (Su et al. 2021) on queries and keys x (2, B, heads, P+S, head_size), in float32."""
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat([-second, first], dim=-1) * sin).to(x.dtype)


class Attention(nn.Module):
    """Full (not causal) self-attention; q, k and v come from one projection."""

    def __init__(self, config):
        super().__init__()
        self.num_heads = config.num_heads
        self.qkv = Linear(config.hidden_size, 3 * config.hidden_size)
        self.out = Linear(config.hidden_size, config.hidden_size)

    def forward(self, x, rope):
        qkv = rearrange(self.qkv(x), "b s (three h d) -> three b h s d", three=3, h=self.num_heads)
        q, k = qkv[:2] if rope is None else rotate(qkv[:2], *rope)
        mixed = F.scaled_dot_product_attention(q, k, qkv[2])  # (B, heads, P+S, head_size)
        return self.out(rearrange(mixed, "b h s d -> b s (h d)"))


class SwiGLU(nn.Module):
    """Gated MLP (Shazeer 2020): W_down(silu(gate) · up)."""

    def __init__(self, config):
        super().__init__()
        inner = swiglu_size(config.hidden_size, config.expansion, config.inner_multiple)
        self.gate_up = Linear(config.hidden_size, 2 * inner)
        self.down = Linear(inner, config.hidden_size)

    def forward(self, x):
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Block(nn.Module):
    """Post-Norm: the norm comes after the residual sum, which keeps the recurrent state bounded."""

    def __init__(self, config):
        super().__init__()
        self.attention = Attention(config)
        self.mlp = SwiGLU(config)
        self.eps = config.norm_eps

    def forward(self, h, rope):
        h = rms_norm(h + self.attention(h, rope), self.eps)
        return rms_norm(h + self.mlp(h), self.eps)


class ReasoningModule(nn.Module):
    """f(z, injection): one update of a recurrent state z (B, P+S, D)."""

    def __init__(self, config, layers):
        super().__init__()
        self.blocks = nn.ModuleList(Block(config) for _ in range(layers))

    def forward(self, z, injection, rope):
        h = z + injection
        for block in self.blocks:
            h = block(h, rope)
        return h


# ------------------------------------------------------------------------------------------------- the model
class HRM(nn.Module):
    """Input network f_I, the modules f_L and f_H, output head f_O and Q-head (paper, section 2)."""
    gradient_steps = 1  # L-updates at the end of a segment that carry gradient

    def __init__(self, config):
        super().__init__()
        self.config = config
        D, P = config.hidden_size, config.puzzle_positions
        self.tokens = nn.Embedding(config.vocab_size, D)
        trunc_normal_(self.tokens.weight, std=D**-0.5)
        if "learned" in config.positions:
            self.positions = nn.Embedding(P + config.seq_len, D)
            trunc_normal_(self.positions.weight, std=D**-0.5)
        if P:
            # A buffer, not a parameter: with a million rows, a dense gradient would not fit. `act_step` hands
            # out the gathered rows as leaves, and sign-SGD (train.py) updates just those.
            self.register_buffer("puzzle_emb", torch.zeros(config.num_puzzles, config.puzzle_emb_ndim))
        self.H = ReasoningModule(config, config.H_layers)
        self.L = ReasoningModule(config, config.L_layers)
        # z_H⁰ and z_L⁰: one vector each for all positions, drawn once, never trained, saved with the weights.
        self.register_buffer("H_init", trunc_normal_(torch.empty(D), std=1.0))
        self.register_buffer("L_init", trunc_normal_(torch.empty(D), std=1.0))
        self.head = Linear(D, config.vocab_size)
        # Q starts at "halt in vain, continue in vain" (sigmoid(-5) < 1 %): early training is not disturbed.
        self.q_head = nn.Linear(D, 2)
        nn.init.zeros_(self.q_head.weight)
        nn.init.constant_(self.q_head.bias, -5.0)
        for name, table in zip(("cos", "sin"), rope_tables(config)):
            self.register_buffer(name, table, persistent=False)

    def initial_state(self, batch_size):
        """z⁰ = (z_H⁰, z_L⁰), each (B, P+S, D)."""
        positions = self.config.puzzle_positions + self.config.seq_len
        dtype = getattr(torch, self.config.dtype)
        return tuple(init.to(dtype).expand(batch_size, positions, -1) for init in (self.H_init, self.L_init))

    def puzzle_vectors(self, puzzle_ids):
        """Rows (B, puzzle_emb_ndim) of the puzzle embedding table, or None in a model that has none."""
        return self.puzzle_emb[puzzle_ids] if self.config.puzzle_positions else None

    def input_network(self, inputs, puzzle_vectors):
        """x̃ = √D · E[token] (B, P+S, D), the puzzle embedding prepended as P positions."""
        dtype, P, D = getattr(torch, self.config.dtype), self.config.puzzle_positions, self.config.hidden_size
        x = self.tokens(inputs).to(dtype)
        if P:
            padded = F.pad(puzzle_vectors.to(dtype), (0, P * D - puzzle_vectors.shape[-1]))
            x = torch.cat([rearrange(padded, "b (p d) -> b p d", p=P), x], dim=1)
        if "learned" in self.config.positions:
            x = (x + self.positions.weight.to(dtype)) / math.sqrt(2)  # keeps the variance of one embedding
        return math.sqrt(D) * x

    def think(self, z_H, z_L, x, rope, gradient_steps):
        """N·T updates of L and N of H (paper, figure 4): states and x all (B, P+S, D) -> the new z_H, z_L.
        Why only the last update of each module carries gradient: at a fixed point z* of an update z = f(z,
        θ), the implicit function theorem gives dz*/dθ = (I − ∂f/∂z)⁻¹ ∂f/∂θ. The inverse is the Neumann
        series I + ∂f/∂z + (∂f/∂z)² + …, and HRM keeps its first term: back-propagate through f once, hold its
        input constant (paper, section 2, "approximate gradient"). Memory then does not grow with N·T."""
        N, T = self.config.H_cycles, self.config.L_cycles
        for i in range(1, N * T + 1):
            with torch.set_grad_enabled(torch.is_grad_enabled() and i > N * T - gradient_steps):
                z_L = self.L(z_L, z_H + x, rope)
                if i % T == 0:
                    z_H = self.H(z_H, z_L, rope)
        return z_H, z_L

    def forward(self, z, inputs, puzzle_vectors=None, gradient_steps=None):
        """One segment: think, then both heads.
        z: (z_H, z_L), each (B, P+S, D); inputs: (B, S) tokens; puzzle_vectors: (B, puzzle_emb_ndim) or None;
        gradient_steps: 1 is the one-step gradient, N·T back-propagation through the whole segment.
        Returns the new state (detached), token logits (B, S, V) and q_halt, q_continue (B,) in float32."""
        rope = None if self.config.positions == "learned" else (self.cos, self.sin)
        x = self.input_network(inputs, puzzle_vectors)
        z_H, z_L = self.think(*z, x, rope, gradient_steps or self.gradient_steps)
        logits = self.head(z_H)[:, self.config.puzzle_positions :]
        q_halt, q_continue = self.q_head(z_H[:, 0].to(self.q_head.weight.dtype)).unbind(-1)
        return (z_H.detach(), z_L.detach()), logits, q_halt, q_continue

    def wants_to_halt(self, q_halt, q_continue, confidence=0.5):
        """(B,) bool: is stopping worth more than going on? With "bce", which has no continue values: is the
        answer right with a probability above `confidence`?"""
        if self.config.halting == "q":
            return q_halt > q_continue
        return q_halt > math.log(confidence / (1 - confidence))


# ---------------------------------------------------------------------------------------------------- losses
def stablemax_cross_entropy(logits, labels):
    """−log p(label) per token (B, S), with s(x) in place of exp(x): x+1 for x ≥ 0, 1/(1−x) for x < 0.
    Published code's choice for small data (Prieto et al. 2025): it grows linearly, so that a certain model
    does not saturate. In float64 as published, as p may come close to 1 (Apple's GPUs have none)."""
    x = logits.to(torch.float32 if logits.device.type == "mps" else torch.float64)
    s = torch.where(x < 0, 1 / (1 - x.clamp(max=0)), x + 1)
    known = labels != IGNORE
    p = s.gather(-1, labels.where(known, 0).unsqueeze(-1)).squeeze(-1) / s.sum(-1)
    return -p.log() * known


def segment_loss(config, logits, labels, q_halt, q_continue, target_continue):
    """Loss of one segment, summed over the B sequences, with its parts and what the metrics need.
    Total = token loss + q_weight · (halt + continue). [≠] The paper's formula has no weight, its code ½.
    target_continue (B,) is None where there is no continue loss: M_max = 1, or halting by "bce".
    Returns loss (scalar), parts (dict of scalars), cell accuracy (B,) and exact (B,) bool."""
    if config.token_loss == "stablemax":
        token_losses = stablemax_cross_entropy(logits, labels)
    else:
        token_losses = F.cross_entropy(logits.float().mT, labels, ignore_index=IGNORE, reduction="none")
    labelled = labels != IGNORE
    count = labelled.sum(-1)
    token = (token_losses.sum(-1) / count.clamp(min=1)).sum()
    right = (labelled & (logits.argmax(-1) == labels)).sum(-1)
    exact = right == count
    # G_halt = 1 if stopping here gives the right answer: a Q-value is the probability of that (paper's Ĝ).
    halt = F.binary_cross_entropy_with_logits(q_halt, exact.to(q_halt.dtype), reduction="sum")
    parts = {"lm_loss": token.detach(), "q_halt_loss": halt.detach()}
    loss = token + config.q_weight * halt
    if target_continue is not None:
        go_on = F.binary_cross_entropy_with_logits(q_continue, target_continue, reduction="sum")
        parts["q_continue_loss"] = go_on.detach()
        loss = loss + config.q_weight * go_on
    return loss, parts, right / count.clamp(min=1), exact


# ----------------------------------------------------------------------- deep supervision and ACT in training
@dataclass
class Slots:
    """B puzzles being thought about at the same time, each at a segment of its own."""
    inputs: torch.Tensor  # (B, S) tokens
    labels: torch.Tensor  # (B, S) tokens, IGNORE where the loss does not look
    puzzle_ids: torch.Tensor  # (B,)
    z_H: torch.Tensor  # (B, P+S, D), detached: no gradient crosses segments
    z_L: torch.Tensor
    segments: torch.Tensor  # (B,) segments done on this puzzle
    halted: torch.Tensor  # (B,) bool: the slot takes a new puzzle in the next step

    @classmethod
    def empty(cls, model, inputs, labels, puzzle_ids):
        """All halted: the first `act_step` fills every slot. The arguments give shapes and the device."""
        segments = torch.zeros(len(inputs), dtype=torch.int32, device=inputs.device)
        return cls(inputs, labels, puzzle_ids, *model.initial_state(len(inputs)), segments, segments == 0)

    def refill(self, model, inputs, labels, puzzle_ids):
        """Slots that halted take their row of the batch and the initial state; the others think on."""
        z_H, z_L = model.initial_state(len(inputs))
        row, state = self.halted[:, None], self.halted[:, None, None]
        return Slots(torch.where(row, inputs, self.inputs), torch.where(row, labels, self.labels),
                     torch.where(self.halted, puzzle_ids, self.puzzle_ids),
                     torch.where(state, z_H, self.z_H), torch.where(state, z_L, self.z_L),
                     torch.where(self.halted, 0, self.segments), torch.zeros_like(self.halted))


def draw_M_min(B, M_max, exploration, generator=None):
    """M_min per slot (B,): with probability ε uniform in {2..M_max}, else 1 (paper, section 2, ACT)."""
    explore = torch.rand(B, generator=generator) < exploration
    return torch.where(explore, torch.randint(2, max(M_max, 2) + 1, (B,), generator=generator), 1)


def act_step(model, slots, batch, M_max, M_min=1):
    """One segment for every slot: refill, think, compare, decide who halts. Backward is the caller's.
    batch: (inputs, labels, puzzle_ids) on offer; M_min: (B,) from `draw_M_min`. Returns the new slots, the
    loss summed over sequences, the metrics of the sequences that halted (sums, to be divided by
    metrics["count"]), and the puzzle vectors, whose .grad the puzzle embedding's optimiser wants."""
    config = model.config
    slots = slots.refill(model, *batch)
    puzzle_vectors = model.puzzle_vectors(slots.puzzle_ids)
    if puzzle_vectors is not None:
        puzzle_vectors.requires_grad_()
    z, logits, q_halt, q_continue = model((slots.z_H, slots.z_L), slots.inputs, puzzle_vectors)
    with torch.no_grad():
        segments = slots.segments + 1
        last = segments >= M_max
        halted = last | (model.wants_to_halt(q_halt, q_continue) & (segments >= M_min))
        target = None
        if M_max > 1 and config.halting == "q":
            # Q-learning: going on is worth what the next segment's better choice is worth, so look one ahead.
            _, _, next_halt, next_continue = model(z, slots.inputs, puzzle_vectors)
            target = torch.where(last, next_halt, torch.maximum(next_halt, next_continue)).sigmoid()
    loss, parts, cells, exact = segment_loss(config, logits, slots.labels, q_halt, q_continue, target)
    counted = halted & (slots.labels != IGNORE).any(-1)  # a padding row has no label and is not counted
    metrics = {"count": counted.sum(), "segments": (segments * counted).sum(), **parts,
               "accuracy": (cells * counted).sum(), "exact_accuracy": (exact & counted).sum(),
               "q_halt_accuracy": (((q_halt >= 0) == exact) & counted).sum()}
    slots = Slots(slots.inputs, slots.labels, slots.puzzle_ids, *z, segments, halted)
    return slots, loss, metrics, puzzle_vectors


# -------------------------------------------------------------------------------------------------- inference
class Thinking:
    """Puzzles inputs (B, S) that are being thought about, one segment after the other."""

    def __init__(self, model, inputs, puzzle_ids=None):
        if puzzle_ids is None:
            puzzle_ids = torch.zeros(len(inputs), dtype=torch.long, device=inputs.device)
        self.model, self.inputs, self.vectors = model, inputs, model.puzzle_vectors(puzzle_ids)
        self.z = model.initial_state(len(inputs))  # z_H, z_L, each (B, P+S, D)

    @torch.no_grad()
    def segment(self):
        """One more segment -> token logits (B, S, V), q_halt (B,), q_continue (B,)."""
        self.z, *outputs = self.model(self.z, self.inputs, self.vectors)
        return outputs

    def keep(self, rows):
        """Go on with these puzzles only (a mask or indices)."""
        self.inputs, self.z = self.inputs[rows], tuple(z[rows] for z in self.z)
        self.vectors = None if self.vectors is None else self.vectors[rows]


@dataclass
class Solution:
    """What `solve` found for B puzzles."""
    predictions: torch.Tensor  # (B, S) tokens
    segments: torch.Tensor  # (B,) segments used
    q_halt: torch.Tensor  # (B,) Q-value of the segment that gave the answer, before the sigmoid


@torch.no_grad()
def solve(model, inputs, puzzle_ids=None, max_segments=None, halt=True, confidence=0.5, after_segment=None):
    """Think about inputs (B, S) for up to `max_segments` (default: the model's M_max) and answer.

    With `halt`, a puzzle stops as soon as the Q-head says so (`confidence`: see `HRM.wants_to_halt`) and
    leaves the batch, which saves its time; the answer is the one with the highest q_halt on the way. [≠] The
    published evaluation never stops early: halt=False. `after_segment`: changes a state (extras/vote.py)."""
    thinking = Thinking(model, inputs, puzzle_ids)
    active = torch.arange(len(inputs), device=inputs.device)  # rows still being thought about
    q_best = torch.full_like(active, -torch.inf, dtype=torch.float32)
    solution = Solution(torch.zeros_like(inputs), torch.zeros_like(active), q_best)
    for segment in range(1, (max_segments or model.config.M_max) + 1):
        logits, q_halt, q_continue = thinking.segment()
        if after_segment:
            thinking.z = tuple(after_segment(z) for z in thinking.z)
        better = q_halt > solution.q_halt[active] if halt else torch.ones_like(active, dtype=torch.bool)
        rows = active[better]
        solution.predictions[rows] = logits[better].argmax(-1)
        solution.q_halt[rows] = q_halt[better].float()
        solution.segments[active] = segment
        if halt:
            go_on = ~model.wants_to_halt(q_halt, q_continue, confidence)
            active = active[go_on]
            thinking.keep(go_on)
        if not len(active):
            break
    return solution

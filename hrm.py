"""The Hierarchical Reasoning Model (Wang et al. 2025, arXiv 2506.21734) in one file.

Two recurrent Transformer modules share one puzzle: a slow one (H, for "high-level") that plans and a fast one
(L, "low-level") that works out the details. L makes T updates for every update of H, and H makes N in a
*segment*. Training needs no back-propagation through time: each segment gets its own loss (deep supervision),
only its last two updates carry gradient (the one-step gradient), and a Q-head learns when the answer is good
enough to stop (adaptive computation time, ACT).

Read from top to bottom: sizes; the parts of a Transformer; HRM with ONE SEGMENT (`HRM.think`); the losses;
deep supervision and ACT in training (`act_step`); inference (`solve`).

Shapes: B batch, S tokens of a puzzle (a flattened grid), P positions taken by the puzzle embedding, D hidden
size, V vocabulary. "Published" means the behaviour of the authors' released implementation, whose numbers are
this file's up to rounding (tests/test_reference.py). Where it or the paper differs, a comment marks it [≠].
"""

import math
from dataclasses import dataclass, field, fields, replace

import torch
import torch.nn as nn
import torch.nn.functional as F
from einops import rearrange

IGNORE = -100  # label of a token that the loss leaves out


# -------------------------------------------------------------------------------------------------- the sizes
def setting(default, help, low=1, high=1e12, choices=None):
    """A field of a dataclass with its meaning and its values beside it: train.py makes an option of it."""
    return field(default=default, metadata={"help": help, "low": low, "high": high, "choices": choices})


def check(settings):
    """ValueError if one of these settings has a value that it does not take."""
    for f in fields(settings):
        value = getattr(settings, f.name)
        if value is None or not f.metadata:
            continue
        low, high, choices = f.metadata["low"], f.metadata["high"], f.metadata["choices"]
        if choices and value not in choices:
            raise ValueError(f"{f.name} is {value!r}; choose from {', '.join(choices)}")
        if f.type in (int, float) and not low <= value <= high:
            raise ValueError(f"{f.name.replace('_', '-')} is {value}; it must be from {low} to {high:g}")


@dataclass
class HRMConfig:
    """Sizes of an HRM. The defaults are the published model with its 27 275 266 parameters."""
    vocab_size: int = 11
    seq_len: int = 81
    hidden_size: int = setting(512, "D: length of the vector of a token")
    num_heads: int = setting(8, "attention heads")
    H_layers: int = setting(4, "blocks of the H-module")
    L_layers: int = setting(4, "blocks of the L-module")
    H_cycles: int = setting(2, "N: H-updates in a segment")
    L_cycles: int = setting(2, "T: L-updates for each H-update")
    expansion: float = 4.0  # of the SwiGLU, see `swiglu_size`
    inner_multiple: int = 256  # the SwiGLU's inner width is rounded up to a multiple of this
    positions: str = setting("rope", "how a token knows its place: see `rope_tables`",
                             choices=("rope", "learned", "rope2d", "rope2d+learned"))
    rope_base: float = 10000.0
    norm_eps: float = 1e-5
    num_puzzles: int = 1  # rows of the puzzle embedding table
    puzzle_emb_ndim: int = 512  # length of one row; 0 = no puzzle embedding
    M_max: int = setting(16, "most segments for a puzzle")
    exploration: float = setting(0.1, "ε: how often a slot must think for longer", low=0, high=1)
    halting: str = setting("q", "by halt and continue values; bce: by the former", choices=("q", "bce"))
    q_weight: float = setting(0.5, "of the Q-head's losses; the token loss has 1", low=0)
    token_loss: str = setting("stablemax", "Sudoku-Extreme-Full: softmax", choices=("stablemax", "softmax"))
    dtype: str = setting("bfloat16", "of activations", choices=("float32", "bfloat16", "float64"))

    def __post_init__(self):
        check(self)
        if self.hidden_size % (4 * self.num_heads):
            raise ValueError(f"hidden_size {self.hidden_size} is no multiple of 4 times num_heads "
                             f"{self.num_heads}, which rotary positions need")
        if "2d" in self.positions and math.isqrt(self.seq_len) ** 2 != self.seq_len:
            raise ValueError(f"positions {self.positions} need a square grid, not {self.seq_len} cells; "
                             f"take learned ones (--positions learned)")

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
    return multiple * math.ceil(round(expansion * hidden_size * 2 / 3) / multiple)


def trunc_normal_(tensor, std):
    """Fill with a normal cut at two standard deviations, then rescaled so that the *result* has the given std
    (`torch.nn.init.trunc_normal_` leaves this out, and its result is 12 % too narrow)."""
    nn.init.trunc_normal_(tensor, std=1.0, a=-2.0, b=2.0)
    return tensor.data.mul_(std / 0.8796256610342398)  # what the cut leaves of a standard deviation of 1


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
    mean_square = wide.square().mean(-1, keepdim=True)
    return (wide * torch.rsqrt(mean_square + eps)).to(x.dtype)


def rope_tables(config):
    """Cosine and sine of the rotary angles, float32, each (P+S, head_size).
    "rope" turns each pair of dimensions with the position in the flattened sequence, as published. "rope2d"
    turns half of the pairs with the cell's row and half with its column, so that "the cell below" looks the
    same all over the grid. Puzzle positions come first; in 2-D they stand at row 0, column 0, off the grid.
    "learned" turns nothing: there, vectors are added to the tokens."""
    P = config.puzzle_positions
    pairs = config.head_size // 2
    if "2d" in config.positions:
        side = math.isqrt(config.seq_len)
        cell = torch.arange(config.seq_len)
        row = F.pad(cell // side + 1, (P, 0))  # (P+S,)
        column = F.pad(cell % side + 1, (P, 0))
        frequency = config.rope_base ** -(torch.arange(0, pairs, 2) / pairs)
        angles = torch.cat([row[:, None] * frequency, column[:, None] * frequency], dim=-1)
    else:
        frequency = config.rope_base ** -(torch.arange(pairs) / pairs)
        turns = 0 if config.positions == "learned" else 1
        angles = turns * torch.arange(P + config.seq_len)[:, None] * frequency  # (P+S, head_size/2)
    angles = torch.cat([angles, angles], dim=-1)  # dimension i turns together with i + head_size/2
    return angles.cos(), angles.sin()


def rotate(x, rope):
    """Rotary positions (Su et al. 2021) on queries or keys x (B, heads, P+S, head_size), in float32."""
    cos, sin = rope
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return (x * cos + turned * sin).to(x.dtype)


class Attention(nn.Module):
    """Full (not causal) self-attention; q, k and v come from one projection."""
    def __init__(self, config):
        super().__init__()
        self.num_heads = config.num_heads
        self.qkv = Linear(config.hidden_size, 3 * config.hidden_size)
        self.out = Linear(config.hidden_size, config.hidden_size)

    def forward(self, x, rope):
        q, k, v = rearrange(self.qkv(x), "b s (three h d) -> three b h s d", three=3, h=self.num_heads)
        mixed = F.scaled_dot_product_attention(rotate(q, rope), rotate(k, rope), v)  # (B, h, P+S, d)
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
    gradient_steps = 1  # L-updates at the end of a segment that carry gradient: the one-step gradient

    def __init__(self, config):
        super().__init__()
        self.config = config
        D = config.hidden_size
        self.tokens = nn.Embedding(config.vocab_size, D)
        trunc_normal_(self.tokens.weight, std=D**-0.5)
        if "learned" in config.positions:
            self.positions = nn.Embedding(config.puzzle_positions + config.seq_len, D)
            trunc_normal_(self.positions.weight, std=D**-0.5)
        # A buffer: of a million rows a gradient would not fit, and sign-SGD updates those of a batch alone.
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
        dtype = getattr(torch, self.config.dtype)
        every = batch_size, len(self.cos), -1
        return self.H_init.to(dtype).expand(every), self.L_init.to(dtype).expand(every)

    def puzzle_vectors(self, puzzle_ids):
        """Rows (B, puzzle_emb_ndim) of the puzzle embedding table."""
        return self.puzzle_emb[puzzle_ids]

    def input_network(self, inputs, puzzle_vectors):
        """x̃ = √D · E[token] (B, P+S, D), the puzzle embedding prepended as P positions."""
        P = self.config.puzzle_positions
        D = self.config.hidden_size
        dtype = getattr(torch, self.config.dtype)
        padded = F.pad(puzzle_vectors.to(dtype), (0, P * D - puzzle_vectors.shape[-1]))
        puzzle = rearrange(padded, "b (p d) -> b p d", d=D)
        cells = self.tokens(inputs).to(dtype)
        x = torch.cat([puzzle, cells], dim=1)
        if "learned" in self.config.positions:
            x = (x + self.positions.weight.to(dtype)) / math.sqrt(2)  # keeps the variance of one embedding
        return math.sqrt(D) * x

    def update(self, i, z_H, z_L, x, rope):
        """Update i = 1, 2, … of L, and after each T of them one of H."""
        z_L = self.L(z_L, z_H + x, rope)
        if i % self.config.L_cycles == 0:
            z_H = self.H(z_H, z_L, rope)
        return z_H, z_L

    def think(self, z_H, z_L, x):
        """N·T updates of L and N of H (paper, figure 4): states and x all (B, P+S, D) -> the new z_H, z_L.
        Why only the last update of each module carries gradient: at a fixed point z* of an update z = f(z,
        θ), the implicit function theorem gives dz*/dθ = (I − ∂f/∂z)⁻¹ ∂f/∂θ. The inverse is the Neumann
        series I + ∂f/∂z + (∂f/∂z)² + …, and HRM keeps its first term: back-propagate through f once, hold its
        input constant (paper, section 2, "approximate gradient"). Memory then does not grow with N·T."""
        updates = self.config.H_cycles * self.config.L_cycles
        without = max(0, updates - self.gradient_steps)
        rope = self.cos, self.sin
        with torch.no_grad():
            for i in range(1, without + 1):
                z_H, z_L = self.update(i, z_H, z_L, x, rope)
        for i in range(without + 1, updates + 1):
            z_H, z_L = self.update(i, z_H, z_L, x, rope)
        return z_H, z_L

    def forward(self, z, inputs, puzzle_vectors):
        """One segment: z (z_H, z_L), inputs (B, S) tokens, puzzle_vectors (B, puzzle_emb_ndim) -> the new z
        (detached), token logits (B, S, V), and q_halt, q_continue (B,) in float32."""
        x = self.input_network(inputs, puzzle_vectors)
        z_H, z_L = self.think(*z, x)
        logits = self.head(z_H)[:, self.config.puzzle_positions :]
        # At position 0, the puzzle embedding's first. [≠] Published in bfloat16, where close values tie.
        board = z_H[:, 0].to(self.q_head.weight.dtype)
        q_halt, q_continue = self.q_head(board).unbind(-1)
        return (z_H.detach(), z_L.detach()), logits, q_halt, q_continue

    def wants_to_halt(self, q_halt, q_continue, confidence=0.5):
        """(B,) bool: is stopping worth more than going on? With "bce", which has no continue values: is the
        answer right with a probability above `confidence`?"""
        if self.config.halting == "q":
            return q_halt > q_continue
        return q_halt.sigmoid() > confidence


# ---------------------------------------------------------------------------------------------------- losses
def stablemax_cross_entropy(logits, labels):
    """−log p(label) per token (B, S), with s(x) in place of exp(x): x+1 for x ≥ 0, 1/(1−x) for x < 0.
    Published for small data (Prieto et al. 2025), in float64: it grows linearly and does not saturate."""
    x = logits.double()
    s = torch.where(x < 0, 1 / (1 - x.clamp(max=0)), x + 1)
    labelled = labels != IGNORE
    known = labels.where(labelled, 0)  # (B, S)
    p = s.gather(-1, known[:, :, None])[:, :, 0] / s.sum(-1)
    return -p.log() * labelled


METRICS = "exact", "cell", "segments", "q_halt_accuracy"  # the last: does q_halt > 0 tell right from wrong?


def measure(predictions, labels, segments, q_halt):
    """What is counted of each puzzle, in training as in evaluation: the METRICS, (4, B) float32."""
    labelled = labels != IGNORE
    right = ((predictions == labels) & labelled).sum(-1)
    exact = right == labelled.sum(-1)
    cell = right / labelled.sum(-1).clamp(min=1)
    told = (q_halt >= 0) == exact
    return torch.stack([exact.float(), cell, segments.float(), told.float()])


def segment_loss(config, logits, labels, q_halt, q_continue, exact, target_continue):
    """Token loss and loss of a segment, both summed over the B sequences (scalars).
    Loss = token loss + q_weight · (halt + continue). [≠] The paper's formula has no weight, its code ½.
    exact (B,): is this segment's answer right? target_continue (B,) is None where there is no continue loss:
    M_max = 1, or halting by "bce"."""
    if config.token_loss == "stablemax":
        losses = stablemax_cross_entropy(logits, labels)  # (B, S)
    else:
        losses = F.cross_entropy(logits.float().mT, labels, ignore_index=IGNORE, reduction="none")
    labelled = (labels != IGNORE).sum(-1).clamp(min=1)
    token_loss = (losses.sum(-1) / labelled).sum()
    # G_halt = 1 if stopping here gives the right answer: a Q-value is the probability of that (paper's Ĝ).
    q_loss = F.binary_cross_entropy_with_logits(q_halt, exact.to(q_halt.dtype), reduction="sum")
    if target_continue is not None:
        q_loss = q_loss + F.binary_cross_entropy_with_logits(q_continue, target_continue, reduction="sum")
    return token_loss, token_loss + config.q_weight * q_loss


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
        segments = torch.zeros_like(puzzle_ids)
        halted = torch.ones_like(puzzle_ids, dtype=torch.bool)
        return cls(inputs, labels, puzzle_ids, *model.initial_state(len(inputs)), segments, halted)

    def refill(self, model, inputs, labels, puzzle_ids):
        """Slots that halted take their row of the batch and the initial state; the others think on."""
        z_H, z_L = model.initial_state(len(inputs))
        row = self.halted[:, None]
        state = self.halted[:, None, None]
        return Slots(
            inputs=torch.where(row, inputs, self.inputs),
            labels=torch.where(row, labels, self.labels),
            puzzle_ids=torch.where(self.halted, puzzle_ids, self.puzzle_ids),
            z_H=torch.where(state, z_H, self.z_H),
            z_L=torch.where(state, z_L, self.z_L),
            segments=torch.where(self.halted, 0, self.segments),
            halted=torch.zeros_like(self.halted),
        )


def draw_M_min(B, M_max, exploration, generator=None):
    """M_min per slot (B,): with probability ε uniform in {2..M_max}, else 1 (paper, section 2, ACT)."""
    explore = torch.rand(B, generator=generator) < exploration
    longer = torch.randint(2, max(M_max, 2) + 1, (B,), generator=generator)
    return torch.where(explore, longer, 1)


def act_step(model, slots, batch, M_max, M_min=1):
    """One segment for every slot: refill, think, compare, decide who halts. Backward is the caller's.
    batch: (inputs, labels, puzzle_ids) on offer; M_min: (B,) from `draw_M_min`. Returns the new slots; the
    loss, summed over the B sequences; a dict of sums (METRICS: over the "count" sequences that halted); and
    the puzzle vectors, whose .grad the puzzle embedding's optimiser wants."""
    config = model.config
    slots = slots.refill(model, *batch)
    puzzle_vectors = model.puzzle_vectors(slots.puzzle_ids).requires_grad_()
    z, logits, q_halt, q_continue = model((slots.z_H, slots.z_L), slots.inputs, puzzle_vectors)
    with torch.no_grad():
        segments = slots.segments + 1
        last = segments >= M_max
        halted = last | (model.wants_to_halt(q_halt, q_continue) & (segments >= M_min))
        measured = measure(logits.argmax(-1), slots.labels, segments, q_halt)
        target_continue = None
        if M_max > 1 and config.halting == "q":
            # Q-learning: going on is worth what the next segment's better choice is worth, so look one ahead.
            _, _, next_halt, next_continue = model(z, slots.inputs, puzzle_vectors)
            best = torch.maximum(next_halt, next_continue)
            target_continue = torch.where(last, next_halt, best).sigmoid()
    exact = measured[METRICS.index("exact")]
    token_loss, loss = segment_loss(config, logits, slots.labels, q_halt, q_continue, exact, target_continue)
    metrics = {"loss": loss.detach(), "token_loss": token_loss.detach(), "count": halted.sum()}
    metrics |= zip(METRICS, (measured * halted).sum(-1))
    slots = replace(slots, z_H=z[0], z_L=z[1], segments=segments, halted=halted)
    return slots, loss, metrics, puzzle_vectors


# -------------------------------------------------------------------------------------------------- inference
@dataclass
class Solution:
    """What `solve` found for B puzzles."""
    predictions: torch.Tensor  # (B, S) tokens
    segments: torch.Tensor  # (B,) segments used
    q_halt: torch.Tensor  # (B,) Q-value of the segment that gave the answer, before the sigmoid


@torch.no_grad()
def solve(model, inputs, puzzle_ids=None, max_segments=None, confidence=0.5):
    """Think about inputs (B, S) for up to `max_segments` (default: the model's M_max) -> Solution. A puzzle
    stops as soon as the Q-head says so (`HRM.wants_to_halt`) and leaves the batch; its answer is the one with
    the highest q_halt. [≠] The published evaluation never stops early and gives the last: confidence=1."""
    if puzzle_ids is None:
        puzzle_ids = torch.zeros_like(inputs[:, 0])
    puzzle_vectors = model.puzzle_vectors(puzzle_ids)
    z_H, z_L = model.initial_state(len(inputs))
    rows = torch.arange(len(inputs), device=inputs.device)  # puzzles still being thought about
    none_yet = torch.full_like(rows, -torch.inf, dtype=torch.float32)
    solution = Solution(torch.zeros_like(inputs), torch.zeros_like(rows), none_yet)
    for segment in range(1, (max_segments or model.config.M_max) + 1):
        (z_H, z_L), logits, q_halt, q_continue = model((z_H, z_L), inputs, puzzle_vectors)
        solution.segments[rows] = segment
        better = q_halt > solution.q_halt[rows] if confidence < 1 else slice(None)
        solution.predictions[rows[better]] = logits[better].argmax(-1)
        solution.q_halt[rows[better]] = q_halt[better].float()
        if confidence < 1:
            left = ~model.wants_to_halt(q_halt, q_continue, confidence)
            rows = rows[left]
            inputs = inputs[left]
            puzzle_vectors = puzzle_vectors[left]
            z_H, z_L = z_H[left], z_L[left]
        if not len(rows):
            break
    return solution

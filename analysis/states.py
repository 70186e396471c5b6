"""What happens inside a model while it thinks: its states update by update, and what is measured on them.

    trajectory = record(model, inputs)                      # all states of all segments
    residuals(trajectory.z_H, trajectory.initial[0])        # how far each update moves the state (fig. 3)
    participation_ratio(trajectory.z_H[-1].flatten(0, 1))   # how many dimensions the states fill (fig. 8)
    intermediate_predictions(model, trajectory)             # the answer after each update (fig. 7)

Shapes as in hrm.py: B puzzles, P+S positions, D hidden size.
"""

from dataclasses import dataclass

import torch
from einops import rearrange

from extras.baselines import Transformer
from puzzles.boards import BLUE, VERMILLION

COLOURS = {"z_H": VERMILLION, "z_L": BLUE}  # in every figure, here and in the notebooks


# ---------------------------------------------------------------------------------------- watching a model
@dataclass
class Trajectory:
    """The states of B puzzles after every update. Recurrent and Transformer have one state, here z_H, and an
    empty z_L. A Transformer has no updates: z_H is its residual stream after each layer, its initial state
    what enters the first one."""
    z_H: torch.Tensor  # (H-updates, B, P+S, D); N in a segment (Recurrent: N·T, Transformer: its layers)
    z_L: torch.Tensor  # (L-updates, B, P+S, D); N·T of them in a segment
    initial: tuple  # the states before the first update: z_H⁰ and z_L⁰, each (B, P+S, D)
    logits: torch.Tensor  # (segments, B, S, V): what each segment answers
    q_halt: torch.Tensor  # (segments, B): σ(q_halt) is the model's own chance that this answer is right


@torch.no_grad()
def record(model, inputs, puzzle_ids=None, segments=None):
    """Think about inputs (B, S) for `segments` segments (default: M_max; a Transformer takes one) without
    halting -> Trajectory. Its modules are only watched: what is computed is what `solve` computes."""
    if puzzle_ids is None:
        puzzle_ids = torch.zeros_like(inputs[:, 0])
    puzzle_vectors = model.puzzle_vectors(puzzle_ids)
    z = initial = model.initial_state(len(inputs))
    watched = {model.H, model.L} - {None}
    if isinstance(model, Transformer):
        watched = model.H.blocks
        segments = 1
        initial = z[0] + model.input_network(inputs, puzzle_vectors), z[1]
    states = []  # what the watched modules return, in turn
    hooks = [module.register_forward_hook(lambda *call: states.append(call[-1])) for module in watched]
    answers = []  # logits and q_halt of each segment
    for _ in range(segments or model.config.M_max):
        z, logits, q_halt, _ = model(z, inputs, puzzle_vectors)
        answers.append((logits, q_halt))
    for hook in hooks:
        hook.remove()

    z_H = torch.stack(states)
    z_L = z_H[:0]
    if model.L is not None:
        T = model.config.L_cycles
        cycles = z_H.unflatten(0, (-1, T + 1))  # T updates of L, then one of H
        z_L = cycles[:, :T].flatten(0, 1)
        z_H = cycles[:, T]
    logits, q_halt = (torch.stack(parts) for parts in zip(*answers))
    return Trajectory(z_H, z_L, initial, logits, q_halt)


@torch.no_grad()
def intermediate_predictions(model, trajectory):
    """What the model would have answered after each update of L: tokens (L-updates, B, S) (paper, fig. 7).

    ȳⁱ = f_O(f_H(z_Hⁱ, z_Lⁱ)): one H-update more, on the side, which the trajectory does not see. Models
    without L are decoded after each update (Transformer: after each layer)."""
    states = trajectory.z_H
    if model.L is not None:
        T = model.config.L_cycles
        rope = model.cos, model.sin
        z_H = torch.cat([trajectory.initial[0][None], trajectory.z_H])
        states = [model.H(z_H[i // T], z_L, rope) for i, z_L in enumerate(trajectory.z_L)]
        states = torch.stack(states)
    return model.head(states)[:, :, model.config.puzzle_positions :].argmax(-1)


# --------------------------------------------------------------------------------------- measures of states
def residuals(z, initial):
    """Forward residuals ‖zⁱ − zⁱ⁻¹‖ of states z (updates, B, P+S, D) that began at `initial` (B, P+S, D):
    (updates, B) float32, the norm over the D features, then the mean over the P+S positions."""
    moves = torch.diff(z.float(), dim=0, prepend=initial.float()[None])
    return moves.norm(dim=-1).mean(-1)


def centre(X):
    """Rows X (n, D), less their mean, in float64 and on the CPU: not all devices have it."""
    X = torch.as_tensor(X).cpu().double()
    return X - X.mean(0)


def pca(X, k=2):
    """Rows X (n, D) -> their coordinates on the k directions of most variance (n, k), each up to its sign,
    and the shares of the variance that these explain (k,), NumPy arrays."""
    directions, length, _ = torch.linalg.svd(centre(X), full_matrices=False)  # (n, …) and (…,)
    variance = length.square()
    explained = variance / variance.sum()
    return (directions * length)[:, :k].numpy(), explained[:k].numpy()


def ratio_of_covariance(covariance):
    """(Σλ)² / Σλ² of the eigenvalues λ of a covariance (D, D), up to a factor. No eigenvalue is computed: Σλ
    is the trace, and Σλ² the sum of the squared entries."""
    return (covariance.trace() ** 2 / covariance.square().sum()).item()


def participation_ratio(X):
    """(Σλ)² / Σλ² of the eigenvalues λ of the covariance of rows X (n, D): the number of dimensions that they
    fill. k equal eigenvalues give k, whatever D is; n rows never more than n − 1."""
    X = centre(X)
    if len(X) < X.shape[1]:
        X = X.T  # X Xᵀ has the eigenvalues of Xᵀ X, zeros aside: the smaller one will do
    return ratio_of_covariance(X.T @ X)


READINGS = {
    "tokens": "each token after each update of each puzzle",
    "steps": "each update of each puzzle: the mean over its tokens",
    "puzzles": "each puzzle: its last state, all tokens side by side",
    "trajectories": "each puzzle: the mean over its tokens after every update, side by side",
}


def rows(z, reading):
    """States z (updates, B, P+S, D) -> rows (B, rows of one puzzle, length of a row), as one of READINGS
    says: the paper does not say what the rows of its covariance are."""
    if reading in ("steps", "trajectories"):
        z = z.float().mean(2, keepdim=True)
    if reading == "puzzles":
        z = z[-1:]
    if reading in ("tokens", "steps"):
        return rearrange(z, "updates b s d -> b (updates s) d")
    return rearrange(z, "updates b s d -> b 1 (updates s d)")

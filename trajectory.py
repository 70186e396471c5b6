"""What happens inside a model while it thinks: its states update by update, and what can be measured on them.

    trajectory = record(model, inputs)                             # all states of all segments
    residuals(trajectory.z_H, trajectory.initial[0])               # how far each update moves the state (paper, fig. 3)
    participation_ratio(trajectory.z_H[-1].flatten(0, 1))          # how many dimensions the states fill (paper, fig. 8)
    intermediate_predictions(model, inputs)                        # the answer after each update (paper, fig. 7)

analyze.py makes the paper's figures of these. Shapes as in hrm.py: B puzzles, P+S positions, D hidden size.
"""

from dataclasses import dataclass

import torch
from einops import rearrange


@dataclass
class Trajectory:
    """The states of B puzzles after every update, in the order in which they were computed, over all segments.

    Recurrent and Transformer have one state, here z_H, and an empty z_L. A Transformer has no updates: what stands
    in z_H is its residual stream after each layer, and what enters the first layer is its initial state.
    """

    z_H: torch.Tensor  # (H-updates, B, P+S, D); N of them in a segment
    z_L: torch.Tensor  # (L-updates, B, P+S, D); N·T of them in a segment
    initial: tuple  # the states before the first update: z_H⁰ and z_L⁰, each (B, P+S, D)
    logits: torch.Tensor  # (segments, B, S, V): what each segment answers
    q_halt: torch.Tensor  # (segments, B): σ(q_halt) is the model's own chance that this answer is right


@torch.no_grad()
def record(model, inputs, puzzle_ids=None, segments=None):
    """Think about inputs (B, S) for `segments` segments (default: M_max) without halting -> Trajectory.

    The modules are watched by forward hooks: what is computed is exactly what `solve` computes.
    """
    if puzzle_ids is None:
        puzzle_ids = torch.zeros(len(inputs), dtype=torch.long, device=inputs.device)
    vectors, z = model.puzzle_vectors(puzzle_ids), model.initial_state(len(inputs))
    initial, H_states, L_states = z, [], []
    if model.config.model == "transformer":
        watched = [(block, H_states) for block in model.H.blocks]
        initial = z[0] + model.input_network(inputs, vectors), z[1]
    else:
        watched = [(model.H, H_states)] + ([(model.L, L_states)] if model.L not in (None, model.H) else [])
    hooks = [module.register_forward_hook(lambda module, arguments, state, states=states: states.append(state))
             for module, states in watched]
    logits, q_halts = [], []
    try:
        for _ in range(segments or model.config.M_max):
            z, segment_logits, q_halt, _ = model(z, inputs, vectors)
            logits.append(segment_logits)
            q_halts.append(q_halt)
    finally:
        for hook in hooks:
            hook.remove()
    if model.L is model.H:  # TRM: one network in both roles, so both kinds of update went into one list
        T = model.config.L_cycles
        L_states = [state for i, state in enumerate(H_states) if i % (T + 1) < T]
        H_states = H_states[T :: T + 1]
    z_L = torch.stack(L_states) if L_states else z[1].new_empty(0, *z[1].shape)
    return Trajectory(torch.stack(H_states), z_L, initial, torch.stack(logits), torch.stack(q_halts))


@torch.no_grad()
def intermediate_predictions(model, inputs, puzzle_ids=None, segments=None):
    """What the model would answer after each update of L: tokens (L-updates, B, S) (paper, fig. 7).

    ȳⁱ = f_O(f_H(z_Hⁱ, z_Lⁱ)): one H-update more, on the side, which the trajectory does not see. After the last
    L-update of a cycle it is the H-update that really follows. Models without L are decoded after each update
    (Transformer: after each layer).
    """
    trajectory = record(model, inputs, puzzle_ids, segments)
    states = trajectory.z_H
    if len(trajectory.z_L):
        rope = None if model.config.positions == "learned" else (model.cos, model.sin)
        z_H = torch.cat([trajectory.initial[0][None], trajectory.z_H])
        states = [model.H(z_H[i // model.config.L_cycles], z_L, rope) for i, z_L in enumerate(trajectory.z_L)]
    return torch.stack([model.head(z)[:, model.config.puzzle_positions :].argmax(-1) for z in states])


def residuals(z, initial):
    """Forward residuals ‖zⁱ − zⁱ⁻¹‖ of states z (updates, B, P+S, D) that began at `initial` (B, P+S, D).

    (updates, B) float32: the norm is over the D features, then the mean over the P+S positions.
    """
    moves = torch.diff(z.float(), dim=0, prepend=initial.float()[None])
    return moves.norm(dim=-1).mean(-1)


def pca(X, k=2):
    """Rows X (n, D) -> their coordinates on the k directions of most variance (n, k), and the shares of the variance
    that these explain (k,), NumPy arrays. The sign of a direction is free: here its largest entry is positive."""
    centred = torch.as_tensor(X).double().cpu()
    centred = centred - centred.mean(0)
    _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
    directions = directions[:k] * directions[:k].gather(1, directions[:k].abs().argmax(1, keepdim=True)).sign()
    return (centred @ directions.T).numpy(), (singular[:k].square() / singular.square().sum()).numpy()


def participation_ratio(X):
    """(Σλ)² / Σλ² of the eigenvalues λ of the covariance of rows X (n, D): the number of dimensions that they fill.

    k equal eigenvalues give k, whatever D is; n rows never more than n − 1. No eigenvalue is computed: Σλ is the
    trace of the covariance and Σλ² the sum of its squared entries.
    """
    centred = torch.as_tensor(X).double()
    centred = centred - centred.mean(0)
    # X Xᵀ has the eigenvalues of Xᵀ X, zeros aside: the smaller one will do.
    products = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    return (products.trace() ** 2 / products.square().sum()).item()


READINGS = {
    "tokens": "each token after each update of each puzzle",
    "steps": "each update of each puzzle: the mean over its tokens",
    "puzzles": "each puzzle: its last state, all tokens side by side",
    "trajectories": "each puzzle: the mean over its tokens after every update, side by side",
}


def rows(z, reading):
    """States z (updates, B, P+S, D) -> rows (B, rows of one puzzle, length of a row), as one of READINGS says.

    The paper does not say what the rows of its covariance are; these are the ways to read it.
    """
    if reading == "tokens":
        return rearrange(z, "updates b s d -> b (updates s) d")
    if reading == "steps":
        return rearrange(z.float().mean(2), "updates b d -> b updates d")
    if reading == "puzzles":
        return rearrange(z[-1], "b s d -> b 1 (s d)")
    return rearrange(z.float().mean(2), "updates b d -> b 1 (updates d)")

"""Spend more inference on the puzzles that need it: propose several answers to each, and choose one.

    python train.py --eval checkpoints/sudoku-6x6.pt --votes 16               # 16 symmetric views of every puzzle
    python train.py --eval checkpoints/sudoku-6x6.pt --votes 16 --no-views --noise 0.5     # 16 disturbed trajectories
    python train.py --eval seed0/best.pt seed1/best.pt seed2/best.pt          # an ensemble of checkpoints
    python analyze.py strategies --checkpoint checkpoints/sudoku-6x6.pt       # accuracy against compute, as a plot;
                                                                              # more checkpoints add their ensemble

HRM often fails on one view of a puzzle and solves another, with its digits renamed or its rows swapped: Ren & Liu (arXiv
2601.10679) took Sudoku-Extreme from 54.5 % to 96.9 % by votes over views and checkpoints, with easier puzzles in training.
Noise on the state lets a trajectory leave a wrong fixed point (Probabilistic TRM, arXiv 2605.19943: 87.4 to 98.75 %).
"""

import itertools
import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from data import BLUE, DARK, GREY, LIGHT_BLUE, LILAC, VERMILLION, UserError, hash_rows, transform, undo
from hrm import Solution, solve

RULES = ("valid", "majority", "q")


def check_vote(task, votes, noise, views, choose):
    """Refuse what makes no sense for this task."""
    if votes < 1 or noise < 0 or choose not in RULES:
        raise UserError(f"--votes {votes} must be 1 or more, --noise {noise} 0 or more, and --choose {choose} one of "
                        f"{', '.join(RULES)}")
    if votes > 1 and not noise and not views:
        raise UserError(f"--votes {votes} would give {votes} times the same answer; add --noise or leave out --no-views")
    if votes == 1 and noise:
        raise UserError(f"--noise {noise} needs --votes 2 or more: the first vote is always without noise")
    if votes > 1 and views and task.view(0, 1) is None:
        raise UserError(f"task {task.name} has no symmetries for --votes; use --no-views --noise 0.5, or write "
                        f"its `symmetries`")


@dataclass
class Proposals:
    """K answers to each of n puzzles, in the order in which they were made."""

    answers: np.ndarray  # (K, n, S) uint8, as answers to the puzzle itself, whatever view it was seen in
    q_halt: np.ndarray  # (K, n) float32, -inf where no answer was asked for
    valid: np.ndarray  # (K, n) bool: keeps the rules; False where the task cannot tell
    segments: np.ndarray  # (K, n)


def propose(models, task, inputs, puzzle_ids=None, votes=1, noise=0.0, views=True, until_valid=False, seed=0, **thinking):
    """`votes` answers by each of the models to puzzles (n, S) uint8 -> Proposals.

    Vote 0 is the puzzle as it is; the others are symmetric views (`views`), thought about with Gaussian noise of
    standard deviation `noise` on the states after each segment. `until_valid`: a puzzle with an answer that keeps the
    rules needs no further ones. `thinking` goes to `solve`.
    """
    n, device = len(inputs), next(models[0].parameters()).device
    puzzle_ids = np.zeros(n, np.int64) if puzzle_ids is None else np.asarray(puzzle_ids)
    K = votes * len(models)
    made = Proposals(np.zeros((K, *inputs.shape), np.uint8), np.full((K, n), -np.inf, np.float32),
                     np.zeros((K, n), bool), np.zeros((K, n), np.int64))
    rows = np.arange(n)  # puzzles that still want answers
    generator = torch.Generator(device).manual_seed(seed)
    for k, (v, model) in enumerate(itertools.product(range(votes), models)):
        view = task.view(v, n) if views and v > 0 else None
        view = view and [part[rows] for part in view]  # a puzzle's views do not depend on which others want them
        seen = inputs[rows] if view is None else transform(inputs[rows], *view)
        given = [torch.from_numpy(array.astype(np.int64)).to(device) for array in (seen, puzzle_ids[rows])]
        solution = solve(model, *given, noise=noise if v > 0 else 0.0, generator=generator, **thinking)
        answer = solution.predictions.cpu().numpy().astype(np.uint8)
        made.answers[k, rows] = answer if view is None else undo(answer, *view)
        made.q_halt[k, rows] = solution.q_halt.float().cpu().numpy()
        made.segments[k, rows] = solution.segments.cpu().numpy()
        keeps = task.keeps_rules(inputs[rows], made.answers[k, rows])
        if keeps is not None:
            made.valid[k, rows] = keeps
            rows = rows[~keeps] if until_valid else rows
        if not len(rows):
            break
    return made


def vote(models, task, inputs, puzzle_ids=None, choose="valid", **proposing):
    """Answer puzzles (n, S) uint8 with a model, or a list of models -> Solution on the CPU.

    `proposing`: keyword arguments of `propose`. Of the proposals,
      "majority"  is the one made most often, ties by the mean of σ(q_halt),
      "valid"     the same, but only among answers that keep the rules, if there are any; the first of these ends the
                  search, so easy puzzles cost no more than without votes,
      "q"         the one of the highest q_halt.
    segments (n,) counts those of all proposals together.
    """
    models = models if isinstance(models, (list, tuple)) else [models]
    made = propose(models, task, inputs, puzzle_ids, until_valid=choose == "valid", **proposing)
    best, each = best_of(made.answers, made.q_halt, made.valid, choose), np.arange(len(inputs))
    return Solution(torch.from_numpy(made.answers[best, each].astype(np.int64)), torch.from_numpy(made.segments.sum(axis=0)),
                    torch.from_numpy(made.q_halt[best, each]), torch.zeros(len(inputs)))


def best_of(answers, q_halt, valid, choose):
    """Which of K proposals to give: answers (K, n, S), q_halt (K, n; -inf: none made), valid (K, n) -> (n,) in 0..K-1."""
    if choose == "q":
        return q_halt.argmax(axis=0)
    K, n, _ = answers.shape
    made = np.isfinite(q_halt)
    probability = np.where(made, 1 / (1 + np.exp(-q_halt.astype(np.float64))), 0)
    hashes = hash_rows(answers.reshape(K * n, -1)).reshape(K, n)
    same = (hashes[:, None] == hashes[None]) & made[:, None] & made[None]  # (K, K, n)
    count = same.sum(axis=1)
    mean = (same * probability[None]).sum(axis=1) / np.maximum(count, 1)  # of the proposals that agree; in 0..1
    return (np.where(valid & (choose == "valid"), K + 1, 0) + count + 0.999 * mean).argmax(axis=0)


# ------------------------------------------------------------------------------------- accuracy against compute


def strategies(models, task, split, confidence, votes=16, noises=(0.3, 1.0), progress=True):
    """Every strategy on the same puzzles -> list of dicts "strategy", "votes", "segments" (mean per puzzle, of all votes
    together), "exact" (share solved), "puzzles", "seconds".

    The strategies use models[0]; if there are more models, one strategy is all of them as an ensemble, on each view.
    The proposals are made once; that the first 1, 2, 4, … of them are chosen from costs nothing more. "seconds" is the
    time of a strategy with all its votes, without stopping at a valid answer; shares of it go by segments.
    """
    table, first, M_max = [], models[:1], models[0].config.M_max

    def add(strategy, K, segments, answers, seconds):
        exact = ((answers == split.labels) | (split.labels == 0)).all(axis=1).mean()
        table.append({"strategy": strategy, "votes": K, "segments": float(segments.mean()), "exact": float(exact),
                      "puzzles": len(split), "seconds": seconds})

    halting = {"halt": True, "confidence": confidence}
    runs = [("views", first, dict(votes=votes, **halting))]
    runs += [(f"noise {noise:g}", first, dict(votes=votes, views=False, noise=noise, **halting)) for noise in noises]
    if len(models) > 1:
        runs.append((f"{len(models)} models", models, dict(votes=math.ceil(votes / len(models)), **halting)))
    runs += [("ACT, at most M", first, dict(max_segments=M, **halting)) for M in (M_max, 2 * M_max, 4 * M_max)]
    runs += [("always M", first, dict(halt=False, max_segments=M)) for M in (1, 2, M_max // 2, M_max, 2 * M_max, 4 * M_max)]
    for strategy, voters, keywords in tqdm(runs, "strategies", disable=not progress):
        start = time.time()
        made = propose(voters, task, split.inputs, split.puzzle_ids, **keywords)
        seconds = time.time() - start
        if "votes" not in keywords:
            add(strategy, 1, made.segments[0], made.answers[0], seconds)
            continue
        before = np.vstack([np.zeros_like(made.valid[:1]), made.valid[:-1]])
        wanted = ~np.logical_or.accumulate(before)  # "valid" ends a puzzle's search at its first valid answer
        for choose in RULES:
            for K in (len(voters) * 2**i for i in range(10) if len(voters) * 2**i <= len(made.answers)):
                best = best_of(made.answers[:K], made.q_halt[:K], made.valid[:K], choose)
                segments = (made.segments * wanted if choose == "valid" else made.segments)[:K].sum(axis=0)
                add(f"{strategy}, {choose}", K, segments, made.answers[best, np.arange(len(split))],
                    seconds * segments.sum() / made.segments.sum())
    return table


def plot_strategies(table, title=""):
    """Puzzles missed against segments per puzzle, a line for each strategy -> matplotlib figure."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(8.5, 4.4))
    floor = 0.5 / table[0]["puzzles"]  # a logarithm has no place for "none"
    names = list(dict.fromkeys(row["strategy"] for row in table))
    kinds = list(dict.fromkeys(name.split(",")[0] for name in names if name.split(", ")[-1] in RULES))
    styles = {"valid": ("o", "-"), "majority": ("^", "--"), "q": ("x", "-.")}
    for name in names:
        rows = [row for row in table if row["strategy"] == name]
        kind, _, choose = name.partition(", ")
        marker, line = styles.get(choose, ("s", ":"))
        colour = (BLUE, VERMILLION, LILAC, LIGHT_BLUE)[kinds.index(kind) % 4] if kind in kinds else DARK if kind == "ACT" else GREY
        ax.plot([row["segments"] for row in rows], [max(1 - row["exact"], floor) for row in rows], label=name, markersize=4.5,
                marker=marker, linestyle=line, color=colour, linewidth=1.2)
    ax.set(xscale="log", yscale="log", xlabel="segments per puzzle, all votes together", ylabel="puzzles missed (share)", title=title)
    ax.axhline(floor, color=GREY, linewidth=0.8)
    ax.text(1.0, floor * 1.06, "none missed", fontsize=8, color=GREY)
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.tight_layout()
    return figure

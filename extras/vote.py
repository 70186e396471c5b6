"""Spend more inference on the puzzles that need it: propose several answers to each, and choose one.

    python train.py --eval checkpoints/sudoku-6x6.pt --votes 16             # 16 symmetric views of a puzzle
    python train.py --eval checkpoints/sudoku-6x6.pt --votes 16 --no-views --noise 0.5       # with noise
    python train.py --eval seed0/best.pt seed1/best.pt seed2/best.pt        # an ensemble of checkpoints

HRM often fails on one view of a puzzle and solves another, with its digits renamed or its rows swapped: Ren &
Liu (arXiv 2601.10679) took Sudoku-Extreme from 54.5 % to 96.9 % by votes over views and checkpoints, with
easier puzzles in training. Noise on the state lets a trajectory leave a wrong fixed point (Probabilistic TRM,
arXiv 2605.19943: 87.4 to 98.75 %).
"""

import itertools

import numpy as np
import torch

from hrm import Solution, solve
from puzzles.task import hash_rows, transform, undo


def vote(models, task, inputs, puzzle_ids=None, votes=1, noise=0.0, views=True, noise_seed=0, **thinking):
    """Answer puzzles (n, S) uint8 with a list of models, `votes` times each -> Solution on the CPU.

    Vote 0 is the puzzle as it is; the others are symmetric views (`views`), thought about with Gaussian noise
    of standard deviation `noise` on the states after each segment; `thinking` goes to `solve`. The first
    answer that keeps the rules ends a puzzle's search, so easy puzzles cost no more than without votes.
    segments (n,) counts those of all proposals together."""
    n, K, device = len(inputs), votes * len(models), next(models[0].parameters()).device
    puzzle_ids = np.zeros(n, np.int64) if puzzle_ids is None else np.asarray(puzzle_ids)
    answers = np.zeros((K, *inputs.shape), np.uint8)  # to the puzzle itself, whatever view it was seen in
    q_halt, valid = np.full((K, n), -np.inf, np.float32), np.zeros((K, n), bool)
    segments, rows = np.zeros(n, np.int64), np.arange(n)  # rows: puzzles that still want answers
    generator = torch.Generator(device).manual_seed(noise_seed)

    def disturb(z):
        return z + noise * torch.randn(z.shape, generator=generator, device=device, dtype=z.dtype)

    for k, (v, model) in enumerate(itertools.product(range(votes), models)):
        view = task.view(v, len(rows)) if views and v > 0 else None
        seen = inputs[rows] if view is None else transform(inputs[rows], *view)
        given = [torch.from_numpy(array.astype(np.int64)).to(device) for array in (seen, puzzle_ids[rows])]
        solution = solve(model, *given, after_segment=disturb if noise and v > 0 else None, **thinking)
        answer = solution.predictions.cpu().numpy().astype(np.uint8)
        answers[k, rows] = answer if view is None else undo(answer, *view)
        q_halt[k, rows] = solution.q_halt.float().cpu().numpy()
        segments[rows] += solution.segments.cpu().numpy()
        keeps = task.keeps_rules(inputs[rows], answers[k, rows])  # None: the task cannot tell
        if keeps is not None:
            valid[k, rows] = keeps
            rows = rows[~keeps]
        if not len(rows):
            break
    best = best_of(answers, q_halt, valid), np.arange(n)
    chosen = answers[best].astype(np.int64), segments, q_halt[best]
    return Solution(*map(torch.from_numpy, chosen))


def best_of(answers, q_halt, valid):
    """Which of K proposals to give: answers (K, n, S), q_halt (K, n; -inf: none made), valid (K, n) -> (n,).

    The one made most often, ties by the mean of σ(q_halt), among those that keep the rules if there are any.
    """
    K, n, _ = answers.shape
    made = np.isfinite(q_halt)
    probability = np.where(made, 1 / (1 + np.exp(-q_halt.astype(np.float64))), 0)
    hashes = hash_rows(answers.reshape(K * n, -1)).reshape(K, n)
    same = (hashes[:, None] == hashes[None]) & made[:, None] & made[None]  # (K, K, n)
    count = same.sum(axis=1)
    mean = (same * probability[None]).sum(axis=1) / np.maximum(count, 1)  # of those that agree
    return (np.where(valid, K + 1, 0) + count + 0.999 * mean).argmax(axis=0)

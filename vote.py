"""Spend more inference on the puzzles that need it: propose several answers to each, and choose one.

    python train.py --eval checkpoints/sudoku-6x6.pt --votes 16               # 16 symmetric views of every puzzle
    python train.py --eval checkpoints/sudoku-6x6.pt --votes 16 --no-views --noise 0.5     # 16 disturbed trajectories
    python train.py --eval seed0/best.pt seed1/best.pt seed2/best.pt          # an ensemble of checkpoints
    python vote.py checkpoints/sudoku-6x6.pt --out figures/                   # accuracy against compute, as a plot

HRM often fails on one view of a puzzle and solves another, with its digits renamed or its rows swapped: Ren & Liu (arXiv
2601.10679) took Sudoku-Extreme from 54.5 % to 96.9 % by votes over views and checkpoints, with easier puzzles in training.
Noise on the state lets a trajectory leave a wrong fixed point (Probabilistic TRM, arXiv 2605.19943: 87.4 to 98.75 %).
"""

import argparse
import csv
import itertools
import sys
from pathlib import Path

import numpy as np
import torch

from data import UserError, hash_rows, load_splits, load_task, transform, undo
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


def vote(models, task, inputs, puzzle_ids=None, votes=1, noise=0.0, views=True, choose="valid", seed=0, **thinking):
    """Answer puzzles (n, S) uint8, from `votes` proposals by each of the models (one, or a list) -> Solution on the CPU.

    Vote 0 is the puzzle as it is; the others are symmetric views (`views`), thought about with Gaussian noise of
    standard deviation `noise` on the states after each segment. The answer is
      "majority"  the one proposed most often, ties by the mean of σ(q_halt),
      "valid"     the same, but only among answers that keep the rules, if there are any; a puzzle with such an answer
                  needs no further proposals, so easy puzzles cost no more than before,
      "q"         the one of the highest q_halt.
    `thinking` goes to `solve`. segments (n,) counts those of all proposals together.
    """
    models = models if isinstance(models, (list, tuple)) else [models]
    n, device = len(inputs), next(models[0].parameters()).device
    puzzle_ids = np.zeros(n, np.int64) if puzzle_ids is None else np.asarray(puzzle_ids)
    answers = np.zeros((votes * len(models), *inputs.shape), np.uint8)
    q_halt = np.full((votes * len(models), n), -np.inf, np.float32)
    valid, segments = np.zeros(q_halt.shape, bool), np.zeros(n, np.int64)
    rows = np.arange(n)  # puzzles that still want proposals
    generator = torch.Generator(device).manual_seed(seed)
    for k, (v, model) in enumerate(itertools.product(range(votes), models)):
        view = task.view(v, len(rows)) if views and v > 0 else None
        seen = inputs[rows] if view is None else transform(inputs[rows], *view)
        given = [torch.from_numpy(array.astype(np.int64)).to(device) for array in (seen, puzzle_ids[rows])]
        solution = solve(model, *given, noise=noise if v > 0 else 0.0, generator=generator, **thinking)
        answer = solution.predictions.cpu().numpy().astype(np.uint8)
        answers[k, rows] = answer if view is None else undo(answer, *view)
        q_halt[k, rows] = solution.q_halt.float().cpu().numpy()
        segments[rows] += solution.segments.cpu().numpy()
        if choose == "valid":
            keeps = task.keeps_rules(inputs[rows], answers[k, rows])
            if keeps is not None:
                valid[k, rows] = keeps
                rows = rows[~keeps]
        if not len(rows):
            break
    best = best_of(answers, q_halt, valid, choose)
    each = np.arange(n)
    return Solution(torch.from_numpy(answers[best, each].astype(np.int64)), torch.from_numpy(segments),
                    torch.from_numpy(q_halt[best, each]), torch.zeros(n))


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

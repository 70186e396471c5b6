"""Spend more inference on the puzzles that need it: propose several answers to each, and choose one.

    python train.py --eval checkpoints/sudoku-6x6.pt --votes 16             # 16 symmetric views of a puzzle
    python train.py --eval seed0/best.pt seed1/best.pt seed2/best.pt        # an ensemble of checkpoints

HRM often fails on one view of a puzzle and solves another, with its digits renamed or its rows swapped: Ren &
Liu (arXiv 2601.10679) took Sudoku-Extreme from 54.5 % to 96.9 % by votes over views and checkpoints, with
easier puzzles in training.
"""

import numpy as np
import torch

from hrm import Solution, solve
from puzzles.errors import UserError
from puzzles.split import hash_rows, transform, undo


def vote(models, task, inputs, puzzle_ids, votes=1, max_segments=None, confidence=0.5):
    """Answer puzzles (n, S) uint8 with a list of models, `votes` times each -> Solution on the CPU.

    The first vote of each model sees the puzzle as it is, the others symmetric views of it. The first answer
    that keeps the rules ends a puzzle's search, so that easy puzzles cost no more than without votes.
    segments (n,) counts those of all proposals together."""
    n = len(inputs)
    K = votes * len(models)
    device = models[0].H_init.device
    answers = np.zeros((K, *inputs.shape), np.uint8)  # to the puzzle itself, whatever view it was seen in
    q_halt = np.full((K, n), -np.inf, np.float32)  # -inf: no answer was asked for
    valid = np.zeros((K, n), bool)
    segments = torch.zeros(n, dtype=torch.long)
    rows = np.arange(n)  # puzzles that still want answers
    for k in range(K):
        if not len(rows):
            break
        view = task.view(k // len(models), len(rows))
        seen = torch.from_numpy(transform(inputs[rows], *view)).long().to(device)
        ids = torch.from_numpy(puzzle_ids[rows]).long().to(device)
        solution = solve(models[k % len(models)], seen, ids, max_segments, confidence)
        answer = undo(solution.predictions.byte().cpu().numpy(), *view)
        answers[k, rows] = answer
        q_halt[k, rows] = solution.q_halt.cpu()
        segments[rows] += solution.segments.cpu()
        keeps = task.keeps_rules(inputs[rows], answer)
        if keeps is not None:  # None: the task cannot tell
            valid[k, rows] = keeps
            rows = rows[~keeps]
    chosen = best_of(answers, q_halt, valid), np.arange(n)
    return Solution(
        predictions=torch.from_numpy(answers[chosen]).long(),
        segments=segments,
        q_halt=torch.from_numpy(q_halt[chosen]),
    )


def best_of(answers, q_halt, valid):
    """Which of K proposals to give: answers (K, n, S), q_halt (K, n; -inf: none made), valid (K, n) -> (n,).

    The one made most often, ties by the mean of σ(q_halt), among those that keep the rules if there are any.
    """
    K = len(answers)
    made = q_halt > -np.inf
    probability = 1 / (1 + np.exp(-q_halt.astype(float)))
    worth = made * (1 + probability / (K + 1))  # all of the probabilities together never weigh as a vote
    hashes = np.stack([hash_rows(rows) for rows in answers])
    same = hashes[:, None] == hashes  # (K, K, n)
    score = (same * worth).sum(axis=1) + (K + 1) * valid
    return (made * score).argmax(axis=0)


def check_votes(task, votes):
    """How many answers each of the models gives; `votes`: what was asked for, or None. UserError if they
    could not differ."""
    if votes in (None, 1):
        return 1
    views = len(task.views[0])
    if views == 1:
        raise UserError(f"task {task.name} has no symmetries for --votes; pass --votes 1")
    return min(votes, views)

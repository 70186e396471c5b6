"""Is the solved state a fixed point? What Ren & Liu (arXiv 2601.10679) asked of the published model."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from tqdm import tqdm

from analysis.halting import act, think_on
from analysis.states import intermediate_predictions, record
from data import to_tensors
from puzzles.task import BLUE, VERMILLION, Task

OPEN = (0, 1, 2, 3, 5, 8, 12, 16, 20, 30, 40, 50, 60, 80, 100, 150)  # numbers of open cells to try


def open_cells(inputs, answers, labels):
    """(n, S) bool: the cells that an answer fills in, of those that have a label."""
    return (inputs != answers) & (labels > 0)


def leave_open(split, k, rng):
    """Inputs (n, S) with the answer filled in, but for k random cells of those that were open, if so many."""
    was_open = open_cells(split.inputs, split.labels, split.labels)
    order = np.where(was_open, rng.random(split.inputs.shape), 2).argsort(1).argsort(1)  # open cells first
    return np.where(was_open & (order >= k), split.labels, split.inputs)


def fixed_point(model, split, segments=None, confidence=0.5, task=Task(), watched=100, seed=0):
    """What the three functions below return, in one dict. All puzzles think for `segments` segments (default:
    4·M_max); states and single updates are those of the first `watched`."""
    segments = segments or 4 * model.config.M_max
    inputs, _, puzzle_ids = to_tensors(split[:watched], next(model.parameters()).device)
    z_H = record(model, inputs, puzzle_ids, segments).z_H_of_segments
    boards = intermediate_predictions(model, inputs, puzzle_ids, model.config.M_max)
    boards = boards.cpu().numpy().astype(np.uint8)
    return {"puzzles": len(split), "M_max": model.config.M_max,
            **after_halting(model, think_on(model, split, segments, task), z_H.float(), confidence),
            **nearly_solved(model, split, confidence, task, np.random.default_rng(seed)),
            "jumps": jumps(split[:watched], boards, task)}


def after_halting(model, answers, z_H, confidence):
    """"solved": how many puzzles ACT answered right in its last segment. "after" 0, 1, 2, … further segments,
    "still_right": the share of them that would still be answered right, and "moved": how far the last of
    these segments moved z_H (segments, watched, P+S, D), over ‖z_H‖."""
    used, solved = act(model, answers, model.config.M_max, confidence)
    solved &= answers.right.gather(0, used[None] - 1)[0]  # the last segment's answer, not an earlier one
    after = torch.arange(max(1, len(answers.right) - model.config.M_max + 1))
    at = (used - 1)[None] + after[:, None]  # (after, n): a segment, counted from 0
    still_right = answers.right[:, solved].gather(0, at[:, solved]).float().mean(1)
    moved = torch.diff(z_H, dim=0).norm(dim=-1) / z_H[1:].norm(dim=-1)  # (segments - 1, watched, P+S)
    watched = solved[: z_H.shape[1]].nonzero()[:, 0]
    moved = moved.mean(-1).cpu()[:, watched].gather(0, at[1:, watched] - 1).mean(1)
    return {"solved": int(solved.sum()), "after": after, "still_right": still_right, "moved": moved}


def nearly_solved(model, split, confidence, task, rng):
    """"open": cells left open in boards made from the solutions (`leave_open`); "act": the share of them that
    ACT answers right. Few open cells make an easy puzzle, but one that training has never seen; as most
    tasks' questions hold no cell of an answer, so is any."""
    most = int(open_cells(split.inputs, split.labels, split.labels).sum(1).max())
    numbers = {"open": [k for k in OPEN if k < most] + [most], "act": []}
    for k in tqdm(numbers["open"], "open cells", leave=False):
        answers = think_on(model, split, model.config.M_max, task, leave_open(split, k, rng))
        _, right = act(model, answers, model.config.M_max, confidence)
        numbers["act"].append(right.float().mean().item())
    return numbers


def jumps(split, boards, task):
    """Does the answer come suddenly? The largest gain in one update, of each puzzle that is solved in its
    boards (updates, n, S), up to its first right answer: the share of the open cells that become right."""
    right = np.stack([task.is_right(split.inputs, split.labels, board) for board in boards])  # (updates, n)
    largest = []
    for puzzle in np.flatnonzero(right.any(axis=0)):
        thought = boards[: right[:, puzzle].argmax() + 1, puzzle]  # up to the first right answer
        cells = open_cells(split.inputs[puzzle], thought[-1], split.labels[puzzle])
        share = (thought == thought[-1])[:, cells].mean(axis=1)
        largest.append(np.diff(share, prepend=0).max())  # before the first update every cell is open
    return largest


def plot_fixed_point(numbers):
    """What `fixed_point` returned -> figure: a panel for each of the three questions."""
    figure, (stay, few, jump) = plt.subplots(1, 3, figsize=(13.5, 3.8), layout="tight")
    stay.plot(numbers["after"], numbers["still_right"], "o-", ms=3.5, color=BLUE, label="share still right")
    stay.plot(numbers["after"][1:], numbers["moved"], "o--", ms=3.5, color=VERMILLION,
              label="change of z_H, relative to its size")
    stay.set(xlabel="segments after ACT stopped", ylabel="share of the puzzles; relative change",
             ylim=(0, 1.02), title=f"{numbers['solved']} solved puzzles thought on")
    stay.legend(loc="center right")
    few.plot(numbers["open"], numbers["act"], "o-", ms=3.5, color=VERMILLION)
    few.set(xlabel="cells left open (right: the puzzle itself)", ylabel="puzzles solved by ACT",
            ylim=(0, 1.02), title="the answer filled in, but for a few cells")
    for ax in (stay, few):
        ax.xaxis.get_major_locator().set_params(integer=True)
    jump.hist(numbers["jumps"], bins=np.linspace(0, 1, 21), color=BLUE, ec="white")
    jump.set(xlabel="largest gain in one update (share of the open cells)", ylabel="puzzles",
             title="1: the whole answer at once")
    return figure

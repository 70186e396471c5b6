"""What do votes, noise, several checkpoints and longer thinking buy, and at what cost? (extras/vote.py)"""

import itertools
import math

import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

from extras.vote import best_of, propose
from puzzles.task import BLUE, DARK, GREY, LIGHT_BLUE, LILAC, VERMILLION


def strategies(models, task, split, confidence, votes=16, noises=(0.3, 1.0)):
    """Every strategy on the same puzzles, with the first 1, 2, 4, … of its votes -> list of dicts "strategy",
    "votes", "segments" (mean per puzzle, of all votes together), "exact" (share solved), "puzzles". The
    strategies use models[0]; if there are more models, one more strategy is all of them as an ensemble, on
    each view."""
    first, M_max, table = models[:1], models[0].config.M_max, []
    act = {"halt": True, "confidence": confidence}
    runs = [("views", first, {"votes": votes, **act})]
    for noise in noises:
        runs.append((f"noise {noise:g}", first, {"votes": votes, "views": False, "noise": noise, **act}))
    if len(models) > 1:
        runs.append((f"{len(models)} models", models, {"votes": math.ceil(votes / len(models)), **act}))
    for M in (M_max, 2 * M_max, 4 * M_max):
        runs.append(("ACT, at most M", first, {"max_segments": M, **act}))
    for M in sorted({1, 2, max(1, M_max // 2), M_max, 2 * M_max, 4 * M_max}):
        runs.append(("always M", first, {"max_segments": M, "halt": False}))
    for strategy, voters, options in tqdm(runs, "strategies"):
        made = propose(voters, task, split.inputs, split.puzzle_ids, **options)
        before = np.vstack([np.zeros_like(made.valid[:1]), made.valid[:-1]])
        spent = made.segments * ~np.logical_or.accumulate(before)  # the first valid answer ends a search
        K = len(voters)
        while K <= len(made.answers):
            best = best_of(made.answers[:K], made.q_halt[:K], made.valid[:K])
            right = task.is_right(split.inputs, split.labels, made.answers[best, np.arange(len(split))])
            table.append({"strategy": strategy, "votes": K, "segments": float(spent[:K].sum(axis=0).mean()),
                          "exact": float(right.mean()), "puzzles": len(split)})
            K *= 2
    return table


def plot_strategies(table, title=""):
    """Puzzles missed against segments per puzzle, a line for each strategy -> matplotlib figure."""
    figure, ax = plt.subplots(figsize=(8, 4.4), layout="tight")
    colours = itertools.cycle((BLUE, VERMILLION, LILAC, LIGHT_BLUE))
    floor = 0.5 / table[0]["puzzles"]  # a logarithm has no place for "none"
    for name in dict.fromkeys(row["strategy"] for row in table):
        rows = [row for row in table if row["strategy"] == name]
        missed = [max(1 - row["exact"], floor) for row in rows]
        style = {"ACT, at most M": ("s:", DARK), "always M": ("s:", GREY)}.get(name)
        line, colour = style or ("o-", next(colours))
        ax.plot([row["segments"] for row in rows], missed, line, color=colour, label=name, ms=4.5, lw=1.2)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set(yscale="log", xlabel="segments per puzzle, all votes together", ylabel="puzzles missed (share)",
           title=title)
    ax.axhline(floor, color=GREY, lw=0.8)
    ax.text(1.0, floor * 1.06, "none missed", fontsize=8, color=GREY)
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure

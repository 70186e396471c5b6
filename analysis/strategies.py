"""What do votes, noise and longer thinking buy, and at what cost? (extras/vote.py)"""

import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

from extras.vote import best_of, propose
from puzzles.task import BLUE, DARK, GREY, LILAC, VERMILLION

STYLES = {"views": ("o-", BLUE), "noise 0.3": ("o-", VERMILLION), "noise 1": ("o-", LILAC),
          "ACT, at most M": ("s:", DARK), "always M": ("s:", GREY)}


def strategies(model, task, split, confidence, votes=16):
    """Every strategy on the same puzzles, with the first 1, 2, 4, … of its votes -> list of dicts "strategy",
    "votes", "segments" (mean per puzzle, of all votes together), "exact" (share solved), "puzzles"."""
    M_max, table = model.config.M_max, []
    act = {"halt": True, "confidence": confidence}
    runs = [("views", {"votes": votes, **act})]
    for noise in (0.3, 1.0):
        runs.append((f"noise {noise:g}", {"votes": votes, "views": False, "noise": noise, **act}))
    for M in (M_max, 2 * M_max, 4 * M_max):
        runs.append(("ACT, at most M", {"max_segments": M, **act}))
    for M in sorted({1, 2, max(1, M_max // 2), M_max, 2 * M_max, 4 * M_max}):
        runs.append(("always M", {"max_segments": M, "halt": False}))
    for strategy, options in tqdm(runs, "strategies"):
        made = propose([model], task, split.inputs, split.puzzle_ids, **options)
        before = np.vstack([np.zeros_like(made.valid[:1]), made.valid[:-1]])
        spent = made.segments * ~np.logical_or.accumulate(before)  # the first valid answer ends a search
        K = 1
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
    floor = 0.5 / table[0]["puzzles"]  # a logarithm has no place for "none"
    for name, (line, colour) in STYLES.items():
        rows = [row for row in table if row["strategy"] == name]
        missed = [max(1 - row["exact"], floor) for row in rows]
        ax.plot([row["segments"] for row in rows], missed, line, color=colour, label=name, ms=4.5, lw=1.2)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set(yscale="log", xlabel="segments per puzzle, all votes together", ylabel="puzzles missed (share)",
           title=title)
    ax.axhline(floor, color=GREY, lw=0.8)
    ax.text(1.0, floor * 1.06, "none missed", fontsize=8, color=GREY)
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure

"""Kinds of figures that several cells of the notebooks draw."""

import numpy as np
from matplotlib.ticker import FixedLocator, NullLocator

from puzzles.boards import DARK, GREY, LIGHT_BLUE

TICKS = 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99
MARKS = "os^Dv"


def inside(shares, n):
    """Shares of n puzzles for a logit axis, which has no 0 and no 1: half a puzzle more or less there."""
    return np.clip(shares, 0.5 / n, 1 - 0.5 / n)


def logit(axis):
    """A logit axis with the shares that one wants to read: 0.99 is as far from 0.95 as 0.05 from 0.01."""
    axis.axes.set(**{f"{axis.axis_name}scale": "logit"})
    axis.set_major_locator(FixedLocator(TICKS))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


def paired_dots(ax, rows, seeds, n=500):
    """Shares of n puzzles solved, {name: (seeds,)}: a row for each name, a mark for each seed. A line joins
    the marks of a seed, a bar is the mean."""
    y = np.arange(len(rows))
    shares = np.stack(list(rows.values()))
    for seed, marks, mark in zip(seeds, inside(shares, n).T, MARKS):
        ax.plot(marks, y, "-", color=GREY, lw=0.6)
        ax.plot(marks, y, mark, color=DARK, mec="white", ms=6, label=f"seed {seed:g}")
    for at, mean in zip(y, inside(shares.mean(axis=1), n)):
        ax.plot([mean] * 2, [at - 0.3, at + 0.3], color=LIGHT_BLUE, lw=4, zorder=0)
    logit(ax.xaxis)
    ax.set(yticks=y, yticklabels=list(rows), ylim=(len(rows) - 0.5, -0.5))
    ax.set_xlabel("share of test puzzles solved (logit axis; bar: mean)")
    ax.grid(axis="y", visible=False)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)

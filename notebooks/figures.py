"""Figures of the notebooks that take many lines to draw and teach nothing about how HRM is computed."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.ticker import FixedLocator, NullLocator

from analysis.states import COLOURS
from puzzles.boards import BLUE, DARK, GREY, LIGHT_BLUE, LILAC, PALE, WHITE
from puzzles.boards import draw_lines, show_board

H, L = COLOURS["z_H"], COLOURS["z_L"]
TICKS = 0.002, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.998
MARKS = "os^DvPX*"
# No colour of H, L or a model: a colour means one thing.
SEED_COLOURS = "#5e3c99", "#009e73", "#e69f00", "#56b4e9", "#8c510a", "#999933", "#882255", "#01665e"


def box(ax, x, y, text, colour=WHITE):
    """A label in a box, which `arrow` can start or end at."""
    ink = WHITE if colour in (H, L) else DARK
    frame = dict(boxstyle="round,pad=0.5", facecolor=colour, edgecolor=DARK)
    style = dict(ha="center", va="center", fontsize=9, linespacing=1.4)
    return ax.text(x, y, text, color=ink, bbox=frame, **style)


def arrow(ax, start, end, side=0.0):
    """From one box to another; `side` moves it to the right."""
    x, y = start.get_position()
    to_x, to_y = end.get_position()
    style = dict(arrowstyle="-|>", color=DARK, shrinkA=3, shrinkB=3)
    clip = dict(patchA=start.get_bbox_patch(), patchB=end.get_bbox_patch())
    ax.annotate("", (to_x + side, to_y), (x + side, y), arrowprops=style | clip)


def note(ax, x, y, text, ha="center"):
    ax.text(x, y, text, ha=ha, va="center", fontsize=8, color=DARK, linespacing=1.3)


def diagram(frames, boxes):
    """Both modules with what goes in and comes out. Texts: of the frames, from the outer to the inner one; of
    the boxes puzzle, input network, L, H, output head and Q-head."""
    _, ax = plt.subplots(figsize=(9.5, 3.2))
    places = (3.0, 0.0, 8.6, 5.0), (3.3, 0.35, 4.0, 3.95), (3.6, 0.7, 3.4, 1.5)
    for (x, y, width, height), text in zip(places, frames):
        ax.add_patch(plt.Rectangle((x, y), width, height, facecolor="none", edgecolor=GREY, ls="--"))
        note(ax, x + 0.15, y + height - 0.2, text, "left")
    centres = (0.5, 1.3), (1.95, 1.3), (5.5, 1.3), (5.5, 3.3), (9.4, 3.3), (9.4, 1.3)
    drawn = []
    for (x, y), text, colour in zip(centres, boxes, (WHITE, PALE, L, H, PALE, PALE)):
        drawn.append(box(ax, x, y, text, colour))
    puzzle, f_I, f_L, f_H, f_O, f_Q = drawn
    for start, end in ((puzzle, f_I), (f_I, f_L), (f_H, f_O), (f_H, f_Q)):
        arrow(ax, start, end)
    arrow(ax, f_L, f_H, side=-0.35)
    arrow(ax, f_H, f_L, side=0.35)
    note(ax, 5.05, 2.5, "$z_L$", "right")
    note(ax, 5.95, 2.5, "$z_H$", "left")
    ax.set(xlim=(-0.1, 11.7), ylim=(-0.1, 5.1))
    ax.axis("off")


def draw_plan():
    """Notebook 00's way: the two modules, the three loops, and in which exercises they are written."""
    frames = (
        "until it halts, at most $M_{max}$ segments: training (12, 13), inference (14)",
        "think (8): N times, then a segment is done",
        "T times",
    )
    diagram(frames, (
        "puzzle",
        "input (1)\n$\\tilde{x}$",
        "L, fast: a module (2 to 7)\nupdates $z_L$",
        "H, slow: a module (2 to 7)\nupdates $z_H$",
        "an answer for every cell\nloss (9, 11)",
        "halt or continue?\ntargets (10), loss (11)",
    ))


def draw_model():
    """Notebook 01: the same with shapes."""
    diagram(("segments, at most $M_{max}$, until it halts", "a cycle, N times: a segment", "T times"), (
        "tokens\n(B, S)\nand puzzle\nvector\n(B, ndim)",
        "input\nnetwork\n$f_I$: $\\tilde{x}$",
        "L-module $f_L$, fast\n$z_L$ (B, P+S, D)",
        "H-module $f_H$, slow\n$z_H$ (B, P+S, D)",
        "output head $f_O$, every cell\nlogits (B, S, V)",
        "Q-head $f_Q$, position 0 only\nhalt, continue: (B,) each",
    ))


def draw_schedule(ax, N, T):
    """One segment: how long each state is held. Full colour: its update carries gradient."""
    steps = N * T
    place = dict(ha="center", va="center")
    for i in range(1, steps + 1):
        ax.barh(0, 0.94, left=i, height=0.5, color=L, alpha=1 if i == steps else 0.4)
        ax.text(i + 0.47, 0, f"$z_L^{{{i}}}$", color=WHITE if i == steps else DARK, **place)
        ax.annotate("", (i + 0.2, 0.26), (i + 0.2, 0.74), arrowprops=dict(arrowstyle="-|>", color=GREY))
        if i % T == 0:  # H moves when L has done T updates, and is held for the next T
            ax.annotate("", (i + 1.02, 0.74), (i + 0.8, 0.26), arrowprops=dict(arrowstyle="-|>", color=DARK))
    for k in range(N + 1):
        left = 1 + k * T
        right = left + T - 0.06 if k < N else steps + 2
        ax.barh(1, right - left, left=left, height=0.5, color=H, alpha=1 if k == N else 0.4)
        ax.text((left + right) / 2, 1, f"$z_H^{{{k}}}$", color=WHITE if k == N else DARK, **place)
    ticks = range(1, steps + 1)
    ax.set(yticks=[0, 1], yticklabels=["L, fast", "H, slow"], ylim=(-0.4, 1.4), xlim=(0.9, steps + 2.1))
    ax.set(xticks=[i + 0.47 for i in ticks], xticklabels=ticks)
    ax.set_title(f"one segment, N={N}, T={T}", fontsize=10)
    ax.tick_params(length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def draw_tokens(ax, tokens, side):
    """A board as the model gets it: the number of each cell's token."""
    for cell, token in enumerate(tokens):
        colour = GREY if token == 1 else DARK
        ax.text(cell % side, cell // side, token, ha="center", va="center", color=colour)
    show_board(ax, side, side)


def draw_attention(weights, cell, P):
    """{a layer's name: (heads, P+S, P+S)} -> where one cell of a 6x6 Sudoku looks, a map for each head."""
    heads = len(next(iter(weights.values())))
    shape = dict(figsize=(7.2, 6.2), layout="constrained")
    fig, axes = plt.subplots(len(weights), heads, **shape)
    brightest = max(weight[:, P + cell, P:].max().item() for weight in weights.values())
    for head, ax in enumerate(axes[0], start=1):
        ax.set_title(f"head {head}")
    for line, (name, weight) in zip(axes, weights.items()):
        for head, ax in enumerate(line):
            board = weight[head, P + cell, P:].reshape(6, 6)
            image = ax.imshow(board, cmap="cividis", norm=PowerNorm(0.5, 0, brightest))
            ax.scatter(cell % 6, cell // 6, marker="x", color=WHITE, s=28, lw=1.5)
            draw_lines(ax, 6, 6, (2, 3), color=WHITE, lw=0.6)
            ax.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, fontsize=10)
    fig.colorbar(image, ax=axes, label="attention weight (colours on a root scale)", shrink=0.7)
    return fig


def draw_turns(ax, q, pairs):
    """Pairs of dimensions of a query (positions, d), turned by its positions 0 to 5."""
    half = q.shape[-1] // 2
    for pair, colour, length in zip(pairs, (DARK, GREY), (1, 0.6)):
        for position in range(6):
            point = q[position, [pair, pair + half]]
            a, b = (length * point / point.norm()).tolist()
            ax.annotate("", (a, b), (0, 0), arrowprops=dict(arrowstyle="-|>", color=colour))
            ax.text(1.15 * a, 1.15 * b, position, color=colour, ha="center", va="center", fontsize=8)
    ax.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), xticks=[], yticks=[], aspect="equal")
    ax.set(xlabel="dimension i", ylabel="dimension i + d/2")


def inside(shares, n):
    """Shares of n puzzles for a logit axis, which has no 0 and no 1: half a puzzle more or less there."""
    return np.clip(shares, 0.5 / n, 1 - 0.5 / n)


def logit(axis):
    """A logit axis with the shares that one wants to read: 0.99 is as far from 0.95 as 0.05 from 0.01."""
    axis.axes.set(**{f"{axis.axis_name}scale": "logit"})
    axis.set_major_locator(FixedLocator(TICKS))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


def mark_seeds(ax, values, seeds, lw):
    """Values (rows, seeds): a row for each of `ax`, a mark for each seed (none for NaN), joined by lines. The
    seeds of a row stand one below the other, so that equal values do not hide each other."""
    y = np.arange(len(values))
    for k, (seed, marks) in enumerate(zip(seeds, values.T)):
        style = dict(marker=MARKS[k % 8], color=SEED_COLOURS[k % 8], lw=lw, mec="white", ms=6.5)
        ax.plot(marks, y + 0.9 * ((k + 0.5) / len(seeds) - 0.5), **style, label=f"seed {seed:g}")
    ax.set(yticks=y, ylim=(len(y) - 0.5, -0.5))
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(seeds) + 1, handletextpad=0.4, borderpad=0)


def paired_dots(rows, seeds):
    """Shares of 500 puzzles solved, {name: (seeds,)}: a line joins a seed's marks, a bar is the median of
    two seeds or more."""
    _, ax = plt.subplots(figsize=(9.5, 1.1 + 0.55 * len(rows)))
    shares = inside(np.stack(list(rows.values())), 500)
    y = np.flatnonzero(np.isfinite(shares).sum(axis=1) > 1)
    ax.vlines(np.nanmedian(shares[y], axis=1), y - 0.4, y + 0.4, color=PALE, lw=9, zorder=0, label="median")
    mark_seeds(ax, shares, seeds, lw=0.8)
    logit(ax.xaxis)
    ax.set(yticklabels=list(rows), xlabel="share of test puzzles solved (logit axis)")


def draw_worth(rows, seeds):
    """Differences in points: rows (what is changed, what was expected, (seeds,)), and their means. A row of
    NaN is a heading."""
    _, ax = plt.subplots(figsize=(9.5, 1 + 0.46 * len(rows)))
    texts, expected, points = zip(*rows)
    means = np.mean(points, axis=1)
    ax.barh(range(len(rows)), means, color=PALE, zorder=0, label="mean")
    ax.axvline(0, color=GREY, lw=1)
    mark_seeds(ax, np.stack(points), seeds, lw=0)
    ax.set(yticklabels=texts, xlabel="difference in points")
    column = dict(transform=ax.get_yaxis_transform(), va="center", fontsize=9)
    ax.text(1.1, -0.9, "mean", ha="right", **column)
    ax.text(1.12, -0.9, "expected", **column)
    for i, label in enumerate(ax.get_yticklabels()):
        ax.text(1.12, i, expected[i], **column)
        if np.isnan(means[i]):
            label.set_weight("bold")
        else:
            ax.text(1.1, i, f"{means[i]:+.1f}".replace("-", "−"), ha="right", **column)


BROKEN = {  # notebook 00: HRM, and what is left without one part of it
    "MyHRM": (DARK, "o"),
    "NoDetach": (GREY, "s"),
    "FullGradient": ("#009e73", "d"),
    "ThroughTime": (LILAC, "^"),
    "OneSpeed": (LIGHT_BLUE, "v"),
    "PreNorm": ("#e69f00", "X"),
}


def draw_broken(ax, rows, **labels):
    """{a name, of BROKEN or new: numbers}: a line over 1, 2, …, with marks where they are few. Of rows that
    are equal, one line with all their names."""
    equal = {}
    for name, values in rows.items():
        equal.setdefault(tuple(np.round(values, 3)), []).append(name)
    for values, names in equal.items():
        colour, mark = BROKEN.get(names[0], (BLUE, "P"))
        style = dict(marker=mark) if len(values) < 20 else dict(lw=1)
        ax.plot(range(1, len(values) + 1), values, color=colour, label=", ".join(names), **style)
    ax.set(**labels)


def draw_angles(angles, pairs):
    """Rotary angles (1+S, pairs) on a square board: for some pairs, an arrow turned by each cell's angle."""
    side = int(len(angles) ** 0.5)
    _, axes = plt.subplots(1, len(pairs), figsize=(9.5, 2.7))
    for ax, pair in zip(axes, pairs):
        angle = angles[1:, pair].reshape(side, side).numpy()
        arrows = dict(angles="uv", pivot="mid", color=DARK, scale=1.5 * side, width=0.02)
        ax.quiver(np.cos(angle), np.sin(angle), **arrows)
        show_board(ax, side, side)
        turned_by = "row" if pair < angles.shape[1] // 2 else "column"
        ax.set_title(f"pair {pair}: {angle[0, 0]:.2g} rad a {turned_by}", fontsize=10)

"""Figures of notebook 05 that take many lines to draw."""

import matplotlib.pyplot as plt
import numpy as np
import torch

from analysis.states import COLOURS, READINGS, centre, participation_ratio, pca
from puzzles.boards import DARK, GREY, PALE


def readings():
    """Four ways to make rows of the states of one puzzle: updates downwards, positions to the right."""
    updates = 8
    positions = 14
    squares = [(p, u, 1, 1) for u in range(updates) for p in range(positions)]
    strips = [(0, u, positions, 1) for u in range(updates)]  # x, y, width, height
    frames = {"tokens": squares, "steps": strips, "puzzles": strips[-1:]}
    frames["trajectories"] = [(0, 0, positions, updates)]
    texts = (
        "every square is a row",
        "averaged over positions:\na row for every update",
        "last update only, side by side:\none row",
        "averaged over positions, then\nside by side: one row",
    )
    sheet, axes = plt.subplots(1, 4, figsize=(9, 2.5), sharey=True)
    for ax, reading, text in zip(axes, READINGS, texts):
        averaged = reading in ("steps", "trajectories")
        used = np.full((updates, positions), 1 - float(reading == "puzzles"))
        used[-1] = 1
        edge = PALE if reading == "puzzles" else "white"
        ax.pcolormesh(used, cmap="Greys", vmin=0, vmax=4, edgecolors=edge, lw=0.4)
        for x, y, width, height in strips if averaged else []:
            ax.add_patch(plt.Rectangle((x, y), width, height, fill=False, hatch="////", lw=0, ec="white"))
        for x, y, width, height in frames[reading]:
            line = dict(lw=0.8 if reading == "tokens" else 2, ec=DARK, clip_on=False)
            ax.add_patch(plt.Rectangle((x, y), width, height, fill=False, **line))
        ax.set(title=reading, xticks=[], yticks=[])
        ax.set_xlabel(text, fontsize=8)
        ax.spines[:].set_visible(False)
        ax.grid(False)
    axes[0].set_ylabel("update")
    axes[0].invert_yaxis()


def log_axis(ax, ticks, label):
    ax.set(xscale="log", xticks=ticks, xlabel=label)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")


def ratios(pr, guess):
    """pr: {(model, reading, "z_H" or "z_L"): PR}, the first model trained -> PRs left, their ratio right."""
    models = list(dict.fromkeys(model for model, _, _ in pr))
    sheet, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    height = np.arange(len(READINGS))
    for i, model in enumerate(models):
        at = height + 0.14 * i
        fill = {} if i == 0 else {"mfc": "white"}
        label = "trained" if i == 0 else "three untrained" if i == 1 else None
        H, L = (np.array([pr[model, reading, name] for reading in READINGS]) for name in COLOURS)
        for name, values in (("z_H", H), ("z_L", L)):
            text = f"{name}, {label}" if label else None
            left.plot(values, at, "o", color=COLOURS[name], label=text, **fill)
        right.plot(H / L, at, "o", color=DARK, label=label, **fill)
    right.axvline(1, color=GREY, lw=1)
    right.axvline(guess, color=DARK, ls=":", label="your guess, trained")
    log_axis(left, (2, 5, 10, 20, 50), "participation ratio (dimensions)")
    log_axis(right, (0.5, 0.7, 1, 2, 3), "z_H : z_L")
    left.set(yticks=height + 0.2, yticklabels=READINGS, ylim=(len(READINGS) - 0.3, -0.3))
    for ax in (left, right):
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)


def tasks(ratios):
    """{task: z_H : z_L of the trained model in each reading}: rows are readings, marks are tasks."""
    sheet, ax = plt.subplots(figsize=(6.5, 2.8), layout="constrained")
    height = np.arange(len(READINGS))
    looks = zip((-0.2, 0, 0.2), "os^", (GREY, DARK, PALE))
    for (task, values), (up, mark, colour) in zip(ratios.items(), looks):
        ax.plot(values, height + up, mark, color=colour, mec=DARK, ms=7, label=task)
    ax.axvline(1, color=GREY, lw=1)
    ax.axvline(2.98, color=DARK, ls="--", lw=1, label="the paper: 2.98")
    log_axis(ax, (0.5, 0.7, 1, 1.5, 2, 3), "z_H : z_L, trained")
    ax.set(yticks=height, yticklabels=READINGS, xlim=(0.4, 3.3), ylim=(len(READINGS) - 0.5, -0.5))
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def growth(ax, counts, curves):
    """{(name, model): PR by number of puzzles}; the first model is trained."""
    for (name, model), curve in curves.items():
        colour = COLOURS[name]
        style = dict(ls="-", mfc=colour) if model == "trained" else dict(ls=":", mfc="white")
        ax.plot(counts, curve, "o", ms=3, color=colour, label=f"{name}, {model}", **style)
    ax.set(xlabel="puzzles", xlim=(0, 105), ylim=(0, None))


def lead(ax, counts, curve, bootstrap, untrained):
    """z_H : z_L by number of puzzles, of a trained model and of others; bootstrap: mean, low, high."""
    mean, low, high = bootstrap
    label = "bootstrap: mean, 95 % by percentiles"
    ax.plot(counts, curve, "o-", ms=4, color=DARK, label="trained")
    bar = dict(fmt="D", color=GREY, ms=4, capsize=3, label=label)
    ax.errorbar(103, mean, [[mean - low], [high - mean]], **bar)
    for i, each in enumerate(untrained):
        style = dict(ms=4, color=GREY, mfc="white", label=None if i else "untrained")
        ax.plot(counts, each, "o:", **style)
    ax.axhline(1, color=GREY, lw=1)
    ax.set(xlabel="puzzles", ylabel="z_H : z_L", ylim=(0.8, 1.6))
    ax.legend(loc="upper left")


def paths(condensed, first_right):
    """Each puzzle's trajectory on two principal directions of z_H and of z_L. Colour: the segment of its
    first right answer; 17: never."""
    sheet, axes = plt.subplots(1, 2, figsize=(9, 3.3), layout="constrained")
    solved = first_right < 17
    for ax, name in zip(axes, COLOURS):
        xy, explained = pca(condensed[name])
        xy[:, 0] *= np.sign(xy[~solved, 0].mean())  # a direction has no sign of its own
        dots = ax.scatter(*xy[solved].T, c=first_right[solved], s=22, cmap="cividis", ec=DARK, lw=0.4)
        ax.scatter(*xy[~solved].T, marker="x", s=24, lw=1.2, color=DARK, label="never right")
        ax.set(title=name, xlabel=f"1st direction ({explained[0]:.0%} of the variance)")
        ax.set_ylabel(f"2nd ({explained[1]:.0%})")
        every, some = (np.corrcoef(xy[of, 0], first_right[of])[0, 1] for of in (slice(None), solved))
        print(f"{name}: the 1st direction's correlation with that segment: {every:.2f}, if solved {some:.2f}")
    axes[0].legend()
    sheet.colorbar(dots, ax=axes, label="segment of the first right answer")


def spectrum(X):
    """{name: rows} -> the share of the variance along each of the first 20 directions."""
    sheet, ax = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
    for name, each in X.items():
        length = torch.linalg.svdvals(centre(each))
        share = (length.square() / length.square().sum())[:20]
        label = f"{name}: PR {participation_ratio(each):.2f} ({len(each)} rows)"
        ax.plot(range(1, len(share) + 1), share, "o-", ms=4, color=COLOURS[name], label=label)
    ax.set(
        xlabel="direction i",
        ylabel="share of the variance (log axis)",
        xticks=(1, 5, 10, 15, 20),
        xlim=(0, 21),
        yscale="log",
        ylim=(1e-3, 1),
    )
    ax.legend()
    return sheet, ax

"""What notebook 05 measures and draws beside its exercises."""

import matplotlib.pyplot as plt
import numpy as np

from analysis.dimensions import condense, gather, ratio_of_choice
from analysis.states import COLOURS, READINGS, rows
from puzzles.boards import DARK, GREY, PALE


# ------------------------------------------------------------------------------------------------- measures
def ready(trajectory, reading):
    """What the PRs of any choice of puzzles need: {"z_H": …, "z_L": …}."""
    return {name: gather([condense(rows(getattr(trajectory, name), reading))]) for name in COLOURS}


def ratio(condensed, chosen):
    """z_H : z_L of the puzzles with these indices, some perhaps several times."""
    return ratio_of_choice(condensed["z_H"], chosen) / ratio_of_choice(condensed["z_L"], chosen)


def interval(statistic, B, samples=300):
    """The mean of a statistic over bootstrap samples of B puzzles, and its 95 % percentile interval."""
    times = np.random.default_rng(1).multinomial(B, np.full(B, 1 / B), size=samples)
    values = [statistic(np.arange(B).repeat(each)) for each in times]
    return np.mean(values), *np.quantile(values, (0.025, 0.975))


def some(puzzles, n, choices=20):
    """Choices of n of these puzzles, without repetition; one where n is all of them."""
    rng = np.random.default_rng(0)
    if n == len(puzzles):
        return [puzzles]
    return [rng.permutation(puzzles)[:n] for _ in range(choices)]


def shares(z, labels):
    """The share of the variance of cells' states z (updates, B, S, D) that lies between the means of groups:
    positions, updates, puzzles, and the digits that belong into the cells, labels (B, S)."""
    z = z - z.mean((0, 1, 2))
    total = z.square().sum(-1).mean()
    found = {}
    for group, others in {"position": (0, 1), "update": (1, 2), "puzzle": (0, 2)}.items():
        found[group] = z.mean(others).square().sum(-1).mean() / total
    means = 0
    for symbol in labels.unique():
        of_symbol = labels == symbol
        means += of_symbol.float().mean() * z[:, of_symbol].mean((0, 1)).square().sum()
    return found | {"right digit": means / total}


# -------------------------------------------------------------------------------------------------- figures
def draw_readings():
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


def draw_ratios(pr, guess):
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
    for ax in (left, right):
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter("")
        ax.set_ylim(len(READINGS) - 0.3, -0.3)
    left.set(xticks=(2, 5, 10, 20, 50), yticks=height + 0.2, yticklabels=READINGS)
    right.set_xticks((0.5, 0.7, 1, 2, 3))
    left.set_xlabel("participation ratio (dimensions)")
    right.set_xlabel("z_H : z_L")
    for ax in (left, right):
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)


def draw_tasks(ratios):
    """{(task, reading): z_H : z_L of the trained model} -> a row for each reading, a mark for each task."""
    sheet, ax = plt.subplots(figsize=(6.5, 2.5), layout="constrained")
    tasks = list(dict.fromkeys(task for task, _ in ratios))
    for task, mark, colour in zip(tasks, "os^", (GREY, DARK, PALE)):
        values = [ratios[task, reading] for reading in READINGS]
        ax.plot(values, list(READINGS), mark, color=colour, mec=DARK, ms=7, label=task)
    ax.axvline(1, color=GREY, lw=1)
    ax.axvline(2.98, color=DARK, ls="--", lw=1, label="the paper: 2.98")
    ax.set(xscale="log", xticks=(0.5, 0.7, 1, 1.5, 2, 3), xlim=(0.4, 3.3), xlabel="z_H : z_L, trained")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")
    ax.set_ylim(len(READINGS) - 0.5, -0.5)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))

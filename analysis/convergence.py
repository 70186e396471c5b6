"""Does the state settle while a model thinks? HRM, a recurrent network and a Transformer (paper, fig. 3)."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from analysis.states import COLOURS, pca, record, residuals
from extras.baselines import Transformer
from puzzles.task import GREY

NAMES = {"hrm": ("HRM", "update of L"), "recurrent": ("recurrent network", "update"),
         "transformer": ("Transformer", "layer"), "prenorm": ("Pre-Norm Transformer", "layer"),
         "trm": ("TRM", "update of L")}  # and what is counted


def convergence(model, inputs, puzzle_ids=None, segments=None):
    """Forward residuals ‖zⁱ − zⁱ⁻¹‖ over the puzzles inputs (B, S), and the path of the first puzzle's state
    (all tokens side by side) through the two directions in which it moves most.

    Returns {"model", "puzzles", "updates_per_segment", "z_H": …, "z_L": …}; for each state "update"
    (updates,), counted in updates of L; "mean", "low" and "high" (updates,) of the residual over the puzzles
    (10 and 90 %); "pca" (updates, 2) and "explained" (2,). Models without L have no "z_L"."""
    if isinstance(model, Transformer):  # it answers in one pass, whatever the others take
        segments = 1
    trajectory, numbers = record(model, inputs, puzzle_ids, segments), {}
    for name, initial in zip(("z_H", "z_L"), trajectory.initial):
        z = getattr(trajectory, name)
        if len(z):
            every = model.config.L_cycles if name == "z_H" and len(trajectory.z_L) else 1
            moved = residuals(z, initial).cpu().numpy()  # (updates, B)
            low, high = np.quantile(moved, (0.1, 0.9), axis=1)
            path, explained = pca(z[:, 0].flatten(1).float())
            numbers[name] = {"update": every * np.arange(1, len(z) + 1), "mean": moved.mean(axis=1),
                             "low": low, "high": high, "pca": path, "explained": explained}
    updates = int(numbers["z_H"]["update"][-1]) // len(trajectory.logits)
    return {"model": model.config.model, "puzzles": len(inputs), "updates_per_segment": updates, **numbers}


def plot_convergence(models):
    """A list of what `convergence` returned -> figure: a row for each, residuals left, PCA paths right."""
    figure, axes = plt.subplots(len(models), 3, figsize=(11.5, 2.9 * len(models) + 0.2), squeeze=False,
                                width_ratios=(1.7, 1, 1), layout="tight")
    for (left, *right), numbers in zip(axes, models):
        model, unit = NAMES[numbers["model"]]
        for name, ax in zip(("z_H", "z_L"), right):
            if name not in numbers:
                ax.axis("off")
                continue
            state, colour = numbers[name], COLOURS[name]
            label = name if "z_L" in numbers else "z"
            left.plot(state["update"], state["mean"], "o-", ms=3.5, lw=1.2, color=colour, label=label)
            left.fill_between(state["update"], state["low"], state["high"], color=colour, alpha=0.2, lw=0)
            x, y = np.transpose(state["pca"])
            ax.plot(x, y, color=GREY, lw=0.7, zorder=1)
            points = ax.scatter(x, y, c=state["update"], cmap="viridis", s=22, zorder=2)
            figure.colorbar(points, ax=ax, label=unit, ticks=MaxNLocator(5, integer=True))
            first, second = state["explained"]
            ax.set(title=f"path of {label}, one puzzle", xlabel=f"1st component ({first:.0%} of variance)",
                   ylabel=f"2nd component ({second:.0%})")
        left.set(title=f"{model}: {numbers['puzzles']} puzzles", xlabel=unit,
                 ylabel="‖zⁱ − zⁱ⁻¹‖, mean and 10–90 %")
        left.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        left.grid(False, axis="x")  # the dotted lines are enough
        left.legend()
        if unit == "layer":
            left.set_ylim(0, None)
            continue
        left.set(yscale="log", xlabel=f"{unit} (dotted: a new segment)")
        every = numbers["updates_per_segment"]
        for update in range(every, numbers["z_H"]["update"][-1], every):
            left.axvline(update + 0.5, color=GREY, lw=0.5, ls=":")
    return figure

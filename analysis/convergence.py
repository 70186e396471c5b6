"""Does the state settle while a model thinks? HRM, a recurrent network and a Transformer (paper, fig. 3)."""

import numpy as np

from analysis.states import COLOURS, pca, record, residuals
from puzzles.boards import GREY, figure


def convergence(model, inputs, puzzle_ids=None, segments=None):
    """Forward residuals ‖zⁱ − zⁱ⁻¹‖ over the puzzles inputs (B, S), and the path of the first puzzle's state
    (all tokens side by side) through the two directions in which it moves most.

    Returns {"model", "puzzles", "updates", "updates_per_segment", "z_H": …, "z_L": …}; of each state "update"
    (updates,), counted in updates of L; "mean" (updates,) and "range" (2, updates) of the residual over the
    puzzles (10 and 90 %); "pca" (updates, 2) and "explained" (2,). Models without L have no "z_L"."""
    trajectory = record(model, inputs, puzzle_ids, segments)
    updates = max(len(trajectory.z_H), len(trajectory.z_L))
    numbers = {
        "model": type(model).__name__,
        "puzzles": len(inputs),
        "updates": updates,
        "updates_per_segment": updates // len(trajectory.logits),
    }
    for name, initial in zip(COLOURS, trajectory.initial):
        z = getattr(trajectory, name)
        if len(z):
            moved = residuals(z, initial).cpu().numpy()  # (len(z), B)
            path, explained = pca(z[:, 0].flatten(1))
            numbers[name] = {
                "update": np.arange(1, len(z) + 1) * updates // len(z),
                "mean": moved.mean(axis=1),
                "range": np.quantile(moved, (0.1, 0.9), axis=1),
                "pca": path,
                "explained": explained,
            }
    return numbers


def plot_convergence(models):
    """A list of what `convergence` returned -> figure: a row for each, residuals left, PCA paths right."""
    sheet, axes = figure(len(models), 3, 12, 3 * len(models))
    for (left, *right), numbers in zip(axes, models):
        for name, ax in zip(COLOURS, right):
            ax.set_visible(name in numbers)
            if name in numbers:
                plot_state(left, ax, name, numbers[name])
        left.set_xticks(range(0, numbers["updates"] + 1, numbers["updates_per_segment"]))
        left.set_title(f"{numbers['model']}: {numbers['puzzles']} puzzles")
        left.set_xlabel("update or layer (a line after each segment)")
        left.set_ylabel("‖zⁱ − zⁱ⁻¹‖, mean and 10–90 %")
        left.set_yscale("log")
        left.legend()
    return sheet


def plot_state(left, right, name, state):
    """The residuals of one state, and its path in one puzzle."""
    update = state["update"]
    left.plot(update, state["mean"], "o-", color=COLOURS[name], label=name)
    left.fill_between(update, *state["range"], color=COLOURS[name], alpha=0.2)
    x, y = np.transpose(state["pca"])
    right.plot(x, y, color=GREY, zorder=1)
    right.scatter(x, y, c=update, zorder=2)
    first, second = state["explained"]
    right.set_xlabel(f"1st component of {name}, dark to bright ({first:.0%})")
    right.set_ylabel(f"2nd ({second:.0%} of variance)")

"""Does the state settle while a model thinks? HRM, a recurrent network and a Transformer (paper, fig. 3)."""

import numpy as np

from analysis.states import COLOURS, pca, record, residuals
from puzzles.boards import GREY, figure


def convergence(model, inputs, puzzle_ids=None, segments=None):
    """Forward residuals ‖zⁱ − zⁱ⁻¹‖ over the puzzles inputs (B, S), and the path of the first puzzle's state
    (all tokens side by side) through the two directions in which it moves most.

    Returns {"model", "puzzles", "updates_per_segment", "z_H": …, "z_L": …}; for each state "update"
    (updates,), counted in updates of L; "mean", "low" and "high" (updates,) of the residual over the puzzles
    (10 and 90 %); "pca" (updates, 2) and "explained" (2,). Models without L have no "z_L"."""
    trajectory = record(model, inputs, puzzle_ids, segments)
    updates = max(len(trajectory.z_H), len(trajectory.z_L))
    numbers = {
        "model": type(model).__name__,
        "puzzles": len(inputs),
        "updates_per_segment": updates // len(trajectory.logits),
    }
    for name, initial in zip(COLOURS, trajectory.initial):
        z = getattr(trajectory, name)
        if len(z) == 0:
            continue
        moved = residuals(z, initial).cpu().numpy()  # (len(z), B)
        low, high = np.quantile(moved, (0.1, 0.9), axis=1)
        path, explained = pca(z[:, 0].flatten(1).float())
        numbers[name] = {
            "update": np.arange(1, len(z) + 1) * updates // len(z),
            "mean": moved.mean(axis=1),
            "low": low,
            "high": high,
            "pca": path,
            "explained": explained,
        }
    return numbers


def plot_convergence(models):
    """A list of what `convergence` returned -> figure: a row for each, residuals left, PCA paths right."""
    sheet, axes = figure(len(models), 3, 12, 2.9 * len(models) + 0.2)
    for (left, *right), numbers in zip(axes, models):
        for name, ax in zip(COLOURS, right):
            if name in numbers:
                plot_state(left, ax, name, numbers[name])
            else:
                ax.axis("off")
        left.set_title(f"{numbers['model']}: {numbers['puzzles']} puzzles")
        left.set_xlabel("update (dotted: a new segment)")
        left.set_ylabel("‖zⁱ − zⁱ⁻¹‖, mean and 10–90 %")
        left.grid(False, axis="x")  # the dotted lines are enough
        if numbers["model"] in ("Transformer", "PreNorm"):
            left.set_xlabel("layer")
            left.set_xticks(numbers["z_H"]["update"])
        else:
            left.set_yscale("log")
        every = numbers["updates_per_segment"]
        for update in range(every, numbers["z_H"]["update"][-1], every):
            left.axvline(update + 0.5, color=GREY, ls=":")
        left.legend()
    return sheet


def plot_state(left, right, name, state):
    """The residuals of one state, and its path in one puzzle."""
    update = state["update"]
    left.plot(update, state["mean"], "o-", color=COLOURS[name], label=name)
    left.fill_between(update, state["low"], state["high"], color=COLOURS[name], alpha=0.2)
    x, y = np.transpose(state["pca"])
    right.plot(x, y, color=GREY, zorder=1)
    right.scatter(x, y, c=update, zorder=2)
    first, second = state["explained"]
    right.set_title(f"path of {name}, dark to bright")
    right.set_xlabel(f"1st component ({first:.0%} of variance)")
    right.set_ylabel(f"2nd component ({second:.0%})")

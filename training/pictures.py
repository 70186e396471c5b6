"""A run's curves."""

import csv

from puzzles.boards import BLUE, GREY, LIGHT_BLUE, VERMILLION, figure, save_figure


def draw_curves(metrics, path):
    """Losses, accuracy and segments against the step, from a run's metrics.csv, as a PNG."""
    with open(metrics) as file:
        rows = list(csv.DictReader(file))
    sheet, axes = figure(1, 3, 13, 3.6)
    loss, right, segments = axes[0]

    def curve(ax, column, label, style="-", **look):
        known = [row for row in rows if row[column]]
        steps = [int(row["step"]) for row in known]
        values = [float(row[column]) for row in known]
        ax.plot(steps, values, style, label=label, markersize=3, **look)

    loss.set(ylabel="loss", yscale="log")
    curve(loss, "token_loss", "of the tokens", color=BLUE)
    curve(loss, "q_loss", "of the Q-head", color=GREY)
    right.set(ylabel="share that is right", ylim=(-0.02, 1.02))
    curve(right, "cell", "cells right, training", ":", color=GREY)
    curve(right, "exact", "puzzles solved, training", color=LIGHT_BLUE)
    curve(right, "val_exact", "puzzles solved, validation", "o-", color=BLUE)
    if any(row["val_valid"] != row["val_exact"] for row in rows):
        curve(right, "val_valid", "valid, validation", "o--", color=VERMILLION)
    segments.set(ylabel="segments per puzzle")
    curve(segments, "segments", "training", color=LIGHT_BLUE)
    curve(segments, "val_segments", "validation", "o-", color=BLUE)
    curve(segments, "M_max", "at most (M_max)", "k:")
    for ax in axes[0]:
        ax.set(xlabel="optimiser step")
        ax.locator_params(axis="x", nbins=6)
        ax.legend(frameon=False)
        ax.grid(alpha=0.3)
    sheet.tight_layout()
    save_figure(path, sheet, dpi=100)

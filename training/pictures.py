"""What people would rather look at than read: a run's answers, its curves, and any figure as a file."""

import csv

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image  # matplotlib brings it along

from training.files import write


def figure(rows, columns, width, height):
    """A matplotlib figure that needs no screen and is freed when it is no longer used; an array of axes."""
    sheet = Figure(figsize=(width, height))
    return sheet, sheet.subplots(rows, columns, squeeze=False)


def to_image(sheet):
    """A matplotlib figure as a Pillow image of 256 colours: a third of the bytes."""
    canvas = FigureCanvasAgg(sheet)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    return image.quantize(256, dither=Image.Dither.NONE)


def save_figure(path, sheet, dpi=110):
    sheet.set_dpi(dpi)
    image = to_image(sheet)
    write(path, lambda temporary: image.save(temporary, format="PNG", optimize=True))


def draw_boards(task, split, path, titles, answers=None):
    """The puzzles of a split with answers (n, S), their solutions if not given, as a PNG."""
    columns = min(4, len(split))
    rows = -(-len(split) // columns)
    sheet, axes = figure(rows, columns, 3 * columns, 3.3 * rows)
    for ax in axes.flat:
        ax.axis("off")
    for i, ax in zip(range(len(split)), axes.flat):
        if answers is None:
            task.draw(ax, split.inputs[i], split.labels[i])
            ax.set_title(titles[i], fontsize=10)
        else:
            task.draw(ax, split.inputs[i], answers[i], split.labels[i])
            right = task.is_right(split.inputs[i : i + 1], split.labels[i : i + 1], answers[i : i + 1])[0]
            ax.set_title(f"{'solved' if right else 'not solved'} {titles[i]}", fontsize=10)
    sheet.tight_layout()
    save_figure(path, sheet, dpi=100)


def draw_curves(metrics, path):
    """Loss, accuracy and segments against the step, from a run's metrics.csv, as a PNG."""
    with open(metrics) as file:
        rows = list(csv.DictReader(file))
    sheet, ((loss, solved, segments),) = figure(1, 3, 13, 3.6)

    def curve(ax, column, label, style="-"):
        known = [row for row in rows if row[column]]
        if known:
            ax.plot([int(row["step"]) for row in known], [float(row[column]) for row in known], style,
                    label=label, markersize=3, linewidth=1.2)

    curve(loss, "loss", "training")
    curve(solved, "exact", "training")
    curve(solved, "val_exact", "validation", "o-")
    curve(segments, "segments", "training")
    curve(segments, "val_segments", "validation", "o-")
    curve(segments, "M_max", "M_max", "k:")
    labels = "loss per puzzle", "puzzles solved exactly", "segments per puzzle"
    for ax, label in zip((loss, solved, segments), labels):
        ax.set(xlabel="optimiser step", ylabel=label)
        ax.locator_params(axis="x", nbins=6)
        ax.legend(frameon=False)
        ax.grid(alpha=0.3)
    loss.set_yscale("log")
    solved.set_ylim(-0.02, 1.02)
    sheet.tight_layout()
    save_figure(path, sheet, dpi=100)

"""What people would rather look at than read: a run's answers, its curves, and any figure as a file."""

import csv
import shutil
import sys

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image  # matplotlib brings it along

from puzzles.task import BLUE, GREY, LIGHT_BLUE
from training.files import write

BOLD, PLAIN = "\033[1m", "\033[0m"
BLUE_TEXT, RED_TEXT, GREY_GROUND = "\033[38;5;33m", "\033[38;5;202m", "\033[48;5;240m"


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
    if answers is not None:
        right = task.is_right(split.inputs, split.labels, answers)
        titles = [f"{'solved' if solved else 'not solved'} {title}" for solved, title in zip(right, titles)]
    shown = split.labels if answers is None else answers
    for ax, title, *board in zip(axes.flat, titles, split.inputs, shown, split.labels):
        task.draw(ax, *board)
        ax.set_title(title, fontsize=10)
    sheet.tight_layout()
    save_figure(path, sheet, dpi=100)


def board_lines(task, inputs, answer, label, colour, before=None):
    """One answer (S,) as lines of text, two characters a cell; with `colour` styled as in the pictures, and
    cells that differ from the answer `before` on grey ground."""
    rows, columns = task.grid
    before, wrong, cells = answer if before is None else before, task.wrong_cells(inputs, answer, label), []
    for cell, symbol in enumerate(task.decode([answer])[0]):
        text = task.in_text.get(symbol, symbol + " ")
        if colour:
            style = RED_TEXT if wrong[cell] else BOLD if answer[cell] == inputs[cell] else BLUE_TEXT
            text = style + (GREY_GROUND if answer[cell] != before[cell] else "") + text + PLAIN
        cells.append(text)
    return ["".join(cells[row * columns : (row + 1) * columns]) for row in range(rows)]


def boards_side_by_side(task, split, answers):
    """The answers (n, S) to the puzzles of a split in one text, as many as the terminal has room for."""
    columns, colour = shutil.get_terminal_size().columns, sys.stdout.isatty()
    fitting = (columns + 3) // (2 * task.grid[1] + 3)
    boards = [board_lines(task, split.inputs[i], answers[i], split.labels[i], colour)
              for i in range(min(fitting, len(split)))]
    return "\n".join("   ".join(lines) for lines in zip(*boards))


def draw_curves(metrics, path):
    """Losses, accuracy and segments against the step, from a run's metrics.csv, as a PNG."""
    with open(metrics) as file:
        rows = list(csv.DictReader(file))
    sheet, ((loss, right, segments),) = figure(1, 3, 13, 3.6)

    def curve(ax, column, label, style="-", **look):
        known = [row for row in rows if row.get(column)]
        if known:
            ax.plot([int(row["step"]) for row in known], [float(row[column]) for row in known], style,
                    label=label, markersize=3, linewidth=1.2, **look)

    curve(loss, "token_loss", "of the tokens", color=BLUE)
    curve(loss, "q_loss", "of the Q-head", color=GREY)
    curve(right, "cell", "cells right, training", ":", color=GREY)
    curve(right, "exact", "puzzles solved, training", color=LIGHT_BLUE)
    curve(right, "val_exact", "puzzles solved, validation", "o-", color=BLUE)
    curve(segments, "segments", "training", color=LIGHT_BLUE)
    curve(segments, "val_segments", "validation", "o-", color=BLUE)
    curve(segments, "M_max", "at most (M_max)", "k:")
    for ax, label in zip((loss, right, segments), ("loss", "share that is right", "segments per puzzle")):
        ax.set(xlabel="optimiser step", ylabel=label)
        ax.locator_params(axis="x", nbins=6)
        ax.legend(frameon=False)
        ax.grid(alpha=0.3)
    loss.set_yscale("log")
    right.set_ylim(-0.02, 1.02)
    sheet.tight_layout()
    save_figure(path, sheet, dpi=100)

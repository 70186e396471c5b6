"""Boards as people see them: colours, pictures, and text in the terminal."""

import math
import shutil
import sys

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image  # matplotlib brings it along

from puzzles.files import write

DARK = "#2f3640"
GREY = "#9aa5b1"
PALE = "#dde2e7"
WHITE = "#ffffff"
BLUE = "#0072b2"  # with the next three, told apart by colour-blind readers
LIGHT_BLUE = "#8ecae6"
VERMILLION = "#d55e00"
LILAC = "#cc79a7"

BOLD = "\033[1m"  # in the terminal
BLUE_TEXT = "\033[38;5;33m"
RED_TEXT = "\033[38;5;202m"
GREY_GROUND = "\033[48;5;240m"
PLAIN = "\033[0m"


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


def draw_boards(task, split, titles, answers=None):
    """The puzzles of a split with answers (n, S), their solutions if not given -> figure. What nobody knows
    the solution of is drawn as it is."""
    if answers is None:
        answers = np.where(split.labels, split.labels, split.inputs)
    else:
        right = task.is_right(split.inputs, split.labels, answers)
        titles = [f"{'solved' if solved else 'not solved'} {title}" for solved, title in zip(right, titles)]
    columns = min(4, len(split))
    rows = math.ceil(len(split) / columns)
    sheet, axes = figure(rows, columns, 3 * columns, 3.3 * rows)
    for ax in axes.flat:
        ax.axis("off")
    for ax, title, *board in zip(axes.flat, titles, split.inputs, answers, split.labels):
        task.draw(ax, *board)
        ax.set_title(title, fontsize=10)
    sheet.tight_layout()
    return sheet


def draw_lines(ax, rows, columns, box, **style):
    """Lines around the boxes of a board, each of box = (rows, columns) cells."""
    for row in range(0, rows + 1, box[0]):
        ax.axhline(row - 0.5, **style)
    for column in range(0, columns + 1, box[1]):
        ax.axvline(column - 0.5, **style)


def show_board(ax, rows, columns):
    """Square cells with lines between them, row 0 on top, no axes."""
    draw_lines(ax, rows, columns, (1, 1), color=GREY, lw=0.4)
    ax.set_xlim(-0.55, columns - 0.45)
    ax.set_ylim(rows - 0.45, -0.55)
    ax.set_aspect("equal")
    ax.axis("off")


def board_lines(task, inputs, answer, label, colour, before=None):
    """One answer (S,) as lines of text, two characters a cell; with `colour` styled as in the pictures, and
    cells that differ from the answer `before` on grey ground."""
    wrong = task.wrong_cells(inputs, answer, label)
    cells = []
    for cell, symbol in enumerate(task.decode([answer])[0]):
        text = task.in_text.get(symbol, symbol + " ")
        if colour:
            style = BOLD if answer[cell] == inputs[cell] else BLUE_TEXT
            if wrong[cell]:
                style = RED_TEXT
            if before is not None and answer[cell] != before[cell]:
                style += GREY_GROUND
            text = style + text + PLAIN
        cells.append(text)
    return ["".join(row) for row in np.reshape(cells, task.grid)]


def boards_side_by_side(task, split, answers):
    """The answers (n, S) to the puzzles of a split in one text, as many as the terminal has room for."""
    room = shutil.get_terminal_size().columns
    fitting = (room + 3) // (2 * task.grid[1] + 3)
    colour = sys.stdout.isatty()
    puzzles = zip(split.inputs[:fitting], answers, split.labels)
    boards = [board_lines(task, *puzzle, colour) for puzzle in puzzles]
    return "\n".join(map("   ".join, zip(*boards)))

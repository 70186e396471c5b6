"""Watch a model think about one puzzle (paper, fig. 7): as a strip of boards, a GIF, and in the terminal.

Each board is what the model would answer after one more update of L. Givens are bold, broken rules
vermillion; cells that changed since the board before have a grey ground.
"""

import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from analysis.states import intermediate_predictions, record
from hrm import solve
from puzzles.boards import DARK, VERMILLION, board_lines, figure, to_image
from puzzles.errors import UserError


@dataclass
class Steps:
    """How one puzzle of S cells was thought about."""
    inputs: np.ndarray  # (S,) uint8: the question
    label: np.ndarray  # (S,) uint8, or None where nobody knows the answer
    boards: np.ndarray  # (updates, S) uint8: what the model would have answered after each update
    confidence: np.ndarray  # (segments,) σ(q_halt): the model's own chance that the segment's answer is right
    answer: np.ndarray  # (S,) uint8: what it did answer, with halting
    segment: int  # the segment that the answer is from, counted from 1: that of the highest confidence
    wrong: str  # what is wrong with the answer; "" if it keeps the rules; None if nothing here can tell

    @property
    def updates_per_segment(self):
        return len(self.boards) // len(self.confidence)

    @property
    def frames(self):
        """The boards, and the answer as the last one: (updates + 1, S)."""
        return np.vstack([self.boards, self.answer])

    def title(self, i):
        """Of frame i, counted from 0; where a segment ends, with the model's confidence."""
        if i == len(self.boards):
            words = {None: "not checked", "": "solved"}
            return f"answer of segment {self.segment}: {words.get(self.wrong, 'WRONG')}"
        segment, update = divmod(i, self.updates_per_segment)
        title = f"segment {segment + 1}, update {update + 1}"
        if update + 1 == self.updates_per_segment:
            title += f": {self.confidence[segment]:.2f}"
        return title

    def verdict(self):
        """One line: is it solved, in how many segments, and how sure was the model."""
        words = {None: "not checked (the rules alone cannot tell),", "": "solved"}
        said = words.get(self.wrong, f"WRONG ({self.wrong})")
        segments = len(self.confidence)
        unit = "segments" if segments > 1 else "segment"
        sure = self.confidence[self.segment - 1]
        return f"{said} after {segments} {unit}, confidence σ(q_halt) = {sure:.2f}"


def parse_puzzle(task, text):
    """A puzzle typed in, or the name of a text file that holds one -> tokens (S,) uint8."""
    board = text
    if os.path.isfile(text):
        board = Path(text).read_text(encoding="utf-8-sig", errors="replace")
    try:
        inputs = task.encode([board])
        reason = task.problem(inputs)[0]
    except UserError as error:
        reason = error
    if reason:
        rows, columns = task.grid
        raise UserError(f"--puzzle {text[:40]!r}: {reason}; pass a {task.name} puzzle of {rows}x{columns}, "
                        f"or a text file that holds one")
    return inputs[0]


def fault(task, inputs, answer, label=None):
    """What is wrong with an answer (S,): "" if nothing, None if neither the rules nor a label can tell."""
    right = task.check(inputs[None], answer[None])
    if right is None and label is not None:
        right = task.is_right(inputs[None], label[None], answer[None])
    if right is None:
        return None
    if right[0]:
        return ""
    return task.problem(inputs[None], answer[None])[0] or "not the right answer"


def follow(model, task, inputs, label=None, puzzle_id=0, max_segments=None, confidence=0.5):
    """Let a model solve one puzzle (S,) uint8 with halting -> Steps."""
    device = next(model.parameters()).device
    question = torch.tensor(inputs[None]).long().to(device)
    puzzle_ids = torch.tensor([puzzle_id], device=device)
    solution = solve(model, question, puzzle_ids, max_segments, confidence)
    trajectory = record(model, question, puzzle_ids, solution.segments.item())
    boards = intermediate_predictions(model, trajectory)[:, 0]
    q_halt = trajectory.q_halt[:, 0].cpu()
    answer = solution.predictions[0].cpu().numpy().astype(np.uint8)
    return Steps(
        inputs,
        label,
        boards=boards.cpu().numpy().astype(np.uint8),
        confidence=q_halt.sigmoid().numpy(),
        answer=answer,
        segment=q_halt.argmax().item() + 1,
        wrong=fault(task, inputs, answer, label),
    )


# ------------------------------------------------------------------------------------------------- pictures
def draw_step(ax, task, steps, i):
    """The board after update i, counted from 0, on a matplotlib axis; after all updates comes the answer."""
    board = steps.frames[i]
    task.draw(ax, steps.inputs, board, steps.label)
    same = board == steps.frames[max(i - 1, 0)]
    ax.autoscale(False)
    ax.imshow(np.ma.array(same, mask=same).reshape(task.grid), cmap="gray", alpha=0.2)
    ax.set_title(steps.title(i), fontsize=9)


def plot_steps(task, steps):
    """A strip of boards: the last eleven that differ from the one before, and the answer -> figure."""
    before = np.vstack([steps.inputs, steps.boards[:-1]])
    changed = np.flatnonzero((steps.boards != before).any(1))
    shown = [*changed[-11:], len(steps.boards)]
    columns = min(6, len(shown))
    lines = math.ceil(len(shown) / 6)
    strip, axes = figure(lines, columns, max(2 * columns, 6), 2.2 * lines + 0.3)
    for ax in axes.flat:
        ax.axis("off")
    for ax, i in zip(axes.flat, shown):
        draw_step(ax, task, steps, i)
    strip.suptitle(steps.verdict(), fontsize=10, color=VERMILLION if steps.wrong else DARK)
    strip.tight_layout()
    return strip


def animate(task, steps, path):
    """All updates as an animated GIF, a board every half second; the answer stays for two seconds."""
    sheet, axes = figure(1, 1, 3.2, 3.5)
    images = []
    for i in range(len(steps.frames)):
        axes[0, 0].clear()
        draw_step(axes[0, 0], task, steps, i)
        images.append(to_image(sheet))
    duration = [500] * len(steps.boards) + [2000]  # milliseconds
    images[0].save(path, format="GIF", save_all=True, append_images=images[1:], duration=duration, loop=0)


def play(task, steps, seconds=0.3):
    """Print the boards as the model thinks, in a terminal one over the other, then the verdict. Where the
    output is no terminal (a file, a pipe), without colours, and only where a segment ends."""
    live = sys.stdout.isatty()
    before = steps.inputs
    for i, board in enumerate(steps.frames):
        if live and i:
            time.sleep(seconds)
            print(f"\033[{1 + task.grid[0]}A\033[J", end="")  # over the board before
        if live or i == len(steps.boards) or (i + 1) % steps.updates_per_segment == 0:
            lines = board_lines(task, steps.inputs, board, steps.label, live, before)
            print(steps.title(i), *lines, sep="\n  ", flush=True)
        before = board
    print(steps.verdict())

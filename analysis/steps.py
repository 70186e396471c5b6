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
from puzzles.boards import board_lines, figure, to_image
from puzzles.errors import UserError


@dataclass
class Steps:
    """How one puzzle of S cells was thought about."""
    inputs: np.ndarray  # (S,) uint8: the question
    label: np.ndarray  # (S,) uint8, or None where nobody knows the answer
    boards: np.ndarray  # (updates, S) uint8: what the model would have answered after each update
    confidence: np.ndarray  # (segments,) σ(q_halt): the model's own chance that the segment's answer is right
    answer: np.ndarray  # (S,) uint8: what it did answer: the segment's with the highest confidence
    result: str  # "solved", "WRONG", or "not checked" where neither the rules nor a label can tell

    @property
    def frames(self):
        """What is shown, after each update and of the answer: a list of (title, board (S,), the one before;
        of the first itself). Where a segment ends, the title says how sure the model was."""
        titles = []
        every = len(self.boards) // len(self.confidence)
        for segment, sure in enumerate(self.confidence, 1):
            for update in range(1, every + 1):
                titles.append(f"segment {segment}, update {update}")
            titles[-1] += f": {sure:.2f}"
        titles.append(f"answer: {self.result}")
        boards = [*self.boards, self.answer]
        return list(zip(titles, boards, boards[:1] + boards))

    def verdict(self):
        """One line: is it solved, after how many segments, and how sure was the model."""
        sure = self.confidence.max()
        return f"{self.result}; segments: {len(self.confidence)}, confidence σ(q_halt): {sure:.2f}"


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
        raise UserError(f"--puzzle {text[:40]!r}: {reason}; pass a {task.name} puzzle of size {task.size}, "
                        f"or a text file that holds one")
    return inputs[0]


def judge(task, inputs, answer, label=None):
    """Is an answer (S,) right, by the rules or else by the label -> "solved", "WRONG" or "not checked"."""
    right = task.check(inputs[None], answer[None])
    if right is None and label is not None:
        right = task.is_right(inputs[None], label[None], answer[None])
    if right is None:
        return "not checked"
    return "solved" if right[0] else "WRONG"


def follow(model, task, inputs, label=None, puzzle_id=0, max_segments=None, confidence=0.5):
    """Let a model solve one puzzle (S,) uint8 with halting -> Steps."""
    device = next(model.parameters()).device
    question = torch.tensor(inputs[None], device=device).long()
    puzzle_ids = torch.tensor([puzzle_id], device=device)
    solution = solve(model, question, puzzle_ids, max_segments, confidence)
    trajectory = record(model, question, puzzle_ids, solution.segments.item())
    boards = intermediate_predictions(model, trajectory)[:, 0]
    *boards, answer = torch.cat([boards, solution.predictions]).cpu().numpy().astype(np.uint8)
    return Steps(
        inputs,
        label,
        boards=np.stack(boards),
        confidence=trajectory.q_halt[:, 0].sigmoid().cpu().numpy(),
        answer=answer,
        result=judge(task, inputs, answer, label),
    )


# ------------------------------------------------------------------------------------------------- pictures
def draw_step(ax, task, steps, i):
    """The board after update i, counted from 0, on a matplotlib axis; after all updates comes the answer."""
    title, board, before = steps.frames[i]
    task.draw(ax, steps.inputs, board, steps.label)
    same = (board == before).reshape(task.grid)
    ax.autoscale(False)
    ax.imshow(same, cmap="gray", alpha=0.2 * ~same)
    ax.set_title(title, fontsize=9)


def plot_steps(task, steps):
    """A strip of boards: the last eleven that differ from the one before, and the answer -> figure."""
    before = np.vstack([steps.inputs, steps.boards[:-1]])
    changed = np.flatnonzero((steps.boards != before).any(1))
    shown = [*changed[-11:], len(steps.boards)]
    columns = min(6, len(shown))
    lines = math.ceil(len(shown) / columns)
    strip, axes = figure(lines, columns, 2 * columns, 2.4 * lines + 0.4)
    for ax in axes.flat:
        ax.axis("off")
    for ax, i in zip(axes.flat, shown):
        draw_step(ax, task, steps, i)
    strip.suptitle(steps.verdict())
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
    images[0].save(
        path,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=duration,
        loop=0,
    )


def play(task, steps, seconds=0.3):
    """Print the boards as the model thinks, in a terminal one over the other, then the verdict. Where the
    output is no terminal (a file, a pipe), without colours, and only where a segment ends."""
    live = sys.stdout.isatty()
    for title, board, before in steps.frames:
        if live and before is not board:
            time.sleep(seconds)
            print(f"\033[{1 + task.grid[0]}A\033[J", end="")  # over the board before
        if live or ":" in title:
            lines = board_lines(task, steps.inputs, board, steps.label, live, before)
            print(title, *lines, sep="\n  ", flush=True)
    print(steps.verdict())

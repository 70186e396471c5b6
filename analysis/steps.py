"""Watch a model think about one puzzle (paper, fig. 7): as a strip of boards, a GIF, and in the terminal.

Each board is what the model would answer after one more update of L. Givens are bold, broken rules
vermillion; cells that changed since the board before have a grey ground.
"""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from analysis.states import intermediate_predictions, record
from hrm import solve
from puzzles.task import DARK, GREY, VERMILLION
from training.files import UserError
from training.pictures import board_lines, figure, to_image


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

    def verdict(self):
        """One line: is it solved, in how many segments, and how sure was the model."""
        segments = len(self.confidence)
        said = f"after {segments} segment{'s' * (segments > 1)}, "
        said += f"confidence σ(q_halt) = {self.confidence[self.segment - 1]:.2f}"
        if self.segment < segments:
            said += f" in segment {self.segment}, the highest"
        if self.wrong is None:
            return f"answered {said}; not checked: the rules alone cannot tell"
        return f"WRONG {said}: {self.wrong}" if self.wrong else f"solved {said}"


def parse_puzzle(task, text):
    """A puzzle typed in, or the name of a text file that holds one -> tokens (S,) uint8."""
    what = f"--puzzle {text!r}" if len(text) <= 40 else f"--puzzle {text[:37]!r}..."
    has = "this is no file, and as a puzzle has"
    try:
        if os.path.isfile(text):
            text, has = Path(text).read_text(encoding="utf-8-sig", errors="replace"), "the file holds"
        inputs = task.encode([text])
    except UserError as error:
        size = f"{task.grid[0]}x{task.grid[1]}"
        raise UserError(f"{what}: {has} {error}; the checkpoint solves {task.name} of {size}") from None
    if problem := task.problem(inputs)[0]:
        raise UserError(f"{what}: {problem}; mend the puzzle")
    return inputs[0]


def fault(task, inputs, answer, label=None):
    """What is wrong with an answer (S,): "" if nothing, None if neither the rules nor a label can tell."""
    right = task.check(inputs[None], answer[None])
    if right is not None:
        reason = task.problem(inputs[None], answer[None])[0]
        return "" if right[0] else reason or f"no right answer by the rules of {task.name}"
    if label is None:
        return None
    differ = ((answer != label) & (label > 0)).sum()
    return f"{differ} cells differ from the right answer" if differ else ""


def follow(model, task, inputs, label=None, puzzle_id=0, max_segments=None, confidence=0.5):
    """Let a model solve one puzzle (S,) uint8 with halting -> Steps."""
    device = next(model.parameters()).device
    batch = torch.tensor(inputs[None]).long().to(device), torch.tensor([puzzle_id], device=device)
    solution = solve(model, *batch, max_segments=max_segments, confidence=confidence)
    segments = solution.segments.item()
    boards = intermediate_predictions(model, *batch, segments)[:, 0].cpu().numpy().astype(np.uint8)
    q_halt = record(model, *batch, segments).q_halt[:, 0]
    answer = solution.predictions[0].cpu().numpy().astype(np.uint8)
    return Steps(inputs, label, boards, q_halt.sigmoid().float().cpu().numpy(), answer,
                 segment=q_halt.argmax().item() + 1, wrong=fault(task, inputs, answer, label))


def draw_step(ax, task, steps, i):
    """The board after update i, counted from 0, on a matplotlib axis; after all updates comes the answer."""
    if i == len(steps.boards):
        title = {None: "not checked", "": "solved"}.get(steps.wrong, "WRONG")
        task.draw(ax, steps.inputs, steps.answer, steps.label)
        ax.set_title(f"the answer: {title}", fontsize=9, weight="bold",
                     color=VERMILLION if steps.wrong else DARK)
        return
    board, before = steps.boards[i], steps.boards[max(i - 1, 0)]
    task.draw(ax, steps.inputs, board, steps.label)
    for cell in np.flatnonzero(board != before):
        row, column = divmod(cell, task.grid[1])
        ax.fill_between([column - 0.5, column + 0.5], row - 0.5, row + 0.5, color=GREY, alpha=0.45, lw=0)
    segment, update = divmod(i, steps.updates_per_segment)
    ax.set_title(f"segment {segment + 1}, update {update + 1}", fontsize=9, color=DARK)


def plot_steps(task, steps, at_most=12):
    """A strip of boards: the updates that changed the answer, spread evenly if too many -> figure."""
    before = np.concatenate([steps.inputs[None], steps.boards[:-1]])
    changed = np.flatnonzero((steps.boards != before).any(1))
    if len(changed) > at_most - 1:
        changed = changed[np.linspace(0, len(changed) - 1, at_most - 1).round().astype(int)]
    shown = [*changed, len(steps.boards)]
    columns = min(6, len(shown))
    lines = -(-len(shown) // columns)
    strip, axes = figure(lines, columns, 1.9 * columns, 2.1 * lines + 0.3)
    for ax in axes.flat:
        ax.axis("off")
    for ax, i in zip(axes.flat, shown):
        draw_step(ax, task, steps, i)
    strip.suptitle(steps.verdict(), fontsize=10, color=VERMILLION if steps.wrong else DARK)
    strip.tight_layout()
    return strip


def animate(task, steps, path):
    """All updates as an animated GIF, a board every half second; the answer stays for two seconds."""
    (sheet, ((ax,),)), frames = figure(1, 1, 3.2, 3.5), []
    for i in range(len(steps.boards) + 1):
        ax.clear()
        draw_step(ax, task, steps, i)
        frames.append(to_image(sheet))
    milliseconds = [500] * len(steps.boards) + [2000]
    frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0)


def play(task, steps, file=None, seconds=0.3):
    """Print the boards one over the other as the model thinks, then the verdict. Where the output is no
    terminal (a file, a pipe): one below the other, without colours, at the end of each segment."""
    file = file or sys.stdout
    live, before = file.isatty(), steps.inputs

    def drawn(board, before=None):
        rows = board_lines(task, steps.inputs, board, steps.label, live, before)
        return "".join(f"\n  {row.rstrip()}" for row in rows)

    for i, board in enumerate(steps.boards):
        segment, update = divmod(i, steps.updates_per_segment)
        known = steps.confidence[: (i + 1) // steps.updates_per_segment]  # of the segments that have ended
        heading = f"segment {segment + 1}, update {update + 1}"
        if len(known):
            heading += f", confidence {known[-1]:.2f}"
        if live or len(known) > segment:
            back = f"\033[{1 + task.grid[0]}A\033[J" if live and i else ""  # over the board before
            print(back + heading + drawn(board, before), file=file, flush=True)
        if live:
            time.sleep(seconds)
        before = board
    if steps.segment < len(steps.confidence):
        print(f"the answer, from segment {steps.segment}:" + drawn(steps.answer), file=file)
    print(steps.verdict(), file=file, flush=True)

"""One puzzle, update by update: what is read, what is said of the answer, and how it is shown."""

import io
import sys

import numpy as np
import pytest
import torch

from analysis import steps
from data import load_task
from hrm import solve
from puzzles import boards
from puzzles.errors import UserError
from puzzles.task import Task

GIVEN = "1..4.3..2..3.4.2"
ANSWER = "1234432121433412"
WRONG = "1334432121433412"


@pytest.mark.parametrize(
    "puzzle, message",
    [
        ("123", "3 characters, not 16; pass a sudoku puzzle of size 4"),
        ("11" + "." * 14, "the same digit twice in a row, column or box of the question"),
    ],
)
def test_bad_puzzles(puzzle, message):
    with pytest.raises(UserError) as error:
        steps.parse_puzzle(load_task("sudoku", size=4), puzzle)
    assert str(error.value).startswith(f"--puzzle '{puzzle}': {message}")


def test_judge_tells_right_from_wrong():
    task = load_task("sudoku", size=4)
    given, answer, wrong = task.encode([GIVEN, ANSWER, WRONG])
    assert steps.judge(task, given, answer) == "solved"
    assert steps.judge(task, given, wrong) == "WRONG"
    plain = Task(size=4)  # it has no rules
    assert steps.judge(plain, given, wrong) == "not checked"
    assert steps.judge(plain, given, answer, answer) == "solved"
    assert steps.judge(plain, given, wrong, answer) == "WRONG"


def test_follow_gives_the_answer_of_solve(puzzles):
    task, split, model = puzzles
    for i in range(5):
        inputs = torch.from_numpy(split.inputs[i : i + 1].astype(np.int64))
        solution = solve(model, inputs, max_segments=4, confidence=0.9)
        thought = steps.follow(model, task, split.inputs[i], max_segments=4, confidence=0.9)
        assert thought.answer.tolist() == solution.predictions[0].tolist()
        assert len(thought.confidence) == solution.segments.item()
        assert len(thought.boards) == 6 * len(thought.confidence)
        assert thought.boards[6 * thought.confidence.argmax() + 5].tolist() == thought.answer.tolist()
        sure = solution.q_halt.sigmoid().item()
        assert max(thought.confidence) == pytest.approx(sure, abs=1e-5)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(answer, result, screen, monkeypatch):
    """What `play` writes of one segment of two updates: the first leaves the question, the second answers."""
    task = load_task("sudoku", size=4)
    given, answer = task.encode([GIVEN, answer])
    thought = steps.Steps(given, None, np.stack([given, answer]), np.array([0.75]), answer, result)
    monkeypatch.setattr(sys, "stdout", screen)
    steps.play(task, thought, seconds=0)
    return task, thought, screen.getvalue()


def test_live_text(monkeypatch):
    _, _, text = shown(ANSWER, "solved", io.StringIO(), monkeypatch)
    rows = ["  1 2 3 4", "  4 3 2 1", "  2 1 4 3", "  3 4 1 2"]
    expected = ["segment 1, update 2: 0.75", *rows, "answer: solved", *rows]
    assert [line.rstrip() for line in text.splitlines()] == [
        *expected,
        "solved; segments: 1, confidence σ(q_halt): 0.75",
    ]
    _, _, text = shown(ANSWER, "solved", Terminal(), monkeypatch)
    assert text.count("\033[5A") == 2  # the second and the third board are printed over the one before
    assert boards.BOLD + "1 " + boards.PLAIN in text
    assert boards.BLUE_TEXT + boards.GREY_GROUND + "2 " + boards.PLAIN in text


def test_a_wrong_answer_is_said_to_be_wrong(monkeypatch):
    task, thought, text = shown(WRONG, "WRONG", Terminal(), monkeypatch)
    assert "WRONG; segments: 1, confidence σ(q_halt): 0.75" in text
    assert boards.RED_TEXT + boards.GREY_GROUND + "3" in text
    strip = steps.plot_steps(task, thought)
    assert strip.axes[1].get_title() == "answer: WRONG"
    assert "WRONG" in strip.get_suptitle()

"""One puzzle, update by update: what is read, what is said of the answer, and how it is shown."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from analysis import steps
from data import load_task
from hrm import solve
from training import pictures
from training.files import UserError

GIVEN, ANSWER = "1..4.3..2..3.4.2", "1234432121433412"
MAZE = "#####\n#S  #\n### #\n#G  #\n#####\n"


@pytest.mark.parametrize(
    "name, size, puzzle, message",
    [
        (
            "sudoku",
            4,
            "123",
            "no file, and as a puzzle has 3 characters, not 16; the checkpoint solves sudoku",
        ),
        (
            "sudoku",
            4,
            "x" * 16,
            "as a puzzle has 'x', no symbol of sudoku; use '.1234'; the checkpoint solves sudoku of 4x4",
        ),
        (
            "sudoku",
            4,
            "11" + "." * 14,
            "the same digit twice in a row, column or box of the question; mend the",
        ),
        ("sudoku", 4, "123...4" + "." * 9, "the puzzle has no solution; mend the puzzle"),
        ("maze", 5, MAZE.replace("S", " "), "no S; mend the puzzle"),
        ("maze", 5, MAZE.replace("G", " "), "no G; mend the puzzle"),
        ("maze", 5, MAZE.replace("### #", "#####"), "no path from S to G; mend the puzzle"),
        ("maze", 5, "1" * 25, "'1', no symbol of maze"),
    ],
)
def test_bad_puzzles(name, size, puzzle, message):
    with pytest.raises(UserError) as error:
        steps.parse_puzzle(load_task(name, size=size), puzzle)
    said = str(error.value)
    assert message in said and said.startswith("--puzzle '") and "\n" not in said


def test_puzzle_from_a_file(tmp_path):
    task = load_task("maze", size=5)
    (tmp_path / "maze.txt").write_text(MAZE)
    read = steps.parse_puzzle(task, str(tmp_path / "maze.txt"))
    assert task.decode([read]) == [MAZE.replace("\n", "")]
    (tmp_path / "short.txt").write_text("#S G#\n")
    with pytest.raises(UserError, match="holds 5 characters, not 25; .* solves maze of 5x5"):
        steps.parse_puzzle(task, str(tmp_path / "short.txt"))


def test_fault_tells_right_from_wrong():
    task = load_task("sudoku", size=4)
    given, answer = (task.encode([text])[0] for text in (GIVEN, ANSWER))
    assert steps.fault(task, given, answer) == ""
    wrong = answer.copy()
    wrong[1] = wrong[2]
    assert steps.fault(task, given, wrong) == "the same digit twice in a row, column or box of the answer"
    plain = SimpleNamespace(check=lambda inputs, answers: None)
    assert steps.fault(plain, given, wrong) is None
    assert steps.fault(plain, given, wrong, answer) == "1 cells differ from the right answer"


def test_another_shortest_path_than_the_label_is_not_wrong():
    task = load_task("maze", size=5)
    maze = "######S  ##   ##  G######"
    question, label, other, broken = task.encode(
        [maze, "######Soo##  o##  G######", "######S  ##o  ##ooG######", "######S  ##o  ##o G######"]
    )
    assert steps.fault(task, question, other, label) == "" == steps.fault(task, question, label, label)
    assert not task.wrong_cells(question, other, label).any()
    assert steps.fault(task, question, broken, label) == "the answer is not a path from S to G"
    assert task.wrong_cells(question, broken, label).any()


def test_follow_gives_the_answer_of_solve(puzzles):
    task, split, model = puzzles
    model.config.halting = "bce"
    for i in range(5):
        inputs = torch.from_numpy(split.inputs[i : i + 1].astype(np.int64))
        solution = solve(model, inputs, max_segments=4, confidence=0.9)
        thought = steps.follow(model, task, split.inputs[i], max_segments=4, confidence=0.9)
        assert thought.answer.tolist() == solution.predictions[0].tolist()
        assert len(thought.confidence) == solution.segments.item() and thought.updates_per_segment == 6
        assert thought.boards[6 * thought.segment - 1].tolist() == thought.answer.tolist()
        sure = solution.q_halt.sigmoid().item()
        assert thought.confidence[thought.segment - 1] == pytest.approx(sure, abs=1e-5)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def thought(answer, wrong):
    """One segment of two updates on GIVEN: the first leaves the question, the second gives the answer."""
    task = load_task("sudoku", size=4)
    given, answer = (task.encode([text])[0] for text in (GIVEN, answer))
    return task, steps.Steps(given, None, np.stack([given, answer]), np.array([0.75]), answer, 1, wrong)


def test_live_text():
    task, right = thought(ANSWER, "")
    screen, pipe = Terminal(), io.StringIO()
    steps.play(task, right, screen, seconds=0)
    steps.play(task, right, pipe, seconds=0)
    assert pipe.getvalue().splitlines() == [
        "segment 1, update 2, confidence 0.75",
        "  1 2 3 4",
        "  4 3 2 1",
        "  2 1 4 3",
        "  3 4 1 2",
        "solved after 1 segment, confidence σ(q_halt) = 0.75",
    ]
    text = screen.getvalue()
    assert text.count("\033[5A") == 1  # the second board is printed over the first
    assert pictures.BOLD + "1 " + pictures.PLAIN in text
    assert pictures.BLUE_TEXT + pictures.GREY_GROUND + "2 " + pictures.PLAIN in text


def test_a_wrong_answer_is_said_to_be_wrong():
    wrong = ANSWER[:1] + "3" + ANSWER[2:]
    task, said = thought(wrong, "the same digit twice")
    screen = Terminal()
    steps.play(task, said, screen, seconds=0)
    text = screen.getvalue()
    assert "WRONG after 1 segment, confidence σ(q_halt) = 0.75: the same digit twice" in text
    assert pictures.RED_TEXT + pictures.GREY_GROUND + "3" in text and "solved" not in text
    figure = steps.plot_steps(task, said)
    titles = [ax.get_title() for ax in figure.axes] + [figure.get_suptitle()]
    assert "the answer: WRONG" in titles and not any("solved" in title for title in titles)

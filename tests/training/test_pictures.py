"""Boards in the terminal: what stands where, and as many as it has room for."""

import sys

import numpy as np

from data import load_task
from puzzles.task import Split
from training.pictures import BLUE_TEXT, RED_TEXT, board_lines, boards_side_by_side

MAZE = ["#####", "#S  #", "# # #", "# #G#", "#####"]
PATH = ["#####", "#Soo#", "# #o#", "# #G#", "#####"]


def two_mazes():
    task = load_task("maze", size=5)
    inputs, labels = task.encode(["".join(MAZE)] * 2), task.encode(["".join(PATH)] * 2)
    return task, Split(inputs, labels, np.zeros(2, np.int32), np.zeros(2, np.float32))


def test_a_board_has_two_characters_a_cell():
    task, split = two_mazes()
    lines = board_lines(task, split.inputs[0], split.labels[0], split.labels[0], colour=False)
    assert lines == ["██████████", "██S • • ██", "██  ██• ██", "██  ██G ██", "██████████"]


def test_what_is_filled_in_is_blue_and_what_is_wrong_red():
    task, split = two_mazes()
    answer = split.labels[0].copy()
    answer[11] = task.symbols.index("o")  # below S: an open cell off the path
    lines = board_lines(task, split.inputs[0], answer, split.labels[0], colour=True)
    assert lines[1].count(BLUE_TEXT) == 2 and RED_TEXT not in lines[1]
    assert lines[2].count(RED_TEXT) == 1 and lines[2].count(BLUE_TEXT) == 1


def test_as_many_boards_as_the_terminal_has_room_for(monkeypatch):
    task, split = two_mazes()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    for columns, boards in ((9, 0), (10, 1), (22, 1), (23, 2), (80, 2)):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = boards_side_by_side(task, split, split.inputs).splitlines()
        assert [len(line) for line in lines] == [13 * boards - 3] * 5 * (boards > 0)

"""Boards in the terminal: what stands where, and in which colours."""

from data import load_task
from puzzles.boards import BLUE_TEXT, GREY_GROUND, RED_TEXT, board_lines, draw_boards
from puzzles.split import Split

MAZE = "######S  ## # ## #G######"
PATH = "######Soo## #o## #G######"


def maze():
    task = load_task("maze", size=5)
    return task, *task.encode([MAZE, PATH])


def test_a_board_has_two_characters_a_cell():
    task, inputs, label = maze()
    lines = board_lines(task, inputs, label, label, colour=False)
    assert lines == ["██████████", "██S • • ██", "██  ██• ██", "██  ██G ██", "██████████"]


def test_a_question_without_an_answer_is_drawn_as_it_is():
    task = load_task("sudoku", size=4)
    inputs = task.encode(["12..341221434321"])
    [ax] = draw_boards(task, Split(inputs, 0 * inputs, None), [""]).axes
    assert "".join(text.get_text() for text in ax.texts) == "12341221434321"


def test_what_is_filled_in_is_blue_what_is_wrong_red_and_what_is_new_on_grey():
    task, inputs, label = maze()
    answer = label.copy()
    answer[11] = task.symbols.index("o")  # below S: an open cell off the path
    lines = board_lines(task, inputs, answer, label, colour=True, before=label)
    first, second, third, *rest = lines
    assert second.count(BLUE_TEXT) == 2 and RED_TEXT not in second and GREY_GROUND not in second
    assert third.count(BLUE_TEXT) == third.count(RED_TEXT) == third.count(GREY_GROUND) == 1

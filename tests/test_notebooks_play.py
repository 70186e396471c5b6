"""Every notebook has a picture with sliders. Here code moves each of them, and the picture changes."""

import ast
import contextlib

import matplotlib.pyplot as plt
import numpy as np
import pytest

from notebooks import make
from tests.test_exercises import ROOT, cells_of, needed

NUMBERS = [path.name[:2] for path in make.solutions()]

# Notebook 03 draws what two models thought. This stands for it: the first of two puzzles needs two segments.
RIGHT = np.array([[False, True], *[[True, True]] * 7])  # (segments, puzzles)
SURE = np.array([[0.6, 0.9], *[[0.99, 0.99]] * 7])
GIVEN = {"03": {"records": {"a": (RIGHT, SURE), "b": (RIGHT, SURE)}}}


@pytest.fixture
def opened(monkeypatch):
    """Function: the box of a notebook's sliders, and all names of the notebook, after the cells it needs."""
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))

    def open_notebook(number):
        cells, names = cells_of(number), {"__name__": "play", **GIVEN.get(number, {})}
        [at] = [i for i, cell in enumerate(cells) if "play" in make.tags(cell)]
        *statements, box = ast.parse(cells[at].source).body  # Jupyter shows the last line's value
        with contextlib.chdir(ROOT):
            for i in needed(number, [at], GIVEN.get(number, {})):
                exec(cells[i].source, names)
            plt.close("all")
            exec(compile(ast.Module(statements, []), "cell", "exec"), names)
            return eval(compile(ast.Expression(box.value), "cell", "eval"), names), names

    return open_notebook


def moves(control):
    """What there is to set (a menu's index, a slider's value), and to which values it has not now."""
    if hasattr(control, "options"):
        return "index", [i for i in range(len(control.options)) if i != control.index]
    return "value", [value for value in (control.min, control.max) if value != control.value]


@pytest.mark.parametrize("number", NUMBERS)
def test_every_control_changes_the_picture(number, opened):
    box, _ = opened(number)
    *controls, picture = box.children
    at_first = bytes(picture.value)
    assert controls and at_first[:4] == b"\x89PNG"
    for control in controls:
        assert control.description
        trait, values = moves(control)
        start, before = getattr(control, trait), at_first
        for value in values:
            setattr(control, trait, value)
            assert bytes(picture.value) != before, (control.description, value)
            before = bytes(picture.value)
        setattr(control, trait, start)
        assert bytes(picture.value) == at_first
    assert not plt.get_fignums(), "a figure is left open: Jupyter would show it once more"


@pytest.mark.parametrize("path", make.solutions(), ids=lambda path: path.stem)
def test_a_static_picture_stands_before_the_sliders(path):
    code = [cell for cell in make.read(path).cells if cell.cell_type == "code"]
    [at] = [i for i, cell in enumerate(code) if "play" in make.tags(cell)]
    assert any("image/png" in output.get("data", {}) for output in code[at - 1].outputs)
    assert not code[at].outputs and len(code[at].source.splitlines()) <= 15


def test_the_confidence_of_notebook_03(opened):
    _, names = opened("03")
    titles = [names["show_confidence"](confidence).axes[0].get_title() for confidence in (0.95, 0.5)]
    assert "at 0.950: 1.00 solved, 2.0 segments" in titles[0]  # both wait for the second segment
    assert "at 0.500: 0.50 solved, 1.0 segments" in titles[1]
    plt.close("all")


def test_the_toy_of_notebook_02(opened):
    _, names = opened("02")
    assert names["fixed_point"](1.0) == pytest.approx(0.7390851)
    for damping, arrives in ((1.0, False), (0.5, True)):  # at θ = 1.5 only damped steps arrive
        for ax in names["show_toy"](1.5, damping, 31).axes:
            last, exact = ax.lines[0].get_ydata()[-1], ax.lines[-1].get_ydata()[0]
            assert (abs(last - exact) < 1e-6) == arrives
    plt.close("all")

"""Every notebook has pictures with sliders. Here code moves each of them, and its picture changes."""

import ast
import contextlib

import matplotlib.pyplot as plt
import numpy as np
import pytest

from notebooks import make
from tests.test_exercises import ROOT, cells_of, needed

# Notebook 03 draws what two models thought. This stands for it: the first of two puzzles needs two segments.
RIGHT = np.ones((8, 2), bool)  # (segments, puzzles)
SURE = np.full((8, 2), 0.99)
RIGHT[0, 0] = False
SURE[0] = 0.6, 0.9
GIVEN = {"03": {"records": {"a": (RIGHT, SURE), "b": (RIGHT, SURE)}}}


def open_notebook(number):
    """The boxes of a notebook's sliders, after the cells that they need; and the code cell before each."""
    cells = cells_of(number)
    given = GIVEN.get(number, {})
    for at in [i for i, cell in enumerate(cells) if "play" in make.tags(cell)]:
        values = {"__name__": "play", **given}
        *statements, box = ast.parse(cells[at].source).body  # Jupyter shows the last line's value
        with contextlib.chdir(ROOT):
            for i in needed(number, at, at, given):
                exec(cells[i].source, values)
            plt.close("all")
            exec(compile(ast.Module(statements, []), "cell", "exec"), values)
            yield eval(compile(ast.Expression(box.value), "cell", "eval"), values), cells[at - 1]


def moves(control):
    """What there is to set (a menu's index, a slider's value), and to which values."""
    if hasattr(control, "options"):
        return "index", range(len(control.options))
    return "value", (control.min, control.max)


@pytest.mark.parametrize("number", [path.name[:2] for path in make.solutions()])
def test_every_control_changes_the_picture(number, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    for box, before in open_notebook(number):
        assert "image/png" in str(before.outputs), "a picture for paper stands before the sliders"
        *controls, picture = box.children
        at_first = bytes(picture.value)
        assert controls and at_first[:4] == b"\x89PNG"
        for control in controls:
            assert control.description
            trait, values = moves(control)
            start = getattr(control, trait)
            shown = at_first
            for value in {*values} - {start}:
                setattr(control, trait, value)
                assert bytes(picture.value) != shown, (control.description, value)
                shown = bytes(picture.value)
            setattr(control, trait, start)
            assert bytes(picture.value) == at_first
        assert not plt.get_fignums(), "a figure is left open: Jupyter would show it once more"
    assert box, "no picture with sliders"

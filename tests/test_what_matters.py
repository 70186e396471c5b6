"""Grids of runs: every command fits, a run that was interrupted goes on, a failure names its reason."""

import csv
from unittest.mock import Mock

import pytest

import train
from analysis.depth import finish
from hrm import HRMConfig
from notebooks import gradients, views, what_matters, wires
from puzzles.errors import UserError
from training.options import parse, with_preset

TINY = """--task sudoku --size 4 --steps 4 --train-size 8 --val-size 2 --test-size 4 --batch-size 4
    --no-compile --hidden-size 8 --num-heads 1 --H-layers 1 --L-layers 1 --M-max 2"""


@pytest.mark.parametrize("changes", [*what_matters.MODELS.values(), *what_matters.MISSING.values()])
def test_every_run_has_options_that_fit(changes):
    given = parse(f"{what_matters.MATTERS} {changes}".split(), "")
    options, sizes = with_preset(given)
    HRMConfig(seq_len=options.size**2, **sizes)


@pytest.mark.parametrize("grid, n", [(what_matters, 65), (wires, 20)])
def test_a_table_knows_all_its_runs(grid, n, capsys, monkeypatch):
    monkeypatch.setattr(grid, "finish", None)  # none is trained anew
    grid.main([])
    assert f"{n} runs" in capsys.readouterr().out
    for row in csv.DictReader(grid.TABLE.open()):
        assert row["n"] == "500" and 0 <= float(row["exact"]) <= 1


def test_a_grid_from_end_to_end(here, no_pictures, monkeypatch, capsys):
    monkeypatch.setattr(what_matters, "MATTERS", TINY)
    monkeypatch.setattr(what_matters, "SEEDS", [0])
    table = here / "tiny.csv"
    for _ in range(2):
        what_matters.complete(table, ["HRM, M_max 1"], what_matters.table_row)
    assert "0 of them new" in capsys.readouterr().out
    [row] = csv.DictReader(table.open())
    assert row["name"] == "HRM, M_max 1" and row["n"] == "4" and "--M-max 1" in row["command"]
    out = here / "runs/what-matters/HRM-M_max-1-seed-0"
    assert train.load_model(out)[0].config.puzzle_positions == 0
    (out / "eval.json").unlink()  # as if it had been interrupted
    watched = Mock(wraps=what_matters.train_main)
    finish(watched, out, TINY)
    watched.assert_called_once_with(["-q", "--resume", str(out)])


def test_a_run_that_fails_says_why(here, capsys):
    with pytest.raises(UserError, match="wrong failed"):
        finish(train.main, here / "wrong", "--task chess")
    assert "chess" in capsys.readouterr().err


def test_views_of_hard_puzzles(tmp_path, monkeypatch):
    monkeypatch.setattr(views, "VIEWS", 2)
    views.main([], n=2, table=tmp_path / "views.csv")
    assert (tmp_path / "views.csv").read_text().count("\n") == 5
    for row in csv.DictReader(views.TABLE.open()):
        assert 1 <= int(row["segments"]) <= 16 and row["right"] <= row["keeps_rules"]


def test_training_with_k_updates():
    task, splits = gradients.puzzles()
    [(step, _, solved)] = gradients.learn(2, 0, 50, task, splits)
    assert step == 50 and 0 <= solved <= 1

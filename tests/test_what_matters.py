"""Grids of runs: every command fits, a run that was interrupted goes on, a failure names its reason."""

import json
import shlex

import pytest

import train
from analysis.depth import finish
from hrm import HRMConfig
from notebooks import what_matters
from training.files import UserError
from training.options import parse, with_preset

TINY = (
    "--task sudoku --size 4 --steps 4 --train-size 8 --val-size 2 --test-size 4 --batch-size 4 "
    "--save-every 2 --no-compile --hidden-size 8 --num-heads 1 --H-layers 1 --L-layers 1 "
    "--puzzle-emb-ndim 0 --M-max 2 --device cpu"
)


def test_every_run_has_options_that_fit():
    assert len(what_matters.RUNS) == 65
    for options in what_matters.RUNS.values():
        chosen, sizes = with_preset(parse(shlex.split(options), ""))
        HRMConfig(seq_len=chosen.size**2, **sizes)


def test_the_table_knows_all_its_runs(capsys, monkeypatch):
    """notebooks/data/what_matters.csv holds every run of the grid, by its command: none is trained anew."""
    monkeypatch.setattr(what_matters, "finish", None)
    what_matters.main([])
    assert "65 runs" in capsys.readouterr().out


def test_a_grid_from_end_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    begun, main = [], train.main

    def watched(arguments):
        begun.append(arguments)
        return main(arguments)

    def not_measured_again(*arguments):
        return finish(*arguments) if "--eval" not in arguments[-1] else {"exact": 0.5}

    monkeypatch.setattr(train, "main", watched)
    monkeypatch.setattr(what_matters, "finish", not_measured_again)
    runs, table = {("HRM, tiny", 0): TINY}, tmp_path / "tiny.csv"
    what_matters.sweep(runs, table, tmp_path / "runs")
    row = table.read_text().splitlines()[1]
    assert "HRM, tiny" in row and TINY in row and "0.5,0.5,0.5,0.5" in row
    what_matters.sweep(runs, table, tmp_path / "runs")
    assert len(begun) == 1 and "0 of them new" in capsys.readouterr().out
    out = tmp_path / "runs/HRM-tiny-seed-0"
    assert json.loads((out / "config.json").read_text())["parameters"] > 0
    (out / "eval.json").unlink()  # as if it had been interrupted
    finish(watched, out, TINY)
    assert begun[-1] == ["-q", "--resume", str(out)]
    with pytest.raises(UserError, match="wrong failed"):
        finish(main, tmp_path / "wrong", "--task chess")
    assert "chess" in capsys.readouterr().err

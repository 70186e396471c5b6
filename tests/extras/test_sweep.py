"""Grids of runs: every command fits, a run that was interrupted goes on, a failure names its reason."""

import json
import shlex

import pytest

from extras import sweep
from hrm import HRMConfig
from training.files import UserError
from training.options import parse, with_preset

TINY = (
    "--task sudoku --size 4 --steps 4 --train-size 8 --val-size 2 --test-size 4 --batch-size 4 "
    "--save-every 2 --no-compile --hidden-size 8 --num-heads 1 --H-layers 1 --L-layers 1 "
    "--puzzle-emb-ndim 0 --M-max 2 --device cpu"
)


@pytest.mark.parametrize("grid", sweep.GRIDS)
def test_every_run_has_options_that_fit(grid):
    for options in sweep.GRIDS[grid].values():
        chosen, sizes = with_preset(parse(shlex.split(options), ""))
        HRMConfig(seq_len=chosen.size**2, **sizes)
    assert len(sweep.GRIDS["depth-cpu"]) == 4 + 4 - 1 + 4 + 4  # one Transformer stands in both panels
    assert len(sweep.GRIDS["what-matters"]) == 26


def test_the_table_knows_all_its_runs(capsys):
    """notebooks/data/what_matters.csv holds every run of the grid, by its command: nothing would be trained
    anew."""
    sweep.sweep("what-matters", sweep.TABLES["what-matters"])
    assert "26 runs" in capsys.readouterr().out


def test_a_grid_from_end_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sweep.GRIDS, "tiny", {("HRM, tiny", 0): TINY})
    begun = []
    monkeypatch.setattr(
        sweep,
        "launch",
        lambda arguments, log, launch=sweep.launch: (
            begun.append(list(map(str, arguments))),
            launch(arguments, log),
        ),
    )
    monkeypatch.setattr(
        sweep,
        "finish",
        lambda out, options, finish=sweep.finish: (
            finish(out, options) if "--eval" not in options else {"exact": 0.5}
        ),
    )
    sweep.main(["tiny"])
    row = (tmp_path / "runs/tiny.csv").read_text().splitlines()[1]
    assert "HRM, tiny" in row and TINY in row and "0.5,0.5,0.5,0.5" in row
    sweep.main(["tiny"])
    assert len(begun) == 1 and "0 of them new" in capsys.readouterr().out
    out = tmp_path / "runs/tiny/HRM-tiny-seed-0"
    assert json.loads((out / "config.json").read_text())["parameters"] > 0
    (out / "eval.json").unlink()  # as if it had been interrupted
    sweep.finish(out, TINY)
    assert begun[-1] == ["--resume", str(out)]
    with pytest.raises(UserError, match="'chess'.*so ends"):
        sweep.finish(tmp_path / "wrong", "--task chess")

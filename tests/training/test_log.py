"""What a person sees of a run: metrics.csv, the table. Ctrl-C: test_trust.py."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from hrm import METRICS
from tests.runs import metrics
from training.log import COLUMNS, Log, Stop, interval, print_table
from training.pictures import draw_curves


def make_log(folder, step):
    """The Log of a run at this step."""
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.1}])
    run = SimpleNamespace(
        processes=SimpleNamespace(is_first=True, world=1, sum_=lambda tensors: None),
        options=SimpleNamespace(task="maze", batch_size=2, steps=100, quiet=True),
        optimizers=[(optimizer, 0.1)],
        step=step,
        seconds=0.0,
        summed_from=step,
        M_max=4,
    )
    return Log(run, folder, Stop())


def test_a_resumed_run_forgets_the_rows_after_its_checkpoint(tmp_path):
    """What is left is drawn, gaps and all: a step in which nothing halted has no means."""
    more = len(COLUMNS) - 1
    rows = [",".join(COLUMNS), "2" + ",0.5" * more, "4" + "," * more, "6" + "," * more, "8,half a r"]
    path = tmp_path / "metrics.csv"
    path.write_text("\n".join(rows))
    make_log(tmp_path, 4)
    assert path.read_text().splitlines() == rows[:3]
    draw_curves(path, tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").width == 1300
    make_log(tmp_path, 0)
    assert path.read_text().splitlines() == rows[:1]


def test_a_row_counts_the_time_of_training_alone(tmp_path, monkeypatch):
    """Ten steps in 5 s, then 30 s of evaluation."""
    clock = [0.0]
    monkeypatch.setattr("training.log.time.time", lambda: clock[0])
    log = make_log(tmp_path, 0)
    clock[0] = 5.0
    with log.doing("evaluating"):
        clock[0] = 35.0
    log.run.step = 10
    sums = torch.tensor([8.0, 4.0, 20.0, 5.0, 10.0, 40.0, 20.0])
    log.run.sums = dict(zip(["loss", "token_loss", "count", *METRICS], sums))
    log.write_row()
    (row,) = metrics(tmp_path)
    figures = [float(row[name]) for name in ("loss", "token_loss", "q_loss", *METRICS)]
    assert figures == pytest.approx([0.4, 0.2, 0.2, 0.25, 0.5, 2, 1])
    assert log.latest["puzzles_per_s"] == 4
    assert log.run.seconds == 35


def test_interval_solves_wilsons_equation(capsys):
    """At its ends, the share that was seen lies 1.96 standard deviations off."""
    p = np.array([0.0, 0.3, 1.0])
    for end in interval(p, 50):
        deviation = np.sqrt(end * (1 - end) / 50)
        np.testing.assert_allclose(np.abs(end - p), 1.96 * deviation, atol=1e-7)
    print_table({"n": 1000, "exact": 0.947, "segments": 2.5})
    assert "exact            0.947  (95 % interval 0.9313 to 0.9593)" in capsys.readouterr().out

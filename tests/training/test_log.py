"""What a person sees of a run: Ctrl-C that saves, metrics.csv, the table."""

import signal
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import train
from tests.runs import TINY, assert_same_run, in_processes, how_to_go_on, load, signal_after
from training.files import UserError
from training.log import COLUMNS, Log, interval, print_table


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path, reference, number):
    run = tmp_path / "run"
    status, output = in_processes(tmp_path, how_to_go_on(run), begun=signal_after(run, number, 5))
    assert status == 130 and "Traceback" not in output
    step = load(run / "last.pt")["step"]
    assert f"stopped and saved after step {step} of 24; go on with: python train.py --resume {run}" in output
    assert 0 < step < 24
    status, output = in_processes(tmp_path, ["--resume", str(run)])
    assert status == 0, output
    assert_same_run(run, reference)


def test_ctrl_c_before_the_first_step(here, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "load_splits", interrupted)
    assert train.main([*TINY, "--out", "run"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def run_at(step):
    processes = SimpleNamespace(rank=0)
    return SimpleNamespace(processes=processes, step=step, seconds=1.5, options=SimpleNamespace(task="maze"))


def test_a_resumed_run_forgets_the_rows_after_its_checkpoint(tmp_path):
    header = ",".join(COLUMNS)
    rows = [f"{step}{',' * (len(COLUMNS) - 1)}" for step in (2, 4, 6)]
    (tmp_path / "metrics.csv").write_text("\n".join([header, *rows, "8,half a r"]))
    Log(tmp_path, run_at(4), 10).bar.close()
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [header, *rows[:2]]
    Log(tmp_path, run_at(0), 10).bar.close()
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [header]


def test_metrics_that_cannot_be_written(tmp_path):
    log = SimpleNamespace(mine=True, path=tmp_path, row={"step": 1})
    with pytest.raises(UserError, match="cannot write .*: Is a directory; .* make room"):
        Log.write_row(log)


def test_interval_solves_wilsons_equation(capsys):
    """At its ends, the share that was seen lies 1.96 standard deviations off."""
    p = np.array([0.0, 0.3, 1.0])
    for end in interval(p, 50):
        inside = (0 < end) & (end < 1)
        np.testing.assert_allclose(np.abs(end - p)[inside], 1.96 * np.sqrt(end * (1 - end) / 50)[inside])
    low, high = interval(0.947, 1000)
    assert (round(low, 4), round(high, 4)) == (0.9313, 0.9593)
    print_table(
        {
            "n": 1000,
            "exact": 0.947,
            "valid": 0.95,
            "cell": 0.99,
            "segments": 2.5,
            "q_halt_accuracy": 0.9,
            "puzzles_per_s": 100.0,
        }
    )
    assert "exact            0.9470  (95 % interval 0.9313 to 0.9593)" in capsys.readouterr().out


def test_the_time_left_counts_training_steps_alone(tmp_path, monkeypatch):
    """10 steps in 5 s, then compiling for 30 s and 5 steps in 2.5 s: half a second each, 42 s for 85 more."""
    clock = [0.0]
    monkeypatch.setattr("training.log.time.time", lambda: clock[0])
    run = run_at(0)
    run.processes = SimpleNamespace(rank=0, device="cpu", sum_=lambda tensors: None)
    run.options, run.seconds = SimpleNamespace(task="maze", batch_size=2, lr=1.0), 0.0
    log = Log(tmp_path, run, 100, quiet=True)

    def train(steps, seconds):
        clock[0], run.step = clock[0] + seconds, run.step + steps
        log.sums = torch.tensor([8.0, 4, 2, 4, 4, 4, 8])
        log.read(threading.Event(), 1.0, 1)

    train(10, 5.0)
    assert log.row["loss"] == 8 / 20 and log.row["token_loss"] == 2 / 20 and log.row["q_loss"] == 6 / 20
    with log.doing("compiling"):
        clock[0] += 30
    train(5, 2.5)
    assert log.pace == 0.5 and run.seconds == 37.5
    shown = []
    log.bar.set_postfix_str = shown.append
    log.show()
    assert shown == ["0:42 left, loss 0.200, solved 1.000"]

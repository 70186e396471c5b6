"""Checkpoints: a run that is killed and resumed is the run that was not, bit by bit; and those that we ship.
What is no checkpoint: test_errors.py, test_trust.py."""

import random
import signal
from pathlib import Path

import pytest

from tests.runs import assert_same_run, how_to_go_on, in_processes, signal_after
from training.checkpoints import kept_test, load_model, split_options, unseen
from training.options import Options

SHIPPED = sorted(Path(__file__).resolve().parents[2].glob("checkpoints/*.pt"))


# --------------------------------------------------------------------------------------- killed and resumed
def test_killed_at_random_moments_and_resumed(tmp_path, reference):
    rng = random.Random(0)
    run = tmp_path / "run"
    statuses = [-9]
    while statuses[-1]:
        kill = signal_after(run, signal.SIGKILL, rng.randint(2, 3), rng.uniform(0, 0.03))
        status, output = in_processes(tmp_path, how_to_go_on(run), begun=kill)
        assert status in (0, -9), output
        statuses.append(status)
    assert len(statuses) > 3
    assert_same_run(run, reference)


# A run writes config.json, metrics.csv, best.pt and last.pt (step 4), last.pt (8), …
@pytest.mark.parametrize("place, n", [("save", 2), ("save", 4), ("after rename", 4)])
def test_killed_while_writing_and_resumed(tmp_path, reference, place, n):
    run = tmp_path / "run"
    status, output = in_processes(tmp_path, how_to_go_on(run), place=place, n=n)
    assert status == -9, output
    # and again as soon as the resumed run has written config.json
    status, output = in_processes(tmp_path, how_to_go_on(run), place="before rename", n=2)
    assert status == -9, output
    status, output = in_processes(tmp_path, how_to_go_on(run))
    assert status == 0, output
    assert_same_run(run, reference)


# ------------------------------------------------------------------------------------------- those we ship
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_checkpoints_load_in_silence(path, capsys):
    model, task, options = load_model(path)
    assert path.stem.startswith(f"{task.name}-{task.size}x{task.size}")
    if task.name != "arc1" and not options["data"]:  # the others come without their test puzzles
        assert len(unseen(path, task, kept_test(path, task, split_options(Options(**options))))) == 1000
    assert not any(capsys.readouterr())

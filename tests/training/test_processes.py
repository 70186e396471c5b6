"""One process or many: the same run; and which device is chosen."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import train
from tests.rounding import nudge_
from tests.runs import TINY, assert_same_run, in_processes, load, metrics, signal_after
from training.processes import choose_device

OPTIONS = [*TINY, "--dtype", "float64", "--accumulate", "1", "--steps", "12"]


def in_updates(folder, other):
    """How far the weights of two runs differ, in units of an update (the learning rate), sorted."""
    found = []
    for kind in ("model", "averaged"):
        theirs = load(f"{other}/last.pt")[kind]
        for name, weights in load(f"{folder}/last.pt")[kind].items():
            off = (weights - theirs[name]).abs() / 3e-3
            found.append(off.flatten())
    return torch.cat(found).sort().values


def test_the_number_of_processes_does_not_matter(here, monkeypatch, capsys, no_pictures):
    """One process, eight micro-batches, eight processes, which begin with the weights of the first, and a run
    that changes from one process to two. When one of eight is killed all end, and the run goes on exactly.

    Activations are float64, so that only the sum of the float32 gradients rounds differently. An update is
    lr·atan2(m, √v), whose slope has no bound: where the parts of a gradient cancel but for rounding, not even
    its sign is certain. So no weight may be off by a whole update, and all but one in a thousand no more than
    ten times as far as when every weight begins one rounding off."""
    def run(name, *more):
        return train.main([*OPTIONS, *more, "--out", name])

    begin = train.begin

    def begin_nudged(*arguments):
        run, splits = begin(*arguments)
        nudge_(run.model, torch.float32, seed=0)
        return run, splits

    run("one")
    run("micro", "--accumulate", "8")
    eight = [*OPTIONS, "--out", "eight"]
    status, output = in_processes(here, eight, processes=8, unlike=True)
    assert status == 0, output
    with monkeypatch.context() as patched:
        patched.setattr(train, "begin", begin_nudged)
        run("nudged")
    with monkeypatch.context() as patched:
        patched.setattr(train, "stopped", lambda run, stop: run.step == 5)
        assert run("changed") == 130
    assert "after step 5 of 12; go on with: python train.py --resume changed\n" in capsys.readouterr().out
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = Path(train.__file__).resolve()
    subprocess.run([*torchrun, script, "--resume", "changed"], check=True)

    rounding = in_updates("one", "nudged")
    most = int(0.999 * len(rounding))
    assert rounding[most] < 0.01
    slots = load("one/last.pt")["slots"]
    for name in ("micro", "changed", "eight"):
        off = in_updates("one", name)
        assert off[-1] < 1
        assert off[most] < 10 * rounding[most]
        for part in ("inputs", "labels", "puzzle_ids", "segments", "halted"):  # the same puzzles everywhere
            assert torch.equal(slots[part], load(f"{name}/last.pt")["slots"][part])
        for row, same in zip(metrics(Path("one")), metrics(Path(name)), strict=True):
            assert row.pop("val_exact") == same.pop("val_exact")
            assert float(row["loss"]) == pytest.approx(float(same["loss"]), rel=0.01)

    Path("eight").rename("whole")
    kill = signal_after(Path("eight"), signal.SIGKILL, rows=3)
    assert in_processes(here, eight, processes=8, begun=kill)[0] == -9
    assert 0 < load("eight/last.pt")["step"] < 12
    status, output = in_processes(here, ["--resume", "eight"], processes=8)
    assert status == 0, output
    assert_same_run(Path("eight"), Path("whole"))


@pytest.mark.parametrize("there, chosen", [(False, "cpu"), (True, "cuda:0")])
def test_a_gpu_if_there_is_one(monkeypatch, there, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose_device() == torch.device(chosen)

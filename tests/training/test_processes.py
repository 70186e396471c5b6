"""One process or many: the same run; and which device is chosen."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import train
from tests.runs import TINY, in_processes, load, metrics
from training.files import UserError
from training.processes import choose_device


def torchrun(processes, *arguments):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(processes),
    ]
    done = subprocess.run(
        [*command, Path(train.__file__).resolve(), *arguments], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_number_of_processes_does_not_matter(here, monkeypatch, no_pictures):
    """One process, two micro-batches, two processes, and a run that changes from one process to two.

    Activations are float64, so that only the sum of the float32 gradients rounds differently: about 1e-7 of
    their size. An update is lr·atan2(m, √v), whose slope has no bound: where the parts of a gradient cancel
    to 1e-7 of their size, not even its sign is certain, and the weight may move by lr the other way. So the
    bound is on the weights altogether, in units of one update: all but one in a thousand agree to 1e-3 of it,
    and none is off by a whole one. (Measured: all agree to 2e-5.)
    """
    options = [*TINY, "--dtype", "float64", "--steps", "12"]
    assert train.main([*options, "--accumulate", "1", "--out", "one"]) == 0
    assert train.main([*options, "--accumulate", "2", "--out", "micro"]) == 0
    torchrun(2, *options, "--accumulate", "1", "--out", "two")

    write_row = train.Log.write_row

    def write_and_interrupt(log):
        write_row(log)
        if log.run.step == 4:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(train.Log, "write_row", write_and_interrupt)
        assert train.main([*options, "--out", "changed"]) == 130
    assert 4 < load("changed/last.pt")["step"] < 12
    status, output = in_processes(here, ["--resume", "changed", "--accumulate", "1"], processes=2)
    assert status == 0, output

    one = load("one/last.pt")
    for name in ("micro", "two", "changed"):
        other = load(f"{name}/last.pt")
        for kind in ("model", "averaged"):
            for key, weights in one[kind].items():
                updates = (weights - other[kind][key]).abs() / 3e-3
                assert updates.max() < 1 and (updates > 1e-3).double().mean() < 1e-3, (name, kind, key)
        inputs, labels, puzzle_ids, z_H, z_L, segments, halted = range(7)
        for part in (inputs, labels, puzzle_ids, segments, halted):  # the same puzzles in the same slots
            assert torch.equal(one["slots"][part], other["slots"][part])
        for part in (z_H, z_L):
            assert torch.allclose(one["slots"][part], other["slots"][part], atol=1e-3)
        for row, same in zip(metrics(Path("one")), metrics(Path(name)), strict=True):
            assert row.keys() == same.keys()
            for key in row:
                if row[key] != same[key]:
                    assert float(row[key]) == pytest.approx(float(same[key]), rel=1e-5, abs=1e-5), (name, key)


@pytest.mark.parametrize(
    "cuda, mps, chosen", [(False, False, "cpu"), (False, True, "cpu"), (True, False, "cuda")]
)
def test_auto_is_cuda_or_the_cpu(monkeypatch, cuda, mps, chosen):
    """Apple's GPUs are untested: only when asked for."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto") == torch.device(chosen)
    for name, there in (("cuda", cuda), ("mps", mps)):
        if there:
            assert choose_device(name) == torch.device(name)
        else:
            with pytest.raises(UserError, match=f"no {name} device here"):
                choose_device(name)

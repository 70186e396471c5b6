"""What must not go wrong unseen: a run that is stopped, or has no compiler; checkpoints and data that are not
what they seem; mistakes that must show where they happened (docs/rely.md)."""

import io
import itertools
import shutil
import signal
import subprocess
import sys
import weakref
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import train
from hrm import HRM
from puzzles.errors import exit_status
from tests.runs import TINY, assert_same_run, error_of, how_to_go_on, in_processes, load
from training.run import lock

ROOT = Path(__file__).resolve().parents[1]
RUN = Path("run")


def changed(source, target, change):
    """A copy of a run's folder, the content of its last.pt changed by a function."""
    shutil.copytree(source, target)
    content = load(target / "last.pt")
    change(content)
    torch.save(content, target / "last.pt")
    return target


def before_call(patched, name, n, action):
    """train.NAME, called for the n-th time, does something else first."""
    calls = itertools.count(1)
    original = getattr(train, name)

    def work(*arguments, **options):
        if next(calls) == n:
            action(*arguments)
        return original(*arguments, **options)

    patched.setattr(train, name, work)


# ------------------------------------------------------------------------------------------- a run is stopped
def ctrl_c(*arguments):
    signal.raise_signal(signal.SIGINT)


def terminate(*arguments):
    signal.raise_signal(signal.SIGTERM)


def twice(*arguments):
    ctrl_c()
    terminate()


@pytest.mark.parametrize(
    "name, n, action, saved",
    [
        ("train_step", 2, terminate, 2),  # no row of metrics.csv yet
        ("train_step", 8, ctrl_c, 8),  # whose evaluation is due: it may take long
        ("train_step", 7, twice, 4),
        ("evaluate", 3, terminate, 12),
        ("compile_model", 1, ctrl_c, 10),
        ("load_splits", 1, ctrl_c, 0),  # making puzzles
        ("report", 1, ctrl_c, 24),  # the last evaluation, on the test puzzles
    ],
)
def test_a_stopped_run_goes_on_exactly(here, reference, monkeypatch, capsys, name, n, action, saved,
                                         no_pictures):
    with monkeypatch.context() as patched:
        patched.setattr(train, "wants_compiling", lambda run: name == "compile_model")
        before_call(patched, name, n, action)
        assert train.main(how_to_go_on(RUN)) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert not saved or load("run/last.pt")["step"] == saved
    assert train.main(how_to_go_on(RUN)) == 0
    assert_same_run(RUN, reference)


def test_a_resumed_run_lets_go_of_its_checkpoint(here, reference, monkeypatch, no_pictures):
    seen = []
    to_resume = train.to_resume

    def resume(given):
        found = to_resume(given)
        seen.append(weakref.ref(found[1]["model"]["head.weight"]))
        return found

    monkeypatch.setattr(train, "to_resume", resume)
    before_call(monkeypatch, "train", 1, lambda *_: seen.append(seen[0]()))
    shutil.copytree(reference, RUN)
    assert train.main(how_to_go_on(RUN)) == 0
    assert seen[1] is None


def test_a_run_in_a_thread(here, reference, no_pictures):
    with ThreadPoolExecutor(1) as thread:  # where no signal is heard
        assert thread.submit(train.main, how_to_go_on(RUN)).result() == 0
    assert_same_run(RUN, reference)


@pytest.mark.parametrize("stopped", [False, True])
def test_weights_that_are_not_finite_are_not_saved(here, reference, monkeypatch, capsys, stopped,
                                                       no_pictures):
    def ruin(run, micro_batches):
        run.model.head.weight.data[0, 0] = torch.nan

    with monkeypatch.context() as patched:
        before_call(patched, "train_step", 6, ruin)
        if stopped:
            before_call(patched, "train_step", 7, ctrl_c)
        assert "not all weights are finite" in error_of(capsys, *TINY, "-q", "--out", "run")
    assert load("run/last.pt")["step"] == 4
    assert train.main(how_to_go_on(RUN)) == 0
    assert_same_run(RUN, reference)


NO_HEADERS = """#!/bin/sh
case "$*" in *--version*) exec echo g++ 12.2.0;; esac
echo "a.cpp:1:10: fatal error: Python.h: No such file or directory" >&2
exit 1
"""


def test_a_compiler_that_does_not_work(tmp_path, reference):
    compiler = tmp_path / "cxx"
    compiler.write_text(NO_HEADERS)
    compiler.chmod(0o755)
    run = tmp_path / "run"
    status, output = in_processes(tmp_path, [*TINY, "--compile", "--out", "run"], cxx=str(compiler))
    assert status == 0 and "Traceback" not in output, output
    assert output.count("torch.compile does not work here, the run goes on without it") == 1
    assert_same_run(run, reference)


def test_a_compiler_that_computes_nan(here, reference, monkeypatch, capsys, no_pictures):
    """Such as PyTorch's cache once gave, whose kernels were another CPU's."""
    def ruin(block):
        block._compiled_call_impl = lambda x, *_: x * torch.nan

    monkeypatch.setattr(torch.nn.Module, "compile", ruin)
    assert train.main([*TINY, "--compile", "-q", "--out", "run"]) == 0
    assert "goes on without it: it computes nan" in capsys.readouterr().out
    assert torch.compiler.config.cache_key_tag == torch.backends.cpu.get_cpu_capability()
    assert_same_run(RUN, reference)


def test_one_run_at_a_time_in_a_folder(here, capsys):
    with lock(RUN, 0):
        assert "another program trains in run" in error_of(capsys, *TINY, "-q", "--out", RUN)
    assert [path.name for path in RUN.iterdir()] == [".lock0"]


# ------------------------------------------------------------------------------- data that is not what it was
MINI = """--task maze --data mazes --train-size 6 --hidden-size 8 --num-heads 1 --H-layers 1 --L-layers 1
    --M-max 1 --batch-size 4 --steps 2 --out run""".split()


def test_resume_sees_changed_answers_and_finds_data_that_moved(here, capsys, no_pictures):
    """An open 3x3 room: the maze has several shortest paths, so that one label can be changed for another."""
    question = "######S  ##   ##  G######"
    answer = "######Soo##  o##  G######"
    another = "######S  ##o  ##ooG######"
    Path("mazes").mkdir()
    for name in ("train", "test"):
        rows = ["question,answer", *[f"{question},{answer}"] * 6, ""]
        Path(f"mazes/{name}.csv").write_text("\n".join(rows))
    assert train.main(MINI) == 0
    assert "no puzzle is left for validation" in capsys.readouterr().out
    Path("mazes").rename("moved")
    assert "no file or folder mazes" in error_of(capsys, "--resume", "run")
    moved = ["--resume", "run", "--data", "moved"]
    assert train.main(moved) == 0
    file = Path("moved/train.csv")
    file.write_text(file.read_text().replace(answer, another, 1))
    assert "the training puzzles are not those" in error_of(capsys, *moved)


# -------------------------------------------------------------------- checkpoints that are not what they seem
def test_a_damaged_byte_is_seen(here, reference, capsys):
    """In the weights: PyTorch alone would load it."""
    content = bytearray((reference / "best.pt").read_bytes())
    largest = max(zipfile.ZipFile(reference / "best.pt").infolist(), key=lambda entry: entry.file_size)
    content[largest.header_offset + 200 + largest.file_size // 2] ^= 1
    Path("damaged.pt").write_bytes(content)
    assert load("damaged.pt").keys()
    assert "damaged.pt cannot be read" in error_of(capsys, "--eval", "damaged.pt")


def test_weights_that_are_not_finite_are_refused(here, reference, capsys):
    run = changed(reference, RUN, lambda content: content["averaged"]["head.weight"].fill_(torch.nan))
    assert "not finite" in error_of(capsys, "--eval", run)


def test_a_checkpoint_chooses_no_code(here, reference, capsys):
    """A file of the user's is run for a checkpoint only if --task names it."""
    run = changed(reference, RUN, lambda content: content.update(task={"name": "trap", "size": 4}))
    Path("trap.py").write_text("open('executed', 'w')\n")
    for command in ("--eval", "--resume"):
        assert "add --task trap" in error_of(capsys, command, run)
        assert not Path("executed").exists()
    error_of(capsys, "--eval", run, "--task", "trap")  # it is run, and defines no such task
    assert Path("executed").exists()


# -------------------------------------------------------------------------- what is one line, and what is not
@pytest.mark.parametrize("method", ["__init__", "think"])
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        IndexError("index 7 is out of bounds for dimension 0 with size 6"),
        ValueError("cannot allocate"),
        AttributeError("'HRM' object has no attribute 'hed'"),
        OSError("no such file"),
    ],
)
def test_a_mistake_in_the_code_keeps_its_traceback(here, reference, monkeypatch, method, error):
    def mistaken(*arguments):
        raise error

    monkeypatch.setattr(HRM, method, mistaken)
    for command in (TINY, ["--eval", str(reference)]):
        with pytest.raises(type(error), match=str(error)):
            train.main(command)


@pytest.mark.parametrize("zeros", [np.zeros, torch.zeros])
def test_more_than_the_memory(here, monkeypatch, capsys, zeros):
    before_call(monkeypatch, "load_splits", 1, lambda *_: zeros(10**16))
    assert "split a step with --accumulate" in error_of(capsys, *TINY, "-q")


def test_processes_that_torchrun_started_print_an_error_once(monkeypatch, capsys):
    for rank in "01":
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert train.main(["--steps", "many"]) == 2
    assert capsys.readouterr().err.count("error:") == 1


def test_letters_that_the_terminal_lacks(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert exit_status(print, "σ") == 0
    terminal.flush()
    assert terminal.buffer.getvalue() == b"?\n"


PROGRAM = """
import sys, tqdm
from puzzles.errors import Shown
sys.stdout, sys.stderr = Shown(sys.stdout), Shown(sys.stderr)
for each in range(3):
    print("a σ \\udcff b", flush=True)
    print("σ", file=sys.stderr)
[*tqdm.tqdm(range(3))]
open("done", "w")
"""


@pytest.mark.parametrize("where", [">&-", "2>&-", ">/dev/full", "2>/dev/full", "| true"])
def test_a_stream_that_is_closed_or_full_ends_nothing(here, monkeypatch, where):
    Path("program.py").write_text(PROGRAM, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    command = f"set -o pipefail; {sys.executable} program.py {where}"
    done = subprocess.run(["bash", "-c", command], capture_output=True)
    output = done.stdout + done.stderr
    assert done.returncode == 0 and b"Traceback" not in output and b"Exception" not in output, output
    assert Path("done").exists()

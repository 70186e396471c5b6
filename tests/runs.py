"""Whole runs of a tiny model, also in processes of their own, which can be killed; and how two runs are
compared."""

import csv
import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import torch
from torch.distributed.elastic.utils.distributed import get_free_port

import train
from training.options import RUNTIME

ROOT = Path(__file__).resolve().parents[1]
# Everything that could be forgotten in a checkpoint is switched on: puzzle embedding, EMA, exploration,
# symmetries, a growing M_max, micro-batches, both optimisers, a learning rate that changes at every step.
TINY = """--task sudoku --size 4 --hidden-size 16 --num-heads 2 --H-layers 1 --L-layers 1 --M-max 4
    --grow-M-max 0.25 --exploration 0.5 --halting q --ema 0.9 --optimizer muon --lr 3e-3 --warmup 5
    --train-size 24 --val-size 6 --test-size 6 --batch-size 8 --accumulate 2 --steps 24
    --eval-every 4""".split()
SPEED = "seconds", "puzzles_per_s"  # what depends on the machine
MAY_DIFFER = {"/seconds", *(f"/options/{name}" for name in RUNTIME)}  # in the checkpoints of two equal runs


def load(path):
    return torch.load(path, weights_only=True)


def read_json(*path):
    return json.loads(Path(*path).read_text())


def metrics(folder):
    """Rows of metrics.csv as texts, without the columns that depend on the machine's speed."""
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    for row in rows:
        for name in SPEED:
            del row[name]
    return rows


def count_rows(run):
    path = run / "metrics.csv"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def differences(a, b, path=""):
    """Where two nested values differ, tensors bit by bit."""
    if isinstance(a, torch.Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a, b) else [path]
    if isinstance(a, (list, tuple)):
        a = dict(enumerate(a))
        b = dict(enumerate(b))
    if not isinstance(a, dict):
        return [] if a == b else [path]
    assert a.keys() == b.keys(), path
    found = []
    for key in a:
        found += differences(a[key], b[key], f"{path}/{key}")
    return found


def assert_same_run(folder, other):
    for name in ("last.pt", "best.pt"):
        found = differences(load(folder / name), load(other / name))
        assert not set(found) - MAY_DIFFER
    assert metrics(folder) == metrics(other)


def how_to_go_on(run):
    return ["--resume", str(run)] if (run / "last.pt").exists() else [*TINY, "--out", str(run)]


def refusal(status, text):
    """The one line with which a command was refused."""
    lines = [line for line in text.splitlines() if line.strip() and "%|" not in line]  # without progress bars
    assert status == 2 and "Traceback" not in text, text
    assert len(lines) == 1 and lines[0].startswith("error: "), text
    return lines[0]


def error_of(capsys, *arguments):
    """The one line with which train.py refuses these."""
    capsys.readouterr()
    status = train.main([str(argument) for argument in arguments])
    return refusal(status, capsys.readouterr().err)


# ----------------------------------------------------------------------------------- processes of their own
def in_processes(folder, arguments, processes=1, begun=None, **sabotage):
    """train.main(arguments) in processes of their own, working in `folder` -> exit status (negative: killed
    by that signal), output. `begun`: called with the last process when all have been started.

    They are forked from a server that has imported everything and computed nothing: real processes, quickly.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["train", "torch._dynamo", "extras.vote"])
    port = get_free_port()
    out = folder / "out.txt"
    out.write_text("")
    started = []
    for rank in range(processes):
        ranks = {"RANK": rank, "WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = ranks if processes > 1 else {}
        started.append(context.Process(target=one_process, args=(folder, arguments, environment, sabotage)))
        started[-1].start()
    if begun:
        begun(started[-1])
    for process in started:
        process.join(300)  # on a busy machine, the server alone takes a minute
    statuses = [process.exitcode for process in started]
    if None in statuses:
        for process in started:
            process.kill()
        raise TimeoutError(out.read_text())
    return max(statuses, key=abs), out.read_text()


def one_process(folder, arguments, environment, sabotage):
    os.chdir(folder)
    os.environ.update({name: str(value) for name, value in environment.items()})
    with open(folder / "out.txt", "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    train.draw_curves = train.draw_boards = train.save_figure = lambda *_, **options: None  # half of the time
    if "file_size" in sabotage:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (sabotage["file_size"],) * 2)
    elif "cxx" in sabotage:
        from torch._inductor import config

        config.cpp.cxx = (sabotage["cxx"],)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "cache")  # which is empty
    elif "unlike" in sabotage:  # each process would begin with weights of its own
        manual_seed = torch.manual_seed
        torch.manual_seed = lambda seed: manual_seed(seed + environment["RANK"])
    elif sabotage:
        die_in(**sabotage)
    sys.exit(train.main(arguments))


def signal_after(run, number, rows, seconds=0.0):
    """For `in_processes`: sends the signal after so many new rows of metrics.csv and then so many seconds."""
    before = count_rows(run)

    def send(process):
        while process.is_alive() and count_rows(run) < before + rows:
            time.sleep(0.002)
        time.sleep(seconds)
        if process.is_alive():
            os.kill(process.pid, number)

    return send


def die_in(place, n):
    """This process kills itself in its n-th save, in the middle of the file, or around its n-th rename."""
    calls = iter(range(1, 1000))
    save = torch.save
    replace = os.replace

    def kill():
        signal.raise_signal(signal.SIGKILL)

    def half_save(content, path):
        save(content, path)
        if next(calls) == n:
            os.truncate(path, Path(path).stat().st_size // 2)
            kill()

    def last_replace(source, target):
        count = next(calls)
        if count == n and place == "before rename":
            kill()
        replace(source, target)
        if count == n and place == "after rename":
            kill()

    if place == "save":
        torch.save = half_save
    else:
        os.replace = last_replace

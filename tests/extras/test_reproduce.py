"""The reproduction with a tiny model, stopped and begun again; and what it asks for where there are GPUs."""

import importlib
import signal
import subprocess
from pathlib import Path

import pytest
import torch

from extras import reproduce
from tests.runs import read_json
from training.options import parse

TINY = """sudoku --size 4 --train-size 24 --val-size 6 --test-size 8 --hidden-size 16 --num-heads 2
    --H-layers 1 --L-layers 1 --M-max 2 --batch-size 8 --steps 20 --eval-every 20 --warmup 5""".split()


@pytest.fixture
def commands(here, monkeypatch):
    """All commands so far; each runs here, in place of a process of its own."""
    commands = []

    def call(command):
        script, *words = [str(word) for word in command[1:]]
        commands.append(" ".join([Path(script).name, *words]))
        return importlib.import_module(Path(script).stem).main(words)

    monkeypatch.setattr(subprocess, "call", call)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setitem(reproduce.TASKS, "sudoku", ("0.550", "", "best.pt"))
    return commands


def test_stopped_and_begun_again(commands, monkeypatch):
    """What is done is not done again, and training goes on where it was."""
    call = subprocess.call
    monkeypatch.setattr(subprocess, "call", lambda command: call(command) or 130 * (len(commands) == 2))
    with pytest.raises(SystemExit) as stopped:
        reproduce.main(TINY)
    assert stopped.value.code == 130
    Path("runs/reproduce/sudoku/eval.json").unlink()  # as if training, too, had not come to its end
    reproduce.main(TINY)
    assert [command.split()[0] for command in commands] == ["train.py"] * 3 + ["analyze.py"] * 3
    assert commands[2] == "train.py --resume runs/reproduce/sudoku"
    assert "--preset paper --task sudoku --size 4" in commands[0]
    head, _, trained, votes, *analyses = Path("runs/reproduce/sudoku/table.md").read_text().splitlines()
    assert head == "| command | paper | here |" and len(analyses) == 3
    found = read_json("runs/reproduce/sudoku/eval.json")["exact"]
    assert trained.endswith(f"` | 0.550 | {found} |")

    reproduce.main(TINY)
    assert len(commands) == 6


def test_what_arc_finds(commands):
    """Two attempts count; and nothing is run whose result is there."""
    folder = Path("a folder/arc1")
    for name in ("eval", "votes/eval", "participation-ratio-x", "convergence-x", "halting-x"):
        path = folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"exact": 0.1, "pass@2": 0.4}')
    reproduce.main(["--out", "a folder", "arc1"])
    table = (folder / "table.md").read_text()
    assert commands == [] and "| 0.403 | 0.4 |" in table and "--eval 'a folder/arc1'/last.pt" in table


def test_gpus_share_the_training(monkeypatch):
    commands = []
    monkeypatch.setattr(subprocess, "call", commands.append)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    reproduce.run("train.py", "--task", "maze")
    reproduce.run("analyze.py", "halting")
    assert ["torch.distributed.run" in command for command in commands] == [True, False]


@pytest.mark.parametrize("task", reproduce.TASKS)
def test_every_task_has_options_that_train_knows(task):
    paper, options, best = reproduce.TASKS[task]
    parse(options.split(), "")

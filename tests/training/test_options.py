"""Options and presets: what the paper says, what small is, and which values are taken."""

from types import SimpleNamespace

import pytest
import torch

from data import load_task
from hrm import HRM, HRMConfig
from training.files import UserError
from training.options import (
    OPTIONS,
    SIZES,
    Options,
    compiles,
    optimiser_steps,
    parse,
    parse_options,
    task_keywords,
    with_preset,
)

ALONE = SimpleNamespace(rank=0, world=1, device=torch.device("cpu"))


@pytest.mark.parametrize("task", ["maze", "sudoku"])
def test_the_paper_preset_is_the_papers(task):
    options, sizes = with_preset({"preset": "paper", "task": task})
    assert optimiser_steps(options, 1000, ALONE) == 26_041
    expected = dict(
        lr=1e-4,
        lr_end=1.0,
        weight_decay=1.0,
        puzzle_lr=1e-4,
        puzzle_weight_decay=1.0,
        batch_size=768,
        epochs=20_000,
        steps=None,
        warmup=2000,
        train_size=1000,
        ema=0,
        grow_M_max=0,
        halt=False,
    )
    assert {name: getattr(options, name) for name in expected} == expected
    config = HRMConfig(**sizes)
    assert (config.H_cycles, config.L_cycles, config.M_max, config.exploration) == (2, 2, 16, 0.1)
    assert (config.hidden_size, config.num_heads, config.H_layers, config.L_layers) == (512, 8, 4, 4)
    assert (config.halting, config.token_loss, config.positions) == ("q", "stablemax", "rope")
    assert (config.expansion, config.rope_base, config.norm_eps, config.dtype) == (
        4,
        10_000,
        1e-5,
        "bfloat16",
    )
    if task == "maze":
        assert options.size == 30 and not options.augment
        maze = load_task("maze", **task_keywords(options))
        assert (maze.kind, maze.min_path, maze.vocab_size, maze.seq_len) == ("random", 110, 6, 900)
    else:
        assert options.size == 9 and options.augment
        with torch.device("meta"):
            model = HRM(config)
        assert sum(p.numel() for p in model.parameters()) == 27_275_266


@pytest.mark.parametrize("task", ["maze", "sudoku", "arc1", "a_students_own"])
def test_small_is_the_default_on_every_machine(task, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    default, sizes = with_preset({"task": task})
    assert sizes["hidden_size"] == 64 and default.batch_size <= 64
    for name in ("auto", "small", "cpu"):  # cpu is what earlier versions called it
        options, same_sizes = with_preset({"task": task, "preset": name})
        options.preset = default.preset
        assert (options, same_sizes) == (default, sizes)


def test_what_is_given_comes_last():
    options, sizes = with_preset({"task": "maze", "steps": 7, "hidden_size": 40, "M_max": 3})
    assert (options.steps, sizes["hidden_size"], sizes["M_max"], options.size) == (7, 40, 3, 9)
    _, sizes = with_preset({"model": "transformer"})
    assert (sizes["H_cycles"], sizes["L_cycles"], sizes["M_max"]) == (1, 1, 1)
    options, _ = with_preset({"preset": "paper", "task": "maze", "data": "mazes.csv"})
    assert (options.size, options.task_options) == (None, "")  # the file knows


def test_few_epochs_are_counted_with_all_puzzles():
    assert optimiser_steps(Options(epochs=3, batch_size=32, train_size=100), 100, ALONE) == 9
    with pytest.raises(UserError, match="batch-size 32 is no multiple of 6"):
        optimiser_steps(Options(batch_size=32, accumulate=3), 100, SimpleNamespace(world=2))


def test_command_line():
    given = parse("--task maze --lr 1e-3 --no-augment --eval a.pt b.pt --H-cycles 3".split(), "")
    assert given == {"task": "maze", "lr": 1e-3, "augment": False, "eval": ["a.pt", "b.pt"], "H_cycles": 3}
    assert parse([], "") == {}
    assert parse_options("kind=random min_path=20") == {"kind": "random", "min_path": "20"}
    with pytest.raises(SystemExit) as ended:
        parse(["--help"], "")
    assert ended.value.code == 0


def test_every_option_says_what_it_is(capsys):
    assert all(field.metadata["help"] for field in OPTIONS.values()) and not OPTIONS.keys() & SIZES.keys()


def test_compiles_where_it_pays(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/g++")
    assert (
        compiles(Options(), 1000, cpu) and not compiles(Options(), 999, cpu) and compiles(Options(), 1, cuda)
    )
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert not compiles(Options(), 1000, cpu) and compiles(Options(), 1, cuda)
    assert not compiles(Options(compile=False), 1, cpu)
    with pytest.raises(UserError, match="--compile needs g.*--no-compile"):  # and not after ten steps
        compiles(Options(compile=True), 1, cpu)

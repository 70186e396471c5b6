"""Options and presets: what the paper says, what small is, and what is given on the command line. Values that
are refused: test_errors.py."""

import numpy as np
import pytest
import torch

import data
from data import load_task, parse_options
from hrm import HRM, HRMConfig
from training.checkpoints import split_options
from training.options import OPTIONS, SIZES, parse, with_preset

PAPER = {
    "lr": 1e-4,
    "lr_end": 1,
    "weight_decay": 1,
    "puzzle_lr": 1e-4,
    "batch_size": 768,
    "steps": 20_000 * 1000 // 768,  # epochs of 1000 puzzles
    "warmup": 2000,
    "train_size": 1000,
    "ema": 0,
    "grow_M_max": 0,
    "confidence": 1,
    "optimizer": "adam_atan2",
    "H_cycles": 2,
    "L_cycles": 2,
    "M_max": 16,
    "exploration": 0.1,
    "halting": "q",
    "q_weight": 0.5,
    "token_loss": "stablemax",
    "positions": "rope",
    "rope_base": 10_000,
    "norm_eps": 1e-5,
}


@pytest.mark.parametrize("task, seq_len, vocab_size", [("maze", 900, 6), ("sudoku", 81, 11)])
def test_the_paper_preset_is_the_papers(task, seq_len, vocab_size):
    options, sizes = with_preset({"preset": "paper", "task": task})
    made = load_task(task, size=options.size, **parse_options(options.task_options))
    config = HRMConfig(made.vocab_size, made.seq_len, **sizes)
    known = {**vars(options), **vars(config)}
    assert {name: known[name] for name in PAPER} == PAPER
    assert (made.seq_len, made.vocab_size) == (seq_len, vocab_size)
    if task == "maze":
        assert made.options == {**made.options, "kind": "random", "min_path": 110}
    else:
        with torch.device("meta"):
            weights = HRM(config).parameters()
        assert sum(p.numel() for p in weights) == 27_275_266


@pytest.mark.parametrize("task", ["maze", "sudoku", "arc1", "a_students_own"])
def test_small_is_the_default(task):
    options, sizes = with_preset({"task": task})
    assert with_preset({"task": task, "preset": "small"}) == (options, sizes)
    assert options.batch_size <= 64
    assert HRMConfig(**sizes).hidden_size <= 64


def test_a_board_with_few_puzzles_is_no_mistake(monkeypatch):
    """README's first taste, 4x4 Sudoku: there are not 10 000, so the preset must not ask for so many."""
    few = np.ones((2, 60, 16), np.uint8)
    monkeypatch.setattr(data, "distinct_puzzles", lambda *_: few)
    task = load_task("sudoku", size=4)
    wanted = split_options(with_preset({"task": "sudoku", "size": 4})[0])
    splits = data.load_splits(task, **wanted, cache=None)
    assert [len(split) for split in splits.values()] == [40, 10, 10]


def test_what_is_given_comes_last():
    options, sizes = with_preset({"steps": 7, "hidden_size": 40, "model": "transformer"})
    assert options.steps == 7
    assert sizes["hidden_size"] == sizes["puzzle_emb_ndim"] == 40
    assert sizes["H_cycles"] == sizes["L_cycles"] == sizes["M_max"] == 1  # it has nothing to repeat
    options, _ = with_preset({"preset": "paper", "data": "mazes.csv"})
    assert (options.size, options.train_size) == (None, None)  # the file knows


@pytest.mark.parametrize("there, dtype", [(False, "float32"), (True, "bfloat16")])
def test_bfloat16_is_for_gpus(monkeypatch, there, dtype):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    _, sizes = with_preset({"preset": "paper"})
    assert sizes["dtype"] == dtype


def test_command_line(capsys):
    line = "--task maze --lr 1e-3 --no-compile --eval a.pt b.pt --H-cycles 3 -q"
    given = parse(line.split(), "")
    assert given.pop("eval") == ["a.pt", "b.pt"]
    assert given == dict(task="maze", lr=1e-3, compile=False, H_cycles=3, quiet=True)
    with pytest.raises(SystemExit):
        parse(["--help"], "")
    printed = capsys.readouterr().out
    for name, field in {**OPTIONS, **SIZES}.items():
        assert "--" + name.replace("_", "-") in printed
        assert field.metadata["help"]



"""analyze.py: every command writes its figure and its numbers; mistakes are one line; Ctrl-C."""

import contextlib
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image

import analyze
from puzzles.boards import figure
from tests.models import make
from tests.runs import read_json
from training.checkpoints import VERSION
from training.options import Options

GIVEN = "1..4.3..2..3.4.2"
STEPS = {"inputs", "label", "boards", "confidence", "answer", "result"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with small untrained models: of 4x4 Sudoku, HRM and Transformer, and of 5x5 mazes."""
    folder = tmp_path_factory.mktemp("analyze")
    for name, kind, task, size in (
        ("hrm", "hrm", "sudoku", 4),
        ("transformer", "transformer", "sudoku", 4),
        ("maze", "hrm", "maze", 5),
    ):
        model = make(kind, vocab_size=6, seq_len=size**2, M_max=2)
        options = Options(task=task, model=kind, train_size=64, val_size=16, test_size=30, confidence=0.95)
        content = {
            "version": VERSION,
            "averaged": model.state_dict(),
            "config": asdict(model.config),
            "options": asdict(options),
            "task": {"name": task, "size": size},
        }
        torch.save(content, folder / f"{name}.pt")
    with contextlib.chdir(folder):
        yield


@pytest.mark.parametrize(
    "command, options, keys",
    [
        ("convergence", "--puzzles 4", {"models"}),
        ("participation-ratio", "--puzzles 6", {"puzzles", "counts", "models"}),
        ("steps", f"--puzzle {GIVEN}", STEPS),
        ("steps", "--index 3 --max-segments 1", STEPS),
        ("halting", "", {"M_max", "difficulty", "act", "fixed"}),
    ],
)
def test_commands(folder, tmp_path, command, options, keys):
    words = [command, "--checkpoint", "hrm.pt", "--out", str(tmp_path), *options.split()]
    assert analyze.main(words) == 0
    path = tmp_path / f"{command}-sudoku-4x4"
    assert read_json(path.with_suffix(".json")).keys() == keys
    with Image.open(path.with_suffix(".png")) as image:
        assert image.width > 200
    if command == "steps":
        with Image.open(path.with_suffix(".gif")) as image:
            assert image.n_frames > 2


def test_several_models_and_one_that_is_not_hrm(folder, tmp_path):
    there = ["--puzzles", "3", "--out", str(tmp_path)]
    assert analyze.main(["convergence", "--checkpoint", "hrm.pt", "transformer.pt", *there]) == 0
    models = read_json(tmp_path, "convergence-sudoku-4x4.json")["models"]
    assert [model["model"] for model in models] == ["HRM", "Transformer"]
    assert analyze.main(["convergence", "--checkpoint", "transformer.pt", "--max-segments", "5", *there]) == 0
    (alone,) = read_json(tmp_path, "convergence-sudoku-4x4-transformer.json")["models"]
    assert alone == models[1]  # one segment, whatever was asked for


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("", "the following arguments are required: NAME"),
        ("dance", "invalid choice: 'dance'"),
        ("halting --checkpoint hrm.pt hrm.pt", "halting needs one --checkpoint"),
        ("halting --checkpoint hrm.pt --puzzles x", "argument --puzzles: invalid int value: 'x'"),
        ("convergence --checkpoint hrm.pt maze.pt", "maze.pt was trained for another task than hrm.pt"),
        ("steps --checkpoint hrm.pt --puzzle 123", "3 characters, not 16"),
        ("steps --checkpoint hrm.pt --max-segments 0", "max-segments is 0; it must be from 1"),
        ("participation-ratio --checkpoint transformer.pt", "only one state"),
        ("steps --checkpoint hrm.pt --index 99", "--index 99: there are only 30 test puzzles"),
        (f"steps --checkpoint hrm.pt --puzzle {GIVEN} --out hrm.pt", "cannot write"),
    ],
)
def test_bad_commands(folder, capsys, arguments, message):
    assert analyze.main(arguments.split()) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error


def test_numbers_as_json(tmp_path):
    sheet, _ = figure(1, 1, 2, 2)
    analyze.save(tmp_path / "x", {"list": [1 / 3, np.float32(0.5)], "array": np.arange(2)}, sheet)
    saved = read_json(tmp_path, "x.json")
    assert saved == {"list": [1 / 3, 0.5], "array": [0, 1]}

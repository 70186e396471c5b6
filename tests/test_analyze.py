"""analyze.py: every command writes its figure and its numbers; mistakes are one line; Ctrl-C."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import analyze
from hrm import HRMConfig
from puzzles.boards import figure
from tests.analysis import conftest
from training.checkpoints import VERSION, make_model
from training.options import Options

GIVEN = "1..4.3..2..3.4.2"
STEPS = {"inputs", "label", "boards", "confidence", "answer", "result"}
STRIP = '''
"""Sort a strip of letters: 1 row, 8 columns."""
import numpy as np
from puzzles.task import Task

class Strip(Task):
    name = "strip"
    symbols = "_ACGT"
    default_size = 8
    grid = 1, 8

    def generate(self, n, rng):
        rows = rng.integers(1, 5, size=(n, 8)).astype(np.uint8)
        return rows, np.sort(rows, axis=1)
'''
ONE_PASS = {"M_max": 1, "H_cycles": 1, "L_cycles": 1}
SIZES = {**conftest.SIZES, "vocab_size": 6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with small untrained models: of 4x4 Sudoku, HRM and Transformer, of 5x5 mazes, of strips."""
    folder = tmp_path_factory.mktemp("analyze")
    before = os.getcwd()
    os.chdir(folder)
    Path("strip.py").write_text(STRIP)
    for name, model, task, size, sizes in (
        ("hrm", "hrm", "sudoku", 4, {"seq_len": 16, "M_max": 2}),
        ("transformer", "transformer", "sudoku", 4, {"seq_len": 16, **ONE_PASS}),
        ("maze", "hrm", "maze", 5, {"seq_len": 25}),
        ("strip", "hrm", "strip", 8, {"seq_len": 8, "vocab_size": 5}),
    ):
        torch.manual_seed(0)
        config = HRMConfig(**{**SIZES, **sizes})
        options = Options(task=task, model=model, train_size=64, val_size=16, test_size=30, confidence=0.95)
        content = {
            "version": VERSION,
            "averaged": make_model(model, config).state_dict(),
            "config": asdict(config),
            "options": asdict(options),
            "task": {"name": task, "size": size},
        }
        torch.save(content, f"{name}.pt")
    yield folder
    os.chdir(before)


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
    assert json.loads(path.with_suffix(".json").read_text()).keys() == keys
    with Image.open(path.with_suffix(".png")) as image:
        assert image.width > 200
    if command == "steps":
        with Image.open(path.with_suffix(".gif")) as image:
            assert image.n_frames > 2


def test_several_models_and_one_that_is_not_hrm(folder, tmp_path):
    there = ["--puzzles", "3", "--out", str(tmp_path)]
    assert analyze.main(["convergence", "--checkpoint", "hrm.pt", "transformer.pt", *there]) == 0
    models = json.loads((tmp_path / "convergence-sudoku-4x4.json").read_text())["models"]
    assert [model["model"] for model in models] == ["HRM", "Transformer"]
    assert analyze.main(["convergence", "--checkpoint", "transformer.pt", "--max-segments", "5", *there]) == 0
    (alone,) = json.loads((tmp_path / "convergence-sudoku-4x4-transformer.json").read_text())["models"]
    assert alone == models[1]  # one segment, whatever was asked for


def test_a_task_of_ones_own_is_run_when_it_is_named(folder, tmp_path, capsys):
    words = ["steps", "--checkpoint", "strip.pt", "--out", str(tmp_path)]
    assert analyze.main(words) == 2
    assert "add --task strip" in capsys.readouterr().err
    assert analyze.main([*words, "--task", "strip"]) == 0
    assert (tmp_path / "steps-strip-1x8.png").exists()
    assert analyze.main([*words, "--task", "strip", "--puzzle", "GATTACAG"]) == 0
    assert "not checked" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("", "the following arguments are required: NAME"),
        ("dance", "invalid choice: 'dance'"),
        ("halting", "halting needs one --checkpoint"),
        ("halting --checkpoint hrm.pt hrm.pt", "halting needs one --checkpoint"),
        ("halting --checkpoint no.pt", "no checkpoint at no.pt"),
        ("halting --checkpoint hrm.pt --puzzles x", "argument --puzzles: invalid int value: 'x'"),
        ("halting --checkpoint hrm.pt --task maze", "task maze does not fit hrm.pt"),
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
    saved = json.loads((tmp_path / "x.json").read_text())
    assert saved == {"list": [1 / 3, 0.5], "array": [0, 1]}

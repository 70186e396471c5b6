"""analyze.py: every command writes its figure and its numbers; mistakes are one line; Ctrl-C."""

import json
import os
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image

import analyze
from hrm import HRMConfig
from training.checkpoints import make_model
from training.pictures import figure

GIVEN, MAZE = "1..4.3..2..3.4.2", "#####\n#S  #\n### #\n#G  #\n#####\n"
STEPS = {"inputs", "label", "boards", "confidence", "answer", "segment", "wrong"}
OPTIONS = {"train_size": 64, "val_size": 16, "test_size": 30, "seed": 0, "confidence": 0.95, "easier": "off"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with small untrained models of 4x4 Sudoku, HRM and Transformer, and one of 5x5 mazes."""
    folder, before = tmp_path_factory.mktemp("analyze"), os.getcwd()
    os.chdir(folder)
    for name, task, size, sizes in (
        ("hrm", "sudoku", 4, {"M_max": 2}),
        ("transformer", "sudoku", 4, {"M_max": 1, "H_cycles": 1, "L_cycles": 1, "model": "transformer"}),
        ("maze", "maze", 5, {}),
    ):
        torch.manual_seed(0)
        config = HRMConfig(
            vocab_size=6,
            seq_len=size**2,
            hidden_size=16,
            num_heads=1,
            H_layers=1,
            L_layers=1,
            inner_multiple=16,
            puzzle_emb_ndim=16,
            halting="bce",
            dtype="float32",
            **sizes,
        )
        torch.save(
            {
                "averaged": make_model(config).state_dict(),
                "config": asdict(config),
                "options": OPTIONS,
                "task": {"name": task, "size": size},
            },
            f"{name}.pt",
        )
    yield folder
    os.chdir(before)


@pytest.mark.parametrize(
    "command, options, keys",
    [
        ("convergence", ["--puzzles", "4"], {"models"}),
        ("participation-ratio", ["--puzzles", "6"], {"puzzles", "counts", "trained", "untrained"}),
        ("steps", ["--puzzle", GIVEN], STEPS),
        ("steps", ["--index", "3", "--max-segments", "1"], STEPS),
        ("halting", [], {"puzzles", "M_max", "difficulty", "M", "act", "fixed"}),
    ],
)
def test_commands(folder, tmp_path, capsys, command, options, keys):
    arguments = [command, "--checkpoint", "hrm.pt", "--out", str(tmp_path), "--device", "cpu", *options]
    assert analyze.main(arguments) == 0
    suffixes = ["gif", "json", "png"] if command == "steps" else ["json", "png"]
    assert sorted(os.listdir(tmp_path)) == [f"{command}-sudoku-4x4.{suffix}" for suffix in suffixes]
    assert json.loads((tmp_path / f"{command}-sudoku-4x4.json").read_text()).keys() == keys
    for name in os.listdir(tmp_path):
        if not name.endswith("json"):
            with Image.open(tmp_path / name) as image:
                assert image.width > 200
                assert getattr(image, "n_frames", 1) > 2 or name.endswith("png")
            assert f"written: {tmp_path / name}" in capsys.readouterr().out or command == "steps"


def test_several_models_and_one_that_is_not_hrm(folder, tmp_path):
    there = ["--puzzles", "3", "--out", str(tmp_path), "--device", "cpu"]
    assert analyze.main(["convergence", "--checkpoint", "hrm.pt", "transformer.pt", *there]) == 0
    models = json.loads((tmp_path / "convergence-sudoku-4x4.json").read_text())["models"]
    assert [model["model"] for model in models] == ["hrm", "transformer"]
    assert analyze.main(["convergence", "--checkpoint", "transformer.pt", "--max-segments", "5", *there]) == 0
    (alone,) = json.loads((tmp_path / "convergence-sudoku-4x4-transformer.json").read_text())["models"]
    assert alone == models[1]  # one segment, whatever was asked for


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "the following arguments are required: NAME"),
        (["dance"], "invalid choice: 'dance'"),
        (["halting"], "the following arguments are required: --checkpoint"),
        (["halting", "--checkpoint", "no.pt"], "no checkpoint at no.pt"),
        (["halting", "--checkpoint", "hrm.pt", "--puzzles", "0"], "argument --puzzles: 0 must be"),
        (
            ["halting", "--checkpoint", "hrm.pt", "--max-segments", "x"],
            "--max-segments: 'x' is no whole number",
        ),
        (["halting", "--checkpoint", "hrm.pt", "--device", "tpu"], "--device: invalid choice: 'tpu'"),
        (["halting", "--checkpoint", "hrm.pt", "--task", "maze"], "task maze does not fit hrm.pt"),
        (["halting", "--checkpoint", "hrm.pt", "--data", "no.csv"], "no.csv"),
        (
            ["convergence", "--checkpoint", "hrm.pt", "maze.pt"],
            "maze.pt solves maze-5x5, but hrm.pt sudoku-4x4",
        ),
        (
            ["steps", "--checkpoint", "hrm.pt", "--puzzle", MAZE],
            "20 characters, not 16; the checkpoint solves",
        ),
        (["steps", "--checkpoint", "hrm.pt", "--index", "99"], "--index 99: there are only 30 test puzzles"),
        (["steps", "--checkpoint", "hrm.pt", "--index", "-1"], "argument --index: -1 must be"),
        (["steps", "--checkpoint", "hrm.pt", "--puzzle", GIVEN, "--out", "hrm.pt"], "cannot write"),
    ],
)
def test_bad_commands(folder, capsys, arguments, message):
    assert analyze.main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error


def test_ctrl_c(folder, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(analyze, "load_model", interrupt)
    assert analyze.main(["halting", "--checkpoint", "hrm.pt"]) == 130
    assert "stopped" in capsys.readouterr().err


def test_numbers_as_json(tmp_path):
    sheet, _ = figure(1, 1, 2, 2)
    numbers = {
        "list": [1 / 3, float("nan")],
        "array": np.arange(2),
        "tensor": torch.tensor([1e-9 / 3]),
        "n": 3,
        "nothing": None,
        "text": "ü",
        "numpy": np.float32(0.1),
    }
    analyze.save(tmp_path, "x", numbers, sheet)
    assert json.loads((tmp_path / "x.json").read_text()) == {
        "list": [0.33333, None],
        "array": [0, 1],
        "tensor": [3.3333e-10],
        "n": 3,
        "nothing": None,
        "text": "ü",
        "numpy": 0.1,
    }
    assert (tmp_path / "x.png").exists()

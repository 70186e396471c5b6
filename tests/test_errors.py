"""Bad input: one line that names the value and the remedy, exit status 2, no traceback, and nothing lost."""

import os
import pickle
import signal
import sys
from pathlib import Path

import pytest
import torch

import data
import train
from data import load_task
from tests.runs import in_processes
from training.options import exit_status

TINY = """--task sudoku --size 4 --preset small --device cpu --hidden-size 16 --num-heads 2 --H-layers 1
    --L-layers 1 --inner-multiple 16 --puzzle-emb-ndim 16 --M-max 2 --train-size 8 --val-size 2 --test-size 2
    --batch-size 4 --steps 6 --eval-every 2 --save-every 2 --log-every 1""".split()
QUESTION, ANSWER = "123.341221434321", "1234341221434321"


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run that was stopped at step 4 of 6, damaged copies of its checkpoint, and bad puzzle
    files."""
    folder = tmp_path_factory.mktemp("errors")
    before, write_row = os.getcwd(), train.Log.write_row
    os.chdir(folder)

    def write_and_interrupt(log):
        write_row(log)
        if log.run.step == 3:
            signal.raise_signal(signal.SIGINT)

    train.Log.write_row = write_and_interrupt
    try:
        assert train.main([*TINY, "--out", "run"]) == 130
    finally:
        train.Log.write_row = write_row
    good = (folder / "run/last.pt").read_bytes()
    content = torch.load("run/last.pt", weights_only=True)
    Path("empty.pt").write_bytes(b"")
    Path("text.pt").write_text("not a checkpoint\n")
    Path("truncated.pt").write_bytes(good[: len(good) // 2])
    torch.save([1, 2], "list.pt")
    torch.save({"weights": torch.zeros(2)}, "foreign.pt")
    torch.save({}, "nothing.pt")
    torch.save({**content, "averaged": {}}, "incomplete.pt")
    torch.save({"model.inner.embed_tokens.embedding_weight": torch.zeros(6, 16)}, "published.pt")
    Path("pickle.pt").write_bytes(pickle.dumps(Malicious()))
    torch.save({"averaged": Malicious(), "config": {}, "options": {}, "task": {}}, "malicious.pt")
    Path("file").write_text("")

    def csv(name, question=QUESTION, answer=ANSWER, header="source,question,answer,rating"):
        text = f"{header}\nx,{QUESTION},{ANSWER},0\nx,{question},{answer},0\n"
        (folder / f"{name}.csv").write_text(text)

    csv("symbol", question="123x" + QUESTION[4:])
    csv("length", question=QUESTION[:-1])
    csv("changed", answer="2143" + ANSWER[4:])
    csv("blank", answer=QUESTION)
    csv("broken", question="." * 16, answer="1" * 16)
    csv("ambiguous", question="1234" + "." * 12)
    csv("unsolvable", question="1231" + "." * 12)
    csv("columns", header="question,rating")
    csv("fields", answer=ANSWER + ",7")
    csv("good")
    Path("header.csv").write_text("source,question,answer,rating\n")
    Path("empty.csv").write_text("")
    Path("large.csv").write_text(f"question,answer\n{'.' * 81},{'1' * 81}\n")
    Path("oblong.csv").write_text("question,answer\n123,123\n")
    Path("no_test").mkdir()
    (folder / "no_test/train.csv").write_bytes((folder / "good.csv").read_bytes())
    Path("wrong_syntax.py").write_text("def task(:\n")
    Path("other_class.py").write_text("class Other:\n    name = 'other_class'\n")
    yield folder
    os.chdir(before)


EVAL = ["--eval", "run/best.pt"]
MAZE = "--task maze --preset small --device cpu --out new".split()

# What is wrong, arguments, and what the line must say: the value, and the way out.
CASES = [
    ("unknown task", ["--task", "chess"], "'chess'", "flood, maze"),
    ("unknown flag", ["--taks", "maze"], "--taks", "--help"),
    ("abbreviated flag", ["--tas", "maze"], "--tas", "--help"),
    ("stray word", ["maze"], "maze", "--help"),
    ("flag without value", ["--steps"], "--steps", "expected one argument", "--help"),
    ("unknown preset", ["--preset", "huge"], "'huge'", "small", "paper"),
    ("unknown device", ["--device", "tpu"], "'tpu'", "cuda", "mps"),
    ("unknown positions", [*TINY, "--positions", "polar"], "'polar'", "rope", "learned"),
    ("unknown halting", [*TINY, "--halting", "never"], "'never'", "bce"),
    ("unknown loss", [*TINY, "--token-loss", "hinge"], "'hinge'", "stablemax", "softmax"),
    ("unknown dtype", [*TINY, "--dtype", "int8"], "'int8'", "float32"),
    ("no number", [*TINY, "--steps", "many"], "--steps", "'many' is no whole number", "--help"),
    ("fraction of a step", [*TINY, "--steps", "1.5"], "--steps", "'1.5' is no whole number"),
    ("zero steps", [*TINY, "--steps", "0"], "--steps: 0 must be at least 1"),
    ("negative steps", [*TINY, "--steps", "-3"], "--steps: -3 must be at least 1"),
    (
        "batch over all epochs",
        [*TINY[:-8], "--preset", "paper", "--epochs", "1", "--batch-size", "64"],
        "0 optimiser steps",
        "lower --batch-size",
    ),
    ("zero epochs", [*TINY, "--epochs", "0"], "--epochs: 0 must be at least 1"),
    ("negative learning rate", [*TINY, "--lr", "-0.001"], "--lr: -0.001 must be at least"),
    ("learning rate nan", [*TINY, "--lr", "nan"], "--lr: nan must be at least"),
    ("learning rate inf", [*TINY, "--lr", "inf"], "--lr: inf must be at least"),
    ("negative weight decay", [*TINY, "--weight-decay", "-1"], "--weight-decay: -1 must be at least 0"),
    ("negative seed", [*TINY, "--seed", "-1"], "--seed: -1 must be at least 0"),
    ("negative seed in --eval", [*EVAL, "--seed", "-1"], "--seed: -1 must be at least 0"),
    ("zero batch", [*TINY, "--batch-size", "0"], "--batch-size: 0 must be at least 1"),
    ("zero log interval", [*TINY, "--log-every", "0"], "--log-every: 0 must be at least 1"),
    ("EMA of 1", [*TINY, "--ema", "1"], "--ema: 1 must be in 0..0.9999"),
    ("growth over 1", [*TINY, "--grow-M-max", "2"], "--grow-M-max: 2 must be in 0..1"),
    ("indivisible batch", [*TINY, "--accumulate", "3"], "--batch-size 4", "no multiple of 3", "--accumulate"),
    ("heads do not divide", [*TINY, "--num-heads", "3"], "hidden_size 16 and num_heads 3", "multiple of 4"),
    ("zero layers", [*TINY, "--H-layers", "0"], "H_layers is 0", "must be positive"),
    ("negative M_max", [*TINY, "--M-max", "-1"], "M_max is -1", "must be positive"),
    ("exploration over 1", [*TINY, "--exploration", "2"], "exploration is 2.0", "at most 1"),
    ("size 0", [*MAZE, "--size", "0"], "--size: 0 must be at least 1"),
    ("even perfect maze", [*MAZE, "--size", "8"], "8", "odd size", "kind=random"),
    ("Sudoku size", [*TINY, "--size", "5"], "sudoku size 5", "use 4, 6, 9"),
    ("unknown task option", [*TINY, "--task-options", "colour=red"], "'colour'", "it has size, extra"),
    ("malformed task option", [*TINY, "--task-options", "extra"], "'extra'", "NAME=VALUE"),
    ("task option of another type", [*TINY, "--task-options", "extra=few"], "'few'", "int"),
    (
        "impossible maze",
        [*MAZE, "--size", "5", "--task-options", "min_path=90"],
        "shortest path over 90",
        "lower min_path",
    ),
    (
        "too few different puzzles",
        [*TINY, "--train-size", "100000", "--out", "new"],
        "100004",
        "raise the size or lower",
    ),
    ("no puzzles", [*TINY, "--train-size", "0"], "--train-size: 0 must be at least 1"),
    ("no test puzzles", [*TINY, "--test-size", "0"], "--test-size: 0 must be at least 1"),
    (
        "size against checkpoint",
        [*EVAL, "--size", "6"],
        "size 6 does not fit run/best.pt",
        "4",
        "leave it out",
    ),
    ("task against checkpoint", [*EVAL, "--task", "maze"], "task maze", "sudoku", "leave it out"),
    ("width against checkpoint", [*EVAL, "--hidden-size", "32"], "hidden_size 32", "with 16", "leave it out"),
    (
        "checkpoint missing",
        ["--eval", "nowhere/best.pt"],
        "no checkpoint at nowhere/best.pt",
        "runs/TASK/last.pt",
    ),
    ("checkpoint empty", ["--eval", "empty.pt"], "empty.pt cannot be read", "pass one that train.py wrote"),
    ("checkpoint is a text", ["--eval", "text.pt"], "text.pt cannot be read", "pass one that train.py wrote"),
    (
        "checkpoint truncated",
        ["--eval", "truncated.pt"],
        "truncated.pt cannot be read",
        "pass one that train.py wrote",
    ),
    ("checkpoint is a list", ["--eval", "list.pt"], "list.pt cannot be read", "it holds a list", "pass one"),
    (
        "checkpoint of others",
        ["--eval", "foreign.pt"],
        "foreign.pt is no checkpoint of this project",
        "KeyError: 'task'",
    ),
    (
        "checkpoint without entries",
        ["--eval", "nothing.pt"],
        "nothing.pt is no checkpoint",
        "KeyError: 'task'",
    ),
    (
        "checkpoint without weights",
        ["--eval", "incomplete.pt"],
        "incomplete.pt",
        "Missing key",
        "change them or the checkpoint",
    ),
    (
        "published, incomplete",
        ["--eval", "published.pt"],
        "published.pt",
        "L_level",
        "change them or the checkpoint",
    ),
    ("pickled code", ["--eval", "pickle.pt"], "pickle.pt cannot be read", "pass one that train.py wrote"),
    (
        "code in a checkpoint",
        ["--eval", "malicious.pt"],
        "malicious.pt cannot be read",
        "pass one that train.py wrote",
    ),
    ("zero segments", [*EVAL, "--max-segments", "0"], "--max-segments: 0 must be at least 1"),
    ("CSV: unknown symbol", [*EVAL, "--data", "symbol.csv"], "symbol.csv, line 3", "'x'", "use '.1234'"),
    ("CSV: length", [*EVAL, "--data", "length.csv"], "length.csv, line 3", "15 characters", "16"),
    ("CSV: givens changed", [*EVAL, "--data", "changed.csv"], "changed.csv, line 3", "changes a given"),
    ("CSV: blanks left", [*EVAL, "--data", "blank.csv"], "blank.csv, line 3", "blanks"),
    (
        "CSV: rules broken",
        [*EVAL, "--data", "broken.csv"],
        "broken.csv, line 3",
        "same digit twice",
        "answer",
    ),
    (
        "CSV: two solutions",
        [*EVAL, "--data", "ambiguous.csv"],
        "ambiguous.csv, line 3",
        "more than one solution",
    ),
    (
        "CSV: no solution",
        [*EVAL, "--data", "unsolvable.csv"],
        "unsolvable.csv, line 3",
        "same digit twice",
        "question",
    ),
    ("CSV: no answers", [*EVAL, "--data", "columns.csv"], "columns.csv, line 1", "no column 'answer'"),
    ("CSV: surplus field", [*EVAL, "--data", "fields.csv"], "fields.csv, line 3", "not the 4 columns"),
    ("CSV: header only", [*EVAL, "--data", "header.csv"], "header.csv", "only a header"),
    ("CSV: empty", [*EVAL, "--data", "empty.csv"], "empty.csv, line 1", "question and answer"),
    ("CSV: other size than the checkpoint", [*EVAL, "--data", "large.csv"], "81 characters, not 16"),
    (
        "CSV: no square",
        ["--task", "maze", "--data", "oblong.csv"],
        "oblong.csv, line 2",
        "3 characters",
        "square",
    ),
    (
        "CSV: nothing to train on",
        [*TINY, "--data", "good.csv", "--out", "new"],
        "good.csv",
        "no training puzzles",
        "train.csv",
    ),
    ("data missing", [*TINY, "--data", "./nowhere"], "./nowhere", "train.csv and test.csv"),
    ("data without test.csv", [*TINY, "--data", "no_test"], "no_test holds no test.csv", "pass a folder"),
    ("no huggingface_hub", [*TINY, "--data", "owner/name"], "owner/name", "pip install huggingface_hub"),
    ("out is a file", [*TINY, "--out", "file"], "cannot write file/config.json", "choose another --out"),
    (
        "out below a file",
        [*TINY, "--out", "file/run"],
        "cannot write file/run/config.json",
        "choose another --out",
    ),
    (
        "out cannot be written",
        [*TINY, "--out", "/proc/run"],
        "cannot write /proc/run",
        "choose another --out",
    ),
    ("eval's out is a file", [*EVAL, "--out", "file"], "cannot write file/eval.json", "choose another --out"),
    ("a run is there", [*TINY, "--out", "run"], "run already holds a run", "--resume run"),
    ("resume with another rate", ["--resume", "run", "--lr", "0.1"], "--lr 0.1", "0.003", "leave it out"),
    (
        "resume with another width",
        ["--resume", "run", "--hidden-size", "32"],
        "--hidden-size 32",
        "16",
        "leave it out",
    ),
    (
        "resume with more steps",
        ["--resume", "run", "--steps", "60"],
        "--steps 60",
        "6",
        "another run with --out",
    ),
    ("resume elsewhere", ["--resume", "run", "--out", "new"], "--out new", "leave it out"),
    ("resume best.pt", ["--resume", "run/best.pt"], "run/best.pt is no last.pt", "pass the run's folder"),
    ("resume of nothing", ["--resume", "nowhere"], "no checkpoint at nowhere", "runs/TASK/last.pt"),
    (
        "resume truncated",
        ["--resume", "truncated.pt"],
        "truncated.pt cannot be read",
        "pass one that train.py wrote",
    ),
    ("resume without weights", ["--resume", "incomplete.pt"], "Missing key", "change them or the checkpoint"),
    ("resume, indivisible", ["--resume", "run", "--accumulate", "3"], "no multiple of 3", "--accumulate"),
    ("task without its class", ["--task", "other_class"], "'other_class'", "Task subclass"),
]


def check_line(text, parts):
    lines = [line for line in text.splitlines() if line.strip() and "%|" not in line]  # without progress bars
    assert len(lines) == 1 and "Traceback" not in text, text
    for part in parts:
        assert any(choice in lines[0] for choice in part.split("|")), f"{part!r} is not in: {lines[0]}"
    return lines[0]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("arguments, parts", [pytest.param(case[1], case[2:], id=case[0]) for case in CASES])
def test_one_line_and_nothing_lost(folder, monkeypatch, capsys, arguments, parts):
    monkeypatch.chdir(folder)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as if it were not installed
    before = contents(folder / "run")
    if "--resume" not in arguments and "--eval" not in arguments and "--out" not in arguments:
        arguments = [*arguments, "--out", "new"]
    assert train.main(arguments) == 2
    assert check_line(capsys.readouterr().err, parts).startswith("error: ")
    assert contents(folder / "run") == before
    assert not (folder / "executed").exists() and not (folder / "new").exists()


def test_a_task_with_a_syntax_error(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert train.main(["--task", "wrong_syntax", "--out", "new"]) == 2
    check_line(capsys.readouterr().err, ["wrong_syntax.py", "line 1"])


def test_another_data_set_than_the_run_began_with(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    other = data.load_splits(load_task("sudoku", size=4), None, 8, 2, 2, seed=5, progress=False)
    monkeypatch.setattr(train, "load_splits", lambda *_, **options: other)
    assert train.main(["--resume", "run"]) == 2
    check_line(capsys.readouterr().err, ["the training puzzles are not those", "restore"])


@pytest.mark.parametrize("limit", [500, 20_000])
def test_a_full_disk_loses_nothing(folder, tmp_path, limit):
    """No file may grow over `limit` bytes: not even config.json, or just the checkpoint."""
    before = contents(folder / "run")
    for name, content in before.items():
        (tmp_path / name).write_bytes(content)
    status, output = in_processes(folder, ["--resume", str(tmp_path)], file_size=limit)
    assert status == 2, output
    lines = [line for line in output.splitlines() if line.startswith("error: ")]
    check_line("\n".join(lines), ["cannot write", "config.json" if limit == 500 else ".pt", "make room"])
    assert "Traceback" not in output
    for name in ("last.pt", "best.pt", "config.json"):
        assert (tmp_path / name).read_bytes() == before[name] or name == "config.json"
    assert {path.name for path in tmp_path.iterdir()} == before.keys()  # no half file is left behind


@pytest.mark.parametrize(
    "arguments, parts",
    [
        (["--task", "chess"], ["'chess'", "flood, maze"]),
        (["--task", "sudoku", "--size", "5"], ["size 5", "use 4, 6, 9"]),
        (["--task", "maze", "--size", "8"], ["8", "odd size", "kind=random"]),
        (["--show", "0"], ["--show: 0 must be in 1..100"]),
        (["--task", "sudoku", "--data", "symbol.csv"], ["symbol.csv, line 3", "'x'"]),
        (["--task", "sudoku", "--data", "./nowhere"], ["./nowhere", "train.csv"]),
        (
            ["--task", "maze", "--size", "5", "--show", "2", "--out", "file/x.png"],
            ["file/x.png", "another --out"],
        ),
    ],
)
def test_data_py(folder, monkeypatch, capsys, arguments, parts):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["data.py", *arguments])
    assert exit_status(data.main) == 2
    check_line(capsys.readouterr().err, parts)

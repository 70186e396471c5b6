"""Bad input: one line that names the value and the remedy, exit status 2, no traceback, and nothing lost.
What is wrong in a CSV file: puzzles/test_files.py."""

import os
import pickle
import shutil
import sys
from pathlib import Path

import pytest
import torch

import train
from tests.runs import TINY, in_processes, load, refusal


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.fixture(scope="module")
def folder(reference, tmp_path_factory):
    """A folder with a run, damaged copies of its checkpoint, and bad puzzle files."""
    folder = tmp_path_factory.mktemp("errors")
    shutil.copytree(reference, folder / "run")
    content = load(reference / "last.pt")
    content["step"] = content["evaluated"] = 20  # of 24
    torch.save(content, folder / "run/last.pt")
    good = (reference / "last.pt").read_bytes()
    (folder / "empty.pt").touch()
    (folder / "truncated.pt").write_bytes(good[: len(good) // 2])
    (folder / "pickle.pt").write_bytes(pickle.dumps(Malicious()))
    torch.save([1, 2], folder / "list.pt")
    torch.save({"weights": torch.zeros(2)}, folder / "foreign.pt")
    torch.save({**content, "averaged": {}}, folder / "incomplete.pt")
    torch.save({"model.inner.embed_tokens.embedding_weight": torch.zeros(6, 16)}, folder / "published.pt")
    torch.save({"averaged": Malicious(), "version": 1}, folder / "malicious.pt")

    question = "123.341221434321"
    answer = "1234341221434321"
    (folder / "good.csv").write_text(f"question,answer\n{question},{answer}\n")
    (folder / "symbol.csv").write_text(f"question,answer\n{question.replace('.', 'x')},{answer}\n")
    (folder / "no_test").mkdir()
    shutil.copy(folder / "good.csv", folder / "no_test/train.csv")
    (folder / "other_class.py").write_text("class Other:\n    name = 'other_class'\n")
    (folder / "file").touch()
    return folder


BEGINNINGS = {
    "TINY": [*TINY, "-q", "--out"],
    "NEW": [*TINY, "-q", "--out", "new"],
    "MAZE": ["--task", "maze", "-q", "--out", "new", "--size"],
    "EVAL": ["--eval", "run/best.pt", "-q"],
    "RESUME": ["--resume", "run"],
}
CASES = {  # arguments: what the line must say, the value and the way out
    # options
    "--task chess": ["'chess'", "flood, maze", "chess.py"],
    "--task other_class": ["'other_class'", "Task subclass"],
    "--tas maze": ["--tas", "--help"],
    "NEW --halting never": ["'never'", "bce"],
    "NEW --steps 0": ["steps is 0", "from 1"],
    "NEW --lr nan": ["lr is nan", "from"],
    "NEW --ema 1": ["ema is 1.0", "to 0.9999"],
    "NEW --accumulate 3": ["--batch-size 8", "no multiple of 3", "--accumulate"],
    "NEW --num-heads 3": ["hidden_size 16 is no multiple of 4 times num_heads 3"],
    "NEW --H-layers 0": ["H-layers is 0", "from 1"],
    # tasks and puzzles
    "MAZE 8": ["8", "odd size", "kind=random"],
    "MAZE 5 --task-options min_path=90": ["over 90", "lower min_path"],
    "NEW --size 5": ["sudoku size 5", "use 4, 6, 9"],
    "NEW --task-options colour=red": ["'colour'", "it has size, extra"],
    "NEW --task-options extra": ["'extra'", "NAME=VALUE"],
    "NEW --task-options extra=few": ["'few'", "int"],
    "MAZE 5 --train-size 5000": ["6300 are needed", "raise the size or lower"],
    "NEW --data good.csv": ["good.csv", "no training puzzles", "train.csv"],
    "NEW --data no_test": ["no_test holds no test.csv", "pass a folder"],
    "NEW --data ./nowhere": ["./nowhere", "train.csv and test.csv"],
    "NEW --data owner/name": ["owner/name", "pip install huggingface_hub"],
    # checkpoints
    "EVAL --hidden-size 32": ["hidden_size 32", "with 16", "leave it out"],
    "EVAL --data symbol.csv": ["symbol.csv, line 2", "'x'", "use '.1234'"],
    "--eval nowhere/best.pt": ["no checkpoint at nowhere/best.pt", "runs/TASK/last.pt"],
    "--eval foreign.pt": ["foreign.pt is no checkpoint of this project"],
    "--eval incomplete.pt": ["the weights in incomplete.pt do not fit", "Missing key"],
    "--eval published.pt": ["no checkpoint of the authors"],
    # a run's folder
    "TINY run": ["run already holds a run", "--resume run", "--out FOLDER"],
    "TINY file": ["cannot write file", "choose another --out"],
    "EVAL --out file": ["cannot write file/eval.json"],
    "RESUME --lr 0.1": ["--lr 0.1", "knows its own", "leave it out"],
    "--resume run/best.pt": ["run/best.pt is no last.pt", "pass the run's folder"],
    "--resume nowhere": ["no checkpoint at nowhere"],
}
for name in ("empty", "truncated", "list", "pickle", "malicious"):
    CASES[f"--eval {name}.pt"] = [f"{name}.pt cannot be read", "pass one that train.py wrote"]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("command", CASES)
def test_one_line_and_nothing_lost(folder, monkeypatch, capsys, command):
    monkeypatch.chdir(folder)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as if it were not installed
    before = contents(folder / "run")
    first, *words = command.split()
    line = refusal(train.main(BEGINNINGS.get(first, [first]) + words), capsys.readouterr().err)
    for part in CASES[command]:
        assert part in line
    assert contents(folder / "run") == before
    assert not Path("executed").exists()
    assert not Path("new").exists()


@pytest.mark.parametrize("limit, says", [(500, "data/cache"), (20_000, "run/best.pt")])
def test_a_full_disk_loses_nothing(folder, tmp_path, limit, says):
    """No file may grow over `limit` bytes: not even the puzzles, or just the checkpoint."""
    before = contents(folder / "run")
    shutil.copytree(folder / "run", tmp_path / "run")
    status, output = in_processes(tmp_path, ["--resume", "run", "-q"], file_size=limit)
    line = refusal(status, output.splitlines()[-1])
    assert f"cannot write {says}" in line and "make room" in line
    after = contents(tmp_path / "run")
    for name in ("last.pt", "best.pt"):
        assert after[name] == before[name]
    assert after.keys() == before.keys()  # no half file is left behind

"""The reproduction with a tiny model, from end to end; and killed three times, with the same table."""

import csv
import itertools
import json
import multiprocessing
import os
import sys

import numpy as np
import pytest

import analyze
import train
from data import load_splits, load_task
from extras import reproduce
from tests.runs import die_in, load
from training.files import UserError
from training.options import parse

TINY = """sudoku --recipe quick --hours 0.0124 --data boards --train-size 24 --val-size 6 --test-size 8
    --size 4 --hidden-size 16 --num-heads 2 --H-layers 1 --L-layers 1 --inner-multiple 16 --puzzle-emb-ndim 20
    --M-max 2 --dtype float32 --batch-size 8 --lr 3e-3 --save-every 3 --device cpu --no-compile
    --quiet""".split()
STAGES = ["one-answer", "8-votes", "last-10-checkpoints", "participation-ratio", "convergence", "halting"]


@pytest.fixture(scope="module")
def boards(tmp_path_factory):
    """A folder with train.csv and test.csv."""
    folder, task = tmp_path_factory.mktemp("boards"), load_task("sudoku", size=4)
    splits = load_splits(task, None, 30, 0, 8, cache=None, progress=False)
    for name in ("train", "test"):
        texts = [["".join(task.symbols[token] for token in row) for row in rows]
                 for rows in (splits[name].inputs, splits[name].labels)]
        with open(folder / f"{name}.csv", "w", newline="") as file:
            csv.writer(file).writerows([("question", "answer", "rating"), *zip(*texts, range(30))])
    return folder


def run(folder, boards, step_seconds, kill=None):
    """The reproduction in `folder`, where a training step is said to take so long -> exit status. `kill`: the
    keyword arguments of `die_in`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(reproduce, "timer", itertools.count(step=step_seconds).__next__)
        for name in ("draw_boards", "draw_curves"):
            patch.setattr(train, name, lambda *arguments, **options: None)
        patch.setattr(analyze, "save_figure", lambda *arguments: None)
        if kill:
            die_in(**kill)
        return reproduce.main([str(boards) if word == "boards" else word for word in TINY])


def in_a_process(folder, *arguments):
    with open(folder / "out.txt", "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.exit(run(folder, *arguments))


@pytest.fixture(scope="module")
def whole(boards, tmp_path_factory):
    """The folder of a reproduction that was never interrupted, and how many files it wrote."""
    folder, replace, written = tmp_path_factory.mktemp("whole"), os.replace, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", lambda *paths: (written.append(paths), replace(*paths)))
        assert not run(folder, boards, 2.0)
    return folder / "runs/reproduce/sudoku-quick", len(written)


def results(folder):
    """What the table says but for time and commands, and what the evaluations say but for their speed."""
    table = json.loads((folder / "table.json").read_text())
    said = {name: (row["paper"], row["here"]) for name, row in table["rows"].items()}
    evaluations = [json.loads((folder / stage / "eval.json").read_text()) for stage in ("run", *STAGES[1:3])]
    return said, [(result["n"], result["exact"], result["cell"], result["votes"]) for result in evaluations]


def test_from_end_to_end(whole, boards, capsys):
    folder, _ = whole
    table = json.loads((folder / "table.json").read_text())
    rows = table["rows"]
    assert list(rows) == STAGES and table["plan"]["words"] == "--steps 20 --warmup 2 --eval-every 1".split()
    assert rows["one-answer"]["paper"] == "55.0%" and " of 8)" in rows["last-10-checkpoints"]["here"]
    assert "z_H" in rows["participation-ratio"]["here"] and "convergence" in rows["convergence"]["here"]
    assert rows["one-answer"]["command"].startswith("python train.py --preset paper --halting bce")
    assert rows["halting"]["command"].startswith("python analyze.py halting --checkpoint")
    lines = (folder / "table.md").read_text().splitlines()
    assert len(lines) == 2 + len(STAGES) and {line.count("|") for line in lines} == {7}

    kept = sorted((folder / "run").glob("step-*.pt"))
    assert [path.name for path in kept] == [f"step-{step:07}.pt" for step in range(1, 21)]
    averaged, last = load(kept[-1])["averaged"], load(folder / "run/last.pt")["averaged"]
    assert all((tensor == last[name]).all() for name, tensor in averaged.items())
    assert load(kept[-1])["options"]["lr_end"] == 0.05 and load(kept[-1])["options"]["ema"] == 0.999
    assert json.loads((folder / "last-10-checkpoints/eval.json").read_text())["checkpoint"].count(".pt") == 10

    before = (folder / "table.json").read_bytes()
    capsys.readouterr()
    assert not run(folder.parents[2], boards, 1.0)  # all is done: nothing is measured or computed again
    assert (folder / "table.json").read_bytes() == before
    assert capsys.readouterr().out.strip().splitlines() == lines


def test_killed_three_times_it_comes_to_the_same(whole, boards, tmp_path):
    """At three random files out of all that are written, just before one has its name or just after."""
    uninterrupted, written = whole
    rng = np.random.default_rng(6)
    points = np.sort(rng.choice(np.arange(3, written - 3), 3, replace=False))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["train", "torch._dynamo", "extras.vote", "extras.reproduce"])
    statuses = []
    for n, step_seconds in zip([*np.diff(points, prepend=0), 0], (2.0, 1.0, 1.0, 1.0)):
        kill = {"place": rng.choice(["before rename", "after rename"]), "n": n} if n else None
        process = context.Process(target=in_a_process, args=(tmp_path, boards, step_seconds, kill))
        process.start()
        process.join(300)
        statuses.append(process.exitcode)
    assert statuses == [-9, -9, -9, 0], (tmp_path / "out.txt").read_text()
    assert results(tmp_path / "runs/reproduce/sudoku-quick") == results(uninterrupted)


def test_what_arc_asks(tmp_path):
    """Votes of all variants come with the training; its checkpoints are not kept."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/eval.json").write_text('{"checkpoint": "last.pt", "pass@2": 0.5, "tasks": 400}')
    first, one, *analyses = reproduce.stages("arc1", ["--task", "arc1"], "cpu", tmp_path)
    assert first[:2] == ("all-variants", "40.3%") and "--keep" not in first[3]
    assert one[0] == "one-variant" and one[3][:4] == ["--eval", "last.pt", "--votes", "1"]
    assert [stage[0] for stage in analyses] == STAGES[3:]
    assert reproduce.found(*first[::4]) == "50.0% (45.1% to 54.9% of 400)"


def test_mistakes_are_one_line(whole, boards, monkeypatch, capsys):
    monkeypatch.chdir(whole[0].parents[2])
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as if it were not installed
    with pytest.raises(UserError, match="was begun with --preset paper .*; pass another --out"):
        reproduce.main(["sudoku", "--recipe", "quick", "--data", str(boards), "--device", "cpu"])
    with pytest.raises(UserError, match="which needs pip install huggingface_hub"):
        reproduce.main(["maze", "--device", "cpu"])
    with pytest.raises(UserError, match="invalid choice"):
        reproduce.main(["chess"])


@pytest.mark.parametrize("recipe", reproduce.RECIPES.values())
@pytest.mark.parametrize("data", [data for _, data in reproduce.TASKS.values()])
def test_every_recipe_and_data_set_is_one_that_train_knows(recipe, data):
    assert parse([*recipe.split(), *data.split()], "")["preset"] == "paper"

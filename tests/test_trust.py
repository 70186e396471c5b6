"""What a careless user meets, and what must not go wrong unseen: docs/rely.md."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import data
import train
from data import load_splits, load_task
from puzzles.task import Task, transform
from tests.runs import TINY, metrics
from training import files
from training.checkpoints import load_model
from training.files import UserError, write_text
from training.log import interval
from training.options import exit_status, parse_options
from training.processes import Processes

MINI = """--hidden-size 8 --num-heads 1 --H-layers 1 --L-layers 1 --puzzle-emb-ndim 0 --M-max 1 --device cpu
    --batch-size 4 --steps 2 --save-every 1 --no-compile --val-size 0""".split()


def error_of(capsys, *arguments):
    """The one line of a command that is refused."""
    capsys.readouterr()
    assert train.main([str(argument) for argument in arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def changed(source, target, change):
    """A copy of a run's folder, its last.pt changed by a function and one step from its end."""
    shutil.copytree(source, target)
    content = torch.load(target / "last.pt", weights_only=True)
    content["step"] -= 1
    change(content)
    torch.save(content, target / "last.pt")
    return target


# ----------------------------------------------------------------------------------------- a run's folder
def test_one_run_at_a_time_in_a_folder(here, reference, capsys):
    """Neither another run nor another --resume begins while one is at work; afterwards it may."""
    alone = Processes(torch.device("cpu"))
    with alone.alone_in(here / "busy"):
        assert "another program trains in busy" in error_of(capsys, *TINY, "--out", "busy")
        assert list(Path("busy").iterdir()) == []
    with alone.alone_in(here / "busy"):  # the first one has ended
        pass
    run = changed(reference, here / "run", lambda content: None)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    with alone.alone_in(run):
        assert "another program trains in" in error_of(capsys, "--resume", run)
    assert before == {path.name: path.read_bytes() for path in run.iterdir()}


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(files.os, "fsync", lambda number: done.append("fsync"))
    monkeypatch.setattr(files.os, "replace", lambda source, target: done.append("rename"))
    write_text(tmp_path / "a", "text")
    assert done == ["fsync", "rename"]


def test_eval_leaves_the_runs_own_figures(here, reference, no_pictures):
    shutil.copytree(reference, here / "mine")
    before = Path("mine/eval.json").read_bytes()
    assert train.main(["--eval", "mine/best.pt", "--test-size", "5", "--device", "cpu"]) == 0
    assert Path("mine/eval.json").read_bytes() == before
    assert json.loads(Path("runs/eval/mine-best/eval.json").read_text())["n"] == 5


def test_a_damaged_metrics_file_stops_nothing(here, reference):
    run = changed(reference, here / "run", lambda content: None)
    good = (run / "metrics.csv").read_bytes()
    damaged = b"x,1,2\n\xff\xfe\x00,\n4,oops,,,,,,,,,,,,\n"
    (run / "metrics.csv").write_bytes(damaged + good)
    assert train.main(["--resume", str(run)]) == 0
    rows, whole = metrics(run), metrics(reference)
    assert [row["step"] for row in rows] == [row["step"] for row in whole] and (run / "curves.png").exists()


# --------------------------------------------------------------------------------- the puzzles of a run
def maze_files(folder, n=6):
    """Open 3x3 rooms: each maze has several shortest paths, so that its label can be changed for another."""
    folder.mkdir()
    question, answer = "######S  ##   ##  G######", "######Soo##  o##  G######"
    rows = [f"{question},{answer}", f"{question[::-1]},{answer[::-1]}"]
    for name in ("train", "test"):
        (folder / f"{name}.csv").write_text("\n".join(["question,answer", *rows[:1] * n]) + "\n")
    return answer


def test_resume_sees_changed_answers_and_finds_data_that_moved(here, capsys, monkeypatch, no_pictures):
    answer = maze_files(here / "mazes")
    assert train.main(["--task", "maze", "--data", "mazes", *MINI, "--out", "run"]) == 0
    saved = torch.load("run/last.pt", weights_only=True)
    assert saved["options"]["data"] == str(here / "mazes")  # also found from another folder
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert train.main(["--resume", "../run"]) == 0
    (here / "mazes").rename(here / "moved")
    moved = "--resume", "../run", "--data", "../moved"
    assert train.main(moved) == 0
    file = here / "moved/train.csv"
    file.write_text(file.read_text().replace(answer, "######S  ##o  ##ooG######", 1))
    assert "the training puzzles are not those" in error_of(capsys, *moved)
    old = torch.load("../run/last.pt", weights_only=True)
    del old["answers"]  # of an earlier version: the questions alone are compared
    torch.save(old, "../run/last.pt")
    assert train.main(moved) == 0


def test_test_puzzles_that_are_training_puzzles_turned(tmp_path, capsys):
    maze_files(tmp_path / "mazes")
    path = tmp_path / "mazes/test.csv"
    path.write_text("question,answer\n######  S##   ##G  ######,######ooS##o  ##G  ######\n")
    load_splits(load_task("maze", data=tmp_path / "mazes"), tmp_path / "mazes")
    assert "1 of 1 test puzzles are training puzzles, perhaps turned" in capsys.readouterr().out


def test_the_seed_of_noise_is_not_that_of_the_puzzles(here, reference, no_pictures):
    def result(seed):
        command = f"--eval {reference}/best.pt --votes 3 --noise 3 --no-views --noise-seed {seed}"
        assert train.main([*command.split(), "--device", "cpu", "--out", seed]) == 0
        return json.loads(Path(seed, "eval.json").read_text())

    first, again, other = result("0"), result("0"), result("1")
    assert first["n"] == other["n"] == 6 and first["noise_seed"] == 0  # all of the run's own test puzzles
    assert first["cell"] == again["cell"] and first["segments"] == again["segments"]
    assert (first["cell"], first["segments"]) != (other["cell"], other["segments"])


# ------------------------------------------------------------------------------------------- checkpoints
def test_a_damaged_byte_is_seen(here, reference, capsys):
    """In the weights: PyTorch alone would load it."""
    content = bytearray((reference / "best.pt").read_bytes())
    largest = max(zipfile.ZipFile(reference / "best.pt").infolist(), key=lambda entry: entry.file_size)
    content[largest.header_offset + 200 + largest.file_size // 2] ^= 1
    Path("damaged.pt").write_bytes(content)
    assert torch.load("damaged.pt", weights_only=True).keys()
    assert "damaged.pt cannot be read" in error_of(capsys, "--eval", "damaged.pt")


@pytest.mark.parametrize("name, value", [("train_size", "many"), ("lr", "fast"), ("batch_size", [3])])
def test_an_option_of_a_wrong_type_in_a_checkpoint(here, reference, capsys, name, value):
    run = changed(reference, here / "run", lambda content: content["options"].update({name: value}))
    assert f"{name} is {value!r}" in error_of(capsys, "--resume", run)
    assert f"{name} is {value!r}" in error_of(capsys, "--eval", run)


def test_a_checkpoint_without_its_options(here, reference):
    run = changed(reference, here / "run", lambda content: content.update(options={}))
    with pytest.raises(UserError, match="does not fit.*'train_size'"):  # whatever it was trained on
        load_model(run)


# --------------------------------------------------------------------------------------- a task of one's own
OWN = {
    "generate(": ("pass", "has no method generate"),
    "floats": ("return a * 1.0, a * 1.0", r"Own.generate must return whole numbers \(.*\) of 0 to 2"),
    "shape": ("return a[:, :9], a[:, :9]", r"not uint8 \(.*, 9\)"),
    "number": ("return a", "Own.generate must return"),
    "nothing": ("return None", "Own.generate must return"),
    "token": ("return a + 7, a + 7", "of 0 to 2 .*its symbols are '_ab'"),
    "pad": ("return a, a * 0", "labels of PAD"),
}


@pytest.mark.parametrize("case", OWN)
def test_what_generate_returns(case):
    source, says = OWN[case]

    def generate(self, n, rng):
        a = rng.integers(1, 3, size=(n, self.seq_len)).astype(np.uint8)
        scope = {}
        exec(f"def made(a):\n    {source}", scope)
        return scope["made"](a)

    methods = {} if case == "generate(" else {"generate": generate}
    task = type("Own", (Task,), {"name": f"own {case}", "symbols": "_ab", "default_size": 4, **methods})()
    with pytest.raises(UserError, match=says):
        load_splits(task, None, 20, 2, 2, cache=None, progress=False)


class Plain(Task):
    name, symbols, default_size = "plain", "_ab", 4

    def generate(self, n, rng):
        rows = rng.integers(1, 3, size=(n, self.seq_len))
        return rows, rows


def test_what_symmetries_and_check_return():
    splits = load_splits(Plain(), None, 20, 2, 2, cache=None, progress=False)
    assert splits["train"].inputs.dtype == np.uint8  # whatever kind of whole number it was
    options, rng = SimpleNamespace(batch_size=4, seed=0, augment=True), np.random.default_rng(0)
    wrong = type("Wrong", (Plain,), {
        "name": "wrong",
        "symmetries": lambda self, n, rng: (np.arange(16), np.arange(3)),
        "check": lambda self, inputs, answers: True,
    })()
    with pytest.raises(UserError, match=r"Wrong.symmetries must return whole numbers \(4, 16\) of 0 to 15"):
        wrong.offer(splits["train"], 0, options, rng)
    model = SimpleNamespace(parameters=lambda: iter([torch.zeros(1)]))
    solution = SimpleNamespace(predictions=torch.ones(2, 16), segments=torch.ones(2), q_halt=torch.ones(2))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(train, "answer", lambda *_, **__: solution)
        with pytest.raises(UserError, match=r"Wrong.check must .* numbers \(2,\) of 0 to 1, not bool \(\)"):
            train.evaluate([model], wrong, splits["test"])


def test_symbols_of_any_alphabet():
    task = type("Greek", (Plain,), {"name": "greek", "symbols": "_aβ"})()
    assert task.decode(task.encode(["aβ" * 8])) == ["aβ" * 8]


# ------------------------------------------------------------------------------------------------- votes
def test_there_are_as_many_votes_as_views(capsys):
    """All of them different; a flood has 4, a maze 8, a Sudoku plenty."""
    for name, votes in (("flood", 4), ("maze", 8), ("sudoku", 100)):
        task = load_task(name)
        views = {np.hstack([part[0] for part in task.view(k, 1)]).tobytes() for k in range(100)}
        assert len(views) == votes
        assert task.check_votes({}, 1, 100, 0.0, True) == votes
        assert (f"{name} has {votes} different views" in capsys.readouterr().out) == (votes < 100)
        assert task.check_votes({}, 1, 100, 0.5, True) == 100  # with noise, each is different


def test_a_view_does_not_depend_on_the_place_in_the_batch():
    """A CPU evaluates 125 puzzles at once, a GPU 500."""
    task, boards = load_task("sudoku", size=4), np.random.default_rng(0).integers(6, size=(300, 16))
    whole = transform(boards.astype(np.uint8), *task.view(3, 300))
    parts = [transform(part.astype(np.uint8), *task.view(3, len(part))) for part in np.split(boards, 3)]
    assert (whole == np.concatenate(parts)).all() and (whole != boards).any()


# -------------------------------------------------------------------------------- what stands around it all
ROOT = Path(train.__file__).parent


def shell(command, folder):
    """Status and what it still printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = ["bash", "-c", command]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True)
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


PROGRAM = """
import sys, tqdm
from training.files import Shown
sys.stdout, sys.stderr = Shown(sys.stdout), Shown(sys.stderr)
for each in range(3):
    print("a σ \\udcff b", flush=True)
    print("σ", file=sys.stderr)
[*tqdm.tqdm(range(3))]
open("done", "w")
"""


@pytest.mark.parametrize("where", [">&-", "2>&-", ">/dev/full", "2>/dev/full", "| true"])
def test_a_stream_that_is_closed_or_full_ends_nothing(tmp_path, where):
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    status, output = shell(f"set -o pipefail; {sys.executable} program.py {where}", tmp_path)
    assert status == 0 and "Traceback" not in output and "Exception" not in output, output
    assert (tmp_path / "done").exists()


def test_letters_that_the_terminal_lacks(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    status, output = shell(f"PYTHONIOENCODING=ascii {sys.executable} program.py", tmp_path)
    assert status == 0 and output.startswith("a ? ? b\n" * 3) and "Traceback" not in output


@pytest.mark.parametrize("arguments", [
    "--batch-size 4000000000000", "--task-options extra=100000000000000000000", "--expansion 1e12",
    "--inner-multiple 100000000000", "--hidden-size 4000000000000", "--puzzle-emb-ndim 1000000000000",
    "--train-size 1000000000000000000",
])
def test_more_than_the_memory(here, capsys, arguments):
    line = error_of(capsys, *TINY, "--accumulate", "1", *arguments.split(), "--out", "new")
    assert "too much for this machine" in line and any(digit in line for digit in "123456789")


def test_an_error_that_nobody_foresaw_keeps_its_traceback():
    def work():
        raise ValueError("of the user's own")

    with pytest.raises(ValueError, match="of the user's own"):
        exit_status(work)


def test_processes_that_torchrun_started_print_an_error_once(monkeypatch, capsys):
    for rank in "01":
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert train.main(["--steps", "many"]) == 2
    assert capsys.readouterr().err.count("error:") == 1


@pytest.mark.parametrize("arguments, says", [
    (["--data", ""], "'' names no data"),
    (["--seed", str(2**64)], "--seed: 18446744073709551616 must be in 0.."),
    (["--task-options", "size=6"], "'size=6': write NAME=VALUE, .*size as --size"),
    (["--task-options", "extra=1 extra=2"], "'extra=2': .*each name once"),
    (["--task", "arc1", "--train-size", "9"], "leave out --train-size"),
])
def test_refused_in_one_line(here, capsys, arguments, says):
    line = error_of(capsys, *TINY, *arguments, "--out", "new")
    assert all(part in line for part in says.split(".*")) and not Path("new").exists()
    assert parse_options("extra=1 kind=random") == {"extra": "1", "kind": "random"}


def test_arc_json_that_is_nested_too_deeply(tmp_path, capsys):
    (tmp_path / "training").mkdir()
    (tmp_path / "training/a.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="a.json is no ARC task"):
        load_splits(load_task("arc1"), str(tmp_path), progress=False)


@pytest.mark.parametrize("text", ["\ufeff12 3.\r\n34 12\n\n21 43\n43 21\n"])
def test_boards_as_people_write_them(tmp_path, text):
    from analysis.steps import parse_puzzle

    (tmp_path / "board.txt").write_bytes(text.encode())
    sudoku, maze = load_task("sudoku", size=4), load_task("maze", size=5)
    assert sudoku.decode(parse_puzzle(sudoku, str(tmp_path / "board.txt"))[None]) == ["123.341221434321"]
    dots = maze.decode(parse_puzzle(maze, "######S..##.#.##..G######")[None])
    assert dots == ["######S  ## # ##  G######"]
    (tmp_path / "board.csv").write_bytes(b"question, answer\r 123.341221434321 , 1234341221434321 \r\r")
    split = load_splits(load_task("sudoku", data=tmp_path / "board.csv"), tmp_path / "board.csv")["test"]
    assert sudoku.decode(split.labels) == ["1234341221434321"]


def test_an_interval_has_no_negative_end():
    assert f"{interval(0.0, 300)[0]:.4f}" == "0.0000" and f"{interval(1.0, 300)[1]:.4f}" == "1.0000"


def test_what_is_copied_to_a_gpu_is_pinned(monkeypatch):
    moved = []
    pinned = SimpleNamespace(to=lambda device, **how: moved.append(how))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned)
    split = load_splits(Plain(), None, 3, 1, 1, cache=None, progress=False)["train"]
    data.to_tensors(split, torch.device("cuda"), torch.ones(3))  # inputs, labels, ids, M_min
    assert moved == [{"non_blocking": True}] * 4


def test_process_groups_are_destroyed(monkeypatch):
    closed = []
    monkeypatch.setattr("torch.distributed.destroy_process_group", lambda: closed.append(True))
    monkeypatch.setattr(train, "evaluate_command", lambda given, processes: setattr(processes, "world", 2))
    assert train.main(["--eval", "x.pt"]) == 0 and closed == [True]


def test_sign_sgd_waits_for_no_gpu(monkeypatch):
    """`unique` must know how many there are; on "meta" nobody does. The sums are those of before."""
    table, ids, grads = torch.zeros(50, 8), torch.randint(50, (64,)), torch.randn(64, 8)
    train.sign_sgd_(table.to("meta"), ids.to("meta"), grads.to("meta"), 0.1, 0.5)
    train.sign_sgd_(table, ids, grads, lr=0.1, weight_decay=0.5)
    for row in range(50):
        total = sum(grads[ids == row], torch.zeros(8))
        assert torch.equal(table[row], -0.1 * total.sign())

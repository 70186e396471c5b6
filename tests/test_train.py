"""train.py: learning, evaluation against counting by hand, what a run leaves behind, a task of one's own.
What happens to a run that is stopped, or split over processes: test_trust.py and training/."""

import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounter

import analyze
import data
import train
from data import load_splits, load_task
from extras.published import to_published
from hrm import HRM, HRMConfig
from puzzles.split import Split, transform
from puzzles.sudoku import Sudoku
from puzzles.task import Task
from tests.models import Copycat
from tests.runs import TINY, error_of, load, metrics, read_json
from train import evaluate, first_compiled
from training.checkpoints import load_model


# --------------------------------------------------------------------------------------------------- training
def test_a_tiny_model_learns_eight_puzzles_by_heart(here, no_pictures, monkeypatch, capsys):
    monkeypatch.setattr(Sudoku, "augments", False)
    options = """--task sudoku --size 4 --hidden-size 32 --num-heads 2 --H-layers 1 --L-layers 1 --M-max 4
        --grow-M-max 0 --ema 0 --q-weight 1 --lr 6e-3 --lr-end 0.1 --warmup 10 --weight-decay 0 --train-size 8
        --val-size 2 --test-size 2 --batch-size 8 --steps 300 --eval-every 300 --out run -q"""
    assert train.main(options.split()) == 0
    assert capsys.readouterr().err == ""  # -q: no bar, of whatever is done
    model, task, _ = load_model("run/last.pt")
    puzzles = load_splits(task, None, 8, 2, 2, progress=False)["train"]
    result = evaluate([model], task, puzzles, confidence=0.95)
    assert result["n"] == 8
    for name in ("exact", "cell", "q_halt_accuracy", "valid"):
        assert result[name] == 1
    assert result["segments"] < 4  # it knows that it is right


@pytest.mark.parametrize("on_gpu, first", [(False, [10, 10, 11]), (True, [0, 5, 11])])
def test_no_step_on_a_gpu_is_taken_without_the_compiler(on_gpu, first):
    processes = SimpleNamespace(on_gpu=on_gpu)
    assert [first_compiled(SimpleNamespace(processes=processes, step=step)) for step in (0, 5, 11)] == first


def test_two_graphs_and_no_more(here, monkeypatch, no_pictures):
    """The segment with gradient, the look ahead without. Validation, between compiled steps, takes none."""
    module_compile = torch.nn.Module.compile
    monkeypatch.setattr(train, "EAGER_STEPS", 2)
    for dtype in ("float32", "bfloat16"):
        begin = [*TINY, "--grow-M-max", "0", "--steps", "10000", "--dtype", dtype, "--out", dtype]
        for options, last in ((begin, 6), (["--resume", dtype], 10)):
            torch._dynamo.reset()
            counter = CompileCounter()
            monkeypatch.setattr(torch.nn.Module, "compile",
                                lambda model: module_compile(model, backend=counter))
            monkeypatch.setattr(train, "stopped", lambda run, stop: run.step == last)
            assert train.main([*options, "--compile", "-q"]) == 130
            assert counter.frame_count == 2


def test_the_folder_of_a_run(reference):
    files = {path.name for path in reference.glob("[a-z]*")}
    pictures = {"curves.png", "solved.png"}
    assert files == {"config.json", "metrics.csv", "last.pt", "best.pt", "eval.json", *pictures}
    for name in pictures:
        assert (reference / name).read_bytes().startswith(b"\x89PNG")
    config = read_json(reference, "config.json")
    assert config["task"]["size"] == 4
    assert config["options"]["train_size"] == 24
    assert config["model"]["hidden_size"] == 16
    rows = {int(row["step"]): row for row in metrics(reference)}
    assert list(rows) == [4, 8, 10, 12, 16, 20, 24]
    assert [step for step, row in rows.items() if not row["val_exact"]] == [10]
    last = load(reference / "last.pt")
    assert last["step"] == 24
    assert last["model"]["puzzle_emb"].any()  # the puzzle embedding was trained


# ------------------------------------------------------------------------------------------------- evaluation
@pytest.mark.parametrize("n", [1, 126, 703])
def test_evaluation_against_counting(n):
    rng = np.random.default_rng(n)
    inputs = rng.integers(1, 8, size=(n, 5), dtype=np.uint8)
    wrong = rng.random((n, 5)) < 0.15
    labels = np.where(wrong, inputs % 7 + 1, inputs)
    labels[:, 2:] *= rng.random((n, 3)) < 0.7  # a PAD in the labels: this cell is not counted
    split = Split(inputs, labels, np.zeros(n, np.int32))
    total = dict.fromkeys(["exact", "cell", "segments", "q_halt_accuracy", "valid"], 0)
    for given, label in zip(inputs.tolist(), labels.tolist()):
        right = [a == b for a, b in zip(given, label) if b]
        total["exact"] += all(right)
        total["cell"] += sum(right) / len(right)
        total["segments"] += min(given[0], 4)
        total["q_halt_accuracy"] += (given[0] <= 4) == all(right)
        total["valid"] += given[1] % 2 == 0
    models = [Copycat()]
    task = SimpleNamespace(is_right=lambda inputs, labels, answers: answers[:, 1] % 2 == 0)
    result = evaluate(models, task, split, confidence=0.5)
    assert result["n"] == n
    for name in total:
        assert result[name] == pytest.approx(total[name] / n, rel=1e-5), name
    assert evaluate(models, task, split)["segments"] == 4  # it does not stop early
    assert evaluate(models, task, split, max_segments=2)["segments"] == 2

    sent = []  # the same puzzles shared by two processes, one after the other

    def sum_(tensors):
        sent.append(tensors[0].clone())
        tensors[0].copy_(sum(sent))

    for rank in (1, 0):
        processes = SimpleNamespace(rank=rank, world=2, sum_=sum_)
        found = []
        if rank == 0 or n > 1:
            shared = evaluate(models, task, split, confidence=0.5, processes=processes, found=found)
            assert sum(len(each.segments) for each in found) == (n + 1 - rank) // 2  # a half each
    for name in total:
        assert shared[name] == pytest.approx(result[name], rel=1e-5), name


def evaluated(*arguments):
    """What `train.py --eval` writes to eval.json."""
    command = ["--eval", *arguments, "--out", "evaluated"]
    assert train.main([str(word) for word in command]) == 0
    return read_json("evaluated/eval.json")


def assert_same(result, other):
    for name in ("n", "exact", "cell", "segments"):
        assert result[name] == pytest.approx(other[name]), name


def write_csv(name, task, split):
    lines = ["question,answer"]
    for texts in zip(task.decode(split.inputs), task.decode(split.labels)):
        lines.append(",".join(texts))
    Path(name).write_text("\n".join(lines))


def test_eval_makes_no_puzzles(here, reference, no_pictures, monkeypatch, capsys):
    """It leaves the run's own figures, and with -q it says nothing but the result."""
    monkeypatch.setattr(data, "distinct_puzzles", None)
    shutil.copytree(reference, "mine")
    before = read_json("mine/eval.json")
    assert train.main(["--eval", "mine/best.pt"]) == 0
    assert read_json("mine/eval.json") == before
    assert_same(read_json("runs/eval/mine-best/eval.json"), before)
    result = evaluated("mine", "--max-segments", 7, "--confidence", 1)
    assert result["max_segments"] == result["segments"] == 7
    assert result["checkpoint"] == "mine"  # a folder: its last.pt

    model, task, _ = load_model("mine/best.pt")
    kept = load("mine/best.pt")["test"]
    split = Split(kept["inputs"].numpy(), kept["labels"].numpy(), np.zeros(6, int))[:5]
    write_csv("five.csv", task, split)
    capsys.readouterr()
    result = evaluated("mine/best.pt", "--data", "five.csv", "-q")
    assert_same(result, evaluate([model], task, split, confidence=result["confidence"]))
    said = capsys.readouterr()
    assert said.err == ""
    assert "mine/best.pt on 5 test puzzles" in said.out
    assert not Path("data").exists()
    answers = Path("evaluated/answers.csv").read_text().splitlines()
    assert answers[0].startswith("question,answer")
    assert len(answers) == 6


def test_eval_of_a_published_checkpoint(here, no_pictures):
    torch.manual_seed(0)
    config = HRMConfig(vocab_size=6, seq_len=16, hidden_size=16, num_heads=4, H_layers=1, L_layers=2,
                       puzzle_emb_ndim=16, M_max=3, dtype="float32")
    model = HRM(config)
    weights = to_published(model)
    torch.save({f"_orig_mod.{name}": tensor for name, tensor in weights.items()}, "published")
    told = "--task sudoku --size 4 --num-heads 4 --M-max 3 --train-size 20 --val-size 0 --test-size 7"
    result = evaluated("published", *told.split())
    task = load_task("sudoku", size=4)
    puzzles = load_splits(task, None, 20, 0, 7, progress=False)["test"]
    assert result["segments"] == 3
    assert_same(result, evaluate([model], task, puzzles))


def test_no_test_puzzle_was_trained_on(here, reference, no_pictures, capsys):
    """By whichever of the checkpoints, up to symmetry, whatever is asked for."""
    other_parts = "--train-size 12 --test-size 18"  # of the same 36 puzzles
    assert evaluated(reference, *other_parts.split())["n"] == 12
    assert "6 of 18 puzzles are left out" in capsys.readouterr().out

    assert train.main([*TINY, "--seed", "1", "--steps", "1", "--out", "other"]) == 0
    task = load_task("sudoku", size=4)
    split = load_splits(task, None, 24, 6, 6, seed=1, progress=False)["train"]
    symmetry = task.symmetries(24, np.random.default_rng(0))
    split.inputs = transform(split.inputs, *symmetry)
    split.labels = transform(split.labels, *symmetry)
    write_csv("turned.csv", task, split)
    error = error_of(capsys, "--eval", reference, "other", "--data", "turned.csv")
    assert "other was trained on all of these puzzles" in error


def test_what_init_was_trained_on_stays_left_out(here, reference, monkeypatch, capsys, no_pictures):
    begin = [*TINY, *f"--train-size 12 --val-size 18 --init {reference} --out run".split()]
    monkeypatch.setattr(train, "stopped", lambda run, stop: run.step > 4)
    for options in (begin, *[["--resume", "run"]] * 2):
        assert train.main([*options, "-q"]) == 130
        assert "12 of 18 puzzles are left out" in capsys.readouterr().out


# -------------------------------------------------------------------------------------- a task of one's own
OWN = '''
import numpy as np
from puzzles.task import Task

class Turned(Task):
    """Turn a flat picture upside down."""
    name = "turned"
    symbols = "_.#"

    @property
    def grid(self):
        return 2, self.size

    def generate(self, n, rng):
        pictures = rng.integers(1, 3, size=(n, self.seq_len)).astype(np.uint8)
        return pictures, pictures[:, ::-1].copy()
'''


def printed_command(capsys, script):
    """The words after `python SCRIPT` in what was printed."""
    _, _, words = capsys.readouterr().out.rpartition(f"python {script} ")
    return shlex.split(words.partition("\n")[0])


def test_what_a_run_prints_works_as_it_stands(here, monkeypatch, capsys):
    """Also for a task of one's own whose board is no square, in a folder with a space in its name."""
    Path("turned.py").write_text(OWN)
    monkeypatch.setattr(analyze, "animate", lambda task, steps, path: path.touch())  # saves seconds
    command = [*TINY, "--task", "turned", "--steps", "2", "--out", "my runs/1"]
    assert "--positions learned" in error_of(capsys, *command)
    with monkeypatch.context() as patched:
        patched.setattr(train, "stopped", lambda run, stop: run.step == 1)
        assert train.main([*command, "--positions", "learned"]) == 130
    assert train.main(printed_command(capsys, "train.py")) == 0
    watch = printed_command(capsys, "analyze.py")
    assert watch == ["steps", "--checkpoint", "my runs/1/best.pt", "--task", "turned"]
    monkeypatch.delitem(Task.kinds, "turned")  # as in another program, which has not imported it
    assert analyze.main(watch[:-2]) == 2
    assert "add --task turned" in capsys.readouterr().err
    assert analyze.main([*watch, "--puzzle", "#.......", "--out", "."]) == 0
    assert "not checked" in capsys.readouterr().out and Path("steps-turned-2x4.png").exists()
    assert analyze.main(watch) == 0
    result = evaluated("my runs/1/best.pt", "--task", "turned")
    assert result["valid"] == result["exact"]

"""The training loop and its parts, against NumPy and counting by hand; and evaluation. What happens to a run
that is killed, resumed or split over processes: tests/training."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import train
from data import load_splits, load_task
from hrm import HRM, HRMConfig
from puzzles.task import Split
from tests.runs import load, metrics
from train import evaluate
from training.checkpoints import load_model, to_published


# ------------------------------------------------------------------------------------------------ training
def test_a_tiny_model_learns_eight_puzzles_by_heart(here, no_pictures, capsys):
    options = """--task sudoku --size 4 --preset small --device cpu --hidden-size 32 --num-heads 2
        --H-layers 1 --L-layers 1 --inner-multiple 16 --M-max 4 --grow-M-max 0 --ema 0 --no-augment --lr 3e-3
        --lr-end 0.1 --warmup 10 --weight-decay 0 --train-size 8 --val-size 2 --test-size 2 --batch-size 8
        --steps 350 --eval-every 350 --log-every 25 --out run --quiet""".split()
    assert train.main(options) == 0
    assert capsys.readouterr().err == ""  # --quiet: no bar, of whatever is done
    rows = metrics(Path("run"))
    assert float(rows[-1]["loss"]) < 0.2 * float(rows[0]["loss"]) and float(rows[-1]["exact"]) == 1
    model, task, trained = load_model("run/last.pt")
    puzzles = load_splits(task, None, 8, 2, 2, trained["seed"], progress=False)["train"]
    result = evaluate([model], task, puzzles)
    assert result["n"] == 8
    assert result["exact"] == result["valid"] == result["cell"] == result["q_halt_accuracy"] == 1
    assert result["segments"] < 4  # it knows that it is right


# ------------------------------------------------------------------------------------------------- evaluation
class Copycat(torch.nn.Module):
    """Answers with the input, and wants to halt in the segment that the first cell names."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(M_max=4)
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def puzzle_vectors(self, puzzle_ids):
        return None

    def initial_state(self, B):
        return torch.zeros(B), torch.zeros(B)

    def forward(self, z, inputs, puzzle_vectors):
        segment, logits = z[0] + 1, torch.nn.functional.one_hot(inputs, 8).float()
        q_halt = torch.where(inputs[:, 0] <= segment, 1.0, -1.0)
        return (segment, segment), logits, q_halt, torch.zeros(len(inputs))

    def wants_to_halt(self, q_halt, q_continue, confidence):
        return q_halt > q_continue


def even_second_cell(inputs, answers):
    """A rule for a task to check."""
    return answers[:, 1] % 2 == 0


@pytest.mark.parametrize("n", [1, 125, 126, 703])
def test_evaluation_against_counting(n):
    rng = np.random.default_rng(n)
    inputs = rng.integers(1, 8, size=(n, 5))
    labels = np.where(rng.random(inputs.shape) < 0.15, rng.integers(1, 8, size=inputs.shape), inputs)
    labels[:, 2:] *= rng.random((n, 3)) < 0.7  # a PAD in the labels: this cell is not counted
    split = Split(
        inputs.astype(np.uint8), labels.astype(np.uint8), np.zeros(n, np.int32), np.zeros(n, np.float32)
    )
    exact = cell = valid = segments = q = 0
    for given, label in zip(inputs, labels):
        counted = [i for i in range(5) if label[i] != 0]
        right = [i for i in counted if given[i] == label[i]]
        exact += right == counted
        cell += len(right) / len(counted)
        valid += given[1] % 2 == 0
        segments += min(given[0], 4)
        q += (given[0] <= 4) == (right == counted)
    models, even = [Copycat()], SimpleNamespace(check=even_second_cell)
    result = evaluate(models, even, split)
    assert result["n"] == n and result["puzzles_per_s"] > 0
    for name, total in dict(
        exact=exact, cell=cell, valid=valid, segments=segments, q_halt_accuracy=q
    ).items():
        assert result[name] == pytest.approx(total / n, rel=1e-5), name
    assert evaluate(models, even, split, halt=False)["segments"] == 4
    assert evaluate(models, even, split, max_segments=2, halt=False)["segments"] == 2
    assert evaluate(models, SimpleNamespace(check=lambda *_: None), split)["valid"] == result["exact"]

    sent = []  # the same puzzles shared by two processes, one after the other

    def sum_(tensors):
        sent.append(tensors[0].clone())
        tensors[0].copy_(sum(sent))

    for rank in (1, 0):
        processes = SimpleNamespace(rank=rank, world=2, sum_=sum_, device=torch.device("cpu"))
        if rank == 0 or n > 125:
            shared = evaluate(models, even, split, processes)
    assert {**shared, "puzzles_per_s": 0} == pytest.approx({**result, "puzzles_per_s": 0}, rel=1e-5)


RESULT = {
    "checkpoint",
    "max_segments",
    "halt",
    "confidence",
    "votes",
    "noise",
    "views",
    "noise_seed",
    "n",
    "exact",
    "valid",
    "cell",
    "segments",
    "q_halt_accuracy",
    "puzzles_per_s",
}


def test_the_folder_of_a_run(reference):
    assert {path.name for path in reference.iterdir()} == {
        "config.json",
        "metrics.csv",
        "curves.png",
        "solved.png",
        "last.pt",
        "best.pt",
        "eval.json",
    }
    config = json.loads((reference / "config.json").read_text())
    assert config["task"] == {"name": "sudoku", "size": 4, "extra": 6}
    assert config["options"]["train_size"] == 24 and config["model"]["hidden_size"] == 16
    assert json.loads((reference / "eval.json").read_text()).keys() == RESULT
    for name in ("curves.png", "solved.png"):
        assert (reference / name).read_bytes().startswith(b"\x89PNG")
    rows = metrics(reference)
    expected = sorted({*range(2, 25, 2), *range(3, 25, 3)})
    assert [int(row["step"]) for row in rows] == expected
    assert [int(row["step"]) for row in rows if row["val_exact"]] == [8, 16, 24]
    last = load(reference / "last.pt")
    assert last["step"] == 24 and last["optimizers"][0]["param_groups"][0]["t"] == 24
    assert last["model"]["puzzle_emb"].any()  # the puzzle embedding was trained
    assert load(reference / "best.pt")["step"] in (8, 16, 24)


def test_eval_of_a_checkpoint(here, reference, capsys, no_pictures):
    def result(*arguments):
        assert train.main(["--eval", *map(str, arguments), "--out", "evaluated"]) == 0
        return json.loads(Path("evaluated/eval.json").read_text())

    model, task, _ = load_model(reference / "best.pt")
    puzzles = load_splits(task, None, 24, 6, 6, 0, progress=False)["test"]
    own = json.loads((reference / "eval.json").read_text())
    again = result(reference / "best.pt")
    assert again.keys() == RESULT and "exact" in capsys.readouterr().out
    for name in ("n", "exact", "valid", "cell", "segments"):
        assert again[name] == own[name]
    assert result(reference)["checkpoint"] == str(reference)  # a folder: its last.pt

    questions, answers = task.decode(puzzles.inputs), task.decode(puzzles.labels)
    rows = [f"x,{question},{answer},0" for question, answer in zip(questions, answers)]
    Path("puzzles.csv").write_text("\n".join(["source,question,answer,rating", *rows[:5]]) + "\n")
    from_file = result(reference / "best.pt", "--data", "puzzles.csv")
    expected = evaluate([model], task, puzzles[:5])
    assert from_file["n"] == 5 and from_file["cell"] == pytest.approx(expected["cell"])
    short = result(reference / "best.pt", "--data", "puzzles.csv", "--max-segments", "1")
    assert short["max_segments"] == short["segments"] == 1
    assert result(reference / "best.pt", "--max-segments", "7", "--no-halt")["segments"] == 7


def test_a_checkpoint_keeps_its_test_puzzles(here, reference, no_pictures, monkeypatch):
    """So nothing is made anew to measure it, unless other puzzles are asked for."""
    made = []
    monkeypatch.setattr("training.checkpoints.load_splits",
                        lambda *asked: made.append(asked) or load_splits(*asked, cache=None))
    assert train.main(["--eval", str(reference / "best.pt"), "--out", "same"]) == 0 and not made
    same, before = (json.loads((folder / "eval.json").read_text()) for folder in (Path("same"), reference))
    assert all(same[name] == before[name] for name in ("n", "exact", "cell", "segments"))
    assert train.main(["--eval", str(reference / "best.pt"), "--out", "other", "--test-size", "5"]) == 0
    assert made


def test_eval_of_a_published_checkpoint(here, no_pictures):
    torch.manual_seed(0)
    sizes = dict(
        hidden_size=16, num_heads=4, H_layers=1, L_layers=2, puzzle_emb_ndim=16, M_max=3, dtype="float32"
    )
    model = HRM(HRMConfig(vocab_size=6, seq_len=16, **sizes))
    torch.save({f"_orig_mod.{name}": tensor for name, tensor in to_published(model).items()}, "published")
    command = "--eval published --task sudoku --size 4 --num-heads 4 --M-max 3 --dtype float32"
    small = "--train-size 20 --val-size 0 --test-size 7 --out evaluated"
    assert train.main(f"{command} {small}".split()) == 0
    result = json.loads(Path("evaluated/eval.json").read_text())
    puzzles = load_splits(load_task("sudoku", size=4), None, 20, 0, 7, 0, progress=False)["test"]
    expected = evaluate([model], load_task("sudoku", size=4), puzzles, halt=False)
    assert result["segments"] == 3 and result["n"] == 7
    assert result["cell"] == pytest.approx(expected["cell"])


# -------------------------------------------------------------------------------------- a task of one's own
def test_a_students_task_from_end_to_end(here, capsys):
    (here / "turned.py").write_text('''
import numpy as np
from puzzles.task import Task

class Turned(Task):
    """Turn the picture upside down."""
    name, symbols, default_size = "turned", "_.#", 4

    def generate(self, n, rng):
        pictures = rng.integers(1, 3, size=(n, self.seq_len)).astype(np.uint8)
        return pictures, pictures[:, ::-1].copy()
''')
    sizes = "--hidden-size 16 --num-heads 2 --H-layers 1 --L-layers 1 --M-max 2 --steps 6"
    amounts = "--train-size 20 --val-size 4 --test-size 5 --batch-size 4 --device cpu"
    assert train.main(f"--task turned {sizes} {amounts}".split()) == 0
    assert train.main(["--eval", "runs/turned/best.pt"]) == 0
    result = json.loads((here / "runs/turned/eval.json").read_text())
    assert result["n"] == 5 and result["valid"] == result["exact"]


# ------------------------------------------------------------ what a figure is measured on
SMALL = """--task maze --size 7 --train-size 200 --val-size 2 --batch-size 4 --steps 1 --hidden-size 8
    --num-heads 1 --H-layers 1 --L-layers 1 --puzzle-emb-ndim 0 --M-max 1 --device cpu --no-compile""".split()


@pytest.fixture(scope="module")
def two_seeds(tmp_path_factory):
    """Two runs on different mazes, of which there are few: their splits overlap."""
    folder = tmp_path_factory.mktemp("seeds")
    for seed in "01":
        out = str(folder / seed)
        assert train.main([*SMALL, "--test-size", "50", "--seed", seed, "--out", out]) == 0
    return folder


@pytest.mark.parametrize("names, asked", [
    ("0", "--seed 1"), ("0", "--test-size 100"), ("0", "--val-size 60 --test-size 150"), ("0 1", ""),
    ("1 0", "--seed 3"),
])
def test_no_test_puzzle_was_trained_on(two_seeds, here, no_pictures, monkeypatch, names, asked):
    """Whatever is asked for, and by whichever of the checkpoints, up to symmetry."""
    measured = []
    monkeypatch.setattr(train, "report", lambda models, task, split, *_, **options: measured.append(split))
    paths = [str(two_seeds / name / "best.pt") for name in names.split()]
    assert train.main(["--eval", *paths, *asked.split(), "--device", "cpu"]) == 0
    task = load_task("maze", size=7)
    prints = task.fingerprint(measured[0].inputs)
    assert len(prints) > 10
    for name in names.split():
        trained_on = load_splits(task, None, 200, 2, 50, int(name), progress=False)["train"]
        assert not np.isin(prints, task.fingerprint(trained_on.inputs)).any()


def test_training_stops_when_the_loss_is_not_finite(here, no_pictures, capsys):
    """The last finite checkpoint stays, and weights that are not finite are refused."""
    options = [*SMALL, *"--lr 1e30 --warmup 0 --steps 40 --log-every 1 --save-every 1".split()]
    assert train.main([*options, "--out", "run"]) == 2
    error = capsys.readouterr().err
    assert "at step" in error and "lower --lr" in error and "Traceback" not in error
    for path in Path("run").glob("*.pt"):
        assert all(p.isfinite().all() for p in torch.load(path, weights_only=True)["averaged"].values())
    assert train.main([*SMALL, "--out", "good"]) == 0
    content = torch.load("good/last.pt", weights_only=True)
    content["averaged"]["head.weight"][0, 0] = float("nan")
    torch.save(content, "nan.pt")
    assert train.main(["--eval", "nan.pt", "--device", "cpu"]) == 2
    assert "not finite" in capsys.readouterr().err


def test_a_checkpoint_chooses_no_code(here, no_pictures, two_seeds, capsys):
    """A file of the user's is run for a checkpoint only if --task names it."""
    content = torch.load(two_seeds / "0/last.pt", weights_only=True)
    content["task"] = {"name": "trap", "size": 7}
    torch.save(content, "trap.pt")
    Path("trap.py").write_text("open('executed', 'w')\n")
    for command in (["--eval", "trap.pt"], ["--resume", "trap.pt"]):
        assert train.main(command) == 2
        assert "add --task trap" in capsys.readouterr().err and not Path("executed").exists()
    assert train.main(["--eval", "trap.pt", "--task", "trap"]) == 2  # it is run, and defines no such task
    assert Path("executed").exists()

"""puzzles/arc_vote.py: votes counted by hand, a model whose answers are known, and whole tiny runs."""
# ruff: noqa: F401, F811 (fixtures are imported by their names)

import json
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import train
from data import load_task
from hrm import HRMConfig
from puzzles import arc_vote
from puzzles.arc import Arc1
from tests.puzzles.test_arc import FOUR, ONE, THREE, TWO, tiny, write_task
from tests.runs import differences, in_processes, load, metrics
from training.files import UserError
from training.options import Options, optimiser_steps, task_keywords, with_preset
from training.processes import Processes

pytestmark = pytest.mark.usefixtures("here")

# ---- voting


def grid(*rows):
    return np.array(rows, np.uint8)


def sigma(x):
    return 1 / (1 + np.exp(-x))


def test_votes_by_hand():
    a, b, c, d = grid([1, 2]), grid([1], [2]), grid([5]), grid([6])  # a and b have the same bytes
    answers = arc_vote.by_votes([c, a, None, b, a, b, None, d], [9.0, 0.0, 9.0, -1.0, 2.0, 2.0, 9.0, 9.0])
    # a and b: two votes each, means of σ: a (0.5 + 0.881) / 2 = 0.690, b (0.269 + 0.881) / 2 = 0.575.
    # c and d: one vote each, equal confidence, c was predicted first.
    assert [answer["grid"].tolist() for answer in answers] == [[[1, 2]], [[1], [2]], [[5]], [[6]]]
    assert [answer["votes"] for answer in answers] == [2, 2, 1, 1]
    assert [answer["share"] for answer in answers] == [2 / 8, 2 / 8, 1 / 8, 1 / 8]
    assert answers[0]["confidence"] == pytest.approx((0.5 + sigma(2.0)) / 2)
    assert answers[1]["confidence"] == pytest.approx((sigma(-1.0) + sigma(2.0)) / 2)
    assert arc_vote.by_votes([None, None], [0.0, 1.0]) == [] and arc_vote.by_votes([], []) == []


def test_pass_at_K_by_hand():
    right, other, third = grid([1]), grid([2]), grid([3])
    answers = arc_vote.by_votes([other, right, third, other, right, other], np.zeros(6))  # 3, 2 and 1 votes
    found = [arc_vote.place_of(truth, answers) for truth in (other, right, third, grid([4]))]
    assert found == [1, 2, 3, np.inf]
    places = {"one": [1], "two": [2, 3], "none": [np.inf, 1, np.inf, np.inf]}
    assert arc_vote.pass_at(places, 1) == pytest.approx((1 + 0 + 1 / 4) / 3)
    assert arc_vote.pass_at(places, 2) == pytest.approx((1 + 1 / 2 + 1 / 4) / 3)
    assert arc_vote.pass_at(places, 3) == pytest.approx((1 + 1 + 1 / 4) / 3)
    assert arc_vote.pass_at(places, 100) == pytest.approx((1 + 1 + 1 / 4) / 3)


def check_submission(text, tests):
    """The format as ARC Prize defines it: an object of task ids; for each, a list with one object per test
    input, with the keys attempt_1 and attempt_2; each a grid: 1 to 30 rows, equally long, of 1 to 30 integers
    0..9."""
    content = json.loads(text)
    assert type(content) is dict and set(content) == set(tests)
    for task, count in tests.items():
        assert type(content[task]) is list and len(content[task]) == count
        for entry in content[task]:
            assert type(entry) is dict and set(entry) == {"attempt_1", "attempt_2"}
            for attempt in entry.values():
                assert type(attempt) is list and 1 <= len(attempt) <= 30
                for row in attempt:
                    assert type(row) is list and len(row) == len(attempt[0]) and 1 <= len(row) <= 30
                    assert all(type(cell) is int and 0 <= cell <= 9 for cell in row)
    return content


def test_submission_format():
    two = arc_vote.by_votes([grid([1, 2]), grid([3])], [1.0, 0.0])
    one = arc_vote.by_votes([grid([0] * 30)] * 3, np.zeros(3))
    text = json.dumps(arc_vote.submission({"00576224": [two, one], "ffffffff": [[]]}))
    content = check_submission(text, {"00576224": 2, "ffffffff": 1})
    assert content["00576224"][0] == {"attempt_1": [[1, 2]], "attempt_2": [[3]]}
    assert content["00576224"][1] == {"attempt_1": [[0] * 30], "attempt_2": [[0] * 30]}
    assert content["ffffffff"] == [{"attempt_1": [[0]], "attempt_2": [[0]]}]


# ---- evaluation of a known model


class Copycat(torch.nn.Module):
    """Answers with the input."""

    def __init__(self, num_puzzles):
        super().__init__()
        self.config = SimpleNamespace(M_max=2, num_puzzles=num_puzzles)
        self.asked = []

    def puzzle_vectors(self, puzzle_ids):
        self.asked += puzzle_ids.tolist()

    def initial_state(self, B):
        return torch.zeros(B), torch.zeros(B)

    def forward(self, z, inputs, puzzle_vectors):
        logits = torch.nn.functional.one_hot(self.answer(inputs), 12).float()
        return z, logits, torch.zeros(len(inputs)), torch.zeros(len(inputs))

    def answer(self, inputs):
        return inputs

    def wants_to_halt(self, q_halt, q_continue, confidence):
        return q_halt >= 0


class Scribbler(Copycat):
    """Never draws a grid."""

    def answer(self, inputs):
        return torch.ones_like(inputs)


ALONE = Processes(torch.device("cpu"))
THINKING = {"max_segments": None, "halt": True, "confidence": 0.5, "noise": 0.0, "views": True, "seed": 0}


def evaluated(folder, tiny, make=Copycat, votes=None, **changed):
    task = Arc1(size=4, augmentations=30)
    split = task.load(str(tiny), None)["test"]
    model = make(changed.get("num_puzzles", split.num_puzzles))
    task.report([model], task, split, Path(folder), ALONE, "checkpoint", False, votes, **THINKING)
    return json.loads((Path(folder) / "eval.json").read_text()), model


def test_evaluation_of_a_copycat(tiny, capsys):
    result, model = evaluated("out", tiny)
    assert result["tasks"] == 3 and result["n"] == 4 and result["malformed"] == 0 and result["segments"] == 1
    assert result["pass@1"] == result["pass@2"] == result["pass@100"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert result["solved_in_two"] == [["easy", 0], ["half", 0]]
    assert result["predictions"] == 31 * 4 == len(set(model.asked)) + 31  # half: two test grids, the same ids
    content = check_submission(Path("out/submission.json").read_text(), {"easy": 1, "half": 2, "hard": 1})
    assert content["easy"][0]["attempt_1"] == THREE and content["hard"][0]["attempt_2"] == FOUR
    assert "2 of 4 test grids" in capsys.readouterr().out
    assert evaluated("out", tiny, votes=7)[0]["predictions"] == 7 * 4
    with pytest.raises(UserError, match="puzzle ids"):
        evaluated("out", tiny, num_puzzles=17)


def test_a_model_that_never_draws_a_grid(tiny):
    result, _ = evaluated("out", tiny, Scribbler)
    assert result["malformed"] == 1 and result["pass@100"] == 0
    check_submission(Path("out/submission.json").read_text(), {"easy": 1, "half": 2, "hard": 1})


def test_pictures(tmp_path):
    """Also of an answer that is no grid."""
    write_task(tmp_path / "arc/training", "known", [(ONE, ONE)], [(TWO, TWO)])
    write_task(tmp_path / "arc/evaluation", "easy", [(TWO, TWO), (ONE, ONE)], [(THREE, THREE)])
    task = Arc1(size=3, augmentations=3)
    split = task.load(str(tmp_path / "arc"), None)["test"]
    arc_vote.draw_attempts(split, [arc_vote.by_votes([grid([5, 5, 5])], [0.0])], Path("attempts.png"))
    arc_vote.draw_table([[("an answer", None)]], Path("none.png"))
    for picture in ("attempts.png", "none.png"):
        assert Path(picture).read_bytes().startswith(b"\x89PNG")


# ---- whole runs

TINY = """--task arc1 --preset small --device cpu --size 5 --task-options augmentations=6 --hidden-size 16
    --num-heads 2 --H-layers 1 --L-layers 1 --inner-multiple 16 --puzzle-emb-ndim 20 --M-max 3
    --grow-M-max 0.25 --exploration 0.5 --halting q --ema 0.9 --dtype float64 --lr 3e-3 --warmup 5
    --batch-size 8 --steps 12 --save-every 4 --log-every 2""".split()


def test_two_processes_compute_what_one_does(tiny, tmp_path):
    """Training, the puzzle embedding and the votes. For the bounds, see the same test in test_train.py."""
    options = [*TINY, "--data", str(tiny)]
    assert train.main([*options, "--out", "run"]) == 0
    (tmp_path / "two").mkdir()
    status, output = in_processes(tmp_path / "two", [*options, "--out", "run"], processes=2)
    assert status == 0, output
    one, two = load("run/last.pt"), load("two/run/last.pt")
    assert len(one["model"]["puzzle_emb"]) == one["config"]["num_puzzles"] > 15
    assert one["model"]["puzzle_emb"].any(dim=1).sum() > 8 and not one["model"]["puzzle_emb"][0].any()
    for kind in ("model", "averaged"):
        for key, weights in one[kind].items():
            unit = one["options"]["puzzle_lr"] if key == "puzzle_emb" else 3e-3
            updates = (weights - two[kind][key]).abs() / unit
            assert (updates > 1e-3).double().mean() < 1e-3, (kind, key)
    inputs, labels, puzzle_ids, z_H, z_L, segments, halted = range(7)
    for part in (inputs, labels, puzzle_ids, segments, halted):
        assert torch.equal(one["slots"][part], two["slots"][part])
    for name in ("eval.json", "submission.json"):
        assert json.loads(Path("run", name).read_text()) == json.loads(Path("two/run", name).read_text())


def test_a_resumed_run_and_its_evaluation(tiny, monkeypatch):
    options = [*TINY, "--data", str(tiny)]
    assert train.main([*options, "--out", "whole"]) == 0
    write_row = train.Log.write_row

    def write_and_interrupt(log):
        write_row(log)
        if log.run.step == 6:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(train.Log, "write_row", write_and_interrupt)
        assert train.main([*options, "--out", "run"]) == 130
    assert train.main(["--resume", "run"]) == 0
    a, b = load("whole/last.pt"), load("run/last.pt")
    assert set(differences(a, b)) <= {"/seconds", "/options/out", "/options/resume"}
    assert metrics(Path("whole")) == metrics(Path("run"))
    own = json.loads(Path("run/eval.json").read_text())
    assert train.main("--eval run --votes 2 --max-segments 5 --no-halt --out few".split()) == 0
    few = json.loads(Path("few/eval.json").read_text())
    assert few["predictions"] == 2 * 4 and few["segments"] == few["max_segments"] == 5 and not few["halt"]
    assert own["predictions"] == 7 * 4 and own["halt"]


def test_the_puzzle_embedding_is_held_and_saved_once(tiny):
    """It has a million rows in the paper's setting: the average shares it, a checkpoint holds it once."""
    config = HRMConfig(
        vocab_size=12,
        seq_len=16,
        hidden_size=16,
        num_heads=2,
        H_layers=1,
        L_layers=1,
        inner_multiple=16,
        num_puzzles=50_000,
        puzzle_emb_ndim=16,
        dtype="float32",
    )
    task = Arc1(size=4, augmentations=3)
    split = task.load(str(tiny), None)["train"]
    run = train.Run(Options(task="arc1", ema=0.9, batch_size=4), config, task, split, ALONE)
    table = run.model.puzzle_emb
    assert run.averaged.puzzle_emb.data_ptr() == table.data_ptr()
    assert run.averaged.head.weight.data_ptr() != run.model.head.weight.data_ptr()
    torch.save(run.checkpoint(), "last.pt")
    assert Path("last.pt").stat().st_size < 1.5 * table.nbytes


def test_the_paper_preset():
    cpu = SimpleNamespace(rank=1, world=1, device=torch.device("cpu"))
    for name in ("arc1", "arc2"):
        options, sizes = with_preset({"preset": "paper", "task": name})
        expected = {
            "size": 30,
            "task_options": "",
            "lr": 1e-4,
            "weight_decay": 0.1,
            "puzzle_lr": 1e-2,
            "puzzle_weight_decay": 0.1,
            "batch_size": 768,
            "epochs": 100_000,
            "warmup": 2000,
            "ema": 0,
            "halt": False,
        }
        assert {key: getattr(options, key) for key in expected} == expected and not sizes
        task = load_task(name, **task_keywords(options))
        assert (task.seq_len, task.vocab_size, task.augmentations, task.concept) == (900, 12, 1000, "")
        assert optimiser_steps(options, 3079, cpu) == 100_000 * 3079 // 768

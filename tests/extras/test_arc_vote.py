"""extras/arc_vote.py: votes counted by hand, a model whose answers are known, and whole tiny runs."""
# ruff: noqa: F401, F811 (fixtures are imported by their names)

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import train
from extras import arc_vote
from puzzles.arc import Arc1
from puzzles.arc_grids import NO_GRID
from puzzles.errors import UserError
from tests.models import Copycat
from tests.puzzles.test_arc import FOUR, THREE, tiny, write_task
from tests.runs import MAY_DIFFER, differences, in_processes, load, metrics, read_json
from training.processes import Processes

pytestmark = pytest.mark.usefixtures("here")

# ---- voting


def grid(*rows):
    return np.array(rows, np.uint8)


def test_votes_by_hand():
    a, b, c, d = grid([1, 2]), grid([1], [2]), grid([5]), grid([6])  # a and b have the same bytes
    predictions = [c, a, NO_GRID, b, a, b, NO_GRID, d]
    answers = arc_vote.by_votes(predictions, [0.9, 0.5, 0.9, 0.2, 0.8, 0.8, 0.9, 0.9])
    # a and b: two votes each, a more surely. c and d: one each, equally sure, c was predicted first.
    found = [(answer["grid"].tolist(), answer["votes"]) for answer in answers]
    assert found == [([[1, 2]], 2), ([[1], [2]], 2), ([[5]], 1), ([[6]], 1)]
    assert [answer["confidence"] for answer in answers] == pytest.approx([1.3, 1.0, 0.9, 0.9])
    assert arc_vote.by_votes([NO_GRID, NO_GRID], [0.0, 1.0]) == []


def test_pass_at_K_by_hand():
    """A task's score is the share of its test grids that are solved."""
    right, other = grid([1]), grid([2])
    first = arc_vote.by_votes([right, right, other], [0.5] * 3)
    second = arc_vote.by_votes([right, other, other], [0.5] * 3)
    tasks = ["one", "two", "two", "four", "four", "four", "four"]
    answers = [first, second, [], first, second, second, []]
    scores = [arc_vote.pass_at(K, [right] * 7, answers, tasks) for K in (1, 2, 100)]
    assert scores == pytest.approx([(1 + 0 + 1 / 4) / 3, (1 + 1 / 2 + 3 / 4) / 3, (1 + 1 / 2 + 3 / 4) / 3])


def test_submission_format():
    two = arc_vote.by_votes([grid([1, 2]), grid([3])], [0.9, 0.5])
    one = arc_vote.by_votes([grid([0] * 30)], [0.5])
    made = arc_vote.submission(["00576224", "00576224", "ffffffff"], [two, one, []])
    assert json.loads(json.dumps(made)) == {
        "00576224": [
            {"attempt_1": [[1, 2]], "attempt_2": [[3]]},
            {"attempt_1": [[0] * 30], "attempt_2": [[0] * 30]},
        ],
        "ffffffff": [{"attempt_1": [[0]], "attempt_2": [[0]]}],
    }


# ---- evaluation of a known model


class Hasty(Copycat):
    def wants_to_halt(self, q_halt, q_continue, confidence):
        return q_halt < 2  # at once


class Scribbler(Copycat):
    def forward(self, z, inputs, puzzle_vectors):
        return super().forward(z, torch.ones_like(inputs), puzzle_vectors)  # EOS: no grid


def evaluated(folder, model, votes=None, checkpoint=None, models=1):
    """-> eval.json and submission.json. checkpoint: one that was trained on other tasks."""
    task = Arc1(size=4, augmentations=30)
    split = task.read(folder)["test"]
    if not checkpoint:
        checkpoint = "checkpoint.pt"
        torch.save({"identity": task.identity(split)}, checkpoint)
    asked = {"votes": votes, "max_segments": None, "confidence": 0.5}
    arc_vote.report([model] * models, task, split, Path("out"), Processes(), checkpoint, False, **asked)
    return [read_json("out", name) for name in ("eval.json", "submission.json")]


def test_evaluation_of_a_copycat(tiny):
    model = Hasty()
    result, content = evaluated(tiny, model)
    assert result["tasks"] == 3 and result["n"] == 4 and result["malformed"] == 0 and result["segments"] == 1
    assert result["pass@1"] == result["pass@2"] == result["pass@100"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert result["solved_in_two"] == 2 / 4
    assert result["predictions"] == 31 * 4 == len(set(model.asked)) + 31  # half: two test grids, the same ids
    assert {name: len(tests) for name, tests in content.items()} == {"easy": 1, "half": 2, "hard": 1}
    assert content["easy"][0]["attempt_1"] == THREE and content["hard"][0]["attempt_2"] == FOUR
    assert Path("out/attempts.png").read_bytes().startswith(b"\x89PNG")
    assert evaluated(tiny, model, votes=7)[0]["predictions"] == 7 * 4
    with pytest.raises(UserError, match="one checkpoint"):
        evaluated(tiny, model, models=2)


def test_a_model_that_never_draws_a_grid(tiny):
    result, content = evaluated(tiny, Scribbler())
    assert result["malformed"] == 1 and result["pass@100"] == 0
    assert content["easy"] == [{"attempt_1": [[0]], "attempt_2": [[0]]}]


def test_without_an_output_there_are_no_scores(tiny):
    write_task(tiny / "evaluation", "hidden", [(THREE, THREE)], [(FOUR,)])
    result, content = evaluated(tiny, Copycat())
    assert result["n"] == 5 and not [name for name in result if "pass" in name or "solved" in name]
    assert content["hidden"][0]["attempt_1"] == FOUR


def test_ids_of_other_tasks_are_refused(tiny):
    """As many as before, but one has another name, and so all have other ids."""
    evaluated(tiny, Copycat())
    (tiny / "evaluation/easy.json").rename(tiny / "evaluation/zeta.json")
    with pytest.raises(UserError, match=r"checkpoint.pt was trained on easy .* where there is half .* now"):
        evaluated(tiny, Copycat(), checkpoint="checkpoint.pt")
    torch.save({}, "published.pt")
    with pytest.raises(UserError, match="was trained on no task where"):
        evaluated(tiny, Copycat(), checkpoint="published.pt")


# ---- whole runs

TINY = """--task arc1 --size 5 --task-options augmentations=6 --hidden-size 16 --num-heads 2 --H-layers 1
    --L-layers 1 --M-max 3 --grow-M-max 0.25 --exploration 0.5 --halting q --ema 0.9 --dtype float64
    --lr 3e-3 --warmup 5 --batch-size 8 --steps 12 --eval-every 4 --quiet""".split()


def test_two_processes_compute_what_one_does(tiny, tmp_path):
    """Training, the puzzle embedding and the votes. For the bounds, see the same test in test_train.py."""
    options = [*TINY, "--data", str(tiny), "--out", "run"]
    assert train.main(options) == 0
    (tmp_path / "two").mkdir()
    status, output = in_processes(tmp_path / "two", options, processes=2)
    assert status == 0, output
    one, two = load("run/last.pt"), load("two/run/last.pt")
    table = one["model"]["puzzle_emb"]
    assert len(table) == one["config"]["num_puzzles"] > 15
    assert table.any(dim=1).sum() > 8 and not table[0].any()
    assert table.data_ptr() == one["averaged"]["puzzle_emb"].data_ptr()  # it may be large: saved once
    for key, weights in one["model"].items():
        unit = one["options"]["puzzle_lr"] if key == "puzzle_emb" else 3e-3
        updates = (weights - two["model"][key]).abs() / unit
        assert (updates > 1e-3).double().mean() < 1e-3, key
    for part in ("inputs", "labels", "puzzle_ids", "segments", "halted"):
        assert torch.equal(one["slots"][part], two["slots"][part])
    for name in ("eval.json", "submission.json"):
        assert read_json("run", name) == read_json("two/run", name)


def test_a_resumed_run_and_its_evaluation(tiny, monkeypatch):
    options = [*TINY, "--data", str(tiny)]
    assert train.main([*options, "--out", "whole"]) == 0
    with monkeypatch.context() as patched:
        patched.setattr(train, "stopped", lambda run, stop: run.step == 6)
        assert train.main([*options, "--out", "run"]) == 130
    assert train.main(["--resume", "run"]) == 0
    found = differences(load("whole/last.pt"), load("run/last.pt"))
    assert set(found) <= MAY_DIFFER
    assert metrics(Path("whole")) == metrics(Path("run"))
    assert train.main("--eval run --votes 2 --max-segments 5 --confidence 1 --out few".split()) == 0
    few = read_json("few/eval.json")
    assert few["predictions"] == 2 * 4 and few["segments"] == few["max_segments"] == 5
    assert read_json("run/eval.json")["predictions"] == 7 * 4

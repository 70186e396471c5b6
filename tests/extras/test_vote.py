"""Votes: the choice among proposals by hand, and what it costs."""

import numpy as np
import pytest
import torch

import train
from data import load_splits, load_task
from extras import vote as voting
from extras.vote import best_of, check_votes, vote
from hrm import Solution, solve
from puzzles import sudoku
from puzzles.errors import UserError
from puzzles.task import Task
from tests.models import make
from tests.runs import ROOT, error_of, read_json
from training.checkpoints import load_model, split_options
from training.options import Options

IDS = np.zeros(200, np.int32)


@pytest.mark.parametrize("answers, q_halt, valid, chosen", [
    ([1, 2, 2], [9, 0, 0], [0, 0, 0], 2),  # two votes
    ([1, 2, 2, 1], [0, 1, 1, 2], [0] * 4, 2),  # two votes each, and σ(0) + σ(2) < 2σ(1)
    ([1, 2, 2], [0, 0, 0], [1, 0, 0], 1),  # it alone keeps the rules
    ([1, 2, 0], [0, -1, -np.inf], [0, 0, 0], 1),  # one vote each, and one that was not made
])
def test_best_of_by_hand(answers, q_halt, valid, chosen):
    """Proposals for one puzzle, each an answer of one token."""
    q_halt, valid = np.array([q_halt, valid], np.float32)[..., None]
    best = best_of(np.array(answers, np.uint8)[:, None, None], q_halt, valid == 1)
    assert answers[best[0]] == chosen


@pytest.fixture
def boards():
    """200 small Sudokus: the task, puzzles, solutions, and a model that is not trained."""
    task = load_task("sudoku", size=4)
    model = make(vocab_size=task.vocab_size, seq_len=task.seq_len)
    torch.nn.init.normal_(model.q_head.weight)
    return task, *task.generate(200, np.random.default_rng(0)), model


@pytest.fixture
def asked(monkeypatch):
    """Stands in for `solve`: a solver that knows nothing of views is right about the board that it is shown
    with the probability asked.share, and trusts what is wrong. `asked.models`: who was asked, in order."""
    rng = np.random.default_rng(1)

    def look(model, inputs, *thinking):
        look.models.append(model)
        right = rng.random(len(inputs)) < look.share
        look.right += right.sum()
        solved, _, _ = sudoku.solve(np.maximum(inputs.numpy(), 1).astype(np.uint8) - 1, (2, 2))
        answer = torch.from_numpy(solved).long() + 1
        answer[~right, 0] = answer[~right, 1]
        q_halt = torch.from_numpy(np.where(right, -3, 3)).float()
        return Solution(answer, torch.ones(len(inputs), dtype=torch.long), q_halt)

    look.models = []
    look.share = 1.0
    look.right = 0
    monkeypatch.setattr(voting, "solve", look)
    return look


def test_a_view_is_a_puzzle_and_its_answer_comes_back_in_place(boards, asked, monkeypatch):
    task, inputs, labels, model = boards
    view = task.view
    for k in (0, 1, 5, 20):
        monkeypatch.setattr(task, "view", lambda _, n, k=k: view(k, n))
        assert (vote([model], task, inputs, IDS).predictions.numpy() == labels).all()


def test_an_answer_that_keeps_the_rules_is_never_lost(boards, asked):
    task, inputs, labels, model = boards
    asked.share = 0.2
    answers = vote([model], task, inputs, IDS, votes=8).predictions.numpy()
    solved = (answers == labels).all(axis=1)
    assert solved.sum() == asked.right and 0.5 < solved.mean() < 1


@pytest.mark.parametrize("told, each", [(True, 1), (False, 6)])
def test_every_model_is_asked_until_an_answer_keeps_the_rules(told, each, boards, asked, monkeypatch):
    """If the task cannot tell whether it does, all votes are asked for."""
    task, inputs, _, model = boards
    if not told:
        monkeypatch.setattr(task, "keeps_rules", lambda *_: None)
    models = [model, make()]
    assert (vote(models, task, inputs, IDS, votes=3).segments == each).all()
    assert asked.models == (models * 3)[:each]


def test_one_vote_is_solve(boards):
    task, inputs, _, model = boards
    expected = solve(model, torch.from_numpy(inputs).long())
    found = vote([model], task, inputs, IDS)
    for name in vars(expected):
        assert (getattr(found, name) == getattr(expected, name)).all()


def test_eval_with_votes_and_an_ensemble(here, capsys):
    """What the command line prints is what `vote` gives; only checkpoints of one task vote."""
    run = ("--task sudoku --size 4 --hidden-size 16 --num-heads 1 --M-max 2 --steps 20 --batch-size 32 "
           "--train-size 64 --val-size 16 --test-size 30 --eval-every 20 --out run").split()
    assert train.main(run) == 0
    paths = ["run/best.pt", "run/last.pt"]
    assert train.main(["--eval", *paths, "--votes", "3", "--out", "."]) == 0
    assert "6 votes" in capsys.readouterr().out
    models = [load_model(path)[0] for path in paths]
    _, task, options = load_model(paths[0])
    test = load_splits(task, **split_options(Options(**options)))["test"]
    solution = vote(models, task, test.inputs, test.puzzle_ids, 3, None, options["confidence"])
    written = read_json("eval.json")
    assert written["exact"] == pytest.approx((solution.predictions.numpy() == test.labels).all(axis=1).mean())
    assert written["segments"] == pytest.approx(solution.segments.float().mean().item())

    assert "another task" in error_of(capsys, "--eval", "run/best.pt", ROOT / "checkpoints/maze-9x9.pt")


def test_no_more_votes_than_views():
    maze = load_task("maze", size=7)
    assert [check_votes(maze, votes) for votes in (None, 1, 5, 100)] == [1, 1, 5, 8]
    with pytest.raises(UserError, match="plain has no symmetries for --votes"):
        check_votes(type("Plain", (Task,), {"name": "plain"})(), 4)

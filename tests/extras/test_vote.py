"""Votes: views undone exactly, the choice among proposals by hand, and what it costs."""

import numpy as np
import pytest
import torch

import train
from data import load_splits, load_task
from extras import vote as voting
from extras.vote import best_of, vote
from hrm import HRM, HRMConfig, Solution, solve
from puzzles import sudoku
from puzzles.task import Task, transform, undo
from training.checkpoints import load_model
from training.files import UserError


@pytest.mark.parametrize(
    "name, size", [("maze", 7), ("maze", 9), ("sudoku", 4), ("sudoku", 6), ("sudoku", 9)]
)
def test_views_are_undone_exactly(name, size):
    """Thousands of random boards, not only puzzles: undo(transform(x)) = x and transform(undo(x)) = x."""
    task, rng = load_task(name, size=size), np.random.default_rng(0)
    boards = rng.integers(task.vocab_size, size=(3000, task.seq_len)).astype(np.uint8)
    for symmetry in (task.symmetries(3000, rng), *(task.view(k, 3000) for k in range(9))):
        seen = transform(boards, *symmetry)
        assert seen.dtype == np.uint8 and (np.sort(symmetry[0], axis=1) == np.arange(task.seq_len)).all()
        assert (undo(seen, *symmetry) == boards).all()
        assert (transform(undo(boards, *symmetry), *symmetry) == boards).all()


def test_the_eight_views_of_a_maze_are_distinct_and_the_first_is_the_maze_itself():
    task = load_task("maze", size=7)
    boards = np.arange(49, dtype=np.uint8)[None] % 6
    boards[0, 1] = 5
    views = [transform(boards, *task.view(k, 1)) for k in range(8)]
    assert (views[0] == boards).all() and len(np.unique(np.concatenate(views), axis=0)) == 8


def test_best_of_by_hand():
    """Four proposals (columns: five puzzles), each an answer of one token."""
    answers = np.array([[1, 1, 1, 1, 1], [2, 2, 2, 2, 2], [2, 2, 3, 2, 2], [3, 1, 4, 2, 2]])[
        ..., None
    ].astype(np.uint8)
    q_halt = np.array(
        [[9.0, 0, 1, 9, 0], [0.0, 1, 2, 0, 0], [0.0, 1, 0, 0, -np.inf], [0.0, 2, 0, 0, -np.inf]], np.float32
    )
    valid = np.zeros((4, 5), bool)
    valid[0, 3] = True

    def chosen(valid):
        return answers[best_of(answers, q_halt, valid), np.arange(5), 0].tolist()

    # Puzzle 0: 2 has two votes. 1: 1 and 2 have two each, and σ(0)+σ(2) < 2σ(1). 2: all have one, 2 the best
    # q. 3: 2 has three votes, but only 1 keeps the rules. 4: proposals 2 and 3 were not made: one vote each,
    # equal q.
    assert chosen(np.zeros((4, 5), bool)) == [2, 2, 2, 2, 1]
    assert chosen(valid) == [2, 2, 2, 1, 1]


def tiny(task, **changes):
    torch.manual_seed(0)
    model = HRM(
        HRMConfig(
            **{
                **dict(
                    vocab_size=task.vocab_size,
                    seq_len=task.seq_len,
                    hidden_size=16,
                    num_heads=2,
                    H_layers=1,
                    L_layers=1,
                    inner_multiple=8,
                    puzzle_emb_ndim=0,
                    M_max=3,
                    dtype="float32",
                ),
                **changes,
            }
        )
    )
    torch.nn.init.normal_(model.q_head.weight)
    torch.nn.init.zeros_(model.q_head.bias)
    return model


def proposals(monkeypatch, *arguments, **how):
    """What `vote` lets `best_of` choose from (answers, q_halt, valid), and its Solution."""
    seen = []
    with monkeypatch.context() as patch:
        patch.setattr(voting, "best_of", lambda *made: seen.extend(made) or best_of(*made))
        solution = vote(*arguments, **how)
    return seen, solution


def board_solver(model, inputs, puzzle_ids, **thinking):
    """Stands in for `solve`: the right answer of the 4x4 Sudoku that it is shown, whatever the view."""
    digits = np.maximum(inputs.numpy().astype(np.uint8), 1) - 1
    answer = torch.from_numpy(sudoku.solve(digits, (2, 2))[0].astype(np.int64)) + 1
    return Solution(answer, torch.ones(len(inputs), dtype=torch.long), torch.zeros(len(inputs)))


def test_a_view_is_a_puzzle_and_its_answer_comes_back_in_place(monkeypatch):
    """Every view is solved by a solver that knows nothing of views; undone, all are the label."""
    task = load_task("sudoku", size=4)
    inputs, labels = task.generate(200, np.random.default_rng(0))
    monkeypatch.setattr(voting, "solve", board_solver)
    monkeypatch.setattr(task, "keeps_rules", lambda *_: None)  # every vote is asked for
    (answers, _, _), solution = proposals(monkeypatch, [tiny(task)], task, inputs, votes=5)
    assert answers.shape[0] == 5 and (answers == labels).all() and (solution.segments == 5).all()
    monkeypatch.undo()
    monkeypatch.setattr(voting, "solve", board_solver)
    solution = vote([tiny(task)], task, inputs, votes=5)
    assert (solution.predictions.numpy() == labels).all()
    assert (solution.segments == 1).all()  # a valid answer ends the search


@pytest.mark.parametrize("name, size", [("maze", 7), ("sudoku", 4)])
def test_a_valid_proposal_is_never_lost(name, size, monkeypatch):
    """Proposals are the label or spoilt boards, at random; the answer keeps rules and givens whenever any
    proposal did."""
    task, rng = load_task(name, size=size), np.random.default_rng(1)
    inputs, labels = task.generate(300, rng)
    proposed = np.zeros(300, bool)
    views = []
    monkeypatch.setattr(voting, "transform", lambda rows, *view: views.append(view) or transform(rows, *view))
    rows_of = {inputs[i].tobytes(): i for i in range(300)}

    def guess(model, seen, puzzle_ids, **thinking):
        shown = seen.numpy().astype(np.uint8)
        original = undo(shown, *views[-1]) if views else shown
        rows = np.array([rows_of[row.tobytes()] for row in original])
        right = rng.random(len(rows)) < 0.2
        proposed[rows] |= right
        spoilt = np.where(
            rng.random(shown.shape) < 0.3, rng.integers(1, task.vocab_size, size=shown.shape), original
        )
        answer = np.where(right[:, None], labels[rows], spoilt).astype(np.uint8)
        answer = transform(answer, *views[-1]) if views else answer
        q = torch.from_numpy(
            np.where(right, -3.0, 3.0).astype(np.float32)
        )  # and the Q-head trusts the wrong ones
        return Solution(torch.from_numpy(answer.astype(np.int64)), torch.ones(len(rows), dtype=torch.long), q)

    monkeypatch.setattr(voting, "solve", guess)
    answers = vote([tiny(task)], task, inputs, votes=8).predictions.numpy().astype(np.uint8)
    assert 0.5 < proposed.mean() < 1
    assert (answers == labels).all(axis=1)[proposed].all()
    assert task.keeps_rules(inputs, answers)[proposed].all()


def test_one_vote_is_solve():
    task = load_task("sudoku", size=4)
    inputs, _ = task.generate(50, np.random.default_rng(0))
    model = tiny(task)
    expected, got = solve(model, torch.from_numpy(inputs.astype(np.int64))), vote([model], task, inputs)
    for name in ("predictions", "segments", "q_halt"):
        torch.testing.assert_close(getattr(got, name), getattr(expected, name), check_dtype=False)


def test_noise_is_seeded_and_spares_the_first_vote(monkeypatch):
    task = load_task("maze", size=7)
    inputs, _ = task.generate(20, np.random.default_rng(0))
    monkeypatch.setattr(task, "keeps_rules", lambda *_: None)  # every vote is asked for
    models, shake = [tiny(task, M_max=4)], dict(votes=3, noise=2.0, views=False, halt=False)
    (answers, first, _), (same, again, _), (_, other, _) = (
        proposals(monkeypatch, models, task, inputs, noise_seed=seed, **shake)[0] for seed in (0, 0, 1)
    )
    (_, plain, _), solution = proposals(monkeypatch, models, task, inputs, halt=False)
    assert (first == again).all() and (answers == same).all()
    assert (first[1:] != other[1:]).any()
    assert (first[0] == plain[0]).all() and (first[1:] != plain[0]).any()
    assert (solution.segments == 4).all()


def test_an_ensemble_asks_every_model(monkeypatch):
    task = load_task("sudoku", size=4)
    inputs, _ = task.generate(20, np.random.default_rng(0))
    one, two = tiny(task), tiny(task)
    with torch.no_grad():
        two.q_head.bias.fill_(50.0)
    (_, both, _), solution = proposals(monkeypatch, [one, two], task, inputs, halt=False)
    (_, alone, _), _ = proposals(monkeypatch, [two], task, inputs, halt=False)
    assert (both[1] == alone[0]).all()
    assert (solution.segments == 6).all()


SMALL = (
    "--size 4 --hidden-size 16 --num-heads 1 --M-max 2 --steps 20 --batch-size 32 --warmup 5 "
    "--train-size 64 --val-size 16 --test-size 30 --eval-every 20 --log-every 10 --device cpu"
).split()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("vote") / "run"
    assert train.main(["--task", "sudoku", *SMALL, "--out", str(out)]) == 0
    return out


def test_eval_with_votes_and_an_ensemble(run, tmp_path, capsys):
    """What the command line prints is what `vote` gives."""
    command = [
        "--eval",
        str(run / "best.pt"),
        str(run / "last.pt"),
        "--votes",
        "3",
        "--noise",
        "0.1",
        "--out",
        str(tmp_path),
        "--device",
        "cpu",
    ]
    assert train.main(command) == 0
    assert "30 test puzzles, up to 2 segments each, 6 votes" in capsys.readouterr().out
    model, task, options = load_model(run / "best.pt")
    splits = load_splits(
        task, None, options["train_size"], options["val_size"], options["test_size"], options["seed"]
    )
    labels = splits["test"].labels
    solution = vote(
        [model, load_model(run / "last.pt")[0]],
        task,
        splits["test"].inputs,
        votes=3,
        noise=0.1,
        confidence=options["confidence"],
    )
    written = train.json.loads((tmp_path / "eval.json").read_text())
    assert written["votes"] == 3 and written["noise"] == 0.1
    assert written["exact"] == pytest.approx((solution.predictions.numpy() == labels).all(axis=1).mean())
    assert written["segments"] == pytest.approx(solution.segments.float().mean().item())


@pytest.mark.parametrize(
    "arguments, says",
    [
        ("--votes 0", "--votes: 0 must be at least 1"),
        ("--votes 2 --noise -1", "--noise: -1 must be"),
        ("--noise 0.5", "--noise 0.5 needs --votes 2"),
        ("--votes 4 --no-views", "--votes 4 would give 4 times the same answer"),
    ],
)
def test_refused(arguments, says, run, capsys):
    assert train.main(["--eval", str(run / "best.pt"), *arguments.split(), "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_only_checkpoints_of_one_task_vote(run, tmp_path, capsys):
    assert (
        train.main(
            ["--task", "maze", "--size", "7", *SMALL[2:], "--steps", "1", "--out", str(tmp_path / "m")]
        )
        == 0
    )
    assert train.main(["--eval", str(run / "best.pt"), str(tmp_path / "m/last.pt"), "--device", "cpu"]) == 2
    assert "was trained for another task" in capsys.readouterr().err


def test_votes_need_symmetries():
    with pytest.raises(UserError, match="plain has no symmetries for --votes"):
        type("Plain", (Task,), {"name": "plain"})().check_votes({}, 1, 4, 0.0, True)

"""What trajectory.py and analyze.py measure, against answers that are known or computed another way."""

import io
import json
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import analyze
import halting
import steps
import sweep
import train
from analyze import READINGS, intermediate_predictions, participation_ratio, pca, record, residuals, rows
from baselines import make_model
from data import UserError, load_splits, load_task
from evaluate import to_tensors
from hrm import HRMConfig, solve
from options import choose, parse

SIZES = dict(vocab_size=5, seq_len=6, hidden_size=16, num_heads=2, H_layers=1, L_layers=1, H_cycles=2, L_cycles=3,
             inner_multiple=8, puzzle_emb_ndim=16, M_max=3, dtype="float32")
INPUTS = torch.tensor([[1, 2, 3, 4, 1, 2], [4, 3, 2, 1, 4, 3]])


def make(model="hrm", **sizes):
    torch.manual_seed(0)
    once = {"H_cycles": 1, "L_cycles": 1, "M_max": 1} if model == "transformer" else {}
    return make_model(HRMConfig(**{**SIZES, "model": model, **once, **sizes})).eval()


@torch.no_grad()
def unrolled(model, segments):
    """All states of HRM or TRM by a plain loop, and the answers as in fig. 7: z_H, z_L, predictions."""
    rope, (z_H, z_L) = (model.cos, model.sin), model.initial_state(len(INPUTS))
    x = model.input_network(INPUTS, model.puzzle_vectors(torch.zeros(len(INPUTS), dtype=torch.long)))
    H_states, L_states, predictions = [], [], []
    for _ in range(segments * model.config.H_cycles):
        for _ in range(model.config.L_cycles):
            z_L = model.L(z_L, z_H + x, rope)
            L_states.append(z_L)
            predictions.append(model.head(model.H(z_H, z_L, rope))[:, 1:].argmax(-1))
        z_H = model.H(z_H, z_L, rope)
        H_states.append(z_H)
    return torch.stack(H_states), torch.stack(L_states), torch.stack(predictions)


@pytest.mark.parametrize("name", ["hrm", "trm"])
def test_record_and_residuals_against_a_plain_loop(name):
    model = make(name)
    z_H, z_L, predictions = unrolled(model, segments=3)
    trajectory = record(model, INPUTS)
    torch.testing.assert_close(trajectory.z_H, z_H)
    torch.testing.assert_close(trajectory.z_L, z_L)
    torch.testing.assert_close(trajectory.logits, model.head(z_H[1::2])[:, :, 1:])
    assert torch.equal(intermediate_predictions(model, INPUTS), predictions)
    start = model.initial_state(2)[1]
    moved = residuals(trajectory.z_L, trajectory.initial[1])
    assert moved.shape == (18, 2)
    torch.testing.assert_close(moved[0, 1], (z_L[0, 1] - start[1]).norm(dim=-1).mean())
    torch.testing.assert_close(moved[7, 0], (z_L[7, 0] - z_L[6, 0]).norm(dim=-1).mean())
    assert not model.H._forward_hooks and not model.L._forward_hooks


def test_record_of_the_recurrent_network_and_the_transformer():
    model = make("recurrent")
    trajectory = record(model, INPUTS, segments=2)
    assert trajectory.z_H.shape == (12, 2, 7, 16) and len(trajectory.z_L) == 0
    assert torch.equal(intermediate_predictions(model, INPUTS, segments=2)[5::6], trajectory.logits.argmax(-1))
    model = make("transformer", H_layers=2, L_layers=3)
    trajectory = record(model, INPUTS)
    assert trajectory.z_H.shape == (5, 2, 7, 16)  # one state per layer
    first = model.H.blocks[0](trajectory.initial[0], (model.cos, model.sin))
    torch.testing.assert_close(trajectory.z_H[0], first)
    assert torch.equal(intermediate_predictions(model, INPUTS)[-1], solve(model, INPUTS).predictions)


@pytest.mark.parametrize("k, D, rotated", [(1, 8, False), (5, 8, True), (40, 40, True)])
def test_participation_ratio_of_k_equal_variances(k, D, rotated):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200_000, k)) @ np.eye(D)[:k] + rng.normal(size=D)
    if rotated:
        X = X @ np.linalg.qr(rng.normal(size=(D, D)))[0]
    assert participation_ratio(X) == pytest.approx(k, rel=0.01)


def test_participation_ratio_of_a_known_spectrum():
    rng, variances = np.random.default_rng(0), np.array([8.0, 4.0, 2.0, 1.0, 1.0])
    X = rng.normal(size=(200_000, 5)) * np.sqrt(variances)
    assert participation_ratio(X) == pytest.approx(16**2 / 86, rel=0.01)
    few = torch.tensor(X[:3])  # fewer rows than columns take the other way round, to the same answer
    eigenvalues = np.linalg.eigvalsh(np.cov(X[:3].T))
    assert participation_ratio(few) == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum(), rel=1e-9)


def test_pca_against_numpy():
    X = np.random.default_rng(0).normal(size=(50, 6)) * [3, 2, 1, 1, 0.5, 0.1] + 7
    projection, ratios = pca(X, k=3)
    _, singular, directions = np.linalg.svd(X - X.mean(0), full_matrices=False)
    expected = (X - X.mean(0)) @ directions[:3].T
    assert isinstance(projection, np.ndarray)
    np.testing.assert_allclose(np.abs(projection), np.abs(expected), atol=1e-9)
    np.testing.assert_allclose(ratios, (singular**2 / (singular**2).sum())[:3], atol=1e-12)
    again, _ = pca(-X, k=3)  # a fixed sign: mirrored data give the mirrored picture
    np.testing.assert_allclose(again, -projection, atol=1e-9)


# ---- Participation ratio by puzzle, and the commands' numbers


def test_moments_give_the_participation_ratio_of_any_choice_of_puzzles():
    puzzle_rows = torch.randn(6, 9, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 2, 1, 1])
    for chosen in ([0, 1, 2, 3, 4, 5], [1, 4], [0, 0, 3]):
        times = np.bincount(chosen, minlength=6)
        for shaped in (puzzle_rows, puzzle_rows.flatten(1)[:, None]):  # the second: 36 columns, more than rows
            expected = participation_ratio(shaped[chosen].flatten(0, 1))
            assert analyze.PuzzleMoments(shaped).participation_ratio(times) == pytest.approx(expected, rel=1e-9)


def test_readings_say_what_their_rows_are():
    z = record(make(), INPUTS).z_L  # (18, 2, 7, 16)
    shapes = {reading: tuple(rows(z, reading).shape) for reading in READINGS}
    assert shapes == {"tokens": (2, 126, 16), "steps": (2, 18, 16), "puzzles": (2, 1, 112), "trajectories": (2, 1, 288)}
    torch.testing.assert_close(rows(z, "steps")[1, 5], z[5, 1].mean(0))
    torch.testing.assert_close(rows(z, "tokens")[1, 5 * 7 + 3], z[5, 1, 3])


def test_participation_ratios_of_a_model_that_is_its_own_untrained_twin():
    """Fresh weights of the same seed: the "untrained" model is the "trained" one."""
    model, inputs = make(), torch.randint(1, 5, (12, 6), generator=torch.Generator().manual_seed(0))
    numbers = analyze.participation_ratios(model, inputs, untrained=1, samples=10, subsets=3)
    assert numbers["counts"] == [5, 10, 12]
    for reading in READINGS:
        for name, result in numbers["trained"][reading].items():
            assert result["value"] == pytest.approx(numbers["untrained"][reading][name]["value"], rel=1e-9)
            assert result["value"] == pytest.approx(result["by_count"][-1], rel=1e-9)
            assert result["error"] > 0 == numbers["untrained"][reading][name]["error"]
    z_H = record(model, inputs).z_H
    assert numbers["trained"]["tokens"]["z_H"]["value"] == pytest.approx(participation_ratio(z_H.flatten(0, 2)), rel=1e-6)


def test_convergence_numbers():
    model = make()
    numbers, trajectory = analyze.convergence(model, INPUTS), record(model, INPUTS)
    assert list(numbers["z_H"]["step"]) == [3, 6, 9, 12, 15, 18] and list(numbers["z_L"]["step"]) == list(range(1, 19))
    np.testing.assert_allclose(numbers["z_L"]["mean"], residuals(trajectory.z_L, trajectory.initial[1]).mean(1), rtol=1e-6)
    assert "z_L" not in analyze.convergence(make("recurrent"), INPUTS)


# ---- Halting


@pytest.fixture(scope="module")
def puzzles():
    """4x4 Sudokus, and a model with a random Q-head: it stops here and there."""
    task = load_task("sudoku", size=4)
    split = load_splits(task, train_size=200, val_size=0, test_size=40, cache=None, progress=False)["test"]
    model = make(vocab_size=6, seq_len=16)
    torch.nn.init.normal_(model.q_head.weight, generator=torch.Generator().manual_seed(1))
    torch.nn.init.zeros_(model.q_head.bias)
    return task, split, model


@pytest.mark.parametrize("halting_by", ["q", "bce"])
@pytest.mark.parametrize("max_segments", [1, 3, 6])
def test_act_says_what_solve_does(puzzles, halting_by, max_segments):
    _, split, model = puzzles
    model.config.halting = halting_by
    inputs, labels, _ = to_tensors(split, torch.device("cpu"))
    solution = solve(model, inputs, max_segments=max_segments, confidence=0.8)
    # "Right" is what segment 2 answers, so that some answers are right and some are not.
    split.labels = record(model, inputs, segments=2).logits[-1].argmax(-1).numpy().astype(np.uint8)
    answers = halting.think_on(model, split, 6)
    used, exact = halting.act(model, answers, max_segments, confidence=0.8)
    assert torch.equal(used, solution.segments)
    assert torch.equal(exact, (solution.predictions == torch.from_numpy(split.labels)).all(1))
    assert answers.exact[1].all()
    split.labels = labels.numpy().astype(np.uint8)


def scripted(exact, q_halt):
    """Answers of puzzles, each a row with one entry for every segment."""
    exact, q_halt = torch.tensor(exact).T, torch.tensor(q_halt).T
    return halting.Answers(exact.bool(), q_halt.float(), torch.zeros(q_halt.shape))


# Stops at once and is wrong; stops in segment 2 and is right; never stops, and trusts its first answer most.
THREE = scripted([[0, 1, 1], [0, 1, 0], [1, 0, 0]], [[1, 2, 3], [-1, 1, -2], [-1, -3, -2]])


def test_act_on_scripted_answers():
    model = make(halting="bce")
    used, exact = halting.act(model, THREE, 3)
    assert used.tolist() == [1, 2, 3] and exact.tolist() == [False, True, True]
    used, exact = halting.act(model, THREE, 1)
    assert used.tolist() == [1, 1, 1] and exact.tolist() == [False, False, True]


def test_halting_and_scaling_numbers(monkeypatch, puzzles):
    model, split = make(halting="bce"), puzzles[1][:3]
    monkeypatch.setattr(halting, "think_on", lambda *_: THREE)
    numbers = halting.halting(model, split)
    assert numbers["act"]["exact"] == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert numbers["act"]["segments"] == pytest.approx([1, 5 / 3, 2])
    assert numbers["fixed"]["exact"].tolist() == pytest.approx([1 / 3, 2 / 3, 1 / 3])
    (group,) = numbers["difficulty"]
    assert group["puzzles"] == 3 and group["share"].tolist() == pytest.approx([1 / 3] * 3)
    assert halting.inference_scaling(model, split, 3)["act"] == numbers["act"]


def test_difficulty_groups():
    rating = np.array([0] * 30 + [1] * 12 + [2] * 3 + [np.nan], np.float32)
    assert [(name, rows.sum()) for name, rows in halting.difficulty_groups(rating)] == [("0", 30), ("1–2", 15)]
    groups = halting.difficulty_groups(np.arange(100, dtype=np.float32), at_most=4)
    assert all(24 <= rows.sum() <= 26 for _, rows in groups) and sum(rows for _, rows in groups).all() and len(groups) == 4
    assert groups[0][0] == "0–24"


def test_leave_open(puzzles):
    _, split, _ = puzzles
    rng, was_open = np.random.default_rng(0), split.inputs != split.labels
    for k in (0, 1, 3, 16):
        easier = halting.leave_open(split, k, rng)
        still_open = easier.inputs != easier.labels
        assert np.array_equal(still_open.sum(1), np.minimum(k, was_open.sum(1)))
        assert not (still_open & ~was_open).any() and np.array_equal(easier.labels, split.labels)


def test_fixed_point_on_a_scripted_model(monkeypatch, puzzles):
    """Puzzle A is solved at once and lost in segment 3, its state moving by 1 a segment; B is solved in segment 2, stands
    still, and two thirds of its open cells come in the last update."""
    split = puzzles[1][:2]
    split.inputs, split.labels = np.full((2, 3), 1, np.uint8), np.full((2, 3), 2, np.uint8)
    four = scripted([[1, 1, 0, 1], [0, 1, 1, 1]], [[1, 1, 1, 1], [-1, 1, 1, 1]])
    easy = scripted([[1, 0], [1, 1]], [[1, 1], [1, 1]])
    monkeypatch.setattr(halting, "think_on", lambda model, split, segments: four if segments == 4 else easy)
    z_H = torch.tensor([[[[1.0]], [[1.0]]], [[[2.0]], [[1.0]]], [[[3.0]], [[1.0]]], [[[4.0]], [[1.0]]]])
    monkeypatch.setattr(halting, "record", lambda *_: SimpleNamespace(z_H=z_H))
    boards = torch.tensor([[[2, 2, 2], [1, 1, 1]], [[2, 2, 2], [2, 1, 1]], [[1, 1, 1], [2, 2, 2]]])
    monkeypatch.setattr(halting, "intermediate_predictions", lambda *_: boards)
    numbers = halting.fixed_point(make(halting="bce", M_max=2, H_cycles=1), split, segments=4)
    assert numbers["solved"] == 2 and numbers["still_right"].tolist() == [1, 1, 0.5]
    assert numbers["moved"].tolist() == pytest.approx([(1 / 2 + 0) / 2, (1 / 3 + 0) / 2])
    assert numbers["open"] == [0, 1, 2, 3] and numbers["act"] == [1.0] * 4 and numbers["fixed"] == [0.5] * 4
    assert numbers["jumps"] == pytest.approx([1, 2 / 3])
    assert numbers["before"][-3:].tolist() == [-2, -1, 0]
    assert [mean for mean, _, _ in numbers["right"][-3:]] == pytest.approx([0, (0 + 1 / 3) / 2, 1])


# ---- Steps

GIVEN, ANSWER = "1..4.3..2..3.4.2", "1234432121433412"
MAZE = "#####\n#S  #\n### #\n#G  #\n#####\n"


@pytest.mark.parametrize("name, size, puzzle, message", [
    ("sudoku", 4, "123", "is no file, and as a puzzle has 3 characters; the checkpoint solves sudoku of 4x4, which has 16"),
    ("sudoku", 4, "x" * 16, "'x' is no symbol of sudoku; use '.1234'; the checkpoint solves sudoku of 4x4"),
    ("sudoku", 4, "11" + "." * 14, "the same digit twice in a row, column or box of the question; mend the puzzle"),
    ("sudoku", 4, "123...4" + "." * 9, "the puzzle has no solution; mend the puzzle"),
    ("maze", 5, MAZE.replace("S", " "), "no S; mend the puzzle"),
    ("maze", 5, MAZE.replace("G", " "), "no G; mend the puzzle"),
    ("maze", 5, MAZE.replace("### #", "#####"), "no path from S to G; mend the puzzle"),
    ("maze", 5, "1" * 25, "'1' is no symbol of maze"),
])
def test_bad_puzzles(name, size, puzzle, message):
    with pytest.raises(UserError) as error:
        steps.parse_puzzle(load_task(name, size=size), puzzle)
    assert message in str(error.value) and str(error.value).startswith("--puzzle '") and "\n" not in str(error.value)


def test_puzzle_from_a_file(tmp_path):
    task = load_task("maze", size=5)
    (tmp_path / "maze.txt").write_text(MAZE)
    assert task.decode([steps.parse_puzzle(task, str(tmp_path / "maze.txt"))]) == [MAZE.replace("\n", "")]
    (tmp_path / "short.txt").write_text("#S G#\n")
    with pytest.raises(UserError, match="holds 5 characters; the checkpoint solves maze of 5x5, which has 25"):
        steps.parse_puzzle(task, str(tmp_path / "short.txt"))


def test_fault_tells_right_from_wrong():
    task = load_task("sudoku", size=4)
    given, answer = (task.encode([text])[0] for text in (GIVEN, ANSWER))
    assert steps.fault(task, given, answer) == ""
    wrong = answer.copy()
    wrong[1] = wrong[2]
    assert steps.fault(task, given, wrong) == "the same digit twice in a row, column or box of the answer"
    maze_task = load_task("maze", size=5)
    question = maze_task.encode([MAZE.replace("### #", "#   #")])[0]
    detour = maze_task.encode(["######Sooo#   #o##Goo#####".replace("o##G", "o#G")[:25]])[0]
    assert steps.fault(maze_task, question, detour)
    plain = SimpleNamespace(check=lambda inputs, answers: None)
    assert steps.fault(plain, given, wrong) is None
    assert steps.fault(plain, given, wrong, answer) == "1 cells differ from the right answer"


def test_follow_gives_the_answer_of_solve(puzzles):
    task, split, model = puzzles
    model.config.halting = "bce"
    for i in range(5):
        inputs = torch.from_numpy(split.inputs[i : i + 1].astype(np.int64))
        solution = solve(model, inputs, max_segments=4, confidence=0.9)
        thought = steps.follow(model, task, split.inputs[i], max_segments=4, confidence=0.9)
        assert thought.answer.tolist() == solution.predictions[0].tolist()
        assert len(thought.confidence) == solution.segments.item() and thought.updates_per_segment == 6
        assert thought.boards[6 * thought.segment - 1].tolist() == thought.answer.tolist()
        assert thought.confidence[thought.segment - 1] == pytest.approx(solution.q_halt.sigmoid().item(), abs=1e-5)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def thought(answer, wrong):
    """One segment of two updates on GIVEN: the first leaves the question, the second gives the answer."""
    task = load_task("sudoku", size=4)
    given, answer = (task.encode([text])[0] for text in (GIVEN, answer))
    return task, steps.Steps(given, None, np.stack([given, answer]), np.array([0.75]), answer, 1, wrong)


def test_live_text():
    task, right = thought(ANSWER, "")
    screen, pipe = Terminal(), io.StringIO()
    steps.play(task, right, screen, seconds=0)
    steps.play(task, right, pipe, seconds=0)
    assert pipe.getvalue().splitlines() == ["segment 1, update 2, confidence 0.75", "  1 2 3 4", "  4 3 2 1", "  2 1 4 3", "  3 4 1 2",
                                            "solved after 1 segment, confidence σ(q_halt) = 0.75"]
    text = screen.getvalue()
    assert text.count("\033[5A") == 1  # the second board is printed over the first
    assert steps.BOLD + "1" + steps.PLAIN in text and steps.BLUE_TEXT + steps.GREY_GROUND + "2" + steps.PLAIN in text


def test_a_wrong_answer_is_said_to_be_wrong():
    wrong = ANSWER[:1] + "3" + ANSWER[2:]
    task, said = thought(wrong, "the same digit twice")
    screen = Terminal()
    steps.play(task, said, screen, seconds=0)
    assert "WRONG after 1 segment, confidence σ(q_halt) = 0.75: the same digit twice" in screen.getvalue()
    assert steps.RED_TEXT + steps.GREY_GROUND + "3" in screen.getvalue() and "solved" not in screen.getvalue()
    figure = steps.plot_steps(task, said)
    titles = [ax.get_title() for ax in figure.axes] + [figure.get_suptitle()]
    assert "the answer: WRONG" in titles and not any("solved" in title for title in titles)


# ---- Commands


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A 4x4 Sudoku model trained for some steps, in a folder of its own."""
    folder, before = tmp_path_factory.mktemp("analyze"), os.getcwd()
    os.chdir(folder)
    options = """--task sudoku --size 4 --preset cpu --device cpu --hidden-size 16 --num-heads 1 --H-layers 1 --L-layers 1 --M-max 2
        --train-size 64 --val-size 16 --test-size 30 --batch-size 16 --steps 4 --eval-every 4 --log-every 2 --out hrm"""
    assert train.main(options.split()) == 0
    yield folder
    os.chdir(before)


@pytest.mark.parametrize("command, options, files", [
    ("convergence", ["--puzzles", "4"], ["convergence-sudoku-4x4.png"]),
    ("participation-ratio", ["--puzzles", "8"], ["participation-ratio-sudoku-4x4.png"]),
    ("steps", ["--puzzle", GIVEN], ["steps-sudoku-4x4.png", "steps-sudoku-4x4.gif"]),
    ("steps", ["--index", "3", "--max-segments", "1"], ["steps-sudoku-4x4.png", "steps-sudoku-4x4.gif"]),
    ("halting", [], ["halting-sudoku-4x4.png"]),
    ("inference-scaling", ["--max-segments", "3"], ["inference-scaling-sudoku-4x4.png"]),
    ("fixed-point", ["--puzzles", "6"], ["fixed-point-sudoku-4x4.png"]),
])
def test_commands(run, tmp_path, capsys, command, options, files):
    assert analyze.main([command, "--checkpoint", "hrm/best.pt", "--out", str(tmp_path), "--device", "cpu", *options]) == 0
    assert sorted(os.listdir(tmp_path)) == sorted([*files, f"{command}-sudoku-4x4.json"])
    assert json.loads((tmp_path / f"{command}-sudoku-4x4.json").read_text())
    for name in files:
        with Image.open(tmp_path / name) as image:
            assert image.width > 200
            assert getattr(image, "n_frames", 1) > 2 or name.endswith("png")
    if command == "steps":
        assert " after " in capsys.readouterr().out


@pytest.mark.parametrize("arguments, message", [
    ([], "the following arguments are required: NAME"),
    (["dance"], "invalid choice: 'dance'"),
    (["halting"], "the following arguments are required: --checkpoint"),
    (["halting", "--checkpoint", "no.pt"], "no checkpoint at no.pt"),
    (["halting", "--checkpoint", "hrm/best.pt", "--puzzles", "0"], "--puzzles 0 must be greater than 0"),
    (["halting", "--checkpoint", "hrm/best.pt", "--task", "maze"], "task maze does not fit hrm/best.pt"),
    (["steps", "--checkpoint", "hrm/best.pt", "--puzzle", MAZE], "has 25 characters; the checkpoint solves sudoku of 4x4"),
    (["steps", "--checkpoint", "hrm/best.pt", "--index", "99"], "--index 99: there are only 30 test puzzles"),
    (["steps", "--checkpoint", "hrm/best.pt", "--puzzle", GIVEN, "--out", "hrm/best.pt"], "cannot write"),
])
def test_bad_commands(run, capsys, arguments, message):
    assert analyze.main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error


@pytest.mark.parametrize("scale", ["cpu", "gpu"])
def test_every_run_of_the_sweep_has_options_that_fit(scale):
    here = SimpleNamespace(device=torch.device("cpu"), rank=1)
    for name, argv in sweep.grid(scale).items():
        options, sizes = choose(parse(argv, ""), here)
        config = HRMConfig(vocab_size=11, seq_len=options.size**2, **sizes)
        assert name == f"{config.model}-{config.hidden_size}wide-{config.H_layers + config.L_layers}layers-M{config.M_max}"
        assert config.head_size == sweep.SCALES[scale]["head_size"] and not options.halt


def test_the_sweep_resumes_what_was_interrupted(run, monkeypatch, capsys):
    options = ("--task sudoku --size 4 --preset cpu --device cpu --steps 6 --batch-size 8 --train-size 64 --val-size 0 --test-size 10 "
               "--log-every 1 --no-halt --inner-multiple 16")
    monkeypatch.setitem(sweep.SCALES, "test", {
        "options": options, "head_size": 8, "widths": [8], "layers_of_widths": 2, "width_of_depths": 8, "layers": [2],
        "module_layers": 1, "M_max": [2]})
    assert list(sweep.grid("test")) == ["transformer-8wide-2layers-M1", "recurrent-8wide-2layers-M2", "hrm-8wide-2layers-M2"]
    assert len(sweep.grid("cpu")) == 4 + 4 - 1 + 4 + 4  # one Transformer stands in both panels
    write_row = train.Log.write_row

    def interrupt(log):
        write_row(log)
        if log.run.config.model == "recurrent" and log.run.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train.Log, "write_row", interrupt)
        sweep.depth("sweep", "test")
    done = [name for name in sweep.grid("test") if os.path.exists(f"sweep/{name}/eval.json")]
    assert done == ["transformer-8wide-2layers-M1"] and os.path.exists("sweep/recurrent-8wide-2layers-M2/last.pt")
    begun, main = [], train.main
    monkeypatch.setattr(train, "main", lambda argv: begun.append(argv) or main(argv))
    numbers = sweep.depth("sweep", "test")
    assert begun[0] == ["--resume", "sweep/recurrent-8wide-2layers-M2"] and len(begun) == 2
    assert [(each["model"], each["computed"]) for each in numbers["runs"]] == [("transformer", 2), ("recurrent", 16), ("hrm", 12)]
    assert all(each["n"] == 10 and 0 <= each["exact"] <= 1 for each in numbers["runs"])
    lines = sweep.plot_depth(numbers).axes[1].containers
    assert [line.get_label() for line in lines] == ["Transformer", "recurrent network", "HRM"]

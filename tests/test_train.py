"""train.py, options.py and evaluate.py: whole runs of a tiny model, killed, split over processes and resumed; and their
parts against NumPy and counting by hand."""

import csv
import json
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch._dynamo  # every optimiser imports it; here, so that the fork server has it

import evaluate as evaluation
import published
import train
import vote
from data import Split, UserError, load_splits, load_task
from evaluate import evaluate, load_model
from hrm import HRM, HRMConfig, Slots, act_step
from options import Options, choose

TRAIN_PY = Path(train.__file__).resolve()

# Everything that could be forgotten in a checkpoint is switched on: puzzle embedding, EMA, exploration, augmentation,
# a growing M_max, micro-batches, a learning rate that changes at every step.
TINY = """--task sudoku --size 4 --preset cpu --device cpu --hidden-size 16 --num-heads 2 --H-layers 1 --L-layers 1
    --inner-multiple 16 --puzzle-emb-ndim 20 --M-max 4 --grow-M-max 0.25 --exploration 0.5 --halting q --ema 0.9
    --lr 3e-3 --warmup 5 --train-size 24 --val-size 6 --test-size 6 --batch-size 8 --accumulate 2 --steps 24
    --eval-every 8 --save-every 3 --log-every 2""".split()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Every test in a folder of its own, on one thread: the order of additions is then always the same."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The folder of a run of TINY that was never interrupted."""
    folder = tmp_path_factory.mktemp("reference")
    torch.set_num_threads(1)
    before = os.getcwd()
    os.chdir(folder)
    try:
        assert train.main([*TINY, "--out", str(folder / "run")]) == 0
    finally:
        os.chdir(before)
    return folder / "run"


def differences(a, b, path=""):
    """Where two nested values differ, tensors bit by bit."""
    if isinstance(a, torch.Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a, b) else [path]
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        return [found for key in a for found in differences(a[key], b[key], f"{path}/{key}")]
    if isinstance(a, (list, tuple)):
        assert len(a) == len(b), path
        return [found for i in range(len(a)) for found in differences(a[i], b[i], f"{path}/{i}")]
    return [] if a == b else [path]


def load(path):
    return torch.load(path, weights_only=True)


def metrics(folder):
    """Rows of metrics.csv as texts, without the two columns that depend on the machine's speed."""
    with open(folder / "metrics.csv") as file:
        return [{k: v for k, v in row.items() if k not in ("seconds", "puzzles_per_s")} for row in csv.DictReader(file)]


def assert_same_run(folder, other):
    for name in ("last.pt", "best.pt"):
        a, b = load(folder / name), load(other / name)
        assert set(differences(a, b)) <= {"/seconds", "/options/out", "/options/resume"}
    assert metrics(folder) == metrics(other)


# ------------------------------------------------------------------------------- killed, interrupted and resumed


@pytest.fixture(scope="module")
def fork_server():
    """A process that has imported everything and computed nothing: forking it makes real processes, quickly."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as server:
        yield lambda *arguments, **options: server.submit(forked, *arguments, **options).result(timeout=60)


def forked(folder, arguments, number=None, rows=0, seconds=0.0, sabotage=None, n=0, processes=1):
    """train.main in a process of its own, which gets signal `number` after so many new rows of metrics.csv and then so
    many seconds, or which kills itself in the n-th call of `sabotage` -> exit status (negative: killed), output."""
    os.chdir(folder)
    begun, out = count_rows(folder), folder / "out.txt"
    out.write_text("")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pids = []
    for rank in range(processes):
        pids.append(os.fork())
        if pids[-1] == 0:
            status = 1
            try:
                with open(out, "a") as file:
                    os.dup2(file.fileno(), 1)
                    os.dup2(file.fileno(), 2)
                if processes > 1:
                    os.environ.update(RANK=str(rank), WORLD_SIZE=str(processes), MASTER_ADDR="127.0.0.1",
                                      MASTER_PORT=str(port))
                torch.set_num_threads(1)
                train.draw_curves = evaluation.draw_solutions = lambda *_, **options: None  # saves half of the time
                vote.draw_attempts = vote.draw_steps = train.draw_curves
                die_in(sabotage, n)
                status = train.main(arguments)
                sys.stdout.flush()
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
    if number:
        while os.waitid(os.P_PID, pids[0], os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if count_rows(folder) >= begun + rows:
                time.sleep(seconds)
                os.kill(pids[0], number)  # at most a zombie: its number is not given away before it is waited for
                break
            time.sleep(0.002)
    return max((os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids), key=abs), out.read_text()


def count_rows(folder):
    path = folder / "run" / "metrics.csv"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def die_in(place, n):
    """Make this process kill itself in the n-th call: in the middle of writing a checkpoint, or around its rename."""
    calls = iter(range(1, 1000))
    save, replace = torch.save, os.replace

    def kill():
        os.kill(os.getpid(), signal.SIGKILL)

    def half_save(content, path):
        save(content, path)
        if next(calls) == n:
            with open(path, "r+b") as file:
                file.truncate(Path(path).stat().st_size // 2)
            kill()

    def last_replace(source, target):
        count = next(calls)
        if count == n and place == "before rename":
            kill()
        replace(source, target)
        if count == n and place == "after rename":
            kill()

    if place == "save":
        torch.save = half_save
    elif place:
        os.replace = last_replace


def how_to_go_on(folder):
    run = folder / "run"
    return ["--resume", str(run)] if (run / "last.pt").exists() else [*TINY, "--out", str(run)]


def test_killed_at_random_moments_and_resumed(tmp_path, fork_server, reference):
    rng, kills, status = random.Random(0), 0, -9
    while status:
        status, output = fork_server(tmp_path, how_to_go_on(tmp_path), signal.SIGKILL, rng.randint(3, 4),
                                     rng.uniform(0, 0.03))
        assert status in (0, -9), output
        kills += status == -9
    assert kills >= 3
    assert_same_run(tmp_path / "run", reference)


# A run writes config.json, metrics.csv, last.pt (steps 3 and 6), best.pt and last.pt (8), last.pt (9), ...
@pytest.mark.parametrize("place, n", [("save", 1), ("save", 4), ("after rename", 5)])
def test_killed_while_writing_and_resumed(tmp_path, fork_server, reference, place, n):
    status, output = fork_server(tmp_path, how_to_go_on(tmp_path), None, 0, 0, place, n)
    assert status == -9, output
    second = ("before rename", 2)  # and again as soon as the resumed run has written config.json
    status, output = fork_server(tmp_path, how_to_go_on(tmp_path), None, 0, 0, *second)
    assert status == -9, output
    status, output = fork_server(tmp_path, how_to_go_on(tmp_path))
    assert status == 0, output
    assert_same_run(tmp_path / "run", reference)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path, fork_server, reference, number):
    status, output = fork_server(tmp_path, how_to_go_on(tmp_path), number, 5)
    run = tmp_path / "run"
    assert status == 130 and "Traceback" not in output
    step = load(run / "last.pt")["step"]
    assert f"stopped and saved after step {step} of 24; go on with: python train.py --resume {run}" in output
    assert 0 < step < 24
    status, output = fork_server(tmp_path, ["--resume", str(run)])
    assert status == 0, output
    assert_same_run(run, reference)


def test_ctrl_c_before_the_first_step(tmp_path, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "load_splits", interrupted)
    assert train.main([*TINY, "--out", "run"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_finished_run_may_be_resumed(tmp_path, reference):
    before = load(reference / "last.pt"), metrics(reference)
    assert train.main(["--resume", str(reference)]) == 0
    assert (load(reference / "last.pt")["step"], metrics(reference)) == (before[0]["step"], before[1])


# ------------------------------------------------------------------------------------------- several processes


def torchrun(processes, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run([*command, str(TRAIN_PY), *arguments], env={**os.environ, "OMP_NUM_THREADS": "1"},
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_number_of_processes_does_not_matter(tmp_path, monkeypatch, fork_server):
    """One process, two micro-batches, two processes, and a run that changes from one process to two.

    Activations are float64, so that only the sum of the float32 gradients rounds differently: about 1e-7 of their
    size. An update is lr·atan2(m, √v), whose slope has no bound: where the parts of a gradient cancel to 1e-7 of
    their size, not even its sign is certain, and the weight may move by lr the other way. So the bound is on the
    weights altogether, in units of one update: all but one in a thousand agree to 1e-3 of it, and none is off by a
    whole one. (Measured: all agree to 2e-5.)
    """
    options = [*TINY, "--dtype", "float64", "--steps", "12"]
    monkeypatch.setattr(evaluation, "draw_solutions", lambda *_, **options: None)  # to save time
    assert train.main([*options, "--accumulate", "1", "--out", "one"]) == 0
    assert train.main([*options, "--accumulate", "2", "--out", "micro"]) == 0
    torchrun(2, *options, "--accumulate", "1", "--out", "two")

    write_row = train.Log.write_row

    def write_and_interrupt(log):
        write_row(log)
        if log.run.step == 4:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(train.Log, "write_row", write_and_interrupt)
        assert train.main([*options, "--out", "changed"]) == 130
    assert 4 < load("changed/last.pt")["step"] < 12
    assert Path("changed/curves.png").exists()
    status, output = fork_server(tmp_path, ["--resume", "changed", "--accumulate", "1"], processes=2)
    assert status == 0, output

    one = load("one/last.pt")
    for name in ("micro", "two", "changed"):
        other = load(f"{name}/last.pt")
        for kind in ("model", "averaged"):
            for key, weights in one[kind].items():
                updates = (weights - other[kind][key]).abs() / 3e-3
                assert updates.max() < 1 and (updates > 1e-3).double().mean() < 1e-3, (name, kind, key)
        inputs, labels, puzzle_ids, z_H, z_L, steps, halted = range(7)
        for part in (inputs, labels, puzzle_ids, steps, halted):  # the same puzzles in the same slots
            assert torch.equal(one["slots"][part], other["slots"][part])
        for part in (z_H, z_L):
            assert torch.allclose(one["slots"][part], other["slots"][part], atol=1e-3)
        for row, same in zip(metrics(Path("one")), metrics(Path(name)), strict=True):
            assert row.keys() == same.keys()
            for key in row:
                assert row[key] == same[key] or float(row[key]) == pytest.approx(float(same[key]), rel=1e-5), (name, key)


# ----------------------------------------------------------------------------------- optimisers, schedules, order


def test_adam_atan2_against_numpy():
    rng = np.random.default_rng(0)
    shapes, lr, decay, beta1, beta2 = [(3, 4), (5,)], 0.02, 0.3, 0.9, 0.95
    params = [rng.normal(size=shape) for shape in shapes]
    tensors = [torch.nn.Parameter(torch.tensor(p)) for p in params]
    optimizer = train.AdamAtan2(tensors, lr, decay)
    m, v = [0 * p for p in params], [0 * p for p in params]
    for t in range(1, 8):
        for i, tensor in enumerate(tensors):
            gradient = rng.normal(size=shapes[i]) * 10.0 ** rng.integers(-6, 3)
            gradient.flat[0] = 0  # atan2(0, 0) = 0: a weight without gradient only decays
            tensor.grad = torch.tensor(gradient)
            m[i] = beta1 * m[i] + (1 - beta1) * gradient
            v[i] = beta2 * v[i] + (1 - beta2) * gradient**2
            angle = np.arctan2(m[i], np.sqrt(v[i] / (1 - beta2**t)))
            params[i] = params[i] * (1 - lr * decay) - lr / (1 - beta1**t) * angle
        optimizer.step()
        for p, tensor in zip(params, tensors):
            assert np.allclose(tensor.detach().numpy(), p, rtol=1e-12, atol=0)


def test_sign_sgd_moves_only_the_rows_in_the_batch():
    table = torch.full((5, 3), 2.0)
    ids = torch.tensor([3, 1, 3])
    grads = torch.tensor([[5.0, -1.0, 0.0], [-2.0, 0.0, 4.0], [-4.0, -3.0, 0.0]])  # puzzle 3: sums 1, -4, 0
    train.sign_sgd_(table, ids, grads, lr=0.1, weight_decay=0.5)
    decayed = 2.0 * (1 - 0.1 * 0.5)
    assert torch.equal(table[[0, 2, 4]], torch.full((3, 3), 2.0))
    assert torch.allclose(table[1], torch.tensor([decayed + 0.1, decayed, decayed - 0.1]))
    assert torch.allclose(table[3], torch.tensor([decayed - 0.1, decayed + 0.1, decayed]))


def test_learning_rate_schedule():
    constant = Options(warmup=2000)
    assert train.lr_scale(0, 26041, constant) == 1 / 2000
    assert train.lr_scale(999, 26041, constant) == 0.5
    assert train.lr_scale(1999, 26041, constant) == train.lr_scale(26040, 26041, constant) == 1
    cosine = Options(warmup=10, lr_end=0.1)
    assert train.lr_scale(4, 110, cosine) == 0.5
    assert train.lr_scale(10, 110, cosine) == 1
    assert train.lr_scale(60, 110, cosine) == pytest.approx(0.55)
    assert train.lr_scale(110, 110, cosine) == pytest.approx(0.1)
    assert train.lr_scale(0, 10, Options(warmup=0)) == 1


def test_M_max_doubles_over_the_first_half():
    grown = [train.M_max_at(step, 120, 8, 0.5) for step in range(120)]
    assert grown == [1] * 20 + [2] * 20 + [4] * 20 + [8] * 60
    assert {train.M_max_at(step, 120, 16, 0) for step in range(120)} == {16}
    assert [train.M_max_at(step, 4, 6, 1.0) for step in range(5)] == [1, 1, 2, 4, 6]
    assert train.M_max_at(0, 10, 1, 0.5) == 1


@pytest.mark.parametrize("n, batch", [(10, 4), (4, 10), (7, 7)])
def test_every_epoch_offers_each_puzzle_once(n, batch):
    steps = 3 * n
    rows = np.concatenate([published.offered_rows(n, batch, step, seed=1) for step in range(steps)])
    epochs = rows[: len(rows) // n * n].reshape(-1, n)
    assert (np.sort(epochs) == np.arange(n)).all() and len(epochs) == 3 * batch
    assert len({tuple(epoch) for epoch in epochs}) > 1  # another order every time
    published.epoch_order.cache_clear()
    assert (published.offered_rows(n, batch, 5, seed=1) == rows[5 * batch : 6 * batch]).all()
    assert (published.offered_rows(n, batch, 5, seed=2) != rows[5 * batch : 6 * batch]).any()


CPU = SimpleNamespace(rank=1, world=1, device=torch.device("cpu"))


@pytest.mark.parametrize("task", ["maze", "sudoku"])
def test_the_paper_preset_is_the_papers(task):
    options, sizes = choose({"preset": "paper", "task": task}, CPU)
    assert train.check(options, 1000, CPU) == 26_041
    expected = dict(lr=1e-4, lr_end=1.0, weight_decay=1.0, puzzle_lr=1e-4, puzzle_weight_decay=1.0, batch_size=768,
                    epochs=20_000, steps=None, warmup=2000, train_size=1000, ema=0, grow_M_max=0, halt=False)
    assert {name: getattr(options, name) for name in expected} == expected
    config = HRMConfig(**sizes)
    assert (config.H_cycles, config.L_cycles, config.M_max, config.exploration) == (2, 2, 16, 0.1)
    assert (config.hidden_size, config.num_heads, config.H_layers, config.L_layers) == (512, 8, 4, 4)
    assert (config.halting, config.token_loss, config.positions) == ("q", "stablemax", "rope")
    assert (config.expansion, config.rope_base, config.norm_eps, config.dtype) == (4, 10_000, 1e-5, "bfloat16")
    if task == "maze":
        assert options.size == 30 and not options.augment
        chosen = load_task("maze", **train.task_keywords(options))
        assert (chosen.kind, chosen.min_path, chosen.vocab_size, chosen.seq_len) == ("random", 110, 6, 900)
    else:
        assert options.size == 9 and options.augment
        with torch.device("meta"):
            model = HRM(config)
        assert sum(p.numel() for p in model.parameters()) == 27_275_266


def test_only_the_chosen_preset_must_fit(capsys):
    """A width for the cpu preset's 2 heads need not suit the 8 of the paper's."""
    options, sizes = choose({"preset": "cpu", "task": "sudoku", "hidden_size": 40}, CPU)
    assert sizes["hidden_size"] == 40
    with pytest.raises(UserError, match="hidden_size 40 and num_heads 8"):
        choose({"preset": "paper", "task": "sudoku", "hidden_size": 40}, CPU)


def test_few_epochs_are_counted_with_all_puzzles():
    options = Options(epochs=3, batch_size=32, train_size=100)
    assert train.check(options, 100, CPU) == 9


# --------------------------------------------------------------------------------------------------- learning


def test_a_tiny_model_learns_eight_puzzles_by_heart(tmp_path):
    options = """--task sudoku --size 4 --preset cpu --device cpu --hidden-size 32 --num-heads 2 --H-layers 1 --L-layers 1
        --inner-multiple 16 --M-max 4 --grow-M-max 0 --ema 0 --no-augment --lr 3e-3 --lr-end 0.1 --warmup 10
        --weight-decay 0 --train-size 8 --val-size 2 --test-size 2 --batch-size 8 --steps 350
        --eval-every 350 --log-every 25 --out run""".split()
    assert train.main(options) == 0
    rows = metrics(Path("run"))
    assert float(rows[-1]["loss"]) < 0.2 * float(rows[0]["loss"]) and float(rows[-1]["exact"]) == 1
    model, task, trained = load_model("run/last.pt")
    puzzles = load_splits(task, None, 8, 2, 2, trained["seed"], progress=False)["train"]
    result = evaluate(model, task, puzzles)
    assert result["n"] == 8 and result["exact"] == result["valid"] == result["cell"] == result["q_halt_accuracy"] == 1
    assert result["segments"] < 4  # it knows that it is right


# --------------------------------------------------------------------------------------------------- evaluation


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
        segment = z[0] + 1
        q_halt = torch.where(inputs[:, 0] <= segment, 1.0, -1.0)
        return (segment, segment), torch.nn.functional.one_hot(inputs, 8).float(), q_halt, torch.zeros(len(inputs))

    def wants_to_halt(self, q_halt, q_continue, confidence):
        return q_halt > q_continue


class Even(SimpleNamespace):
    """A task whose rule is that the second cell be even."""

    def check(self, inputs, answers):
        return answers[:, 1] % 2 == 0

    def keeps_rules(self, inputs, answers):
        return None


@pytest.mark.parametrize("n", [1, 125, 126, 1203])
def test_evaluation_against_counting(n):
    rng = np.random.default_rng(n)
    inputs = rng.integers(1, 8, size=(n, 5))
    labels = np.where(rng.random(inputs.shape) < 0.15, rng.integers(1, 8, size=inputs.shape), inputs)
    labels[:, 2:] *= rng.random((n, 3)) < 0.7  # a PAD in the labels: this cell is not counted
    split = Split(inputs.astype(np.uint8), labels.astype(np.uint8), np.zeros(n, np.int32), np.zeros(n, np.float32))
    exact = cell = valid = segments = q = 0
    for given, label in zip(inputs, labels):
        counted = [i for i in range(5) if label[i] != 0]
        right = [i for i in counted if given[i] == label[i]]
        exact += right == counted
        cell += len(right) / len(counted)
        valid += given[1] % 2 == 0
        segments += min(given[0], 4)
        q += (given[0] <= 4) == (right == counted)
    result = evaluate(Copycat(), Even(), split)
    assert result["n"] == n and result["puzzles_per_s"] > 0
    for name, total in dict(exact=exact, cell=cell, valid=valid, segments=segments, q_halt_accuracy=q).items():
        assert result[name] == pytest.approx(total / n, rel=1e-5), name
    assert evaluate(Copycat(), Even(), split, halt=False)["segments"] == 4
    assert evaluate(Copycat(), Even(), split, max_segments=2, halt=False)["segments"] == 2
    assert evaluate(Copycat(), SimpleNamespace(check=lambda *_: None, keeps_rules=lambda *_: None), split)["valid"] == result["exact"]

    sent = []  # the same puzzles shared by two processes, one after the other

    def sum_(tensors):
        sent.append(tensors[0].clone())
        tensors[0].copy_(sum(sent))

    for rank in (1, 0):
        processes = SimpleNamespace(rank=rank, world=2, sum_=sum_, device=torch.device("cpu"))
        if rank == 0 or n > 125:
            shared = evaluate(Copycat(), Even(), split, processes)
    assert {**shared, "puzzles_per_s": 0} == pytest.approx({**result, "puzzles_per_s": 0}, rel=1e-5)


RESULT = {"checkpoint", "max_segments", "halt", "confidence", "votes", "noise", "views", "choose", "seed", "n", "exact", "valid", "cell", "segments", "q_halt_accuracy",
          "puzzles_per_s"}


def test_the_folder_of_a_run(reference):
    assert {path.name for path in reference.iterdir()} == {
        "config.json", "metrics.csv", "curves.png", "solved.png", "last.pt", "best.pt", "eval.json"}
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
    assert last["step"] == 24 and last["optimizer"]["param_groups"][0]["t"] == 24
    assert last["model"]["puzzle_emb"].any()  # the puzzle embedding was trained
    assert load(reference / "best.pt")["step"] in (8, 16, 24)


def test_eval_of_a_checkpoint(tmp_path, reference, capsys):
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
    assert Path("evaluated/solved.png").exists()
    assert result(reference)["checkpoint"] == str(reference)  # a folder: its last.pt

    rows = [f"x,{question},{answer},0" for question, answer in zip(task.decode(puzzles.inputs), task.decode(puzzles.labels))]
    Path("puzzles.csv").write_text("\n".join(["source,question,answer,rating", *rows[:5]]) + "\n")
    from_file = result(reference / "best.pt", "--data", "puzzles.csv")
    expected = evaluate(model, task, puzzles[:5])
    assert from_file["n"] == 5 and from_file["cell"] == pytest.approx(expected["cell"])
    short = result(reference / "best.pt", "--data", "puzzles.csv", "--max-segments", "1")
    assert short["max_segments"] == short["segments"] == 1
    assert result(reference / "best.pt", "--max-segments", "7", "--no-halt")["segments"] == 7


def test_eval_of_a_published_checkpoint(tmp_path):
    torch.manual_seed(0)
    sizes = dict(hidden_size=16, num_heads=4, H_layers=1, L_layers=2, puzzle_emb_ndim=16, M_max=3, dtype="float32")
    model = HRM(HRMConfig(vocab_size=6, seq_len=16, **sizes))
    torch.save({f"_orig_mod.{name}": tensor for name, tensor in model.to_published().items()}, "published")
    command = "--eval published --task sudoku --size 4 --num-heads 4 --M-max 3 --dtype float32"
    small = "--train-size 20 --val-size 0 --test-size 7 --out evaluated"
    assert train.main(f"{command} {small}".split()) == 0
    result = json.loads(Path("evaluated/eval.json").read_text())
    puzzles = load_splits(load_task("sudoku", size=4), None, 20, 0, 7, 0, progress=False)["test"]
    expected = evaluate(model, load_task("sudoku", size=4), puzzles, halt=False)
    assert result["segments"] == 3 and result["n"] == 7
    assert result["cell"] == pytest.approx(expected["cell"])


# ----------------------------------------------------------------------------------------- a task of one's own


def test_a_students_task_from_end_to_end(tmp_path):
    (tmp_path / "turned.py").write_text('''
import numpy as np
from data import Task

class Turned(Task):
    """Turn the picture upside down."""
    name, symbols, default_size = "turned", "_.#", 4

    def generate(self, n, rng):
        pictures = rng.integers(1, 3, size=(n, self.seq_len)).astype(np.uint8)
        return pictures, pictures[:, ::-1].copy()
''')
    sizes = "--hidden-size 16 --num-heads 2 --H-layers 1 --L-layers 1 --M-max 2 --steps 6"
    amounts = "--train-size 20 --val-size 4 --test-size 5 --batch-size 4 --device cpu --preset cpu"
    done = subprocess.run([sys.executable, TRAIN_PY, *f"--task turned {sizes} {amounts}".split()], capture_output=True,
                          text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=120)
    assert done.returncode == 0, done.stderr
    assert train.main(["--eval", "runs/turned/best.pt"]) == 0
    result = json.loads((tmp_path / "runs/turned/eval.json").read_text())
    assert result["n"] == 5 and result["valid"] == result["exact"]


# ------------------------------------------------------------------------------------------------ torch.compile


def test_the_model_compiles_whole_and_only_once():
    """Without a graph break (`fullgraph`), and not again as slots halt and take new puzzles."""
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    torch.manual_seed(0)
    config = HRMConfig(vocab_size=6, seq_len=16, hidden_size=16, num_heads=2, H_layers=1, L_layers=1, puzzle_emb_ndim=20,
                       M_max=3, exploration=0, dtype="float32")
    plain = HRM(config)
    compiled = HRM(config)
    compiled.load_state_dict(plain.state_dict())
    counter = CompileCounter()
    compiled.compile(backend=counter, fullgraph=True)
    slots = []
    for model in (plain, compiled):
        shape = torch.zeros(4, 16, dtype=torch.long), torch.zeros(4, 16, dtype=torch.long), torch.zeros(4, dtype=torch.long)
        slots.append(Slots.empty(model, *shape))
    generator, halts, graphs = torch.Generator().manual_seed(0), set(), []
    for step in range(8):
        inputs, labels = torch.randint(1, 6, (2, 4, 16), generator=generator)
        for i, model in enumerate((plain, compiled)):
            with torch.no_grad():
                model.q_head.bias[0] = 1.0 if step == 4 else -5.0
            slots[i], loss, _, vectors = act_step(model, slots[i], (inputs, labels, torch.zeros(4, dtype=torch.long)), 3)
            loss.backward()
        assert torch.allclose(slots[0].z_H, slots[1].z_H, atol=1e-5)
        halts.add(int(slots[1].halted.sum()))
        graphs.append(counter.frame_count)
    assert halts == {0, 4} or len(halts) > 1
    assert graphs[-1] == graphs[0] == 2  # with gradient; and without, for the Q-targets
    for a, b in zip(plain.parameters(), compiled.parameters()):
        assert torch.allclose(a.grad, b.grad, atol=1e-5)

"""How fast is it here, how close to what the machine can do, and where does the time go?

    python extras/bench.py                                       # a training step of the preset
    python extras/bench.py --compare                             # in turns with the same step, not compiled
    python extras/bench.py --checkpoint checkpoints/maze-9x9.pt  # inference, with and without ACT's saving
    python extras/bench.py --puzzles                             # making, augmenting and solving puzzles
    python extras/bench.py --start                               # from `python train.py` to its first step

All options of train.py work here too. A step is measured by the large matrix product, as nearly all of a
Transformer's work is in products: FLOPs of the step / (time × the product's FLOPs per second). Ratios are
taken within a round (product, step, other step), then their median, so that other programs disturb little.
"""

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from types import SimpleNamespace

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import profile
from torch.utils.benchmark import Timer, timer
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # `python extras/bench.py` alone would look for modules in extras/

from data import load_splits, load_task, to_tensors
from hrm import HRMConfig, Slots, Thinking, act_step, solve
from puzzles import sudoku
from puzzles.task import transform
from train import EAGER_STEPS, Run, compile_model, lr_scale, offers, puzzles, update
from training import options as train_options
from training.checkpoints import build, load_model, make_model
from training.files import UserError
from training.processes import Processes, choose_device


def timed(work, times=1):
    """Seconds that work() takes, and the results of all its `times`."""
    start = timer()  # PyTorch's own waits for a GPU, which computes on while Python goes ahead
    results = [work() for _ in range(times)]
    return (timer() - start) / times, results


def count_flops(config, batch_size):
    """FLOPs of the matrix products in a training step, forward and backward, 2mkn for (m, k) @ (k, n).

    On "meta" tensors have a shape and no numbers: nothing is computed. Attention is counted as products, as
    PyTorch's counter does not know the CPU's kernel; what kernels compute again in backward is not counted.
    """
    with torch.device("meta"), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model = make_model(config)
        tokens = torch.zeros(batch_size, config.seq_len, dtype=torch.long)
        batch = tokens, tokens, tokens[:, 0]
        act_step(model, Slots.empty(model, *batch), batch, config.M_max)[1].backward()
    return counter.get_total_flops()


def product_rate(device, dtype):
    """FLOPs per second of one large matrix product, after a warm-up."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(2, n, n, device=device, dtype=dtype)
    timed(lambda: a @ b)
    return 2 * n**3 / timed(lambda: a @ b)[0]


def training(run, task, split):
    """Training steps without end; yields the loss of each, still on the device."""
    losses, many = [], 10**9
    log = SimpleNamespace(add=lambda loss, metrics: losses.append(loss.detach() / run.options.batch_size))
    for step, M_max, micro_batches in offers(task, split, run, many):
        losses.clear()
        update(run, micro_batches, M_max, lr_scale(step, many, run.options), log)
        yield torch.stack(losses).sum()


def bench_training(given, device, rounds, compare):
    """Rounds of: a matrix product, steps of a run and, with `compare`, of the same run not compiled."""
    options, sizes = train_options.with_preset(given)
    options.grow_M_max = 0.0  # M_max at its full value, as at the end of a run
    processes, B = Processes(device), options.batch_size
    task = load_task(options.task, options.data, **train_options.task_keywords(options))
    n = min(options.train_size or 1000, 1000)
    splits = load_splits(task, options.data, n, 1, 1, options.seed, cache=None)
    split = splits["train"]
    train_options.optimiser_steps(options, len(split), processes)  # refuses what cannot be trained
    config = build(HRMConfig, vocab_size=task.vocab_size, seq_len=task.seq_len,
                   num_puzzles=max(each.num_puzzles for each in splits.values()), **sizes)
    names = ["compiled" if train_options.compiles(options, 1000, device) else "eager"]
    if compare:
        names = ["compiled", "eager"]
    runs = {name: Run(options, config, task, split, processes) for name in names}
    if "compiled" in runs:
        compile_model(runs["compiled"].model, options.steps or 10**9)
    parameters = sum(p.numel() for p in runs[names[0]].model.parameters())
    print(f"{parameters:,} parameters, batch {B}, {config.dtype}, halting {config.halting}, {device}, "
          f"{torch.get_num_threads()} threads", flush=True)

    each, warm_up = 10 if device.type == "cuda" else 1, 3  # steps in a turn: to wait for a GPU takes time
    steps = {name: training(run, task, split) for name, run in runs.items()}
    rates, graphs, losses, seconds = [], [], {name: [] for name in names}, {name: [] for name in names}
    for _ in range(warm_up + rounds):
        rates.append(product_rate(device, getattr(torch, config.dtype)))
        for name in names:
            taken, some = timed(steps[name].__next__, each)
            losses[name] += some
            seconds[name].append(taken)
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    rates, seconds = rates[warm_up:], {name: times[warm_up:] for name, times in seconds.items()}

    flops = count_flops(config, B)
    print(f"a step is {flops / 1e9:.2f} GFLOP; a large matrix product runs at {median(rates) / 1e9:.1f} "
          f"GFLOP/s")
    for name, times in seconds.items():
        used, per_second = median(flops / t / rate for t, rate in zip(times, rates)), B / median(times)
        tokens = per_second * (config.puzzle_positions + config.seq_len)
        print(f"{name:<8} {median(times) * 1e3:9.1f} ms/step {per_second:9.1f} sequences/s "
              f"{tokens:11.0f} tokens/s {used:7.1%} of the product's rate")
    if compare:
        low, middle, high = quantiles(slow / fast for fast, slow in zip(*seconds.values()))
        fast, slow = (torch.stack(losses[name]).double() for name in names)
        apart, early = (fast - slow).abs() / slow, len(slow) // 4
        print(f"compiled is {middle:.2f} times as fast (quartiles {low:.2f} and {high:.2f}); losses differ "
              f"by at most {apart[:early].max():.0e} of their value in the first {early} steps, "
              f"{apart.max():.0e} in all {len(slow)}; means {fast.mean():.4f} and {slow.mean():.4f}")
    before = graphs[warm_up - 1]
    print(f"graphs compiled: {before} in the warm-up, {graphs[-1] - before} after it")
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts it in KiB
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else process
    print(f"peak memory {peak / 2**30:.2f} GiB{'' if device.type == 'cuda' else ', of the whole process'}")
    making = timed(offers(task, split, runs[names[0]], 10**9).__next__, 50)[0]
    print(f"making a batch takes {making * 1e3:.2f} ms, {making / median(seconds[names[0]]):.1%} of a step, "
          f"in a thread")
    for name in names:
        with profile() as profiler:
            timed(steps[name].__next__, 3)
        table = profiler.key_averages().table(sort_by=f"self_{device.type}_time_total", row_limit=12,
                                              max_name_column_width=58)
        print(f"three steps, {name}:\n{table}")


def solve_in_place(model, inputs, puzzle_ids, confidence):
    """The answers of `solve` (predictions, segments), but a puzzle that halts stays and is computed on."""
    thinking, answers, segments = Thinking(model, inputs, puzzle_ids), inputs, torch.zeros_like(puzzle_ids)
    q_best, active = torch.full_like(puzzle_ids, -torch.inf, dtype=torch.float32), segments == 0
    for _ in range(model.config.M_max):
        logits, q_halt, q_continue = thinking.segment()
        better = active & (q_halt > q_best)
        answers = torch.where(better[:, None], logits.argmax(-1), answers)
        q_best = torch.where(better, q_halt, q_best)
        segments += active
        active &= ~model.wants_to_halt(q_halt, q_continue, confidence)
    return SimpleNamespace(predictions=answers, segments=segments)


def bench_inference(path, given, device, rounds):
    """Puzzles per second with and without compaction, which give the same answers, and with always M_max."""
    sizes = {name: value for name, value in given.items() if name in train_options.SIZES}
    given = {name: value for name, value in given.items() if name in train_options.OPTIONS}
    keywords = train_options.task_keywords(train_options.Options(**given))
    model, task, trained = load_model(path, given.get("task"), keywords, **sizes)
    saved = {name: value for name, value in trained.items() if name in train_options.OPTIONS}
    options = train_options.Options(**{**saved, **given})  # nothing is saved in a published checkpoint
    split, model = load_splits(task, *puzzles(options))["test"], model.to(device)
    inputs, labels, puzzle_ids = to_tensors(split, device)
    batches = list(zip(inputs.split(125), puzzle_ids.split(125)))  # as `evaluate` does on the CPU
    in_place, p = "same answers, none leaves", options.confidence
    ways = {"those that halt leave": lambda: [solve(model, *batch, confidence=p) for batch in batches],
            in_place: lambda: [solve_in_place(model, *batch, p) for batch in batches],
            "always M_max, last answer": lambda: [solve(model, *batch, halt=False) for batch in batches]}
    measured = [{name: timed(way) for name, way in ways.items()} for _ in range(rounds)]
    print(f"{len(split)} test puzzles of {path}, halting {model.config.halting}, confidence {p}")
    for name in ways:
        parts = measured[-1][name][1][0]
        right = (torch.cat([part.predictions for part in parts]) == labels) | (labels == 0)  # PAD
        segments = torch.cat([part.segments for part in parts]).float()
        per_second = len(split) / median(row[name][0] for row in measured)
        ratio = median(row[in_place][0] / row[name][0] for row in measured)
        print(f"{name:<26} {per_second:8.1f} puzzles/s ({ratio:.2f} times)  "
              f"exact {right.all(-1).float().mean():.4f}  segments {segments.mean():.2f}")


def bench_puzzles():
    """Puzzles per second that are made, turned by a symmetry, checked by the rules, and solved."""
    def rate(n, work):
        return n / Timer("work()", globals={"work": work}).blocked_autorange(min_run_time=1).median

    rng, hard = np.random.default_rng(0), load_task("sudoku", size=9)
    large = load_task("maze", size=30, kind="random", min_path=110)
    small = load_task("maze", size=9), load_task("sudoku", size=6)
    for task, n in zip((*small, hard, large), (2000, 500, 100, 50)):
        inputs, labels = (np.resize(rows, (768, task.seq_len)) for rows in task.generate(n, rng))

        def augment():
            symmetry = task.symmetries(768, rng)
            return transform(inputs, *symmetry), transform(labels, *symmetry)

        made, turned = rate(n, lambda: task.generate(n, rng)), rate(768, augment)
        checked = rate(768, lambda: task.check(inputs, labels))
        print(f"{task.name} {task.size}x{task.size}, per second: {made:,.0f} generated, "
              f"{turned:,.0f} augmented, {checked:,.0f} checked", flush=True)
    for name, inputs in ("generated", hard.generate(500, rng)[0]), ("hard", load_splits(hard)["test"].inputs):
        solved = rate(500, lambda: sudoku.solve(hard.digits(inputs[:500])))
        print(f"sudoku 9x9, {name}, per second: {solved:,.0f} solved")


def bench_start(arguments):
    """Seconds from `python train.py` to its first steps, and to those after torch.compile, not cached."""
    names = {1: "the first", EAGER_STEPS + 1: "the first compiled one", EAGER_STEPS + 2: "the next"}
    with tempfile.TemporaryDirectory() as folder:
        metrics, start = Path(folder, "run/metrics.csv"), time.perf_counter()
        command = [sys.executable, ROOT / "train.py", *arguments, "--out", metrics.parent, "--log-every", "1"]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": folder, "TMPDIR": folder})
        for step, name in names.items():
            while not metrics.exists() or metrics.read_text().count("\n") <= step:  # one line is the heading
                if process.poll() is not None:
                    raise UserError(f"train.py ended before step {step}; run it alone to see why")
                time.sleep(0.02)
            print(f"step {step} ({name}) is done after {time.perf_counter() - start:.1f} s", flush=True)
        process.send_signal(signal.SIGINT)
        process.wait()


def main(argv=None):
    parser = train_options.Parser("extras/bench.py", __doc__)
    parser.add_argument("--rounds", type=train_options.whole(2), default=30, help="median of so many [30]")
    parser.add_argument("--compare", action="store_true", help="also the same step not compiled, in turns")
    parser.add_argument("--checkpoint", help="inference with this checkpoint instead, on its test puzzles")
    parser.add_argument("--puzzles", action="store_true", help="making and solving puzzles instead")
    parser.add_argument("--start", action="store_true", help="the time to the first step instead")
    ours, others = parser.parse_known_args(argv)
    given = train_options.parse(others, "", "extras/bench.py")
    device = choose_device(given.get("device", "auto"))
    if ours.checkpoint:
        bench_inference(ours.checkpoint, given, device, ours.rounds)
    elif ours.puzzles:
        bench_puzzles()
    elif ours.start:
        bench_start(others)
    else:
        bench_training(given, device, ours.rounds, ours.compare)


if __name__ == "__main__":
    sys.exit(train_options.exit_status(main))

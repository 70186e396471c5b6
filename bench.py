"""How fast is it here, how close to what the machine can do, and where does the time go?

    python bench.py                                           # a training step of the preset for this machine
    python bench.py --compare                                 # in turns with the same step, not compiled
    python bench.py --task sudoku --preset paper --device cpu --dtype float32 --batch-size 16 --compare
    python bench.py --checkpoint checkpoints/maze-9x9.pt      # inference, with and without ACT's saving
    python bench.py --puzzles                                 # making, augmenting and solving puzzles
    python bench.py --start                                   # from `python train.py` to its first step

All options of train.py work here too. The measure of a step is the large matrix product: nearly all of a Transformer's
work is in matrix products, so FLOPs of the step / (time × the product's FLOPs per second) says how much of the machine
is used. The product is timed between the steps, and ratios are taken within a round (product, step, other step) and
then their median, so that other programs disturb them little.
"""

import argparse
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
from torch.profiler import ProfilerActivity, profile
from tqdm import tqdm

import sudoku
from data import UserError, load_splits, load_task
from evaluate import build, load_model, to_tensors
from hrm import IGNORE, HRMConfig, solve, swiglu_size
from options import check, choose, choose_device, compiles, parse, task_keywords
from train import EAGER_STEPS, Processes, Run, lr_scale, offers, update


# ----------------------------------------------------------------------------------------------- counting FLOPs


def segment_layers(config):
    """How many layers a segment computes, and how many of them carry gradient."""
    N, T, H, L = config.H_cycles, config.L_cycles, config.H_layers, config.L_layers
    if config.model in ("recurrent", "transformer"):
        return N * T * (H + L), H + L
    if config.model == "trm":  # its one network has L layers; the gradient goes through the last cycle
        return (N * T + N) * L, (T + 1) * L
    return N * T * L + N * H, L + H  # the one-step gradient


def step_flops(config, batch_size):
    """FLOPs of the matrix products in one training step -> dict of "scores" (q·k, and the weighted sum of v),
    "projections" (q, k, v and out), "mlp" and "heads".

    A product of (m, k) and (k, n) is 2mkn FLOPs. Backward costs twice the forward pass (one product for the gradient
    of the input, one for that of the weight); what an attention kernel computes again in backward is not counted.
    """
    D, tokens = config.hidden_size, config.puzzle_positions + config.seq_len
    inner = swiglu_size(D, config.expansion, config.inner_multiple)
    layers, with_gradient = segment_layers(config)
    forward = 2 if config.halting == "q" and config.M_max > 1 else 1  # the Q-target looks one segment ahead
    passes = forward * layers + 2 * with_gradient
    row = {"scores": passes * tokens * 2 * 2 * D * tokens,
           "projections": passes * tokens * 2 * 4 * D * D,
           "mlp": passes * tokens * 2 * 3 * D * inner,
           "heads": (forward + 2) * 2 * D * (tokens * config.vocab_size + 2)}
    return {name: batch_size * flops for name, flops in row.items()}


def product_rate(device, dtype):
    """FLOPs per second of one large matrix product, after a warm-up."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(2, n, n, device=device, dtype=dtype)
    timed(device, lambda: a @ b)
    return 2 * n**3 / timed(device, lambda: a @ b)[0]


def timed(device, work):
    """Seconds that work() takes, and its result."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None  # a GPU computes on while Python goes ahead
    wait()
    start = time.perf_counter()
    result = work()
    wait()
    return time.perf_counter() - start, result


# ---------------------------------------------------------------------------------------------------- training


def training(run, task, split):
    """Training steps without end; yields the loss of each, still on the device."""
    losses, many = [], 10**9
    log = SimpleNamespace(add=lambda loss, metrics: losses.append(loss.detach() / run.options.batch_size))
    for step, M_max, micro_batches in offers(task, split, run, many):
        losses.clear()
        update(run, micro_batches, M_max, lr_scale(step, many, run.options), log)
        yield torch.stack(losses).sum()


def bench_training(options, sizes, processes, rounds, compare):
    """Rounds of: a matrix product, steps of the run and, with `compare`, of the same run not compiled."""
    device = processes.device
    options.grow_M_max = 0.0  # M_max at its full value, as at the end of a run
    task = load_task(options.task, options.data, **task_keywords(options))
    splits = load_splits(task, options.data, min(options.train_size or 1000, 1000), 1, 1, options.seed, cache=None)
    split, puzzles = splits["train"], 1 + max(int(split.puzzle_ids.max(initial=0)) for split in splits.values())
    config = build(HRMConfig, vocab_size=task.vocab_size, seq_len=task.seq_len, num_puzzles=puzzles, **sizes)
    check(options, len(split), processes)
    names = ["compiled", "eager"] if compare else ["compiled" if compiles(options, 1000, device) else "eager"]
    runs = {name: Run(options, config, task, split, processes) for name in names}
    if "compiled" in names:
        runs["compiled"].model.compile()
    steps = {name: training(run, task, split) for name, run in runs.items()}
    size = sum(p.numel() for p in runs[names[0]].model.parameters())
    print(f"{size:,} parameters, batch {options.batch_size}, {config.dtype}, halting {config.halting}, {device}, "
          f"{torch.get_num_threads()} threads")

    each, warm_up = 10 if device.type == "cuda" else 1, 3  # steps in a turn: to wait for a GPU after each slows it down
    losses, seconds, rates, graphs = {name: [] for name in names}, {name: [] for name in names}, [], []
    for _ in tqdm(range(warm_up + rounds), "rounds", leave=False):
        rates.append(product_rate(device, getattr(torch, config.dtype)))
        for name in names:
            time_, some = timed(device, lambda step=steps[name]: [next(step) for _ in range(each)])
            losses[name] += some
            seconds[name].append(time_ / each)
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"] if "compiled" in names else 0)
    rates, seconds = rates[warm_up:], {name: times[warm_up:] for name, times in seconds.items()}

    flops = step_flops(config, options.batch_size)
    total, tokens = sum(flops.values()), options.batch_size * (config.puzzle_positions + config.seq_len)
    print(f"a step is {total / 1e9:.2f} GFLOP; a large matrix product runs at {median(rates) / 1e9:.1f} GFLOP/s")
    for name, times in seconds.items():
        used = median(total / t / rate for t, rate in zip(times, rates))
        print(f"{name:<8} {median(times) * 1e3:9.1f} ms/step {options.batch_size / median(times):9.1f} sequences/s "
              f"{tokens / median(times):11.0f} tokens/s {used:7.1%} of the product's rate")
    if compare:
        ratios = quantiles([eager / fast for fast, eager in zip(*(seconds[name] for name in names))])
        fast, eager = (torch.stack(losses[name]).double() for name in names)
        apart, quarter = (fast - eager).abs() / eager, len(eager) // 4
        print(f"compiled is {ratios[1]:.2f} times as fast (quartiles {ratios[0]:.2f} and {ratios[2]:.2f}); the losses differ by "
              f"at most {apart[:quarter].max():.0e} of their value in the first {quarter} steps, {apart.max():.0e} in all "
              f"{len(eager)}; their means are {fast.mean():.4f} and {eager.mean():.4f}")
    print(f"graphs compiled: {graphs[warm_up - 1]} in the warm-up, {graphs[-1] - graphs[warm_up - 1]} after it")
    for name in names:
        where_the_time_goes(name, steps[name], config, flops, device)
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts it in KiB
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else process
    print(f"peak memory {peak / 2**30:.2f} GiB{'' if device.type == 'cuda' else ', of the whole process'}")
    batches = offers(task, split, runs[names[0]], 10**9)
    making = timed(device, lambda: [next(batches) for _ in range(50)])[0] / 50
    print(f"making a batch takes {making * 1e3:.2f} ms, {making / median(seconds[names[0]]):.1%} of a step, in a thread")


def where_the_time_goes(name, steps, config, flops, device):
    """Profile a few steps; print each part's share of the time and of the FLOPs."""
    cuda = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda) as profiler:
        total = 1e6 * timed(device, lambda: [next(steps) for _ in range(3)])[0]  # the profile counts in microseconds
    times = {"scores": 0.0, "linear": 0.0, "optimiser": 0.0}
    for event in profiler.key_averages():
        part = part_of(event.key)
        if part == "optimiser":
            times[part] += (event.device_time_total if cuda else event.cpu_time_total) / total
        elif part:
            times[part] += (event.self_device_time_total if cuda else event.self_cpu_time_total) / total
    work = {part: count / sum(flops.values()) for part, count in flops.items()}
    linear = {part: times["linear"] * share / (1 - work["scores"]) for part, share in work.items() if part != "scores"}
    shares = {"scores": times["scores"], **linear, "optimiser": times["optimiser"],
              "norms, activations and the rest": 1 - sum(times.values())}
    time_, work = (", ".join(f"{part} {share:.0%}" for part, share in parts.items()) for parts in (shares, work))
    print(f"time of a step, {name}: {time_} (linear layers in proportion to their FLOPs)\nFLOPs of a step: {work}")


def part_of(operation):
    """The part of a step that an operation of the profile belongs to, by its name; None: none of these."""
    if operation.startswith("Optimizer.step"):
        return "optimiser"
    if "attention" in operation or operation == "aten::bmm":
        return "scores"
    return "linear" if operation in ("aten::mm", "aten::addmm") else None


# --------------------------------------------------------------------------------------------------- inference


@torch.no_grad()
def solve_in_place(model, inputs, puzzle_ids, confidence):
    """The answers of `solve` (predictions, segments), but a puzzle that halts stays in the batch and is computed on."""
    z, vectors, q_best = model.initial_state(len(inputs)), model.puzzle_vectors(puzzle_ids), -torch.inf
    answers, segments, active = torch.zeros_like(inputs), torch.zeros_like(puzzle_ids), torch.ones_like(puzzle_ids) > 0
    for _ in range(model.config.M_max):
        z, logits, q_halt, q_continue = model(z, inputs, vectors)
        better = active & (q_halt > q_best)
        answers = torch.where(better[:, None], logits.argmax(-1), answers)
        q_best = torch.where(better, q_halt, q_best)
        segments += active
        active &= ~model.wants_to_halt(q_halt, q_continue, confidence)
    return SimpleNamespace(predictions=answers, segments=segments)


def bench_inference(path, processes, rounds, n):
    """Puzzles per second with and without compaction, which give the same answers, and with always M_max segments."""
    model, task, trained = load_model(path)
    model.to(processes.device)
    sizes = (trained[name] for name in ("data", "train_size", "val_size"))
    split = load_splits(task, *sizes, n or trained["test_size"], trained["seed"])["test"]
    inputs, labels, puzzle_ids = to_tensors(split, processes.device)
    confidence = trained["confidence"]
    ways = {"those that halt leave": lambda *batch: solve(model, *batch, confidence=confidence),
            "same answers, none leaves": lambda *batch: solve_in_place(model, *batch, confidence),
            "always M_max, last answer": lambda *batch: solve(model, *batch, halt=False)}
    batches = list(zip(inputs.split(125), puzzle_ids.split(125)))  # as evaluate.py does on the CPU
    seconds, solutions = {name: [] for name in ways}, {}
    for _ in tqdm(range(rounds), "rounds", leave=False):
        for name, way in ways.items():
            time_, solutions[name] = timed(processes.device, lambda way=way: [way(*batch) for batch in batches])
            seconds[name].append(time_)
    print(f"{len(split)} test puzzles of {path}, stopping at a confidence of {confidence}")
    for name, parts in solutions.items():
        right = (torch.cat([part.predictions for part in parts]) == labels) | (labels == IGNORE)
        exact, segments = right.all(-1).float().mean(), torch.cat([part.segments for part in parts])
        ratio = median(slow / fast for slow, fast in zip(seconds["same answers, none leaves"], seconds[name]))
        print(f"{name:<26} {len(split) / median(seconds[name]):8.1f} puzzles/s ({ratio:.2f} times)  exact {exact:.4f}  "
              f"segments {segments.float().mean():.2f}")


# ------------------------------------------------------------------------------------------- puzzles, and the start


def rate(function, n, *arguments):
    """Rows per second of a function that handles n of them in a call."""
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < 1:
        function(*arguments)
        calls += 1
    return calls * n / (time.perf_counter() - start)


def bench_puzzles():
    """How many puzzles per second are made, turned into another by a symmetry, checked by the rules, and solved."""
    rng = np.random.default_rng(0)
    hard = load_task("sudoku", size=9)
    for task, n in ((load_task("maze", size=9), 2000), (load_task("sudoku", size=6), 500), (hard, 100),
                    (load_task("maze", size=30, kind="random", min_path=110), 50)):
        batch = [np.resize(rows, (768, task.seq_len)) for rows in task.generate(n, rng)]
        made, augmented = rate(task.generate, n, n, rng), rate(task.augment, 768, *batch, rng)
        print(f"{task.name} {task.size}x{task.size}, per second: {made:,.0f} generated, {augmented:,.0f} augmented, "
              f"{rate(task.check, 768, *batch):,.0f} checked")
    for name, inputs in (("generated", hard.generate(500, rng)[0]), ("hard", load_splits(hard)["test"].inputs[:500])):
        print(f"sudoku 9x9, {name}, per second: {rate(sudoku.solve, 500, hard.digits(inputs)):,.0f} solved")


def bench_start(arguments):
    """Seconds from `python train.py` to its first steps, and to those after torch.compile, which has no cache yet."""
    shown = {1: "the first", EAGER_STEPS + 1: "the first compiled one", EAGER_STEPS + 2: "the next"}
    with tempfile.TemporaryDirectory() as folder:
        metrics = Path(folder, "run/metrics.csv")
        train = Path(__file__).resolve().with_name("train.py")
        command = [sys.executable, train, *arguments, "--out", metrics.parent, "--log-every", "1"]
        start, done = time.perf_counter(), 0
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": folder, "TMPDIR": folder})
        while process.poll() is None and done < max(shown):
            time.sleep(0.02)
            if metrics.exists() and metrics.read_text().count("\n") > done + 1:  # one line is the heading
                done += 1
                if done in shown:
                    print(f"step {done} ({shown[done]}) is done after {time.perf_counter() - start:.1f} s", flush=True)
        process.send_signal(signal.SIGINT)
        process.wait()
    if not done:
        raise UserError("train.py ended before its first step; run it with the same options to see why")


def main(argv=None):
    def fail(message):
        raise UserError(f"{message}; python bench.py --help lists the options")

    parser = argparse.ArgumentParser("bench.py", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = fail
    parser.add_argument("--rounds", type=int, default=30, help="measurements, whose median is printed [30]")
    parser.add_argument("--compare", action="store_true", help="also the same step not compiled, in turns")
    parser.add_argument("--checkpoint", help="inference with this checkpoint instead, on its test puzzles")
    parser.add_argument("--puzzles", action="store_true", help="making and solving puzzles instead")
    parser.add_argument("--start", action="store_true", help="the time to the first step instead")
    try:
        ours, others = parser.parse_known_args(argv)
        if ours.rounds < 2:
            fail(f"--rounds {ours.rounds} is too few to take a median; pass 2 or more")
        given = parse(others, "")
        processes = Processes(choose_device(given.get("device", "auto")))
        if ours.checkpoint:
            bench_inference(ours.checkpoint, processes, ours.rounds, given.get("test_size"))
        elif ours.puzzles:
            bench_puzzles()
        elif ours.start:
            bench_start(others)
        else:
            bench_training(*choose(given, processes), processes, ours.rounds, ours.compare)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

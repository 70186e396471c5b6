"""How fast is it here, how close to what the machine can do, and where does the time go?

    python extras/bench.py               # a training step of the preset
    python extras/bench.py --compare     # in turns with the same step, not compiled

All options of train.py work here too. A step is measured by the large matrix product, as nearly all of a
Transformer's work is in products: FLOPs of the step / (time × the product's FLOPs per second). Ratios are
taken within a round (product, step, other step), then their median, so that other programs disturb little.
"""

import sys
from pathlib import Path
from statistics import median, quantiles
from types import SimpleNamespace

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import profile
from torch.utils.benchmark import timer
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder above

from data import load_task
from hrm import Slots, act_step
from train import Run, begin, compile_model, lr_scale, offers, update
from training import options as train_options
from training.checkpoints import make_model
from training.processes import Processes, choose_device

FOREVER = 10**9  # steps: the learning rate and M_max stay as they are


def timed(work, times=1):
    """Seconds that work() takes, the mean over so many `times`."""
    start = timer()  # PyTorch's own waits for a GPU, which computes on while Python goes ahead
    for _ in range(times):
        work()
    return (timer() - start) / times


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
    return 2 * n**3 / timed(lambda: a @ b)


def training_steps(run, task, split):
    """Training without end, a step each time that it is asked for the next."""
    log = SimpleNamespace(add=lambda loss, metrics: None)
    for step, M_max, micro_batches in offers(task, split, run, FOREVER):
        update(run, micro_batches, M_max, lr_scale(step, FOREVER, run.options), log)
        yield


def make_runs(given, device, compare):
    """{"compiled" or "eager": Run} of the options given, both with `compare`; the task; training puzzles."""
    options, sizes = train_options.with_preset(given)
    options.grow_M_max = 0.0  # M_max at its full value, as at the end of a run
    options.train_size, options.val_size, options.test_size = min(options.train_size or 1000, 1000), 1, 1
    task = load_task(options.task, options.data, **train_options.task_keywords(options))
    first, splits, _ = begin(options, sizes, task, Processes(device))
    compiles = train_options.compiles(options, 1000, device)
    names = ["compiled", "eager"] if compare else ["compiled" if compiles else "eager"]
    runs = {name: Run(options, first.config, task, splits["train"], first.processes) for name in names}
    if "compiled" in runs:
        compile_model(runs["compiled"].model, options.steps or FOREVER)
    return runs, task, splits["train"]


def bench_training(given, device, rounds, compare):
    """Rounds of: a matrix product, steps of a run and, with `compare`, of the same run not compiled."""
    runs, task, split = make_runs(given, device, compare)
    run, *_ = runs.values()
    config, B = run.config, run.options.batch_size
    parameters = sum(p.numel() for p in run.model.parameters())
    print(f"{parameters:,} parameters, batch {B}, {config.dtype}, halting {config.halting}, {device}, "
          f"{torch.get_num_threads()} threads", flush=True)

    in_a_turn = 10 if device.type == "cuda" else 1  # to wait for a GPU takes time
    steps = {name: training_steps(run, task, split) for name, run in runs.items()}
    rates, seconds = [], {name: [] for name in runs}
    for i in range(-3, rounds):  # the first three warm up
        rate = product_rate(device, getattr(torch, config.dtype))
        taken = {name: timed(steps[name].__next__, in_a_turn) for name in runs}
        if i >= 0:
            rates.append(rate)
            for name in runs:
                seconds[name].append(taken[name])

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
        print(f"compiled is {middle:.2f} times as fast (quartiles {low:.2f} and {high:.2f})")
    for name in runs:
        with profile() as profiler:
            timed(steps[name].__next__, 3)
        table = profiler.key_averages().table(sort_by=f"self_{device.type}_time_total", row_limit=12,
                                              max_name_column_width=58)
        print(f"three steps, {name}:\n{table}")


def main(argv=None):
    parser = train_options.Parser("extras/bench.py", __doc__)
    parser.add_argument("--rounds", type=train_options.whole(2), default=30, help="median of so many [30]")
    parser.add_argument("--compare", action="store_true", help="also the same step not compiled, in turns")
    ours, others = parser.parse_known_args(argv)
    given = train_options.parse(others, "", "extras/bench.py")
    bench_training(given, choose_device(given.get("device", "auto")), ours.rounds, ours.compare)


if __name__ == "__main__":
    sys.exit(train_options.exit_status(main))

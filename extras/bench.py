"""How fast is a training step here, how close to what the machine can do, and where does the time go?

    python extras/bench.py               # a training step of the preset
    python extras/bench.py --compare     # in turns with the same step, not compiled
    python extras/bench.py --to 0.98     # whole runs, seeds 0 to 4: the leaderboard in docs/speed.md

All options of train.py work here too. A step is measured by the large matrix product, as nearly all of a
Transformer's work is in products: FLOPs of the step / (time × the product's FLOPs per second). Ratios are
taken within a round (product, step, other step), then their median, so that other programs disturb little.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.profiler import profile
from torch.utils.benchmark import timer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder above

import train
from data import load_task, parse_options
from puzzles.errors import exit_status
from training.options import Parser, parse, with_preset
from training.processes import Processes
from training.speed import slot_flops, timed

WARM_UP = 3  # rounds
# A thousand puzzles are made quickly; M_max is what it is at the end of a run.
FIXED = {"train_size": 1000, "test_size": 1, "grow_M_max": 0.0}


def prepare(given, compiled):
    """A run, a function that does one step of it, always with the same puzzles on offer, and the FLOPs of the
    model's matrix products in it (`slot_flops`)."""
    options, sizes = with_preset({**given, **FIXED})
    task = load_task(options.task, options.data, size=options.size, **parse_options(options.task_options))
    run, splits = train.begin(options, sizes, task, Processes())
    micro_batches = train.offer(run, task, splits["train"], 0)
    if compiled:
        train.compile_model(run, micro_batches)
    flops = options.batch_size * slot_flops(options.model, run.config)
    return run, lambda: train.train_step(run, micro_batches), flops


def race(target, seed, words):
    """Train with this seed and print how long it took, from the command on, until the target, a share of the
    validation puzzles, was solved, and until the end."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-u", train.__file__, "-q", *words, "--seed", str(seed), "--out", str(out)]
        start = timer()
        reached = "never"
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                solved = re.search("solves (.*) of .* validation", line)
                if solved and float(solved[1]) >= target and reached == "never":
                    reached = f"{timer() - start:.0f} s"
        if process.returncode:
            sys.exit(process.returncode)
        seconds = timer() - start
        result = json.loads((out / "eval.json").read_text())
    print(f"seed {seed}: {target} of the validation puzzles: {reached}; whole run {seconds:.0f} s, "
          f"{result['exact']:.3f} of the test puzzles", flush=True)


def main(argv=None):
    parser = Parser("extras/bench.py", __doc__)
    parser.add_argument("--to", type=float, help="train until the end, and say when this share was solved")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5), help="of --to [0 to 4]")
    parser.add_argument("--rounds", type=int, default=30, help="median of so many [30]")
    parser.add_argument("--compare", action="store_true", help="also the same step not compiled, in turns")
    ours, others = parser.parse_known_args(argv)
    given = parse(others, "", "extras/bench.py")
    if ours.to is not None:
        for seed in ours.seeds:
            race(ours.to, seed, others)
        return
    run, step, flops = prepare(given, compiled=given.get("compile", True))
    n = 8192 if run.processes.on_gpu else 2048
    matrix = torch.randn_like(run.slots[0].z_H.new_empty(n, n))
    works = [lambda: matrix @ matrix, step]
    if ours.compare:
        _, plain_step, _ = prepare(given, compiled=False)
        works.append(plain_step)
    seconds = [list(map(timed, works)) for _ in range(WARM_UP + ours.rounds)]
    product, *steps = np.array(seconds[WARM_UP:]).T  # each (rounds,)

    rate = 2 * n**3 / product
    print(f"a step is {flops / 1e9:.2f} GFLOP; a large product runs at {np.median(rate) / 1e9:.1f} GFLOP/s")
    for name, taken in zip(("step", "not compiled"), steps):
        share = np.median(flops / taken / rate)
        middle = np.median(taken)
        print(f"{name:<12} {middle * 1e3:9.1f} ms/step {run.options.batch_size / middle:9.1f} sequences/s "
              f"{share:7.1%} of the product's rate")
    if ours.compare:
        quartiles = np.quantile(steps[1] / steps[0], [0.5, 0.25, 0.75])
        print("compiled is {:.2f} times as fast (quartiles {:.2f} and {:.2f})".format(*quartiles))
    with profile() as profiler:
        step()
    print(profiler.key_averages().table(f"self_{run.processes.device.type}_time_total", row_limit=12))


if __name__ == "__main__":
    sys.exit(exit_status(main))

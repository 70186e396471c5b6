"""The runs behind notebook 06: what in HRM does the work? Thirteen runs, two seeds each, on 4x4 Sudoku.

    python notebooks/data/what_matters.py            # all runs that what_matters.csv does not hold yet
    python notebooks/data/what_matters.py --list     # only print their commands

A run that was stopped goes on where it was. All 26 runs took 14 minutes of processor time, one thread each, on an AMD
EPYC virtual machine with two cores (PyTorch 2.13). The wall clock showed 59 minutes, as other work shared the cores:
compare cpu_seconds (training with its evaluations), not wall_seconds.

What we expected, written down before the first of these runs. Pilot runs had chosen the sizes, all with seed 0: with
half the learning rate HRM solved 0.60, a Transformer in the outer loop 0.96, one that answers at once 0.42; with the
full rate we had seen HRM only, at 0.94.
1. A same-size Transformer in the outer loop comes within 5 points of HRM; without the loop it falls 20 or more behind.
2. Of 1 -> 2 -> 4 -> 8 segments in training, the step from 1 to 2 brings the most; 1 is about as bad as no loop.
3. N and T matter less: N = T = 1 within 5 points of N = T = 2.
4. TRM, with about half of the parameters, is at least as good as HRM.
"""

import csv
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import train
from data import UserError, load_splits
from evaluate import evaluate, load_model, write

TABLE = Path(__file__).with_suffix(".csv")
COLUMNS = ("name", "seed", "command", "parameters", "n", "exact", "segments", "exact_1", "exact_2", "exact_4", "exact_8",
           "wall_seconds", "cpu_seconds")

# One layer in each module, so that a single pass cannot solve the board; all M_max segments from the first step on,
# so that M_max means what it says; the average of the weights is short, as the runs are.
COMMON = ("--task sudoku --size 4 --task-options extra=3 --train-size 400 --val-size 100 --test-size 500 --preset cpu "
          "--H-layers 1 --L-layers 1 --puzzle-emb-ndim 0 --steps 600 --lr 3e-3 --ema 0.98 --grow-M-max 0 "
          "--eval-every 200 --device cpu --no-compile")
RUNS = {
    "HRM": "",
    "Transformer in the loop": "--model recurrent --H-cycles 1 --L-cycles 1",
    "Recurrent": "--model recurrent",
    "Transformer": "--model transformer",
    "HRM, M_max 1": "--M-max 1",
    "HRM, M_max 2": "--M-max 2",
    "HRM, M_max 4": "--M-max 4",
    "HRM, N 1, T 1": "--H-cycles 1 --L-cycles 1",
    "HRM, N 1, T 4": "--H-cycles 1 --L-cycles 4",
    "HRM, N 4, T 1": "--H-cycles 4 --L-cycles 1",
    "HRM, N 4, T 4": "--H-cycles 4 --L-cycles 4",
    "TRM": "--model trm",
    "HRM, N 1, T 1, longer": "--H-cycles 1 --L-cycles 1 --steps 1000",  # added later: as much work as HRM
}
SEEDS = (0, 1)


def arguments(name, seed):
    """The command line of a run, without "python train.py"."""
    return f"{COMMON} {RUNS[name]} --seed {seed}".replace("  ", " ")


def read_table():
    """The rows of what_matters.csv as dicts of strings."""
    if not TABLE.exists():
        return []
    with open(TABLE) as file:
        return list(csv.DictReader(file))


def append(row):
    rows = [*read_table(), row]

    def save(temporary):
        with open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)

    write(TABLE, save)


def run(name, seed):
    """Train one model, or go on with it, and measure it on its test puzzles -> a row of the table."""
    out = ROOT / "runs/what_matters" / f"{''.join(c for c in name if c.isalnum())}-{seed}"
    began, cpu_began = time.time(), time.process_time()
    resumed = (out / "last.pt").exists()
    command = ["--resume", str(out)] if resumed else [*arguments(name, seed).split(), "--out", str(out)]
    status = train.main(command)
    if status:
        sys.exit(status)
    wall, cpu = time.time() - began, time.process_time() - cpu_began
    model, task, options = load_model(out / "best.pt")
    test = load_splits(task, options["data"], options["train_size"], options["val_size"], options["test_size"],
                       options["seed"], progress=False)["test"]
    result = evaluate(model, task, test, halt=options["halt"], confidence=options["confidence"])
    fixed = {f"exact_{k}": evaluate(model, task, test, max_segments=k, halt=False)["exact"] for k in (1, 2, 4, 8)}
    return {"name": name, "seed": seed, "command": f"python train.py {arguments(name, seed)}",
            "parameters": sum(p.numel() for p in model.parameters()), "n": result["n"],
            **{key: round(value, 4) for key, value in {**result, **fixed}.items() if key in COLUMNS and key != "n"},
            "wall_seconds": "" if resumed else round(wall), "cpu_seconds": "" if resumed else round(cpu)}


def main():
    if sys.argv[1:] not in ([], ["--list"]):
        print(f"error: {' '.join(sys.argv[1:])!r} is not an option; there is only --list", file=sys.stderr)
        return 2
    done = {row["command"] for row in read_table()}
    todo = [(name, seed) for seed in SEEDS for name in RUNS if f"python train.py {arguments(name, seed)}" not in done]
    torch.set_num_threads(1)
    for i, (name, seed) in enumerate(todo, 1):
        print(f"run {i} of {len(todo)}: {name}\npython train.py {arguments(name, seed)}", flush=True)
        if "--list" not in sys.argv:
            append(run(name, seed))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)

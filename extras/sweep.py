"""Grids of short runs, each trained by the command of train.py, in a process and a folder of its own.

    python extras/sweep.py what-matters          # notebook 06: the runs that its table lacks
    python extras/sweep.py what-matters --list   # all of their commands, printed only
    python extras/sweep.py depth-cpu             # as `python analyze.py depth`, which draws them

A run that has ended is kept, and one that was interrupted goes on, when the same command is given again.
"""

import csv
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # `python extras/sweep.py` alone would look for modules in extras/

from training.files import UserError, write_text, writing
from training.options import Parser, exit_status

# What in HRM does the work? Expected, and written down before the first run, after pilots with seed 0 (at
# half of the learning rate HRM 0.60, a Transformer in the loop 0.96, without it 0.42; at all of it HRM 0.94):
# 1. A same-size Transformer in the outer loop is within 5 points of HRM; without it, 20 or more behind.
# 2. Of 1 -> 2 -> 4 -> 8 segments in training, 1 -> 2 brings the most; 1 is about as bad as no loop.
# 3. N and T matter less: N = T = 1 within 5 points of N = T = 2.
# 4. TRM, with about half of the parameters, is at least as good as HRM.
# The 26 runs took 14 minutes of processor time, with OMP_NUM_THREADS=1 on an AMD EPYC virtual machine, whose
# cores were shared: compare cpu_seconds. Rows added now also count the 4 s in which PyTorch starts.
#
# One layer in each module, so that a single pass cannot solve the board; all M_max segments from the start,
# so that M_max means what it says; the average of the weights is short, as the runs are. "cpu" is an old name
# of the preset "small": the table knows a run by its command.
MATTERS = ("--task sudoku --size 4 --task-options extra=3 --train-size 400 --val-size 100 --test-size 500 "
           "--preset cpu --H-layers 1 --L-layers 1 --puzzle-emb-ndim 0 --steps 600 --batch-size 64 "
           "--optimizer adam_atan2 --q-weight 0.5 --lr 3e-3 --ema 0.98 "
           "--grow-M-max 0 --eval-every 200 --device cpu --no-compile")
MODELS = {
    "HRM": "",
    "Transformer in the loop": "--model recurrent --H-cycles 1 --L-cycles 1 ",
    "Recurrent": "--model recurrent ",
    "Transformer": "--model transformer ",
    **{f"HRM, M_max {k}": f"--M-max {k} " for k in (1, 2, 4)},
    **{f"HRM, N {N}, T {T}": f"--H-cycles {N} --L-cycles {T} " for N in (1, 4) for T in (1, 4)},
    "TRM": "--model trm ",
    "HRM, N 1, T 1, longer": "--H-cycles 1 --L-cycles 1 --steps 1000 ",  # added later: as much work as HRM
}
SEEDS = (0, 1)


def depth_runs(options, head_size, width, layers, widths, depths, segments):
    """{(name, seed): options of train.py}. A Transformer takes more width, then more layers; HRM and the
    recurrent network keep both, and so their parameters, and take more segments, to answer after the last."""
    models = [("transformer", other, layers, 1) for other in widths]
    models += [("transformer", width, other, 1) for other in depths]
    models += [(model, width, layers, M_max) for model in ("recurrent", "hrm") for M_max in segments]
    return {(f"{model}-{D}wide-{n}layers-M{M_max}", 0):
            f"{options} --model {model} --hidden-size {D} --puzzle-emb-ndim {D} "
            f"--num-heads {max(1, D // head_size)} --M-max {M_max} "
            f"--H-layers {n - n // 2} --L-layers {n // 2}"
            for model, D, n, M_max in models}


GRIDS = {
    "what-matters": {(name, seed): f"{MATTERS} {options}--seed {seed}"
                     for seed in SEEDS for name, options in MODELS.items()},
    "depth-cpu": depth_runs(
        "--task sudoku --size 4 --preset small --steps 400 --batch-size 64 --eval-every 400 --save-every 200 "
        "--ema 0 --grow-M-max 0.5 --no-halt --val-size 200 --optimizer adam_atan2 --q-weight 0.5 --lr 1.5e-3",
        16, 32, 4, (16, 32, 64, 128), (2, 4, 8, 16), (1, 2, 4, 8)),
    "depth-gpu": depth_runs(
        "--task sudoku --preset paper --epochs 10000 --batch-size 384 --lr 7e-5 --puzzle-lr 7e-5",
        64, 512, 8, (256, 512, 768, 1024), (4, 8, 16, 32), (1, 2, 4, 8, 16)),
}
TABLES = {"what-matters": ROOT / "notebooks/data/what_matters.csv"}  # others: runs/GRID.csv


def launch(arguments, log):
    """train.py in a process of its own; what it prints is added to the file `log`."""
    with writing(log), open(log, "a") as file:
        process = subprocess.Popen([sys.executable, ROOT / "train.py", *arguments], stdout=file, stderr=file)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.terminate()  # it saves first, and does not mind if the terminal's Ctrl-C has reached it too
        process.wait()
        raise
    if status:
        last = (log.read_text().splitlines() or [f"status {status}"])[-1].removeprefix("error: ")
        raise UserError(f"{last} (so ends {log}; to begin this run again, remove its folder)")


def finish(out, options):
    """`train.py OPTIONS --out OUT` had ended, goes on, or begins -> what its eval.json holds."""
    if not (out / "eval.json").exists():
        interrupted = (out / "last.pt").exists()
        launch(["--resume", out] if interrupted else [*options.split(), "--out", out], out / "log.txt")
    return json.loads((out / "eval.json").read_text())


def runs_of(grid, folder):
    """For each run of a grid: its name, seed, options, and the folder in `folder` that it has for itself."""
    for (name, seed), options in tqdm(grid.items(), unit="run"):
        yield name, seed, options, Path(folder) / f"{name} seed {seed}".replace(",", "").replace(" ", "-")


def table_row(name, seed, options, out):
    """Finish a run, and measure it too when it always takes k segments."""
    resumed, wall, cpu = (out / "last.pt").exists(), time.time(), sum(os.times()[2:4])  # of children
    result = finish(out, options)
    seconds = round(time.time() - wall), round(sum(os.times()[2:4]) - cpu)
    row = {"name": name, "seed": seed, "command": f"python train.py {options}",
           "parameters": json.loads((out / "config.json").read_text())["parameters"],
           **{key: round(result[key], 4) for key in ("n", "exact", "segments")}}
    for k in (1, 2, 4, 8):
        fixed = finish(out / f"segments-{k}", f"--eval {result['checkpoint']} --max-segments {k} --no-halt")
        row[f"exact_{k}"] = round(fixed["exact"], 4)
    row["wall_seconds"], row["cpu_seconds"] = ("", "") if resumed else seconds
    return row


def sweep(grid, table):
    """Finish the runs of a grid that `table`, a CSV file, does not hold yet; each adds its row."""
    rows = list(csv.DictReader(table.read_text().splitlines())) if table.exists() else []
    done = {row["command"].removeprefix("python train.py ") for row in rows}
    missing = {key: options for key, options in GRIDS[grid].items() if options not in done}
    for run in runs_of(missing, f"runs/{grid}"):
        rows.append(table_row(*run))
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(table, text.getvalue())
    print(f"{len(rows)} runs in {table}, {len(missing)} of them new")


def main(argv=None):
    parser = Parser("extras/sweep.py", __doc__)
    parser.add_argument("grid", choices=GRIDS)
    parser.add_argument("--list", action="store_true", help="only print the commands")
    args = parser.parse_args(argv)
    if args.list:
        print(*(f"python train.py {options}" for options in GRIDS[args.grid].values()), sep="\n")
    else:
        sweep(args.grid, TABLES.get(args.grid, Path(f"runs/{args.grid}.csv")))


if __name__ == "__main__":
    sys.exit(exit_status(main))

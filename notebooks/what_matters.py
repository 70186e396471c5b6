"""What in HRM matters: the grid of short runs behind notebook 06.

    python notebooks/what_matters.py    # the runs that notebooks/data/what_matters.csv lacks

A run that has ended is kept, and one that was interrupted goes on, when the same command is given again.
"""

import csv
import io
import json
import sys
import time
from pathlib import Path
from unittest import mock

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import train
from analysis.depth import finish
from puzzles.errors import exit_status
from puzzles.files import write_text
from training.options import Parser, with_preset

# What in HRM does the work? Expected, and written down before the first run, after pilots with seed 0, which
# an earlier version could draw (at half of the learning rate HRM 0.60, a Transformer in the loop 0.96,
# without it 0.42; at all of it HRM 0.94):
# 1. A same-size Transformer in the outer loop is within 5 points of HRM; without it, 20 or more behind.
# 2. Of 1 -> 2 -> 4 -> 8 segments in training, 1 -> 2 brings the most; 1 is about as bad as no loop.
# 3. N and T matter less: N = T = 1 within 5 points of N = T = 2.
# 4. TRM, with about half of the parameters, is at least as good as HRM.
# The 65 runs took about half an hour of processor time, with OMP_NUM_THREADS=1 on virtual machines whose
# cores were shared: compare cpu_seconds within a seed.
#
# One layer in each module, meant to be too few for a single pass; all M_max segments from the start,
# so that M_max means what it says; the average of the weights is short, as the runs are.
MATTERS = ("--task sudoku --size 4 --task-options extra=3 --train-size 400 --val-size 100 --test-size 500 "
           "--H-layers 1 --L-layers 1 --steps 600 --batch-size 64 --optimizer adam_atan2 --q-weight 0.5 "
           "--num-heads 2 --confidence 0.95 --lr 3e-3 --ema 0.98 --grow-M-max 0 --eval-every 200 "
           "--no-compile")
MODELS = {
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
# Not in the table: runs for a class, which pools them (notebook 06, section 6.8).
MISSING = {
    "Transformer in the loop, M_max 2": "--model recurrent --H-cycles 1 --L-cycles 1 --M-max 2",
    "Recurrent, M_max 1": "--model recurrent --M-max 1",
    "TRM, M_max 1": "--model trm --M-max 1",
    "TRM, N 3, T 6": "--model trm --H-cycles 3 --L-cycles 6",
    "HRM, N 2, T 1": "--L-cycles 1",
    "HRM, wider": "--hidden-size 96",
}
SEEDS = (1, 3, 4, 5, 6)  # of 0 to 6, those for which 1000 different puzzles are found
TABLE = ROOT / "notebooks/data/what_matters.csv"


def train_main(arguments):
    """train.py, but its models have no puzzle vector: it has no option for that."""
    def sizes_without(given):
        options, sizes = with_preset(given)
        return options, {**sizes, "puzzle_emb_ndim": 0}

    with mock.patch.object(train, "with_preset", sizes_without):
        return train.main(arguments)


def measured(result):
    """What a table has of a run's eval.json."""
    return {key: round(result[key], 4) for key in ("n", "exact", "segments")}


def table_row(name, seed):
    """Finish a run, and measure it too when it always takes k segments -> its row of the table."""
    options = f"{MATTERS} {(MODELS | MISSING)[name]} --seed {seed}"
    out = Path("runs/what-matters", f"{name} seed {seed}".replace(",", "").replace(" ", "-"))
    resumed = (out / "last.pt").exists()
    begun = time.process_time()
    result = finish(train_main, out, options)
    seconds = round(time.process_time() - begun)
    row = {"name": name, "seed": seed, "command": f"python train.py {options}",
           "parameters": json.loads((out / "config.json").read_text())["parameters"], **measured(result)}
    for k in (1, 2, 4, 8):
        asked = f"--eval {result['checkpoint']} --max-segments {k} --confidence 1"
        fixed = finish(train_main, out / f"segments-{k}", asked)
        row[f"exact_{k}"] = round(fixed["exact"], 4)
    row["cpu_seconds"] = "" if resumed else seconds
    return row


def complete(table, names, make_row):
    """Add to `table`, a CSV file, the rows it lacks of all names and SEEDS: each make_row(name, seed)."""
    rows = list(csv.DictReader(table.read_text().splitlines())) if table.exists() else []
    done = {(row["name"], int(row["seed"])) for row in rows}
    runs = [(name, seed) for seed in SEEDS for name in names]
    missing = [run for run in runs if run not in done]
    for name, seed in tqdm(missing, unit="run"):
        rows.append(make_row(name, seed))
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(table, text.getvalue())
    print(f"{len(rows)} runs in {table}, {len(missing)} of them new")


def main(argv=None):
    Parser("notebooks/what_matters.py", __doc__).parse_args(argv)
    complete(TABLE, MODELS, table_row)


if __name__ == "__main__":
    sys.exit(exit_status(main))

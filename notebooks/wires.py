"""HRM with N = T = 1, one wire changed at a time: the runs behind section 6 of notebook 06.

    python notebooks/wires.py    # the runs that notebooks/data/wires.csv lacks: 20 s each on one core

HRM with one update of each module per segment has two wires more than a Transformer in the outer loop:
L reads its own old state, and H reads its own. Here are HRM as it is, with one of the two cut, and with a
stronger input; all else is as in the runs of what_matters.py.
"""

import csv
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import hrm
from extras import baselines


class CutL(hrm.HRM):
    """L forgets: it reads z_H and the input, and not its own old state."""

    def think(self, z_H, z_L, x, rope, gradient_steps):
        z_L = self.L(z_H, x, rope)
        return self.H(z_H, z_L, rope), z_L


class CutH(hrm.HRM):
    """H forgets: it reads z_L, and not its own old state."""

    def think(self, z_H, z_L, x, rope, gradient_steps):
        z_L = self.L(z_L, z_H + x, rope)
        return self.H(z_L, 0, rope), z_L


class DoubleInput(hrm.HRM):
    """Both wires, and an input that is twice as strong among the three that L reads."""

    def think(self, z_H, z_L, x, rope, gradient_steps):
        return super().think(z_H, z_L, 2 * x, rope, gradient_steps)


WIRES = {"hrm": hrm.HRM, "cut-L": CutL, "cut-H": CutH, "double-input": DoubleInput}
SEEDS = (0, 1, 3, 4, 5)
TABLE = ROOT / "notebooks/data/wires.csv"


def run(name, seed):
    """Train and test one model -> its row of the table."""
    import train
    from notebooks.what_matters import MATTERS

    out, begun = ROOT / f"runs/wires/{name}-seed-{seed}", time.process_time()
    options = f"{MATTERS} --H-cycles 1 --L-cycles 1 --model {name} --seed {seed} --out {out}"
    if train.main(options.split()):
        raise SystemExit(f"{name} with seed {seed} did not finish; remove {out} and start again")
    result = json.loads((out / "eval.json").read_text())
    measured = {key: round(result[key], 4) for key in ("n", "exact", "segments")}
    return {"name": name, "seed": seed, **measured, "cpu_seconds": round(time.process_time() - begun)}


def main():
    baselines.MODELS.update(WIRES)  # train.py has to know the models before it is imported
    hrm.CHOICES["model"] += tuple(name for name in WIRES if name != "hrm")
    rows = list(csv.DictReader(TABLE.open())) if TABLE.exists() else []
    done = {(row["name"], int(row["seed"])) for row in rows}
    for seed in SEEDS:
        for name in WIRES:
            if (name, seed) in done:
                continue
            rows.append(run(name, seed))
            with TABLE.open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[-1], lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)


if __name__ == "__main__":
    main()

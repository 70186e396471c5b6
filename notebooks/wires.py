"""HRM with N = T = 1, one wire changed at a time: the runs behind section 6.6 of notebook 06.

    python notebooks/wires.py    # the runs that notebooks/data/wires.csv lacks: 20 s each on one core

HRM with one update of each module per segment has two wires more than a Transformer in the outer loop:
L reads its own old state, and H reads its own. Here are HRM as it is, with one of the two cut, and with a
stronger input; all else is as in the runs of what_matters.py.
"""

import sys
import time
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from analysis.depth import finish
from extras import baselines
from hrm import HRM
from notebooks.what_matters import MATTERS, complete, measured, train_main
from puzzles.errors import exit_status
from training.options import Parser


class CutL(HRM):
    """L forgets: it reads z_H and the input, and not its own old state."""

    def update(self, i, z_H, z_L, x, rope):
        z_L = self.L(z_H, x, rope)
        return self.H(z_H, z_L, rope), z_L


class CutH(HRM):
    """H forgets: it reads z_L, and not its own old state."""

    def update(self, i, z_H, z_L, x, rope):
        z_L = self.L(z_L, z_H + x, rope)
        return self.H(z_L, 0, rope), z_L


class DoubleInput(HRM):
    """Both wires, and an input that is twice as strong among the three that L reads."""

    def update(self, i, z_H, z_L, x, rope):
        return super().update(i, z_H, z_L, 2 * x, rope)


WIRES = {"hrm": HRM, "cut-L": CutL, "cut-H": CutH, "double-input": DoubleInput}
TABLE = ROOT / "notebooks/data/wires.csv"


def table_row(name, seed):
    """Train and test one machine -> its row of the table. train.py does not know its name: it stands in for
    the recurrent network."""
    options = f"{MATTERS} --H-cycles 1 --L-cycles 1 --model recurrent --seed {seed}"
    begun = time.process_time()
    with mock.patch.dict(baselines.MODELS, {"recurrent": WIRES[name]}):
        result = finish(train_main, Path(f"runs/wires/{name}-seed-{seed}"), options)
    seconds = round(time.process_time() - begun)
    return {"name": name, "seed": seed, **measured(result), "cpu_seconds": seconds}


def main(argv=None):
    Parser("notebooks/wires.py", __doc__).parse_args(argv)
    complete(TABLE, WIRES, table_row)


if __name__ == "__main__":
    sys.exit(exit_status(main))

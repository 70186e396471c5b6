"""Does depth help, and does width? HRM, the recurrent network and the Transformer in many sizes (fig. 2).

6x6 Sudoku on two CPU cores; all runs have the same data, loop and number of optimiser steps. A Transformer
takes more width, then more layers; HRM and the recurrent network keep both, and so their parameters, and take
more segments, to answer after the last.
"""

import json
from pathlib import Path

from analysis.halting import plot_share
from puzzles.boards import DARK, GREY, LILAC, figure
from puzzles.errors import UserError

OPTIONS = "--task sudoku --preset small --steps 3000 --eval-every 1000 --confidence 1"
TRANSFORMERS = (  # width, layers
    (32, 2),
    (16, 4), (32, 4), (64, 4), (128, 4),
    (32, 8),
    (32, 16),
)
RUNS = [("transformer", width, layers, 1) for width, layers in TRANSFORMERS]
RUNS += [(model, 32, 4, M_max) for model in ("recurrent", "hrm") for M_max in (1, 2, 4, 8)]
PASSES = {"transformer": 1, "recurrent": 4, "hrm": 3}  # through all layers in a segment of N = T = 2
COLOURS = {"transformer": GREY, "recurrent": LILAC, "hrm": DARK}


def finish(train, out, options):
    """`train.py OPTIONS --out OUT` had ended, goes on, or begins -> what its eval.json holds. `train`: the
    function `main` of train.py."""
    if not (out / "eval.json").exists():
        words = [*options.split(), "--out", str(out)]
        if (out / "last.pt").exists():
            words = ["--resume", str(out)]
        if train(["-q", *words]):
            raise UserError(f"the run in {out} failed, as said above; to begin it again, remove its folder")
    return json.loads((out / "eval.json").read_text())


def depth(train, folder):
    """Train what is missing of RUNS, each in a folder in `folder` -> {"runs": [...]}: "layers" counts
    different ones, "computed" all, the rest is as in the run's eval.json."""
    runs = []
    for model, width, layers, M_max in RUNS:
        name = f"{model}-{width}wide-{layers}layers-M{M_max}"
        options = (f"{OPTIONS} --model {model} --hidden-size {width} --num-heads {width // 16} "
                   f"--M-max {M_max} --H-layers {layers // 2} --L-layers {layers // 2}")
        runs.append({
            "name": name,
            "model": model,
            "width": width,
            "M_max": M_max,
            "layers": layers,
            "computed": M_max * PASSES[model] * layers,
            **finish(train, Path(folder, name), options),
        })
    return {"runs": runs}


def plot_depth(numbers):
    """What `depth` returned -> figure: accuracy against width (Transformer), and against computed depth."""
    sheet, axes = figure(1, 2, 10.5, 4)
    wide, deep = axes[0]
    for model, colour in COLOURS.items():
        runs = [run for run in numbers["runs"] if run["model"] == model]
        by_depth = [run for run in runs if run["width"] == 32]
        plot_share(deep, by_depth, "computed", label=model, color=colour)
    by_width = [run for run in numbers["runs"] if run["model"] == "transformer" and run["layers"] == 4]
    plot_share(wide, by_width, "width", color=GREY)
    wide.set_xlabel("width D (Transformer of 4 layers)")
    wide.set_ylabel("puzzles solved exactly")
    wide.sharey(deep)
    deep.set_xlabel("layers computed for one answer (32 wide)")
    deep.legend()
    return sheet

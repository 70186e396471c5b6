"""Does depth help, and does width? HRM, the recurrent network and the Transformer in many sizes (fig. 2).

6x6 Sudoku on two CPU cores; all runs have the same data, loop and number of optimiser steps.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

from puzzles.task import BLUE, GREY, VERMILLION
from training.files import UserError
from training.log import interval

OPTIONS = "--task sudoku --preset small --steps 3000 --eval-every 1000 --no-halt"
WIDTH, LAYERS = 32, 4
STYLES = {"transformer": ("s-", GREY, "Transformer"), "recurrent": ("^-", BLUE, "recurrent network"),
          "hrm": ("o-", VERMILLION, "HRM")}


def grid():
    """{name: options of train.py}. A Transformer takes more width, then more layers; HRM and the recurrent
    network keep both, and so their parameters, and take more segments, to answer after the last."""
    models = [("transformer", width, LAYERS, 1) for width in (16, 32, 64, 128)]
    models += [("transformer", WIDTH, layers, 1) for layers in (2, 4, 8, 16)]
    models += [(model, WIDTH, LAYERS, M_max) for model in ("recurrent", "hrm") for M_max in (1, 2, 4, 8)]
    return {f"{model}-{D}wide-{n}layers-M{M_max}":
            f"{OPTIONS} --model {model} --hidden-size {D} --puzzle-emb-ndim {D} --num-heads {D // 16} "
            f"--M-max {M_max} --H-layers {n - n // 2} --L-layers {n // 2}"
            for model, D, n, M_max in models}


def finish(train, out, options):
    """`train.py OPTIONS --out OUT` had ended, goes on, or begins -> what its eval.json holds. `train`: the
    function `main` of train.py."""
    if not (out / "eval.json").exists():
        interrupted = (out / "last.pt").exists()
        words = ["--resume", str(out)] if interrupted else [*options.split(), "--out", str(out)]
        if train(["-q", *words]):
            raise UserError(f"the run in {out} failed, as said above; to begin it again, remove its folder")
    return json.loads((out / "eval.json").read_text())


def computed_layers(model):
    """Layers between question and answer, all segments together; model: the dict of an HRMConfig."""
    N, T, H, L = (model[name] for name in ("H_cycles", "L_cycles", "H_layers", "L_layers"))
    per_segment = {"transformer": H + L, "recurrent": N * T * (H + L), "hrm": N * (T * L + H)}
    return model["M_max"] * per_segment[model["model"]]


def depth(train, folder):
    """Train what is missing of the grid, each run in a folder in `folder` -> {"runs": [...]}.
    "layers" counts different ones, "computed" all, "n" test puzzles, "exact" is the share of them solved."""
    results = []
    for name, options in tqdm(grid().items(), unit="run"):
        out = Path(folder, name)
        result = finish(train, out, options)
        config = json.loads((out / "config.json").read_text())
        model = config["model"]
        results.append({"name": name, "model": model["model"], "width": model["hidden_size"],
                        "M_max": model["M_max"], "layers": model["H_layers"] + model["L_layers"],
                        "computed": computed_layers(model), "steps": config["options"]["steps"],
                        "n": result["n"], "exact": result["exact"]})
    return {"runs": results}


def curve(ax, model, runs, key):
    """The share of puzzles that the runs of one model solve, against `key`."""
    runs = sorted((run for run in runs if run["model"] == model), key=lambda run: run[key])
    x, exact, n = (np.array([run[name] for run in runs]) for name in (key, "exact", "n"))
    style, colour, label = STYLES[model]
    errors = np.abs(np.array(interval(exact, n)) - exact)
    ax.errorbar(x, exact, errors, fmt=style, color=colour, ms=5, lw=1.2, capsize=2, label=label)


def plot_depth(numbers):
    """What `depth` returned -> figure: accuracy against width (Transformer), and against computed depth."""
    runs = numbers["runs"]
    figure, (wide, deep) = plt.subplots(1, 2, figsize=(10.5, 4), sharey=True, width_ratios=(1, 1.4),
                                       layout="tight")
    curve(wide, "transformer", [run for run in runs if run["layers"] == LAYERS], "width")
    for model in STYLES:
        curve(deep, model, [run for run in runs if run["width"] == WIDTH], "computed")
    wide.set(xlabel=f"width D ({LAYERS} layers)", ylabel="puzzles solved exactly", ylim=(-0.02, 1.02))
    deep.set(xlabel=f"layers computed for one answer ({WIDTH} wide)")
    for ax in (wide, deep):
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.legend()
    return figure

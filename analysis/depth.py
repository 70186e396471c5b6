"""Does depth help, and does width? HRM, the recurrent network and the Transformer in many sizes (fig. 2).

`--scale cpu`: 4x4 Sudoku on two CPU cores; `gpu`: the shipped 9x9 Sudokus, up to 1024 wide. All runs have the
same data, loop and number of optimiser steps.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

from extras.sweep import finish
from puzzles.task import BLUE, GREY, VERMILLION
from training.log import interval

SCALES = {
    "cpu": {
        "options": "--task sudoku --size 4 --preset small --steps 400 --batch-size 64 --eval-every 400 "
                   "--save-every 200 --ema 0 --grow-M-max 0.5 --no-halt --val-size 200 "
                   "--optimizer adam_atan2 --q-weight 0.5 --lr 1.5e-3",
        "head_size": 16, "width": 32, "layers": 4,
        "widths": (16, 32, 64, 128), "depths": (2, 4, 8, 16), "segments": (1, 2, 4, 8)},
    "gpu": {
        "options": "--task sudoku --preset paper --epochs 10000 --batch-size 384 --lr 7e-5 --puzzle-lr 7e-5",
        "head_size": 64, "width": 512, "layers": 8,
        "widths": (256, 512, 768, 1024), "depths": (4, 8, 16, 32), "segments": (1, 2, 4, 8, 16)},
}
STYLES = {"transformer": ("s-", GREY, "Transformer"), "recurrent": ("^-", BLUE, "recurrent network"),
          "hrm": ("o-", VERMILLION, "HRM")}


def grid(options, head_size, width, layers, widths, depths, segments):
    """{name: options of train.py}. A Transformer takes more width, then more layers; HRM and the recurrent
    network keep both, and so their parameters, and take more segments, to answer after the last."""
    models = [("transformer", other, layers, 1) for other in widths]
    models += [("transformer", width, other, 1) for other in depths]
    models += [(model, width, layers, M_max) for model in ("recurrent", "hrm") for M_max in segments]
    return {f"{model}-{D}wide-{n}layers-M{M_max}":
            f"{options} --model {model} --hidden-size {D} --puzzle-emb-ndim {D} "
            f"--num-heads {max(1, D // head_size)} --M-max {M_max} "
            f"--H-layers {n - n // 2} --L-layers {n // 2}"
            for model, D, n, M_max in models}


def computed_layers(model):
    """Layers between question and answer, all segments together; model: the dict of an HRMConfig."""
    N, T, H, L = (model[name] for name in ("H_cycles", "L_cycles", "H_layers", "L_layers"))
    per_segment = {"transformer": H + L, "recurrent": N * T * (H + L), "hrm": N * (T * L + H)}
    return model["M_max"] * per_segment[model["model"]]


def depth(folder, scale="cpu"):
    """Train what is missing of the grid, each run in a folder in `folder` -> {"scale", "runs": [...]}.
    "layers" counts different ones, "computed" all, "n" test puzzles, "exact" is the share of them solved."""
    results = []
    for name, options in tqdm(grid(**SCALES[scale]).items(), unit="run"):
        out = Path(folder, name)
        result = finish(out, options)
        config = json.loads((out / "config.json").read_text())
        model = config["model"]
        results.append({"name": name, "model": model["model"], "width": model["hidden_size"],
                        "M_max": model["M_max"], "layers": model["H_layers"] + model["L_layers"],
                        "computed": computed_layers(model), "steps": config["options"]["steps"],
                        "n": result["n"], "exact": result["exact"]})
    return {"scale": scale, "runs": results}


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
    layers, width = runs[0]["layers"], runs[-1]["width"]  # a grid begins with widths and ends with depths
    figure, (wide, deep) = plt.subplots(1, 2, figsize=(10.5, 4), sharey=True, width_ratios=(1, 1.4))
    curve(wide, "transformer", [run for run in runs if run["layers"] == layers], "width")
    for model in STYLES:
        curve(deep, model, [run for run in runs if run["width"] == width], "computed")
    wide.set(xlabel=f"width D ({layers} layers)", ylabel="puzzles solved exactly", ylim=(-0.02, 1.02))
    deep.set(xlabel=f"layers computed for one answer ({width} wide)")
    for ax in (wide, deep):
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.legend()
    return figure

"""Does depth help, and does width? HRM, the recurrent network and the Transformer in many sizes (fig. 2).

`--scale cpu`: 4x4 Sudoku on two CPU cores; `gpu`: the shipped 9x9 Sudokus, up to 1024 wide. All runs have the
same data, loop and number of optimiser steps; extras/sweep.py lists and trains them.
"""

import json

import numpy as np

from extras.sweep import GRIDS, finish, runs_of
from puzzles.task import BLUE, GREY, VERMILLION
from training.log import interval

STYLES = {"transformer": ("s-", GREY, "Transformer"), "recurrent": ("^-", BLUE, "recurrent network"),
          "hrm": ("o-", VERMILLION, "HRM")}


def computed_layers(model):
    """Layers between question and answer, all segments together; model: the dict of an HRMConfig."""
    N, T, H, L = (model[name] for name in ("H_cycles", "L_cycles", "H_layers", "L_layers"))
    per_segment = {"transformer": H + L, "recurrent": N * T * (H + L), "hrm": N * (T * L + H)}
    return model["M_max"] * per_segment[model["model"]]


def depth(folder, scale="cpu"):
    """Train what is missing of the grid, each run in a folder in `folder` -> {"scale", "runs": [...]}.
    "layers" counts different ones, "computed" all, "n" test puzzles, "exact" is the share of them solved."""
    results = []
    for name, _, options, out in runs_of(GRIDS[f"depth-{scale}"], folder):
        result = finish(out, options)
        config = json.loads((out / "config.json").read_text())
        model = config["model"]
        results.append({"name": name, "model": model["model"], "width": model["hidden_size"],
                        "M_max": model["M_max"], "layers": model["H_layers"] + model["L_layers"],
                        "computed": computed_layers(model), "steps": config["options"]["steps"],
                        "n": result["n"], "exact": result["exact"]})
    return {"scale": scale, "runs": results}


def plot_depth(numbers):
    """What `depth` returned -> figure: accuracy against width (Transformer), and against computed depth."""
    import matplotlib.pyplot as plt

    runs = numbers["runs"]
    layers, width = runs[0]["layers"], runs[-1]["width"]  # a grid begins with widths and ends with depths
    figure, (wide, deep) = plt.subplots(1, 2, figsize=(10.5, 4), sharey=True, width_ratios=(1, 1.4))

    def curve(ax, model, key, same, value):
        chosen = [run for run in runs if run["model"] == model and run[same] == value]
        chosen.sort(key=lambda run: run[key])
        x, exact, n = (np.array([run[name] for run in chosen]) for name in (key, "exact", "n"))
        style, colour, label = STYLES[model]
        errors = np.abs(np.array(interval(exact, n)) - exact)
        ax.errorbar(x, exact, errors, fmt=style, color=colour, ms=5, lw=1.2, capsize=2, label=label)
        return x

    widths = curve(wide, "transformer", "width", "layers", layers)
    depths = np.concatenate([curve(deep, model, "computed", "width", width) for model in STYLES])
    wide.set(xlabel=f"width D ({layers} layers)", ylabel="puzzles solved exactly", ylim=(-0.02, 1.02))
    deep.set(xlabel=f"layers computed for one answer ({width} wide)")
    for ax, ticks in ((wide, widths), (deep, 2 ** np.arange(1, 1 + int(np.log2(depths.max()))))):
        ax.set_xscale("log")
        ax.set_xticks(ticks, ticks)
        ax.minorticks_off()
        ax.grid(alpha=0.3)
        ax.legend(frameon=False)
    figure.tight_layout()
    return figure

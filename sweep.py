"""Does depth help, and does width? (paper, fig. 2) Trains HRM, the recurrent network and the Transformer in many sizes.

    python analyze.py depth                   # 4x4 Sudoku on two CPU cores
    python analyze.py depth --scale gpu       # the shipped 9x9 Sudokus, up to 1024 wide

All runs have the same data, loop and number of optimiser steps. A run that ends is kept, and so is one that is
interrupted: the same command goes on where it was.
"""

import contextlib
import json
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import train
from data import BLUE, GREY, VERMILLION, UserError
from evaluate import interval, writing

# HRM and the recurrent network keep their layers, and so their parameters, and take more segments; the Transformer
# takes more layers. All answer after their last segment: what counts here is the depth that was computed.
SCALES = {
    "cpu": {"options": "--task sudoku --size 4 --preset cpu --steps 400 --batch-size 64 --eval-every 400 --save-every 200 "
                       "--ema 0 --grow-M-max 0.5 --no-halt --val-size 200", "head_size": 16,
            "widths": [16, 32, 64, 128], "layers_of_widths": 4,
            "width_of_depths": 32, "layers": [2, 4, 8, 16], "module_layers": 2, "M_max": [1, 2, 4, 8]},
    "gpu": {"options": "--task sudoku --preset paper --epochs 10000 --batch-size 384 --lr 7e-5 --puzzle-lr 7e-5", "head_size": 64,
            "widths": [256, 512, 768, 1024], "layers_of_widths": 8,
            "width_of_depths": 512, "layers": [4, 8, 16, 32], "module_layers": 4, "M_max": [1, 2, 4, 8, 16]},
}
STYLES = {"transformer": ("s-", GREY, "Transformer"), "recurrent": ("^-", BLUE, "recurrent network"),
          "hrm": ("o-", VERMILLION, "HRM")}


def grid(scale):
    """The runs of one of SCALES: {name: options of train.py}."""
    scale, runs = SCALES[scale], {}

    def add(model, width, layers, M_max):
        runs[f"{model}-{width}wide-{layers}layers-M{M_max}"] = [
            *scale["options"].split(), "--model", model, "--hidden-size", str(width), "--puzzle-emb-ndim", str(width),
            "--num-heads", str(max(1, width // scale["head_size"])), "--M-max", str(M_max),
            "--H-layers", str(layers - layers // 2), "--L-layers", str(layers // 2)]

    for width in scale["widths"]:
        add("transformer", width, scale["layers_of_widths"], 1)
    for layers in scale["layers"]:
        add("transformer", scale["width_of_depths"], layers, 1)
    for model in ("recurrent", "hrm"):
        for M_max in scale["M_max"]:
            add(model, scale["width_of_depths"], 2 * scale["module_layers"], M_max)
    return runs


def computed_layers(config):
    """Layers between question and answer, all segments together; config: the dict of an HRMConfig."""
    N, T, H, L = (config[name] for name in ("H_cycles", "L_cycles", "H_layers", "L_layers"))
    per_segment = {"transformer": H + L, "recurrent": N * T * (H + L)}.get(config["model"], N * (T * L + H))
    return config["M_max"] * per_segment


def depth(folder, scale="cpu"):
    """Train what is missing of the grid, each run in a folder of its own in `folder`, and collect the results.

    Returns {"scale", "runs": [...]}, for each run "name", "model", "width", "layers" (different ones), "M_max", "computed"
    (layers), "steps", "n" (test puzzles) and "exact" (share solved). Ctrl-C saves the run and raises KeyboardInterrupt.
    """
    folder, results = Path(folder), []
    for name, options in (bar := tqdm(grid(scale).items(), unit="run")):
        bar.set_description(name)
        out = folder / name
        if not (out / "eval.json").exists():
            begin = ["--resume", str(out)] if (out / "last.pt").exists() else [*options, "--out", str(out)]
            with writing(out / "log.txt"), open(out / "log.txt", "a") as log, contextlib.redirect_stdout(log):
                status = train.main(begin)
            torch.compiler.reset()  # or PyTorch stops compiling after a number of different models
            if status == 130:
                raise KeyboardInterrupt
            if status:
                raise UserError(f"the run in {out} failed, for the reason above; remove the folder to begin it again")
        config = json.loads((out / "config.json").read_text())
        result, model = json.loads((out / "eval.json").read_text()), config["model"]
        results.append({"name": name, "model": model["model"], "width": model["hidden_size"], "M_max": model["M_max"],
                        "layers": model["H_layers"] + model["L_layers"], "computed": computed_layers(model),
                        "steps": config["options"]["steps"], "n": result["n"], "exact": result["exact"]})
    return {"scale": scale, "runs": results}


def plot_depth(numbers):
    """What `depth` returned -> figure: accuracy against width (Transformer), and against computed depth (all three)."""
    import matplotlib.pyplot as plt

    scale, runs = SCALES[numbers["scale"]], numbers["runs"]
    figure, (wide, deep) = plt.subplots(1, 2, figsize=(10.5, 4), sharey=True, width_ratios=(1, 1.4))

    def curve(ax, model, key, chosen):
        chosen = sorted(chosen, key=lambda run: run[key])
        exact, n = (np.array([run[name] for run in chosen]) for name in ("exact", "n"))
        style, colour, label = STYLES[model]
        ax.errorbar([run[key] for run in chosen], exact, np.abs(np.array(interval(exact, n)) - exact), fmt=style, color=colour,
                    ms=5, lw=1.2, capsize=2, label=label)

    layers, width = scale["layers_of_widths"], scale["width_of_depths"]
    curve(wide, "transformer", "width", [run for run in runs if run["model"] == "transformer" and run["layers"] == layers])
    for model in STYLES:
        curve(deep, model, "computed", [run for run in runs if run["model"] == model and run["width"] == width])
    wide.set(xscale="log", xlabel=f"width D ({layers} layers)", ylabel="puzzles solved exactly", ylim=(-0.02, 1.02))
    wide.set_xticks(scale["widths"], scale["widths"])
    deep.set(xscale="log", xlabel=f"layers computed for one answer ({width} wide)")
    ticks = [2**i for i in range(1, 12) if 2**i <= max(run["computed"] for run in runs)]
    deep.set_xticks(ticks, ticks)
    for ax in (wide, deep):
        ax.minorticks_off()
        ax.grid(alpha=0.3)
        ax.legend(frameon=False)
    figure.tight_layout()
    return figure

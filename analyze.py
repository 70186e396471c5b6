"""The paper's figures, one command each, and what later work asked of the model.

    python analyze.py convergence --checkpoint checkpoints/sudoku-6x6.pt RECURRENT.pt TRANSFORMER.pt   # fig. 3
    python analyze.py participation-ratio --checkpoint checkpoints/sudoku-6x6.pt                       # fig. 8
    python analyze.py steps --checkpoint checkpoints/maze-9x9.pt --puzzle my_maze.txt                  # fig. 7
    python analyze.py halting --checkpoint checkpoints/maze-9x9.pt                                     # fig. 5 a, b
    python analyze.py inference-scaling --checkpoint checkpoints/maze-9x9.pt                           # fig. 5 c
    python analyze.py strategies --checkpoint checkpoints/sudoku-6x6.pt            # votes and noise: vote.py
    python analyze.py depth                                                                            # fig. 2
    python analyze.py fixed-point --checkpoint checkpoints/sudoku-6x6.pt                   # Ren & Liu, arXiv 2601.10679

Each writes a PNG and the numbers behind it as JSON. Each is two functions that notebooks import: one that measures
and returns a dict of numbers, and plot_... that makes a figure of them. The states that they look at come from
trajectory.py; halting, inference-scaling and fixed-point are in halting.py, `steps` in steps.py, and `depth`, which
trains its own models, in sweep.py.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from tqdm import tqdm

import steps
import sweep
from baselines import make_model
from data import BLUE, DARK, GREY, VERMILLION, UserError, load_splits
from evaluate import load_model, to_tensors, write
from halting import fixed_point, halting, inference_scaling, plot_fixed_point, plot_halting, plot_inference_scaling
from options import Options, choose_device
from trajectory import (READINGS, Trajectory, intermediate_predictions, participation_ratio, pca, record,  # noqa: F401
                        residuals, rows)
from vote import check_vote, plot_strategies, strategies

COLOURS = {"z_H": VERMILLION, "z_L": BLUE}
NAMES = {"hrm": "HRM", "recurrent": "recurrent network", "transformer": "Transformer", "trm": "TRM"}


# ------------------------------------------------------------------------------------------ convergence (fig. 3)


def convergence(model, inputs, puzzle_ids=None, segments=None):
    """Does the state settle? Forward residuals ‖zⁱ − zⁱ⁻¹‖ over the puzzles inputs (B, S), and the path of the first
    puzzle's state through the two directions in which it moves most.

    Returns {"model", "steps_per_segment", "z_H": …, "z_L": …}; for each state "step" (updates,), counted in updates
    of L; "mean", "low" and "high" (updates,) of the residual over the puzzles (10 and 90 %); "pca" (updates, 2) and
    "explained" (2,), the rows being the state after each update with all tokens side by side. Models without L have no "z_L"; the steps of
    a Transformer are its layers.
    """
    config, trajectory = model.config, record(model, inputs, puzzle_ids, segments)
    numbers = {"model": config.model, "puzzles": len(inputs), "steps_per_segment": config.H_cycles * config.L_cycles}
    for name, z, initial in zip(("z_H", "z_L"), (trajectory.z_H, trajectory.z_L), trajectory.initial):
        if len(z) > 1:
            moved = residuals(z, initial)
            path, explained = pca(z[:, 0].flatten(1).float())
            step = np.arange(1, len(z) + 1)
            if name == "z_H" and len(trajectory.z_L):
                step = step * config.L_cycles
            low, high = np.quantile(moved.cpu(), (0.1, 0.9), axis=1)
            numbers[name] = {"step": step, "mean": moved.mean(1).cpu().numpy(), "low": low, "high": high,
                             "pca": path, "explained": explained}
    return numbers


def plot_convergence(models):
    """A list of what `convergence` returned -> figure: a row for each model, residuals left, PCA paths right."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    figure, axes = plt.subplots(len(models), 3, figsize=(11.5, 2.9 * len(models) + 0.2), squeeze=False,
                                width_ratios=(1.7, 1, 1))
    for (left, *right), numbers in zip(axes, models):
        unit = "layer" if numbers["model"] == "transformer" else "step"
        for name, ax in zip(("z_H", "z_L"), right):
            if name not in numbers:
                ax.axis("off")
                continue
            state = numbers[name]
            label = name if "z_L" in numbers else "z"
            left.plot(state["step"], state["mean"], "o-", ms=3.5, lw=1.2, color=COLOURS[name], label=label)
            left.fill_between(state["step"], state["low"], state["high"], color=COLOURS[name], alpha=0.2, lw=0)
            path, explained = np.asarray(state["pca"]), state["explained"]
            ax.plot(*path.T, color=GREY, lw=0.7, zorder=1)
            points = ax.scatter(*path.T, c=state["step"], cmap="viridis", s=22, zorder=2)
            figure.colorbar(points, ax=ax, label=unit, ticks=MaxNLocator(5, integer=True))
            ax.set(title=f"path of {label}, one puzzle", xlabel=f"1st component ({explained[0]:.0%} of variance)",
                   ylabel=f"2nd component ({explained[1]:.0%})")
        left.set(title=f"{NAMES[numbers['model']]}: {numbers['puzzles']} puzzles", xlabel=unit,
                 ylabel="‖zⁱ − zⁱ⁻¹‖, mean and 10–90 %")
        left.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        if unit == "layer":
            left.set_ylim(0, None)
        else:
            left.set(yscale="log", xlabel="step (dotted: a new segment)")
            for boundary in range(numbers["steps_per_segment"], numbers["z_H"]["step"][-1], numbers["steps_per_segment"]):
                left.axvline(boundary + 0.5, color=GREY, lw=0.5, ls=":")
        left.legend(frameon=False)
    figure.tight_layout()
    return figure


# --------------------------------------------------------------------------------- participation ratio (fig. 8)


class PuzzleMoments:
    """Mean and covariance of rows (B, rows of one puzzle, F), for any choice of the B puzzles.

    What each puzzle adds to the sums is computed once, so that a bootstrap over puzzles need not go through all rows
    again.
    """

    def __init__(self, puzzle_rows):
        B, self.n, F = puzzle_rows.shape
        flat = puzzle_rows.flatten(0, 1).cpu().double()  # not all devices have float64
        flat = flat - flat.mean(0)
        if F > len(flat):  # turned so that the rows lie in as many dimensions as there are rows: no covariance changes
            U, singular, _ = torch.linalg.svd(flat, full_matrices=False)
            flat = U * singular
        x = flat.unflatten(0, (B, self.n))
        self.sums, self.products = x.sum(1), x.mT @ x  # (B, F), (B, F, F)

    def participation_ratio(self, times):
        """PR when puzzle b is taken times[b] times; times (B,)."""
        times = torch.as_tensor(times, dtype=self.sums.dtype)
        n = self.n * times.sum()
        mean = times @ self.sums / n
        covariance = torch.tensordot(times, self.products, 1) / n - mean.outer(mean)
        return (covariance.trace() ** 2 / covariance.square().sum()).item()


def participation_ratios(model, inputs, puzzle_ids=None, segments=None, untrained=3, samples=200, subsets=20, seed=0):
    """PR of z_H and z_L over the trajectories of the puzzles inputs (B, S), for every way in READINGS to choose the rows
    of the covariance; of this model, and of `untrained` fresh ones of the same configuration.

    Returns {"puzzles": B, "counts": […], "trained": {reading: …}, "untrained": {reading: …}}; for each reading "z_H",
    "z_L" and "ratio" (z_H over z_L), each with "value" and its "error", and "by_count", "by_count_error" for smaller
    numbers of trajectories, "counts" (mean and standard deviation of `subsets` random choices of puzzles). The error of
    the trained model is the standard deviation of `samples` bootstrap samples of the puzzles, that of the untrained
    ones the standard deviation over the models.
    """
    B, rng = len(inputs), np.random.default_rng(seed)
    counts = [count for count in (5, 10, 20, 30, 50, 70, 100, 150, 200, 300, 500) if count < B] + [B]
    # How often each puzzle is taken (B,): every one once, then the bootstrap samples, then the smaller numbers.
    times = [np.ones(B), *rng.multinomial(B, np.full(B, 1 / B), size=samples)]
    times += [rng.permutation(B) < count for count in counts for _ in range(subsets)]

    def measure(model):
        trajectory, results = record(model, inputs, puzzle_ids, segments), {}
        for reading in READINGS:
            values = {}
            for name, z in (("z_H", trajectory.z_H), ("z_L", trajectory.z_L)):
                if len(z):
                    moments = PuzzleMoments(rows(z, reading))
                    values[name] = np.array([moments.participation_ratio(each) for each in times])
            if "z_L" in values:
                values["ratio"] = values["z_H"] / values["z_L"]
            results[reading] = values
        return results

    trained, fresh = measure(model), []
    for i in tqdm(range(untrained), "untrained models", leave=False):
        torch.manual_seed(seed + i)
        fresh.append(measure(make_model(model.config).to(inputs.device)))
    numbers = {"puzzles": B, "counts": counts, "trained": {}, "untrained": {}}
    for which, models in ("trained", [trained]), ("untrained", fresh):
        for reading in READINGS if models else ():
            numbers[which][reading] = {}
            for name in trained[reading]:
                values = np.stack([results[reading][name] for results in models])  # (models, len(times))
                bootstrap, by_count = values[:, 1 : 1 + samples], values[:, 1 + samples :].reshape(-1, len(counts), subsets)
                by_count = rearrange(by_count, "models counts subsets -> counts (models subsets)")
                numbers[which][reading][name] = {
                    "value": values[:, 0].mean(), "error": (bootstrap if which == "trained" else values[:, 0]).std(),
                    "by_count": by_count.mean(1), "by_count_error": by_count.std(1)}
    return numbers


def plot_participation_ratios(numbers, reading="tokens"):
    """What `participation_ratios` returned -> figure: PR trained and untrained, against the number of trajectories, and
    the ratio z_H : z_L for all readings."""
    import matplotlib.pyplot as plt

    figure, (bars, curves, ratios) = plt.subplots(1, 3, figsize=(13, 4.1), width_ratios=(0.9, 1.2, 1.2), layout="constrained")
    kinds = [which for which in ("trained", "untrained") if numbers[which]]
    for i, which in enumerate(kinds):
        style = {"fmt": "o-"} if which == "trained" else {"fmt": "s:", "mfc": "white"}
        for j, name in enumerate(name for name in ("z_H", "z_L") if name in numbers[which][reading]):
            result, colour = numbers[which][reading][name], COLOURS[name]
            fill = {"color": colour} if which == "trained" else {"fill": False, "edgecolor": colour, "hatch": "//"}
            bars.bar(i + 0.4 * j, result["value"], 0.36, yerr=1.96 * result["error"], capsize=3, **fill)
            curves.errorbar(numbers["counts"], result["by_count"], result["by_count_error"], ms=4, lw=1.2, capsize=2,
                            color=colour, label=f"{name}, {which}", **style)
        for j, (name, result) in enumerate(numbers[which].items()):
            if "ratio" in result:
                ratios.errorbar(result["ratio"]["value"], j + 0.24 * i - 0.12, xerr=1.96 * result["ratio"]["error"], ms=6,
                                color=DARK, capsize=3, **style)
    bars.set(xticks=np.arange(len(kinds)) + 0.2, xticklabels=kinds, ylabel="participation ratio (dimensions)",
             title=f"rows: {reading}, of {numbers['puzzles']} puzzles")
    curves.set(xlabel="trajectories (puzzles)", ylabel="participation ratio (dimensions)", ylim=(0, None),
               title=f"rows: {reading}")
    figure.legend(*curves.get_legend_handles_labels(), loc="outside lower left", ncols=4, frameon=False)
    ratios.axvline(1, color=GREY, lw=0.8)
    ratios.set(yticks=range(len(READINGS)), yticklabels=list(READINGS), ylim=(len(READINGS) - 0.5, -0.5),
               xlabel="PR of z_H / PR of z_L (● trained, □ untrained)", title="all readings of the rows")
    return figure


# ------------------------------------------------------------------------------------------------- command line


def load(path, puzzles=None, task=None, size=None, data=None, device="cpu"):
    """A checkpoint -> model, task, the first `puzzles` of its test puzzles (a Split; None: all of them; 0: no Split, which
    saves making them), and the Options that trained it.

    One of ours knows its task; a published one needs `task`, and `size` where it is not the task's default.
    """
    model, task, trained = load_model(path, task, {"size": size})
    options = Options(**{**trained, **({} if data is None else {"data": data, "test_size": None})})
    if puzzles == 0:
        return model.to(device), task, None, options
    splits = load_splits(task, options.data, options.train_size, options.val_size, options.test_size, options.seed)
    return model.to(device), task, splits["test"][:puzzles], options


def save(path, numbers, figure):
    """Write the figure to PATH.png and the numbers, to five digits, to PATH.json."""
    import matplotlib.pyplot as plt

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, (np.ndarray, torch.Tensor)):
            value = value.tolist()
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        if isinstance(value, float):
            return float(f"{value:.5g}") if math.isfinite(value) else None  # JSON knows no nan
        return value

    text = json.dumps(plain(numbers))
    write(path.with_suffix(".json"), lambda temporary: temporary.write_text(text + "\n"))
    image = steps.picture(figure)
    write(path.with_suffix(".png"), lambda temporary: image.save(temporary, format="PNG", optimize=True))
    plt.close(figure)
    print(f"written: {path.with_suffix('.png')}, {path.with_suffix('.json')}")


def watch(args, model, task, split, options, path):
    """The command `steps`."""
    if args.puzzle is None and args.index >= len(split):
        raise UserError(f"--index {args.index}: there are only {len(split)} test puzzles, counted from 0")
    if args.puzzle is None:
        inputs, label, puzzle_id = (array[args.index] for array in (split.inputs, split.labels, split.puzzle_ids))
    else:
        inputs, label, puzzle_id = steps.parse_puzzle(task, args.puzzle), None, 0
    thought = steps.follow(model, task, inputs, label, int(puzzle_id), args.max_segments, options.confidence)
    steps.play(task, thought, seconds=args.seconds)
    save(path, vars(thought), steps.plot_steps(task, thought))
    write(path.with_suffix(".gif"), lambda temporary: steps.animate(task, thought, temporary))
    print(f"written: {path.with_suffix('.gif')}")


def analyze(args):
    """A command with its checkpoints."""
    device = choose_device(args.device)
    if getattr(args, "puzzle", None) is not None:
        args.puzzles = 0  # of the test puzzles none is needed
    (model, task, split, options), *others = (
        load(checkpoint, args.puzzles, args.task, args.size, args.data, device) for checkpoint in args.checkpoint)
    for checkpoint, (_, other, *_) in zip(args.checkpoint[1:], others):
        if (other.name, other.grid) != (task.name, task.grid):
            raise UserError(f"{checkpoint} solves {other.name} of {other.grid[0]}x{other.grid[1]}, but {args.checkpoint[0]} "
                            f"{task.name} of {task.grid[0]}x{task.grid[1]}; compare models of one task")
    models = [model] + [other for other, *_ in others]
    kind = "" if model.config.model == "hrm" or others else f"-{model.config.model}"
    path = Path(args.out) / f"{args.command}-{task.name}-{task.grid[0]}x{task.grid[1]}{kind}"
    if args.command == "steps":
        return watch(args, model, task, split, options, path)
    inputs, _, puzzle_ids = to_tensors(split, device)
    if args.command == "convergence":
        numbers = [convergence(each, inputs, puzzle_ids, args.max_segments if each.config.M_max > 1 else 1) for each in models]
        save(path, {"models": numbers}, plot_convergence(numbers))
    elif args.command == "participation-ratio":
        numbers = participation_ratios(model, inputs, puzzle_ids, args.max_segments)
        save(path, numbers, plot_participation_ratios(numbers))
    elif args.command == "halting":
        numbers = halting(model, split, args.max_segments, options.confidence)
        unit = {"maze": "length of the path (steps)", "sudoku": "rating (guesses of a solver)"}.get(task.name, "rating")
        save(path, numbers, plot_halting(numbers, unit))
    elif args.command == "inference-scaling":
        numbers = inference_scaling(model, split, args.max_segments, options.confidence)
        save(path, numbers, plot_inference_scaling(numbers))
    elif args.command == "strategies":
        check_vote(task, args.votes, 0.0, True, "valid")
        numbers = strategies(models, task, split, options.confidence, args.votes)
        title = f"{task.name} {task.grid[0]}x{task.grid[1]}, {len(split)} test puzzles"
        save(path, {"strategies": numbers}, plot_strategies(numbers, title))
    else:
        numbers = fixed_point(model, split, args.max_segments, options.confidence)
        save(path, numbers, plot_fixed_point(numbers))


COMMANDS = {  # name: what it shows, and from how many puzzles
    "convergence": ("do the states settle? (fig. 3); several checkpoints of one task are compared", 50),
    "participation-ratio": ("how many dimensions do the states fill? (fig. 8)", 100),
    "steps": ("what would the model answer after each update? (fig. 7)", None),
    "halting": ("does it think longer about harder puzzles, and what does that save? (fig. 5 a, b)", 1000),
    "inference-scaling": ("what is longer thinking worth? (fig. 5 c)", 1000),
    "fixed-point": ("does a solved board stay solved? (Ren & Liu, arXiv 2601.10679)", 200),
    "strategies": ("what do votes, noise, longer thinking and several checkpoints buy? (vote.py)", 500),
    "depth": ("train many sizes: is it depth that helps? (fig. 2)", None),
}


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UserError(f"{message}; {self.prog} --help lists the options")


def parse(argv):
    parser = Parser("analyze.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="NAME")
    for name, (help, puzzles) in COMMANDS.items():
        command = commands.add_parser(name, help=help, description=help, allow_abbrev=False,
                                      formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        command.add_argument("--out", default="figures", help="folder for the figure and its numbers")
        if name == "depth":
            command.add_argument("--scale", default="cpu", choices=list(sweep.SCALES), help="which grid of models")
            command.add_argument("--runs", help="folder of the runs (default: runs/depth-SCALE); they are kept and resumed")
            continue
        command.add_argument("--checkpoint", required=True, nargs="+" if name in ("convergence", "strategies") else 1, help="what train.py wrote")
        command.add_argument("--puzzles", type=int, default=puzzles, help="how many of the test puzzles")
        command.add_argument("--max-segments", type=int, help="segments per puzzle, if not the usual number")
        command.add_argument("--data", help="puzzles from FILE.csv or a folder, not those of the training run")
        command.add_argument("--task", help="only for a published checkpoint: its task")
        command.add_argument("--size", type=int, help="only for a published checkpoint: side of the board")
        command.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
        if name == "strategies":
            command.add_argument("--votes", type=int, default=16, help="most votes per puzzle, by views or with noise")
        if name == "steps":
            command.add_argument("--puzzle", help="your own: all characters in a row, or a text file")
            command.add_argument("--index", type=int, default=0, help="without --puzzle: which of the test puzzles")
            command.add_argument("--seconds", type=float, default=0.3, help="in the terminal: time between two boards")
    args = parser.parse_args(argv)
    for name in ("puzzles", "max_segments", "votes"):
        if (value := getattr(args, name, None)) is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} {value} must be greater than 0")
    for name in ("index", "seconds"):
        if not 0 <= getattr(args, name, 0) < float("inf"):
            raise UserError(f"--{name} {getattr(args, name)} must not be negative")
    return args


def main(argv=None):
    import matplotlib

    matplotlib.use("Agg")  # no screen is needed
    try:
        args = parse(argv)
        if args.command == "depth":
            numbers = sweep.depth(args.runs or f"runs/depth-{args.scale}", args.scale)
            save(Path(args.out) / f"depth-{args.scale}", numbers, sweep.plot_depth(numbers))
        else:
            analyze(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; what was saved is untouched, and `depth` goes on with the same command", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

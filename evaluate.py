"""From a checkpoint to figures: load a model, ours or a published one, measure it, draw its answers.

    python train.py --eval runs/maze/best.pt

is the command line of this file; train.py also calls it while it trains, and notebooks import it.
"""

import csv
import json
import os
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from baselines import make_model
from data import UserError, load_task
from hrm import HRM, IGNORE, HRMConfig
from vote import vote

# ------------------------------------------------------------------------------------------------- checkpoints


@contextmanager
def writing(path):
    """Makes the folder; a write that fails becomes one line for the user."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, RuntimeError) as error:  # PyTorch reports a full disk as a RuntimeError
        reason = getattr(error, "strerror", None) or "the disk may be full"
        raise UserError(f"cannot write {path}: {reason}; what was saved before is untouched, "
                        f"make room or choose another --out") from None


def write(path, save):
    """Write a file whole or not at all: save(temporary path), then rename."""
    temporary = path.with_name(f".{path.name}.tmp")
    with writing(path):
        try:
            save(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def fitting(path):
    """A checkpoint that lacks something, or holds something that does not fit, becomes one line for the user."""
    try:
        yield
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} does not fit the options given, or this version of the project "
                        f"({type(error).__name__}: {reason}); change them, or pass another checkpoint") from None


def read_checkpoint(path):
    """The dict in a checkpoint file, or in last.pt of a run's folder; nothing but tensors and plain values."""
    path = Path(path) / "last.pt" if Path(path).is_dir() else Path(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # of files that PyTorch did not write, and refuses
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"no checkpoint at {path}; runs write runs/TASK/last.pt and best.pt") from None
    except Exception as error:  # a damaged file can fail anywhere inside the unpickler
        reason = (str(error).splitlines() or ["damaged"])[0]
        raise UserError(f"{path} cannot be read as a checkpoint: {reason[:100]}; pass one that train.py wrote") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a checkpoint; pass one that train.py wrote")
    return content


def load_model(path, task_name=None, task_options={}, **sizes):
    """A checkpoint -> model (evaluation weights, on the CPU), its task, and the dict of options that trained it.

    One of ours knows its task and sizes: what is given here must agree. A published one (weights under the authors'
    names) knows only its shapes: it needs `task_name` and whatever differs from HRMConfig's defaults.
    """
    content = read_checkpoint(path)
    names = [str(name).removeprefix("_orig_mod.") for name in content]
    if any(name.startswith("model.inner.") for name in names):
        task, options = load_task(task_name or "sudoku", **task_options), {}
        with fitting(path):
            model = HRM.from_published(content, **{"seq_len": task.seq_len, **sizes})
    elif {"averaged", "config", "options", "task"} <= set(names):
        with fitting(path):
            task, options = load_task(**content["task"]), dict(content["options"])
            model = make_model(HRMConfig(**content["config"]))
            model.load_state_dict(content["averaged"])
        trained = {**content["task"], **content["config"]}
        for name, value in {"name": task_name, **task_options, **sizes}.items():
            if value is not None and str(value).lower() != str(trained.get(name)).lower():
                raise UserError(f"{'task' if name == 'name' else name} {value} does not fit {path}, which was trained "
                                f"with {trained.get(name)}; leave it out, the checkpoint knows")
    else:
        raise UserError(f"{path} is no checkpoint of this project, nor a published one: it holds "
                        f"{', '.join(sorted(names)[:4]) or 'nothing'}")
    if model.config.vocab_size < task.vocab_size or model.config.seq_len != task.seq_len:
        raise UserError(f"{path} reads {model.config.seq_len} tokens out of {model.config.vocab_size}, but {task.name} "
                        f"of size {task.size} has {task.seq_len} out of {task.vocab_size}; pass another --task or --size")
    return model, task, options


def build(make, *args, **kwargs):
    """make(...), with a ValueError (sizes that do not fit together) as one line for the user."""
    try:
        return make(*args, **kwargs)
    except ValueError as error:
        raise UserError(str(error)) from None


# --------------------------------------------------------------------------------------------------- measuring


def to_tensors(split, device):
    """A split's inputs, labels (PAD becomes IGNORE) and puzzle ids as int64 tensors on the device."""
    labels = np.where(split.labels == 0, IGNORE, split.labels.astype(np.int64))
    tensors = [torch.from_numpy(array.astype(np.int64)) for array in (split.inputs, labels, split.puzzle_ids)]
    if device.type == "cuda":  # pinned memory is copied while the GPU computes
        return [tensor.pin_memory().to(device, non_blocking=True) for tensor in tensors]
    return [tensor.to(device) for tensor in tensors]


def evaluate(models, task, split, processes=None, progress=False, **thinking):
    """Solve the n puzzles of a split -> dict of "n" and of means over them: "exact" (every labelled cell is right),
    "valid" (right by the rules of the task: a maze may have several shortest paths), "cell", "segments",
    "q_halt_accuracy" (does q_halt > 0 tell right answers from wrong ones?), and "puzzles_per_s".

    `models` is one, or a list of models that vote. `processes` (see train.py) share the work; `thinking` are keyword arguments of
    `vote` and `solve`.
    """
    rank, world = (processes.rank, processes.world) if processes else (0, 1)
    start = time.time()
    keys = ("n", "exact", "valid", "cell", "segments", "q_halt_accuracy")
    sums = torch.zeros(len(keys))
    first = models[0] if isinstance(models, (list, tuple)) else models
    on_cpu = next(first.parameters()).device.type == "cpu"
    batch = 125 if on_cpu else 500  # a CPU is a quarter faster when the states fit its cache
    for i in tqdm(range(rank * batch, len(split), world * batch), "evaluating", disable=not progress, leave=False):
        part = split[i : i + batch]
        solution = vote(models, task, part.inputs, part.puzzle_ids, **thinking)
        labels = torch.from_numpy(part.labels.astype(np.int64))
        labelled = labels != 0  # PAD
        right = ((solution.predictions == labels) & labelled).sum(-1)
        exact = right == labelled.sum(-1)
        valid = task.check(part.inputs, solution.predictions.numpy().astype(np.uint8))
        valid = exact if valid is None else torch.from_numpy(valid)
        measured = (torch.ones_like(exact), exact, valid, right / labelled.sum(-1).clamp(min=1), solution.segments,
                    (solution.q_halt > 0) == exact)
        sums += torch.stack([values.float().sum() for values in measured])
    if processes:
        sums = sums.to(processes.device)
        processes.sum_([sums])
    n, *totals = sums.tolist()
    means = dict(zip(keys[1:], (total / n for total in totals)))
    return {"n": int(n), **means, "puzzles_per_s": n / (time.time() - start)}


def interval(p, n):
    """Wilson's 95 % interval of a share p (a number or an array of them) of n puzzles: low, high."""
    z = 1.96
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def print_table(result):
    """A result of `evaluate`, with the 95 % interval of the share of puzzles solved."""
    low, high = interval(result["exact"], result["n"])
    print(f"  puzzles          {result['n']}")
    print(f"  exact            {result['exact']:.4f}  (95 % interval {low:.4f} to {high:.4f})")
    for name in ("valid", "cell", "segments", "q_halt_accuracy"):
        print(f"  {name:<16} {result[name]:.4f}")
    print(f"  puzzles_per_s    {result['puzzles_per_s']:.1f}")


def report(models, task, split, out, processes, path, **thinking):
    """Evaluate on the test puzzles; print, write eval.json, and draw solved.png."""
    if task.report:
        return task.report(models, task, split, out, processes, path, **thinking)
    thinking["votes"] = thinking["votes"] or 1
    result = evaluate(models, task, split, processes, progress=processes.rank == 0, **thinking)
    if processes.rank > 0:
        return
    thinking["max_segments"] = thinking["max_segments"] or models[0].config.M_max
    votes = thinking["votes"] * len(models)
    print(f"{path} on {len(split)} test puzzles, {'up to' if thinking['halt'] else 'always'} "
          f"{thinking['max_segments']} segments each{f', {votes} votes' if votes > 1 else ''}:")
    print_table(result)
    write(out / "eval.json", lambda temporary: temporary.write_text(json.dumps(
        {"checkpoint": str(path), **thinking, **result}, indent=2)))
    draw_solutions(models, task, split, out / "solved.png", **thinking)
    print(f"written: {out / 'eval.json'}, {out / 'solved.png'}")


# ---------------------------------------------------------------------------------------------------- pictures


def figure(rows, columns, width, height):
    """A matplotlib figure that needs no screen and is freed when it is no longer used, and its axes as an array."""
    from matplotlib.figure import Figure

    sheet = Figure(figsize=(width, height))
    return sheet, sheet.subplots(rows, columns, squeeze=False)


def draw_solutions(models, task, split, path, **thinking):
    """Eight puzzles of a split with the model's answers, as a PNG."""
    part = split[:8]
    solution = vote(models, task, part.inputs, part.puzzle_ids, **thinking)
    answers = solution.predictions.numpy().astype(np.uint8)
    sheet, axes = figure(2, 4, 12, 6.6)
    for ax in axes.flat:
        ax.axis("off")
    for ax, given, answer, label, segments in zip(axes.flat, part.inputs, answers, part.labels, solution.segments):
        task.draw(ax, given, answer, label)
        solved = "solved" if (answer == label)[label > 0].all() else "not solved"
        ax.set_title(f"{solved} in {segments} segment{'s' * (segments > 1)}", fontsize=10)
    sheet.tight_layout()
    write(path, lambda temporary: sheet.savefig(temporary, dpi=100, format="png"))


def draw_curves(metrics, path):
    """Loss, accuracy and segments against the step, from a run's metrics.csv, as a PNG."""
    with open(metrics) as file:
        rows = list(csv.DictReader(file))

    def column(name):
        return [(int(row["step"]), float(row[name])) for row in rows if row[name]]

    sheet, (axes,) = figure(1, 3, 13, 3.6)
    for ax, label, curves in (
        (axes[0], "loss per puzzle", {"training": "loss"}),
        (axes[1], "puzzles solved exactly", {"training": "exact", "validation": "val_exact"}),
        (axes[2], "segments per puzzle", {"training": "segments", "validation": "val_segments", "M_max": "M_max"}),
    ):
        for (name, key), style in zip(curves.items(), ("-", "o-", "k:")):
            if column(key):
                ax.plot(*zip(*column(key)), style, label=name, markersize=3, linewidth=1.2)
        ax.set(xlabel="optimiser step", ylabel=label)
        ax.locator_params(axis="x", nbins=6)
        ax.legend(frameon=False)
        ax.grid(alpha=0.3)
    axes[0].set_yscale("log")
    axes[1].set_ylim(-0.02, 1.02)
    sheet.tight_layout()
    write(path, lambda temporary: sheet.savefig(temporary, dpi=100, format="png"))

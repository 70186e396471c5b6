"""How many dimensions do the states fill? The participation ratio of z_H and z_L (paper, fig. 8)."""

import itertools
from collections import defaultdict

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from analysis.states import COLOURS, READINGS, participation_ratio, ratio_of_covariance, record, rows
from puzzles.boards import DARK, GREY, figure
from puzzles.errors import UserError

COUNTS = (5, 10, 20, 30, 50, 70, 100, 150, 200, 300, 500)  # numbers of trajectories
SAMPLES = 200  # of the bootstrap
SUBSETS = 20  # choices of each number of trajectories
BATCH = 10  # puzzles at a time: the states of 100 at the paper's size, on Maze-Hard, take 47 GB in float64


def condense(batch):
    """Rows of b puzzles, (b, rows of one puzzle, D) -> all that their covariance needs, in float64: where a
    puzzle has one row, that row, (b, D); where it has many, the sum of their products, (b, D+1, D+1). A 1
    behind each row makes their sum and their number a part of it."""
    batch = batch.cpu().double()
    if batch.shape[1] == 1:
        return batch[:, 0]
    batch = F.pad(batch, (0, 1), value=1)
    return batch.mT @ batch


def ratio_of_choice(condensed, chosen):
    """PR of the rows of these puzzles (their numbers, some perhaps repeated), all condensed."""
    if condensed.ndim == 2:
        return participation_ratio(condensed[chosen])
    products = condensed[chosen].sum(0)
    n = products[-1, -1]
    mean = products[-1, :-1] / n
    return ratio_of_covariance(products[:-1, :-1] / n - mean.outer(mean))


def measure(model, inputs, puzzle_ids, segments, choices):
    """PR of the states for each choice of puzzles: {(reading, "z_H", "z_L" or "ratio"): (choices,)}."""
    parts = defaultdict(list)
    for few in torch.arange(len(inputs)).split(BATCH):
        trajectory = record(model, inputs[few], puzzle_ids[few], segments)
        for reading, name in itertools.product(READINGS, COLOURS):
            z = getattr(trajectory, name)
            parts[reading, name].append(condense(rows(z, reading)))
    ratios = {}
    for reading, name in parts:
        condensed = torch.cat(parts[reading, name])
        if condensed.ndim == 2:  # long rows: as short as there are puzzles, with the same products
            condensed = torch.linalg.qr(condensed.T, mode="r").R.T
        of_choices = [ratio_of_choice(condensed, chosen) for chosen in choices]
        ratios[reading, name] = np.array(of_choices)
    for reading in READINGS:
        ratios[reading, "ratio"] = ratios[reading, "z_H"] / ratios[reading, "z_L"]
    return ratios


def participation_ratios(model, inputs, puzzle_ids, segments=None, untrained=3):
    """PR over the puzzles inputs (B, S) of this model and of `untrained` fresh ones: {"puzzles", "counts":
    […], "models": {"trained": {reading: …}, "untrained 1": …}}. Each of READINGS has "z_H", "z_L" and "ratio"
    (z_H over z_L), each with "value", "error" (standard deviation over SAMPLES bootstrap samples of the
    puzzles) and "by_count" (mean of SUBSETS choices of each of the "counts"). UserError for a model without
    z_L."""
    if model.L is None:
        raise UserError("this model has only one state; pass an HRM, to compare z_H with z_L")
    models = {"trained": model}
    for seed in range(untrained):
        torch.manual_seed(seed)
        models[f"untrained {seed + 1}"] = type(model)(model.config).to(inputs.device)
    B = len(inputs)
    rng = np.random.default_rng(0)
    counts = [count for count in COUNTS if count <= B]
    choices = [np.arange(B)]
    for times in rng.multinomial(B, np.full(B, 1 / B), size=SAMPLES):
        choices.append(np.arange(B).repeat(times))
    for count in np.repeat(counts, SUBSETS):
        choices.append(np.flatnonzero(rng.permutation(B) < count))
    numbers = {"puzzles": B, "counts": counts, "models": {}}
    for name, each in tqdm(models.items(), leave=False):
        ratios = measure(each, inputs, puzzle_ids, segments, choices)
        numbers["models"][name] = summarise(ratios)
    return numbers


def summarise(measured):
    """What `measure` returned for the choices of `participation_ratios` -> {reading: {"z_H": {…}, …}}."""
    summary = defaultdict(dict)
    for (reading, name), ratios in measured.items():
        whole, bootstrap, by_count = np.split(ratios, (1, 1 + SAMPLES))
        summary[reading][name] = {
            "value": whole[0],
            "error": bootstrap.std(),
            "by_count": by_count.reshape(-1, SUBSETS).mean(1),
        }
    return summary


def plot_participation_ratios(numbers):
    """What `participation_ratios` returned -> figure: PR of z_H and z_L against the number of trajectories,
    and the ratio z_H : z_L for all readings."""
    sheet, axes = figure(1, 2, 11, 4.1)
    curves, ratios = axes[0]
    for model, summary in numbers["models"].items():
        trained = model == "trained"
        style = "o-" if trained else "s:"
        for name, colour in COLOURS.items():
            by_count = summary["tokens"][name]["by_count"]
            curves.plot(numbers["counts"], by_count, style, color=colour, label=f"{name}, {model}")
        for name, found in summary.items():
            ratio = found["ratio"]
            ratios.errorbar(
                ratio["value"],
                name,
                xerr=1.96 * ratio["error"],
                fmt=style,
                color=DARK if trained else GREY,
            )
    curves.set_xlabel("trajectories (puzzles); rows: tokens")
    curves.set_ylabel("participation ratio (dimensions)")
    curves.margins(y=0.6)  # room for the legend
    curves.set_ylim(0)
    curves.legend(ncols=2)
    ratios.set_xlabel("PR of z_H / PR of z_L (● trained, ■ untrained)")
    ratios.axvline(1, color=GREY)
    return sheet

"""How many dimensions do the states fill? The participation ratio of z_H and z_L (paper, fig. 8)."""

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from analysis.states import COLOURS, READINGS, participation_ratio, ratio_of_covariance, record, rows
from puzzles.boards import DARK, GREY, figure

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
    """PR of the states for each choice of puzzles: {(reading, "z_H", "z_L" or "ratio"): (choices,)}. A model
    without z_L has only "z_H"."""
    batches = {}
    for few in torch.arange(len(inputs)).split(BATCH):
        trajectory = record(model, inputs[few], puzzle_ids[few], segments)
        for reading, name in itertools.product(READINGS, COLOURS):
            z = getattr(trajectory, name)
            if len(z):
                parts = batches.setdefault((reading, name), [])
                parts.append(condense(rows(z, reading)))
    ratios = {}
    for (reading, name), parts in batches.items():
        condensed = torch.cat(parts)
        if condensed.ndim == 2:  # long rows: as short as there are puzzles, with the same products
            condensed = torch.linalg.qr(condensed.T, mode="r").R.T
        of_choices = [ratio_of_choice(condensed, chosen) for chosen in choices]
        ratios[reading, name] = np.array(of_choices)
        if name == "z_L":
            ratios[reading, "ratio"] = ratios[reading, "z_H"] / ratios[reading, "z_L"]
    return ratios


def participation_ratios(model, inputs, puzzle_ids, segments=None, untrained=3):
    """PR over the puzzles inputs (B, S) of this model and of `untrained` fresh ones, by READINGS: {"puzzles",
    "counts": […], "trained": {reading: …}, "untrained": {reading: …}}. A reading has "z_H", "z_L" and
    "ratio" (z_H over z_L), each with "value", "error" (standard deviation: over SAMPLES bootstrap samples of
    the puzzles; of several models, over them) and "by_count" (mean of SUBSETS choices of each of the
    "counts")."""
    B = len(inputs)
    rng = np.random.default_rng(0)
    counts = [count for count in COUNTS if count < B] + [B]
    choices = [np.arange(B)]
    for times in rng.multinomial(B, np.full(B, 1 / B), size=SAMPLES):
        choices.append(np.arange(B).repeat(times))
    for count in np.repeat(counts, SUBSETS):
        choices.append(np.flatnonzero(rng.permutation(B) < count))
    models = [model]
    for seed in range(untrained):
        torch.manual_seed(seed)
        models.append(type(model)(model.config).to(inputs.device))
    measured = []
    for each in tqdm(models, leave=False):
        measured.append(measure(each, inputs, puzzle_ids, segments, choices))
    return {
        "puzzles": B,
        "counts": counts,
        "trained": summarise(measured[:1]),
        "untrained": summarise(measured[1:]),
    }


def summarise(measured):
    """What `measure` returned for each of some models -> {reading: {"z_H": {"value", …}, …}}."""
    summary = {reading: {} for reading in READINGS}
    for reading, name in measured[0]:
        ratios = np.stack([each[reading, name] for each in measured])  # (models, choices)
        value, bootstrap, by_count = np.split(ratios, (1, 1 + SAMPLES), axis=1)
        spread = value if len(measured) > 1 else bootstrap
        summary[reading][name] = {
            "value": value.mean(),
            "error": spread.std(),
            "by_count": by_count.mean(0).reshape(-1, SUBSETS).mean(1),
        }
    return summary


def plot_participation_ratios(numbers, reading="tokens"):
    """What `participation_ratios` returned -> figure: PR of z_H and z_L against the number of trajectories,
    and the ratio z_H : z_L for all readings."""
    sheet, axes = figure(1, 2, 11, 4.1)
    curves, ratios = axes[0]
    for which, style, grey in (("trained", "o-", DARK), ("untrained", "s:", GREY)):
        summary = numbers[which]
        for name, colour in COLOURS.items():
            if name in summary[reading]:
                by_count = summary[reading][name]["by_count"]
                label = f"{name}, {which}"
                curves.plot(numbers["counts"], by_count, style, color=colour, label=label)
        for name, found in summary.items():
            if "ratio" in found:
                ratio = found["ratio"]
                error = 1.96 * ratio["error"]
                ratios.errorbar(ratio["value"], name, xerr=error, fmt=style, color=grey)
    curves.set_title(f"rows: {reading}")
    curves.set_xlabel("trajectories (puzzles)")
    curves.set_ylabel("participation ratio (dimensions)")
    curves.set_ylim(0)
    curves.legend(ncols=2)
    ratios.set_title("all readings of the rows")
    ratios.set_xlabel("PR of z_H / PR of z_L (● trained, ■ untrained)")
    ratios.axvline(1, color=GREY)
    ratios.invert_yaxis()
    return sheet

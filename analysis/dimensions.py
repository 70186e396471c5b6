"""How many dimensions do the states fill? The participation ratio of z_H and z_L (paper, fig. 8)."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from tqdm import tqdm

from analysis.states import COLOURS, READINGS, centre, ratio_of_covariance, record, rows
from puzzles.task import DARK, GREY
from training.checkpoints import make_model

COUNTS = (5, 10, 20, 30, 50, 70, 100, 150, 200, 300, 500)  # numbers of trajectories


class PuzzleMoments:
    """Mean and covariance of rows (B, rows of one puzzle, F) for any choice of the B puzzles: what each one
    adds to the sums is computed once, so that a bootstrap need not go through all rows again."""

    def __init__(self, puzzle_rows):
        B, self.n, F = puzzle_rows.shape
        flat = centre(puzzle_rows.flatten(0, 1))
        if F > len(flat):  # turned into as many dimensions as there are rows: no eigenvalue changes
            U, singular, _ = torch.linalg.svd(flat, full_matrices=False)
            flat = U * singular
        x = flat.unflatten(0, (B, self.n))
        self.sums, self.products = x.sum(1), x.mT @ x  # (B, F), (B, F, F)

    def participation_ratio(self, times):
        """PR when puzzle b is taken times[b] times; times (B,)."""
        times = torch.as_tensor(times, dtype=self.sums.dtype)
        n = self.n * times.sum()
        mean = times @ self.sums / n
        return ratio_of_covariance(torch.tensordot(times, self.products, 1) / n - mean.outer(mean))


def measure(model, inputs, puzzle_ids, segments, choices):
    """PR of the states for each choice of the B puzzles: {(reading, "z_H", "z_L" or "ratio"): (choices,)}."""
    trajectory, results = record(model, inputs, puzzle_ids, segments), {}
    for reading in READINGS:
        for name, z in (("z_H", trajectory.z_H), ("z_L", trajectory.z_L)):
            if len(z):
                moments = PuzzleMoments(rows(z, reading))
                results[reading, name] = np.array([moments.participation_ratio(times) for times in choices])
        if (reading, "z_L") in results:
            results[reading, "ratio"] = results[reading, "z_H"] / results[reading, "z_L"]
    return results


def participation_ratios(model, inputs, puzzle_ids=None, segments=None, untrained=3, samples=200, subsets=20,
                         seed=0):
    """PR over the puzzles inputs (B, S) of this model and of `untrained` fresh ones, by READINGS: {"puzzles",
    "counts": […], "trained": {reading: …}, "untrained": {reading: …}}. A reading has "z_H", "z_L" and
    "ratio" (z_H over z_L), each with "value", "error" (standard deviation of `samples` bootstrap samples of
    the puzzles; untrained: over the models) and "by_count" (mean of `subsets` choices of each of the
    "counts")."""
    B, rng = len(inputs), np.random.default_rng(seed)
    counts = [count for count in COUNTS if count < B] + [B]
    # How often each puzzle is taken (B,): all once, then the bootstrap samples, then the smaller numbers.
    choices = [np.ones(B), *rng.multinomial(B, np.full(B, 1 / B), size=samples)]
    choices += [rng.permutation(B) < count for count in counts for _ in range(subsets)]
    trained, fresh = measure(model, inputs, puzzle_ids, segments, choices), []
    for i in tqdm(range(untrained), "untrained models", leave=False):
        torch.manual_seed(seed + i)
        other = make_model(model.config).to(inputs.device)
        fresh.append(measure(other, inputs, puzzle_ids, segments, choices))

    numbers = {"puzzles": B, "counts": counts}
    for which, models in (("trained", [trained]), ("untrained", fresh)):
        numbers[which] = {reading: {} for reading in READINGS}
        for reading, name in trained:
            values = np.stack([results[reading, name] for results in models])  # (models, choices)
            once, bootstrap, fewer = np.split(values, (1, 1 + samples), axis=1)
            by_count = fewer.reshape(len(models), len(counts), subsets)
            numbers[which][reading][name] = {
                "value": once.mean(), "error": (bootstrap if which == "trained" else once).std(),
                "by_count": by_count.mean((0, 2))}
    return numbers


def plot_participation_ratios(numbers, reading="tokens"):
    """What `participation_ratios` returned -> figure: PR of z_H and z_L against the number of trajectories,
    and the ratio z_H : z_L for all readings."""
    figure, (curves, ratios) = plt.subplots(1, 2, figsize=(11, 4.1), layout="tight")
    for i, (which, style, fill) in enumerate((("trained", "o-", None), ("untrained", "s:", "white"))):
        for name, colour in COLOURS.items():
            if name in numbers[which][reading]:
                by_count = numbers[which][reading][name]["by_count"]
                curves.plot(numbers["counts"], by_count, style, ms=4, lw=1.2, mfc=fill, color=colour,
                            label=f"{name}, {which}")
        for j, result in enumerate(numbers[which].values()):
            if "ratio" in result:
                value, error = result["ratio"]["value"], 1.96 * result["ratio"]["error"]
                ratios.errorbar(value, j + 0.24 * i - 0.12, xerr=error, fmt=style, ms=6, mfc=fill,
                                color=DARK, capsize=3)
    curves.set(xlabel="trajectories (puzzles)", ylabel="participation ratio (dimensions)", ylim=(0, None),
               title=f"rows: {reading}")
    curves.legend(ncols=2)
    ratios.axvline(1, color=GREY, lw=0.8)
    ratios.set(yticks=range(len(READINGS)), yticklabels=list(READINGS), ylim=(len(READINGS) - 0.5, -0.5),
               xlabel="PR of z_H / PR of z_L (● trained, □ untrained)", title="all readings of the rows")
    return figure

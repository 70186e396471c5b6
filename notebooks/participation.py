"""What notebook 05 measures beside its exercises."""

import numpy as np
import torch

from analysis.dimensions import condense, ratio_of_choice
from analysis.states import COLOURS, rows


def ready(trajectory, reading):
    """What the PRs of any choice of puzzles need: {"z_H": …, "z_L": …}."""
    found = {}
    for name in COLOURS:
        condensed = condense(rows(getattr(trajectory, name), reading))
        if condensed.ndim == 2:  # long rows: as short as there are puzzles, with the same products
            condensed = torch.linalg.qr(condensed.T, mode="r").R.T
        found[name] = condensed
    return found


def ratio(condensed, chosen):
    """z_H : z_L of the puzzles with these indices, some perhaps several times."""
    return ratio_of_choice(condensed["z_H"], chosen) / ratio_of_choice(condensed["z_L"], chosen)


def bootstrap_summary(statistic, B, samples=300):
    """The mean of a statistic over bootstrap samples of B puzzles, and its 95 % percentile interval."""
    times = np.random.default_rng(1).multinomial(B, np.full(B, 1 / B), size=samples)
    values = [statistic(np.arange(B).repeat(each)) for each in times]
    return np.mean(values), *np.quantile(values, (0.025, 0.975))


def some(puzzles, n, choices=20):
    """Choices of n of these puzzles, without repetition; one where n is all of them."""
    rng = np.random.default_rng(0)
    if n == len(puzzles):
        return [puzzles]
    return [rng.permutation(puzzles)[:n] for _ in range(choices)]


def shares(z, labels):
    """The share of the variance of cells' states z (updates, B, S, D) that lies between the means of groups:
    positions, updates, puzzles, and the digits that belong into the cells, labels (B, S)."""
    z = z - z.mean((0, 1, 2))
    total = z.square().sum(-1).mean()
    found = {}
    for group, others in {"position": (0, 1), "update": (1, 2), "puzzle": (0, 2)}.items():
        found[group] = z.mean(others).square().sum(-1).mean() / total
    means = 0
    for symbol in labels.unique():
        of_symbol = labels == symbol
        means += of_symbol.float().mean() * z[:, of_symbol].mean((0, 1)).square().sum()
    return found | {"right digit": means / total}

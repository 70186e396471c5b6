"""Does ACT think longer about harder puzzles, what does it save, what would more bring? (paper, fig. 5)"""

import numpy as np
from tqdm import tqdm

from puzzles.boards import DARK, GREY, LILAC, figure
from train import evaluate
from training.log import interval

LOOKS = {
    "fixed": {"label": "always M", "color": GREY, "lw": 4},  # broad: it often lies under ACT
    "act": {"label": "ACT, at most M", "color": LILAC},
}


def difficulty_groups(rating, at_most=8):
    """Ratings (n,) -> list of (name, (n,) bool): a group for each value, or groups of about equal size if
    there are many values; the last one holds ten puzzles or more."""
    known = rating[~np.isnan(rating)]
    lowest = np.unique(known)  # of each group
    if len(lowest) > at_most:
        shares = np.linspace(0, 1, at_most, endpoint=False)
        lowest = np.unique(np.quantile(known, shares, method="nearest"))
    while len(lowest) > 1 and (known >= lowest[-1]).sum() < 10:
        lowest = lowest[:-1]
    groups = []
    for low, above in zip(lowest, [*lowest[1:], np.inf]):
        inside = (rating >= low) & (rating < above)
        high = rating[inside].max()
        name = f"{low:g}" if low == high else f"{low:g}–{high:g}"
        groups.append((name, inside))
    return groups


def halting(model, task, split, max_segments=None, confidence=0.5):
    """{"puzzles", "M_max", "difficulty": [group, …], "M", "act", "fixed"}. A group has "rating" (its name),
    "puzzles", "segments" (mean used) and "exact" (share answered right) when ACT may take M_max; "act" and
    "fixed" have the last two for at most and always M = 1, 2, 4, … segments, up to `max_segments` (default:
    4·M_max). [≠] The paper trained one model for each M; here one trained model is stopped after M."""
    M_max = model.config.M_max
    longest = max_segments or 4 * M_max
    numbers = {
        "puzzles": len(split),
        "M_max": M_max,
        "difficulty": [],
        "M": [2**k for k in range(longest.bit_length())],
        "act": {"segments": [], "exact": []},
        "fixed": {"segments": [], "exact": []},
    }
    for name, inside in difficulty_groups(split.rating):
        part = split[inside]
        result = evaluate([model], task, part, max_segments=M_max, confidence=confidence)
        numbers["difficulty"].append({
            "rating": name,
            "puzzles": result["n"],
            "segments": result["segments"],
            "exact": result["valid"],
        })
    for M in tqdm(numbers["M"], "thinking", leave=False):
        for which, halt_at in (("act", confidence), ("fixed", 1)):
            result = evaluate([model], task, split, max_segments=M, confidence=halt_at)
            numbers[which]["segments"].append(result["segments"])
            numbers[which]["exact"].append(result["valid"])
    return numbers


def plot_share(ax, x, exact, n, **look):
    """The shares of n puzzles that were solved against x, with their 95 % intervals."""
    low, high = interval(np.array(exact), n)
    ax.semilogx(x, exact, "o-", base=2, **look)
    ax.fill_between(x, low, high, color=look["color"], alpha=0.2)
    ax.xaxis.set_major_formatter("{x:g}")


def plot_halting(numbers, unit="difficulty"):
    """What `halting` returned -> figure: fig. 5 a, and b and c on one axis. `unit` is that of the ratings."""
    sheet, axes = figure(1, 3, 13, 3.8)
    hard, saved, solved = axes[0]
    for group in numbers["difficulty"]:
        name = f"{group['rating']}\nn={group['puzzles']}"
        hard.bar(name, group["segments"], color=LILAC)
    hard.tick_params(axis="x", labelsize=8)
    hard.set_xlabel(unit)
    hard.set_ylabel("mean segments used by ACT")
    M = numbers["M"]
    for which, look in LOOKS.items():
        saved.loglog(M, numbers[which]["segments"], "o-", base=2, **look)
        plot_share(solved, M, numbers[which]["exact"], numbers["puzzles"], **look)
    for ax in (saved, solved):
        ax.axvline(numbers["M_max"], color=DARK, ls="--", label="M_max in training")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_xlabel("M (segments)")
    saved.yaxis.set_major_formatter("{x:g}")
    saved.set_ylabel("mean segments used")
    saved.legend()
    solved.set_ylabel("puzzles solved")
    return sheet

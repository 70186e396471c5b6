"""Does ACT think longer about harder puzzles, what does it save, what would more bring? (paper, fig. 5)"""

import numpy as np

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
    known = np.sort(rating[~np.isnan(rating)])
    lowest = np.unique(known)  # of each group
    if len(lowest) > at_most:
        lowest = np.unique(known[:: len(known) // at_most])
    lowest = [low for low in lowest if (known >= low).sum() >= 10]
    groups = []
    for low, above in zip(lowest, [*lowest[1:], np.inf]):
        inside = (rating >= low) & (rating < above)
        high = rating[inside].max()
        name = f"{low:g}"
        if high > low:
            name += f"–{high:g}"
        groups.append((name, inside))
    return groups


def halting(model, task, split, max_segments=None, confidence=0.5):
    """{"M_max", "difficulty", "act", "fixed"}: lists of what `evaluate` (train.py) finds. "act" and "fixed":
    for at most and always "M" = 1, 2, 4, … segments, up to `max_segments` (default: 4·M_max). "difficulty":
    for each group of puzzles, with the "rating" that names it, when ACT may take M_max. [≠] The paper trained
    one model for each M; here one trained model is stopped after M. A puzzle's rating is that of its task (a
    solver's guesses, the length of the path), whatever a file says."""
    M_max = model.config.M_max
    most = max_segments or 4 * M_max
    numbers = {"M_max": M_max, "difficulty": [], "act": [], "fixed": []}
    for name, inside in difficulty_groups(task.rating(split.inputs, split.labels)):
        result = evaluate([model], task, split[inside], confidence=confidence)
        numbers["difficulty"].append({"rating": name, **result})
    for which, stop_at in (("act", confidence), ("fixed", 1)):
        for M in 2 ** np.arange(most.bit_length()):
            result = evaluate(
                [model],
                task,
                split,
                max_segments=M,
                confidence=stop_at,
                progress=True,
            )
            numbers[which].append({"M": M, **result})
    return numbers


def plot_share(ax, results, key, **look):
    """The share of puzzles solved in each of some results of `evaluate`, with its 95 % interval, against
    result[key]."""
    x = [result[key] for result in results]
    solved = np.array([result["valid"] for result in results])
    low, high = interval(solved, results[0]["n"])
    ax.semilogx(x, solved, "o-", base=2, **look)
    ax.fill_between(x, low, high, color=look["color"], alpha=0.2)
    ax.xaxis.set_major_formatter("{x:g}")


def plot_halting(numbers, unit="difficulty"):
    """What `halting` returned -> figure: fig. 5 a, and b and c on one axis. `unit` is that of the ratings."""
    sheet, axes = figure(1, 3, 13, 3.8)
    hard, saved, solved = axes[0]
    for group in numbers["difficulty"]:
        hard.bar(f"{group['rating']}\n({group['n']})", group["segments"], color=LILAC)
    for which, look in LOOKS.items():
        M = [result["M"] for result in numbers[which]]
        segments = [result["segments"] for result in numbers[which]]
        saved.plot(M, segments, "o-", **look)
        plot_share(solved, numbers[which], "M", **look)
    for ax in (saved, solved):
        ax.axvline(numbers["M_max"], color=DARK, ls="--", label="M_max in training")
        ax.set_xlabel("M (segments)")
    hard.set_xlabel(f"{unit}; in brackets: puzzles")
    hard.tick_params(axis="x", labelsize=7)  # names such as 112–113 stand side by side
    hard.set_ylabel("mean segments used by ACT")
    saved.set_ylabel("mean segments used")
    saved.legend()
    solved.set_ylabel("puzzles solved")
    return sheet

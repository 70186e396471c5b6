"""Does ACT think longer about harder puzzles, what does it save, what would more bring? (paper, fig. 5)

One pass through the model serves all of it: `think_on` keeps the Q-values of every segment and whether its
answer is right, and `act` says what `solve` would have done with them for any largest number of segments.
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import torch
from tqdm import tqdm

from data import to_tensors
from hrm import Thinking
from puzzles.task import DARK, GREY, VERMILLION, Task
from training.log import interval

LOOKS = {"fixed": {"label": "always M", "color": GREY, "lw": 4},  # broad: it often lies under ACT
         "act": {"label": "ACT, at most M", "color": VERMILLION, "lw": 1.2}}
BATCH = 125  # puzzles at a time: on a CPU a quarter faster than 500, as the states fit its cache


@dataclass
class Answers:
    """Of n puzzles, on the CPU."""
    right: torch.Tensor  # (segments, n) bool: this segment's answer is right
    q_halt: torch.Tensor  # (segments, n)
    q_continue: torch.Tensor


def think_on(model, split, segments, task=Task()):
    """Every puzzle of a split thinks for `segments` segments, halting or not -> Answers."""
    parts, device = [], next(model.parameters()).device
    for start in tqdm(range(0, len(split), BATCH), "thinking", leave=False):
        part = split[start : start + BATCH]
        inputs, _, puzzle_ids = to_tensors(part, device)
        thinking, rows = Thinking(model, inputs, puzzle_ids), []
        for _ in range(segments):
            logits, q_halt, q_continue = thinking.segment()
            answer = logits.argmax(-1).cpu().numpy().astype(np.uint8)
            right = torch.from_numpy(task.is_right(part.inputs, part.labels, answer))
            rows.append((right, q_halt.float().cpu(), q_continue.float().cpu()))
        parts.append([torch.stack(values) for values in zip(*rows)])
    return Answers(*(torch.cat(values, dim=1) for values in zip(*parts)))


def act(model, answers, max_segments, confidence=0.5):
    """With halting and at most `max_segments`: segments used (n,), and is the answer given right (n,) bool.
    As `solve` does: stop when the Q-head says so, and give the answer with the highest q_halt so far."""
    q_halt, q_continue = answers.q_halt[:max_segments], answers.q_continue[:max_segments]
    stops = model.wants_to_halt(q_halt, q_continue, confidence)
    stops[-1] = True
    used = stops.int().argmax(0) + 1  # the first one
    thought = torch.arange(1, len(stops) + 1)[:, None] <= used
    given = q_halt.where(thought, -torch.inf).argmax(0)
    return used, answers.right.gather(0, given[None])[0]


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
        groups.append((f"{low:g}" if low == high else f"{low:g}–{high:g}", inside))
    return groups


def halting(model, split, max_segments=None, confidence=0.5, task=Task()):
    """{"puzzles", "M_max", "difficulty": [group, …], "M", "act", "fixed"}. A group has "rating" (its name),
    "puzzles", "segments" (mean used) and "exact" (share answered right) when ACT may take M_max; "act" and
    "fixed" have the last two for at most and always M = 1 … `max_segments` (default: 4·M_max) segments. [≠]
    The paper trained one model for each M; here one trained model is stopped after M."""
    def summary(used, right):
        return {"segments": used.float().mean().item(), "exact": right.float().mean().item()}

    trained, longest = model.config.M_max, max_segments or 4 * model.config.M_max
    answers = think_on(model, split, longest, task)
    numbers = {"puzzles": len(split), "M_max": trained, "difficulty": [], "M": list(range(1, longest + 1))}
    used, right = act(model, answers, trained, confidence)
    for name, inside in difficulty_groups(split.rating):
        numbers["difficulty"].append({"rating": name, "puzzles": int(inside.sum()),
                                      **summary(used[inside], right[inside])})
    with_act = [summary(*act(model, answers, M, confidence)) for M in numbers["M"]]
    numbers["act"] = {key: [each[key] for each in with_act] for key in ("segments", "exact")}
    numbers["fixed"] = {"segments": numbers["M"], "exact": answers.right.float().mean(1)}
    return numbers


def plot_halting(numbers, unit="difficulty"):
    """What `halting` returned -> figure: fig. 5 a, and b and c on one axis. `unit` is that of the ratings."""
    figure, (hard, saved, solved) = plt.subplots(1, 3, figsize=(13, 3.8), layout="tight")
    groups = numbers["difficulty"]
    names = [f"{group['rating']}\nn={group['puzzles']}" for group in groups]
    hard.set_visible(bool(groups))  # or nothing is known of the difficulty
    hard.bar(names, [group["segments"] for group in groups], color=VERMILLION)
    hard.tick_params(axis="x", labelsize=8)
    hard.set(xlabel=unit, ylabel="mean segments used by ACT")
    for ax, key in ((saved, "segments"), (solved, "exact")):
        for which, look in LOOKS.items():
            ax.plot(numbers["M"], numbers[which][key], "o-", ms=3.5, **look)
            if key == "exact":
                low, high = interval(np.asarray(numbers[which][key]), numbers["puzzles"])
                ax.fill_between(numbers["M"], low, high, color=look["color"], alpha=0.2, lw=0)
        ax.axvline(numbers["M_max"], color=DARK, lw=0.8, ls="--", label="M_max in training")
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_xlabel("M (segments)")
        ax.legend()
    saved.set_yscale("log", base=2)
    saved.yaxis.set_major_formatter("{x:g}")
    saved.set_ylabel("mean segments used")
    solved.set_ylabel("puzzles solved")
    return figure

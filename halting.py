"""What each segment answers: when to stop (paper, fig. 5), what longer thinking is worth, and whether an answer stays.

One pass through the model serves all of it: `think_on` keeps the answer and the Q-values of every segment, and
`act` says what `solve` would have done with them for any largest number of segments. analyze.py makes the commands.
"""

from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from data import BLUE, DARK, GREY, VERMILLION, Split
from evaluate import interval, to_tensors
from hrm import IGNORE
from trajectory import intermediate_predictions, record

LINE = {"marker": "o", "ms": 3.5, "lw": 1.2}
FIXED = {"color": GREY, "marker": "o", "ms": 5.5, "lw": 3, "alpha": 0.7}  # broad: it often lies under that of ACT
ACT = {"color": VERMILLION, **LINE}


@dataclass
class Answers:
    """Of n puzzles, on the CPU."""

    exact: torch.Tensor  # (segments, n) bool: every labelled cell of this segment's answer is right
    q_halt: torch.Tensor  # (segments, n)
    q_continue: torch.Tensor


@torch.no_grad()
def think_on(model, split, segments):
    """Every puzzle of a split thinks for `segments` segments, halting or not -> Answers."""
    device, parts = next(model.parameters()).device, []
    with tqdm(total=len(split) * segments, desc="thinking", leave=False) as bar:
        for start in range(0, len(split), 500):
            inputs, labels, puzzle_ids = to_tensors(split[start : start + 500], device)
            vectors, z, labelled = model.puzzle_vectors(puzzle_ids), model.initial_state(len(inputs)), labels != IGNORE
            for _ in range(segments):
                z, logits, q_halt, q_continue = model(z, inputs, vectors)
                exact = ((logits.argmax(-1) == labels) | ~labelled).all(-1)
                parts.append([value.float().cpu() for value in (exact, q_halt, q_continue)])
                bar.update(len(inputs))
    # parts: all segments of the first 500 puzzles, then all of the next
    exact, q_halt, q_continue = (
        torch.cat([torch.stack(values[i : i + segments]) for i in range(0, len(values), segments)], dim=1)
        for values in zip(*parts))
    return Answers(exact.bool(), q_halt, q_continue)


def act(model, answers, max_segments, confidence=0.5):
    """With halting and at most `max_segments`: segments used (n,), and is the answer given exact (n,) bool. As `solve`
    does: stop when the Q-head says so, and give the answer with the highest q_halt so far."""
    q_halt, q_continue = answers.q_halt[:max_segments], answers.q_continue[:max_segments]
    stops = model.wants_to_halt(q_halt, q_continue, confidence)
    stops[-1] = True
    used = stops.int().argmax(0) + 1  # the first one
    thought = torch.arange(1, len(stops) + 1)[:, None] <= used
    given = q_halt.where(thought, -torch.inf).argmax(0)
    return used, answers.exact.gather(0, given[None])[0]


# ---------------------------------------------------------------------------------- halting (fig. 5 a and b)


def difficulty_groups(rating, at_most=8):
    """Ratings (n,) -> list of (name, (n,) bool): a group for each value, or groups of about equal size if there are many
    values; the last one holds ten puzzles or more."""
    known = rating[~np.isnan(rating)]
    lowest = list(np.unique(known))  # of each group
    if len(lowest) > at_most:
        lowest = list(np.unique(np.quantile(known, np.linspace(0, 1, at_most, endpoint=False), method="nearest")))
    while len(lowest) > 1 and (known >= lowest[-1]).sum() < 10:
        lowest.pop()
    groups = []
    for low, above in zip(lowest, [*lowest[1:], np.inf]):
        rows = (rating >= low) & (rating < above)
        high = rating[rows].max()
        groups.append((f"{low:g}" if low == high else f"{low:g}–{high:g}", rows))
    return groups


def halting(model, split, max_segments=None, confidence=0.5):
    """Does ACT think longer about harder puzzles, and what does it save? (paper, fig. 5 a, b)

    Returns {"puzzles", "M_max", "difficulty": [group, …], "M": […], "act": …, "fixed": …}: a group has "rating" (its
    name), "puzzles", "share" (M_max,) of them by segments used, "segments" (mean) and "exact"; "act" and "fixed"
    have, for at most (exactly) M segments, "segments" (mean) and "exact" (share of all puzzles). [≠] The paper trained
    one model for each M; here one trained model is stopped after M.
    """
    M_max = max_segments or model.config.M_max
    answers = think_on(model, split, M_max)
    used, exact = act(model, answers, M_max, confidence)
    groups = [{"rating": name, "puzzles": int(rows.sum()), "exact": exact[rows].float().mean().item(),
               "segments": used[rows].float().mean().item(),
               "share": torch.bincount(used[rows], minlength=M_max + 1)[1:] / rows.sum()}
              for name, rows in difficulty_groups(split.rating)]
    numbers = {"puzzles": len(split), "M_max": M_max, "difficulty": groups, "M": list(range(1, M_max + 1))}
    with_act = [act(model, answers, M, confidence) for M in numbers["M"]]
    numbers["act"] = {"segments": [used.float().mean().item() for used, _ in with_act],
                      "exact": [exact.float().mean().item() for _, exact in with_act]}
    numbers["fixed"] = {"segments": numbers["M"], "exact": answers.exact.float().mean(1)}
    return numbers


def plot_halting(numbers, unit="difficulty"):
    """What `halting` returned -> figure. `unit` says what the ratings are."""
    import matplotlib.pyplot as plt

    figure, (hard, used, right) = plt.subplots(1, 3, figsize=(13, 3.8), width_ratios=(1.3, 1, 1))
    groups = numbers["difficulty"]
    if groups:
        share = np.array([np.asarray(group["share"]) for group in groups]).T
        image = hard.imshow(share, cmap="cividis", origin="lower", aspect="auto", vmin=0, vmax=1,
                            extent=(-0.5, len(groups) - 0.5, 0.5, numbers["M_max"] + 0.5))
        figure.colorbar(image, ax=hard, label="share of the group")
        hard.plot(range(len(groups)), [group["segments"] for group in groups], "o-", color="white", mec=DARK, label="mean")
        hard.legend(loc="upper left")
        hard.set_xticks(range(len(groups)), [f"{group['rating']}\nn={group['puzzles']}" for group in groups], fontsize=8)
        hard.set(xlabel=unit, ylabel="segments used by ACT", yticks=numbers["M"])
    else:
        hard.axis("off")
    for ax, key, label in ((used, "segments", "mean segments used"), (right, "exact", "puzzles solved exactly")):
        for which, style, name in (("fixed", FIXED, "always M"), ("act", ACT, "ACT, at most M")):
            ax.plot(numbers["M"], numbers[which][key], label=name, **style)
        ax.set(xlabel="M (segments)", ylabel=label)
        ax.grid(alpha=0.3)
        ax.legend(frameon=False)
    low_high = interval(np.asarray(numbers["act"]["exact"]), numbers["puzzles"])
    right.fill_between(numbers["M"], *low_high, color=VERMILLION, alpha=0.2, lw=0)
    figure.tight_layout()
    return figure


# ------------------------------------------------------------------------------------ longer thinking (fig. 5 c)


def inference_scaling(model, split, max_segments=None, confidence=0.5):
    """Accuracy when inference may take more segments than training did (paper, fig. 5 c): up to 4·M_max if not given.

    Returns {"puzzles", "M_max", "max_segments": […], "act": …, "fixed": …} as in `halting`.
    """
    longest = max_segments or 4 * model.config.M_max
    answers, numbers = think_on(model, split, longest), {"puzzles": len(split), "M_max": model.config.M_max}
    numbers["max_segments"] = list(range(1, longest + 1))
    with_act = [act(model, answers, M, confidence) for M in numbers["max_segments"]]
    numbers["act"] = {"segments": [used.float().mean().item() for used, _ in with_act],
                      "exact": [exact.float().mean().item() for _, exact in with_act]}
    numbers["fixed"] = {"segments": numbers["max_segments"], "exact": answers.exact.float().mean(1)}
    return numbers


def plot_inference_scaling(numbers):
    """What `inference_scaling` returned -> figure."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(6, 3.8))
    for which, style, name in (("fixed", FIXED, "always all segments"), ("act", ACT, "ACT: stops when confident")):
        exact = np.asarray(numbers[which]["exact"])
        ax.plot(numbers["max_segments"], exact, label=name, **style)
        ax.fill_between(numbers["max_segments"], *interval(exact, numbers["puzzles"]), color=style["color"], alpha=0.2, lw=0)
    ax.axvline(numbers["M_max"], color=DARK, lw=0.8, ls="--", label=f"M_max in training ({numbers['M_max']})")
    ax.set(xlabel="largest number of segments at inference", ylabel="puzzles solved exactly", xscale="log")
    ticks = [2**i for i in range(20) if 2**i <= numbers["max_segments"][-1]]
    ax.set_xticks(ticks, ticks)
    ax.minorticks_off()
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    figure.tight_layout()
    return figure


# ---------------------------------------------------------------------------------------------- fixed points


def leave_open(split, k, rng):
    """The same puzzles with the answer filled in, but for k random cells of those that were open (all, if fewer)."""
    was_open = (split.inputs != split.labels) & (split.labels > 0)
    rank = np.where(was_open, rng.random(split.inputs.shape), 2).argsort(1).argsort(1)
    inputs = np.where(was_open & (rank >= k), split.labels, split.inputs)
    return Split(inputs, split.labels, split.puzzle_ids, split.rating)


@torch.no_grad()
def fixed_point(model, split, segments=None, confidence=0.5, watched=100, seed=0):
    """Is the solved state a fixed point? (asked of the published model by Ren & Liu, arXiv 2601.10679) Returns a dict:

    "after": segments after ACT stopped, counted from 0; of the puzzles that it had solved then, "still_right" is the
    share that would still answer right, and "moved" ‖z_H − z_H of the segment before‖ / ‖z_H‖, for the first
    `watched` puzzles. All think for `segments` segments (default: 4·M_max).
    "open": cells left open in boards made from the solutions (`leave_open`), "act" and "fixed" the shares of them that
    are answered right with halting, and with always M_max segments. Few open cells make an easy puzzle, but one
    that training has never seen; as most tasks' questions hold no cell of an answer (a maze no path cell), so is any.
    "before": updates of L up to the first at which the whole answer of a watched puzzle was right (0), "right" the share
    of its open cells right there: [mean, 10 %, 90 %]; "jumps": the largest gain in one update of each such puzzle.
    """
    M_max, rng = model.config.M_max, np.random.default_rng(seed)
    segments = segments or 4 * M_max
    answers = think_on(model, split, segments)
    used, solved = act(model, answers, M_max, confidence)
    solved &= answers.exact.gather(0, used[None] - 1)[0]  # the last segment's answer, not an earlier one
    after = np.arange(max(1, segments - M_max + 1))
    at = (used[solved] - 1)[None] + torch.from_numpy(after)[:, None]  # (after, solved puzzles)
    still_right = answers.exact[:, solved].gather(0, at).float().mean(1)

    part = split[:watched]
    inputs, _, puzzle_ids = to_tensors(part, next(model.parameters()).device)
    z_H = record(model, inputs, puzzle_ids, segments).z_H[model.config.H_cycles - 1 :: model.config.H_cycles].float()
    moved = (torch.diff(z_H, dim=0).norm(dim=-1) / z_H[1:].norm(dim=-1)).mean(-1).cpu()  # (segments - 1, watched)
    some = solved[:watched]
    at = (used[:watched][some] - 1)[None] + torch.from_numpy(after[1:])[:, None]
    numbers = {"puzzles": len(split), "solved": int(solved.sum()), "M_max": M_max, "after": after,
               "still_right": still_right, "moved": moved[:, some].gather(0, at - 1).mean(1)}

    most = int(((split.inputs != split.labels) & (split.labels > 0)).sum(1).max())
    numbers["open"] = [k for k in (0, 1, 2, 3, 5, 8, 12, 16, 20, 30, 40, 50, 60, 80, 100, 150) if k < most] + [most]
    numbers["act"], numbers["fixed"] = [], []
    for k in tqdm(numbers["open"], "open cells", leave=False):
        easier = think_on(model, leave_open(split, k, rng), M_max)
        numbers["act"].append(act(model, easier, M_max, confidence)[1].float().mean().item())
        numbers["fixed"].append(easier.exact[-1].float().mean().item())

    boards = intermediate_predictions(model, inputs, puzzle_ids, M_max).cpu().numpy()  # (updates, watched, S)
    was_open = (part.inputs != part.labels) & (part.labels > 0)
    share = ((boards == part.labels) & was_open).sum(2) / was_open.sum(1)
    share = np.concatenate([np.zeros((1, len(part))), share])  # before the first update every cell is open
    exact = ((boards == part.labels) | (part.labels == 0)).all(2)
    numbers |= {"before": np.arange(-8, 1), "right": [], "jumps": []}
    ends = {puzzle: exact[:, puzzle].argmax() + 1 for puzzle in np.flatnonzero(exact.any(0))}
    numbers["jumps"] = [np.diff(share[: end + 1, puzzle]).max() for puzzle, end in ends.items()]
    for back in numbers["before"]:
        values = [share[end + back, puzzle] for puzzle, end in ends.items() if end + back >= 0]
        numbers["right"].append([np.mean(values), *np.quantile(values, (0.1, 0.9))] if values else [np.nan] * 3)
    return numbers


def plot_fixed_point(numbers):
    """What `fixed_point` returned -> figure with four panels."""
    import matplotlib.pyplot as plt

    figure, ((stay, few), (sudden, jump)) = plt.subplots(2, 2, figsize=(10.5, 7))
    stay.plot(numbers["after"], numbers["still_right"], color=BLUE, label="share that would still answer right", **LINE)
    stay.plot(numbers["after"][1:], numbers["moved"], color=VERMILLION, ls="--", label="change of z_H, relative to its size",
              **LINE)
    stay.set(xlabel="segments after ACT stopped", ylabel="share of the puzzles; relative change", ylim=(0, 1.02), title=f"{numbers['solved']} solved puzzles thought on")
    few.plot(numbers["open"], numbers["fixed"], label=f"always {numbers['M_max']} segments", **FIXED)
    few.plot(numbers["open"], numbers["act"], label=f"ACT, at most {numbers['M_max']} segments", **ACT)
    few.set(xlabel="cells left open (right: the puzzle itself)", ylabel="puzzles solved exactly", ylim=(0, 1.02),
            title="the answer filled in, but for a few cells")
    few.xaxis.get_major_locator().set_params(integer=True)
    mean, low, high = np.transpose(numbers["right"])
    sudden.plot(numbers["before"], mean, color=BLUE, label="mean", **LINE)
    sudden.fill_between(numbers["before"], low, high, color=BLUE, alpha=0.2, lw=0, label="10 to 90 % of the puzzles")
    sudden.set(xlabel="updates of L before the answer is right", ylabel="share of the open cells right", ylim=(0, 1.02),
               title=f"does the answer come suddenly? ({len(numbers['jumps'])} puzzles)")
    jump.hist(numbers["jumps"], bins=np.linspace(0, 1, 21), color=BLUE, ec="white")
    jump.set(title="1: the whole answer at once", xlabel="largest gain in one update (share of the open cells)", ylabel="puzzles")
    for ax in (stay, few, sudden):
        ax.grid(alpha=0.3)
        ax.legend(frameon=False)
    figure.tight_layout()
    return figure

"""Figures of notebooks 03 and 04 that take more lines to draw than to compute."""

import matplotlib.pyplot as plt
import numpy as np

from analysis.states import COLOURS, residuals
from puzzles.boards import BLUE, DARK, GREY, LIGHT_BLUE, LILAC, PALE, VERMILLION

LOOKS = {True: {"color": DARK, "label": "right"}, False: {"color": LILAC, "label": "wrong"}}  # an answer


# ------------------------------------------------------------------------------------------------ notebook 03
def draw_thinking(task, split, right, sure, answers):
    """A line of boards for each puzzle: the answer after each segment and σ(q_halt), both (segments, n)."""
    height = 0.2 + 1.35 * len(split)
    figure, axes = plt.subplots(len(split), len(right), figsize=(9.5, height), squeeze=False)
    for (n, m), ax in np.ndenumerate(axes):
        task.draw(ax, split.inputs[n], answers[m, n], split.labels[n])
        for letter in ax.texts:
            letter.set_fontsize(63 / task.grid[1])
        segment = "segment " * (n + m == 0)
        colour = DARK if right[m, n] else VERMILLION
        ax.set_title(f"{segment}{m + 1}: {sure[m, n]:.2f}", color=colour, fontsize=9)
    return figure


def draw_segments():
    """Three segments: what goes forward, and what comes back."""
    _, ax = plt.subplots(figsize=(9, 2.3))
    frame = {"boxstyle": "round,pad=0.6", "fc": PALE, "ec": GREY}
    forward, back = ({"arrowstyle": "->", "color": colour, "lw": 1.8} for colour in (BLUE, VERMILLION))
    for m in (1, 2, 3):
        x = 4.2 * m
        place = {"ha": "center", "va": "center"}
        ax.text(x, 0, f"segment {m}\nN·T updates of L\nN updates of H", color=DARK, bbox=frame, **place)
        ax.annotate("", (x - 0.25, 1.45), (x - 0.25, 0.75), arrowprops=forward)
        ax.annotate("", (x + 0.25, 0.75), (x + 0.25, 1.45), arrowprops=back)
        ax.text(x, 1.7, f"loss {m} → optimiser step {m}", color=DARK, fontsize=9, **place)
        ax.annotate("", (x + 2.85, 0.15), (x + 1.3, 0.15), arrowprops=forward)
        ax.text(x + 2.05, 0.45, f"$z^{m}$", color=BLUE, fontsize=12, **place)
        ax.text(x + 2.05, -0.45, "no gradient\ncomes back", color=VERMILLION, fontsize=8, **place)
    ax.set(xlim=(2.6, 15.6), ylim=(-0.9, 2))
    ax.axis("off")


def draw_targets(halt, go_on, target):
    """Q-values of segments 1 to 6, and the targets of the first five."""
    _, ax = plt.subplots(figsize=(9, 3.2))
    m = np.arange(1, 7)
    ax.axvspan(5.5, 6.5, color=PALE, lw=0)
    ax.text(6, 0.04, "only for\nthe target", ha="center", fontsize=9)
    ax.plot(m, halt, "o", ms=7, color=BLUE, label="σ(q_halt)")
    ax.plot(m, go_on, "s", ms=6, color=VERMILLION, label="σ(q_continue)")
    ax.plot(m[:5], target, "o", ms=12, mfc="none", mec=DARK, label="target of σ(q_continue)")
    arrow = {"arrowstyle": "->", "color": GREY}
    for i, height in enumerate(target, start=1):
        ax.annotate("", (i + 0.12, height), (i + 0.92, height), arrowprops=arrow)
    ax.set(xlabel="segment m (M_max = 5)", ylabel="value (probability)", ylim=(0, 1.05), xlim=(0.5, 6.5))
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)


def draw_slots(holds, held, path):
    """All (steps, B): the number of a slot's puzzle, does M_min hold it there, the length of its path."""
    steps, B = holds.shape
    figure, ax = plt.subplots(figsize=(9, 3.2))
    for slot in range(B):
        for turn, puzzle in enumerate(np.unique(holds[:, slot])):
            when = np.flatnonzero(holds[:, slot] == puzzle)
            colour = LIGHT_BLUE if turn % 2 else PALE
            ax.barh(slot, len(when) - 0.06, left=when[0], color=colour)
            ax.text(when[0] + 0.1, slot, path[when[0], slot], va="center", fontsize=8, color=DARK)
    step, slot = np.nonzero(held)
    ax.barh(slot, 0.94, left=step + 1, fill=False, edgecolor=GREY, lw=0, hatch="////")
    title = f"hatched: {held[:-1].sum()} segments that only M_min adds"
    ax.set(title=title, xlabel="step (one segment for every slot)", ylabel="slot", yticks=range(B))
    ax.set(xlim=(0, steps), ylim=(B - 0.5, -0.5))
    ax.grid(visible=False)
    return figure


def draw_forgetting(runs):
    """{name: (of each training step how many puzzles left their slot, and their segments, a sum (steps, 2);
    share right after each segment (segments,); the same with one cell open)}"""
    figure, (learn, think, one) = plt.subplots(1, 3, figsize=(9.5, 3), layout="constrained")
    for (name, (left, right, nearly)), colour, style in zip(runs.items(), (LILAC, DARK, BLUE), "os^"):
        count, segments = left.reshape(20, -1, 2).sum(1).T
        steps = (np.arange(20) + 0.5) * len(left) / 20
        learn.plot(steps, segments / count, style + "-", color=colour, label=name)
        for ax, share in ((think, right), (one, nearly)):
            ax.plot(np.arange(1, len(share) + 1), share, style + "-", color=colour)
            ax.set(xlabel="segments, without halting", ylim=(-0.03, 1.05))
    learn.set(xlabel="optimiser step", title="training: segments a puzzle stays", ylim=(0, 4.3))
    think.set(title="new puzzles: share right")
    one.set(title="one cell open: share right")
    figure.legend(loc="outside upper center", ncols=3)


def draw_work_and_doubt(panels):
    """{title: (label, groups, right from (n,), used (n,), lost a right answer (n,))}: of each group (name,
    rows (n,)) the share that each number of segments has, as a disc (vermillion: of those that lost an
    answer), and the means, as lines."""
    widths = [len(groups) for _, groups, *_ in panels.values()]
    _, axes = plt.subplots(1, len(panels), figsize=(9.5, 3.6), sharey=True, width_ratios=widths)
    for ax, (title, (label, groups, right, used, lost)) in zip(axes, panels.items()):
        x = np.arange(len(groups))
        for side, values, colour, name in (
            (-0.17, used, LILAC, "segments used"),
            (0.17, right, DARK, "right from segment"),
        ):
            for i, (_, rows) in enumerate(groups):
                for which, shade in ((rows, (colour, 0.5)), (rows & lost, VERMILLION)):
                    sizes = 300 * np.bincount(values[which], minlength=10) / rows.sum()
                    ax.scatter(np.full(10, i + side), np.arange(10), sizes, color=shade)
            ax.plot(x + side, [values[rows].mean() for _, rows in groups], ".-", color=colour, label=name)
        ax.set(title=title, xlabel=label, ylim=(0.3, 9.7), yticks=range(1, 10))
        ax.set_xticks(x, [f"{name}\n({rows.sum()})" for name, rows in groups])
    axes[0].set_ylabel("segments (9: not right after 8)")
    axes[0].plot([], "o", color=VERMILLION, label="lost a right answer")
    axes[0].legend(loc="upper left")


def draw_stops(panels, most):
    """{title: (used (n,), right (n,))}: how many puzzles stop after each segment, right or wrong."""
    figure, axes = plt.subplots(1, len(panels), figsize=(9, 2.7), sharey=True)
    for ax, (title, (used, right)) in zip(axes, panels.items()):
        for side, (is_right, look) in zip((-0.2, 0.2), LOOKS.items()):
            counts = np.bincount(used[right == is_right], minlength=most + 1)[1:]
            bars = ax.bar(np.arange(1, most + 1) + side, counts, width=0.4, **look)
            ax.bar_label(bars, [count or "" for count in counts], fontsize=8)
        ax.set(title=f"{title}: {right.mean():.3f} right, {used.mean():.2f} segments", yscale="log")
        ax.set(xlabel="segments used", ylim=(0.5, 300))
    axes[0].set_ylabel("puzzles (log axis)")
    axes[1].legend()
    return figure


# ------------------------------------------------------------------------------------------------ notebook 04
def draw_jumps(jumps, given, updates):
    """How far the state of each cell jumped (updates, side, side), after some of the updates."""
    figure, axes = plt.subplots(1, len(updates), figsize=(9, 1.9), layout="constrained")
    for ax, i in zip(axes, updates):
        picture = ax.imshow(jumps[i - 1], cmap="Greys", vmin=0, vmax=12)
        ax.scatter(*np.nonzero(np.asarray(given))[::-1], s=7, color=LILAC)
        ax.set(title=f"update {i}", xticks=[], yticks=[])
        ax.grid(visible=False)
    figure.colorbar(picture, ax=axes, shrink=0.6, label="distance moved")


def mark_updates_of_H(ax, after):
    """A dotted line after each of these updates of L."""
    ax.vlines(np.array(after) + 0.5, 1e-9, 40, color=COLOURS["z_H"], lw=0.8, ls=":", label="update of H")


def plot_residuals(ax, model, trajectory, untrained=None):
    """Residuals of z_H and z_L after each update of L: median and quartiles over the puzzles; of the
    untrained model z_H alone."""
    T = model.config.L_cycles if len(trajectory.z_L) else 1
    for (name, colour), initial in zip(COLOURS.items(), trajectory.initial):
        z = getattr(trajectory, name)
        if not len(z):
            continue
        low, middle, high = np.quantile(residuals(z, initial), (0.25, 0.5, 0.75), axis=1)
        updates = np.arange(1, len(z) + 1) * (T if name == "z_H" else 1)
        ax.plot(updates, middle, "o-", ms=3, color=colour, label=name if T > 1 else "z")
        ax.fill_between(updates, low, high, color=colour, alpha=0.2, lw=0)
    if untrained:
        middle = residuals(untrained.z_H, untrained.initial[0]).median(1).values
        label = "untrained z_H" if T > 1 else "untrained"
        ax.plot(np.arange(1, len(middle) + 1) * T, middle, "--", color=GREY, label=label)
    ax.set(xlabel="update of L")


def draw_residuals(panels, limits):
    """{title: (an HRM, its trajectory)}: plot_residuals, side by side."""
    _, axes = plt.subplots(1, len(panels), figsize=(9.5, 3), sharey=True, squeeze=False)
    for ax, (title, (model, trajectory)) in zip(axes[0], panels.items()):
        plot_residuals(ax, model, trajectory)
        T = model.config.L_cycles
        mark_updates_of_H(ax, range(T, len(trajectory.z_L), T))
        ax.set(yscale="log", ylim=limits, title=title)
    axes[0, 0].set_ylabel("distance moved")
    axes[0, 0].legend(frameon=True)


def draw_shuffles(panels):
    """{name: (differences of shuffled labels (n,), that of the real ones)}"""
    _, axes = plt.subplots(1, len(panels), figsize=(9, 2.6), sharex=True, sharey=True)
    for ax, (name, (chance, observed)) in zip(axes, panels.items()):
        ax.hist(chance, bins=40, color=GREY, label=f"{len(chance)} shuffles")
        ax.axvline(observed, color=DARK, lw=2, label="the real labels")
        ax.set(title=name, xlabel="difference in mean growth (natural logarithm)")
    axes[0].set(ylabel="shuffles", xlim=(-1, 2.2))
    axes[0].legend(fontsize=8, loc="center left", bbox_to_anchor=(0.55, 0.75))


def plot_schedule(ax, moved, after):
    """How fast L moves (updates,), and after which of them H was updated."""
    updates = np.arange(1, len(moved) + 1)
    ax.semilogy(updates, moved, "o-", ms=3, lw=1, color=COLOURS["z_L"], label="z_L, median")
    mark_updates_of_H(ax, after)
    ax.set(xlabel="update of L", ylim=(3e-5, 40))


def draw_path(ax, xy, share, title):
    """A path (updates, 2) on its first two principal components: dark to bright, its end in a ring."""
    ax.plot(*xy.T, color=GREY, lw=0.7, zorder=1)
    ax.scatter(*xy.T, c=np.arange(len(xy)), cmap="viridis", s=16, zorder=2)
    ax.plot(*xy[-1], "o", color=DARK, ms=15, mfc="none")
    ax.set(title=title, xlabel=f"1st ({share[0]:.0%} of variance)", ylabel=f"2nd ({share[1]:.0%})")


def draw_digits(ax, xy, digits):
    """Each cell (n, 2) drawn as the digit that belongs there."""
    for (x, y), digit in zip(xy, digits):
        ax.text(x, y, str(digit), fontsize=8, ha="center", va="center", color=f"C{digit}")
    ax.scatter(*xy.T, alpha=0)  # for the limits


def draw_settled(moved, right):
    """How far z_H moves from segment to segment (segments, B): a line for each puzzle, and their median."""
    _, axes = plt.subplots(1, 2, figsize=(9.5, 3.2), sharey=True)
    segment = np.arange(1, len(moved) + 1)
    for ax, (is_right, look) in zip(axes, LOOKS.items()):
        lines = moved[:, right[-1] == is_right]
        ax.semilogy(segment, lines, color=look["color"], lw=0.7, alpha=0.7)
        ax.plot(segment, lines.median(1).values, color=look["color"], lw=3)
        ax.axhline(0.1, color=GREY, ls="--")
        ax.text(1, 0.06, "below: it rests")
        ax.set(title=f"{lines.shape[1]} {look['label']} in the end, and their median", xlabel="segment")
    axes[0].set_ylabel("distance z_H moved")


def draw_groups(moved, right, segments):
    """The same after some segments: a dot for each puzzle, right and wrong answers apart; bars: medians."""
    _, axes = plt.subplots(1, len(segments), figsize=(9.5, 2.8), sharey=True)
    for ax, m in zip(axes, segments):
        for place, (is_right, look) in enumerate(LOOKS.items()):
            values = moved[m - 1, right[m - 1] == is_right]
            x = place + np.linspace(-0.25, 0.25, len(values))
            ax.semilogy(x, values, "o", ms=3, color=look["color"])
            ax.hlines(values.median(), place - 0.4, place + 0.4, color=VERMILLION, lw=2)
        ax.set(title=f"after segment {m}")
        ax.set_xticks((0, 1), [look["label"] for look in LOOKS.values()])
    axes[0].set_ylabel("distance z_H moved")


# ---------------------------------- what exercises compute, for the cells after them: one may skip exercises
def spikes(moved, T):
    """04, exercise 2."""
    cycles = moved.unflatten(0, (-1, T))
    return cycles[1:, 0] / cycles[:-1, -1]


def auc(scores, positive):
    """04, exercise 3, for scores without ties: by ranks (Mann and Whitney's U)."""
    ranks = scores.argsort().argsort().double()
    lowest = (positive.sum() - 1) / 2
    return ((ranks[positive].mean() - lowest) / (~positive).sum()).item()


def halt_below(signal, right, threshold):
    """04, exercise 4."""
    used = len(signal) - (signal[:-1] < threshold).int().cummax(0).values.sum(0)
    return used, right[used - 1, np.arange(len(used))]

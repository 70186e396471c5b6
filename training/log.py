"""What a person sees of a run: the progress bar, metrics.csv, the table at the end; Ctrl-C, which saves."""

import signal
import threading
import time
from contextlib import contextmanager

import numpy as np
import torch
from tqdm import tqdm

from hrm import METRICS
from puzzles.files import write_text, writing
from training.speed import on_gpus

VALIDATED = *METRICS, "valid"
COLUMNS = ["step", "seconds", "lr", "M_max", "loss", "token_loss", "q_loss", *METRICS, "puzzles_per_s",
           *(f"val_{name}" for name in VALIDATED)]
SHOWN = {"token_loss": "loss", "exact": "solved", "val_exact": "val"}  # in the progress bar


class Log:
    """Progress bar and metrics.csv of a Run (train.py), whose sums of figures stay on its device until
    `write_row` is called: to read a figure makes the CPU wait for the GPU."""

    def __init__(self, run, out, stop):
        self.run = run
        self.path = out / "metrics.csv"
        self.stop = stop
        self.validation = {}  # of the next row
        self.latest = {}  # the last value of each figure
        self.read_at = time.time()
        self.pause = 0.0  # seconds since then that no training step took
        self.writes = run.processes.is_first
        self.bar = tqdm(
            total=run.options.steps,
            initial=run.step,
            desc=run.options.task,
            dynamic_ncols=True,
            disable=run.options.quiet or not self.writes,
            bar_format="{desc} {percentage:.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
        )
        if self.writes:
            rows = [",".join(COLUMNS), *self.rows_before(run.step)]
            write_text(self.path, "\n".join(rows) + "\n")

    def rows_before(self, step):
        """Of a run that goes on, what metrics.csv says up to its checkpoint (a last row may be cut off)."""
        if not step or not self.path.exists():
            return []
        rows = self.path.read_text().splitlines()[1:]
        whole = [row for row in rows if row.count(",") == len(COLUMNS) - 1]
        return [row for row in whole if int(row.partition(",")[0]) <= step]

    def write_row(self):
        """Read the figures since the last row, show them, and write a new one."""
        run = self.run
        names = list(run.sums)
        values = torch.stack([run.sums[name].float() for name in names])
        run.processes.sum_([values])
        sums = dict(zip(names, values.tolist()))
        now = time.time()
        seconds = max(now - self.read_at - self.pause, 1e-9)
        steps = run.step - run.summed_from
        run.seconds += now - self.read_at
        puzzles = steps * run.options.batch_size
        loss = sums["loss"] / puzzles
        token_loss = sums["token_loss"] / puzzles
        count = sums["count"]
        row = {
            "step": run.step,
            "seconds": round(run.seconds, 1),
            "M_max": run.M_max,
            "lr": run.optimizers[0][0].param_groups[0]["lr"],
            "loss": loss,
            "token_loss": token_loss,
            "q_loss": loss - token_loss,
            "puzzles_per_s": count / seconds,
            **self.validation,
        }
        if count:  # else nothing halted: no mean to speak of
            row |= {name: sums[name] / count for name in METRICS}
        if self.writes and self.validation and run.processes.on_gpu:
            tqdm.write(on_gpus(run, puzzles / seconds))
        self.read_at = now
        self.pause = 0.0
        run.sums = {}
        run.summed_from = run.step
        self.validation = {}
        self.bar.update(run.step - self.bar.n)
        self.show(row)
        if self.writes:
            with writing(self.path), open(self.path, "a") as file:
                file.write(",".join(str(row.get(name, "")) for name in COLUMNS) + "\n")

    def show(self, figures):
        self.latest |= figures
        shown = [f"{label} {self.latest[key]:.3f}" for key, label in SHOWN.items() if key in self.latest]
        self.bar.set_postfix_str(", ".join(shown))

    @contextmanager
    def doing(self, what):
        """Say what takes time in place of training steps, and keep the bar's clock going meanwhile. It may be
        thrown away: a request to stop, also from just before, ends it at once."""
        began = time.time()
        done = threading.Event()

        def tick():
            while not done.wait(1):
                self.bar.refresh()

        ticking = threading.Thread(target=tick, daemon=True)
        self.bar.set_description_str(f"{self.run.options.task}, {what}")
        ticking.start()
        self.stop.at_once = self.run.processes.world == 1
        try:
            if self.stop.at_once and self.stop.is_set():
                raise Interrupted
            yield
        finally:
            self.stop.at_once = False
            done.set()
            ticking.join()
            self.pause += time.time() - began
            self.bar.set_description_str(self.run.options.task)

    def validated(self, result, boards):
        """Show a result of `evaluate` (train.py); `boards`: answers drawn in characters."""
        self.validation = {f"val_{name}": result[name] for name in VALIDATED}
        self.show(self.validation)
        if self.writes:
            summary = (f"step {self.run.step} of {self.run.options.steps}: solves {result['exact']:.3f} of "
                       f"{result['n']} validation puzzles, in {result['segments']:.1f} segments")
            if result["valid"] != result["exact"]:  # a maze may have several shortest paths
                summary += f"; valid are {result['valid']:.3f}"
            tqdm.write(summary if self.run.options.quiet else f"{boards}\n{summary}\n")


class Interrupted(KeyboardInterrupt):
    """Somebody asked to stop while something was done that may be thrown away."""


class Stop(threading.Event):
    """Set when Ctrl-C or SIGTERM asked to stop after the step under way. A second one ends at once."""
    at_once = False  # the first one too: see Log.doing

    def ask(self, number, frame):
        if self.is_set():
            raise KeyboardInterrupt
        self.set()
        if self.at_once:
            raise Interrupted


@contextmanager
def signals():
    """A Stop that listens, where it can: only the main thread of a program hears signals."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interval(p, n):
    """Wilson's 95 % interval of a share p (a number or an array of them) of n puzzles: low, high."""
    z = 1.96
    middle = p + z * z / (2 * n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    whole = 1 + z * z / n
    return np.maximum(0, middle - half) / whole, (middle + half) / whole


def print_table(result):
    """A result of `evaluate` (train.py), with the 95 % interval of the share of puzzles solved."""
    low, high = interval(result["exact"], result["n"])
    for name, value in result.items():
        note = f"  (95 % interval {low:.4f} to {high:.4f})" if name == "exact" else ""
        print(f"  {name:<16} {round(value, 4)}{note}")

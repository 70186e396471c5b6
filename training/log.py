"""What a person sees of a run: the progress bar, metrics.csv, the table at the end; Ctrl-C, which saves."""

import re
import signal
import threading
import time
from contextlib import contextmanager

import numpy as np
import torch
from tqdm import tqdm

from training.files import write_text, writing

COLUMNS = ("step", "seconds", "lr", "M_max", "loss", "token_loss", "q_loss", "cell", "exact", "segments",
           "q_halt_accuracy", "puzzles_per_s", "val_cell", "val_exact", "val_valid", "val_segments")
ROW = re.compile(r"\d+(,(nan|[-+.e\d]*))" f"{{{len(COLUMNS) - 1}}}")  # what else is in the file is dropped
SHOWN = {"token_loss": "loss", "exact": "solved", "val_exact": "val"}  # in the progress bar


class Log:
    """Progress bar and metrics.csv. Figures are summed on the device and read when `read` is called."""
    names = ("count", "lm_loss", "accuracy", "exact_accuracy", "q_halt_accuracy", "segments")

    def __init__(self, out, run, steps, quiet=False):
        self.run, self.path, self.steps = run, out / "metrics.csv", steps
        self.sums, self.first_step, self.row = 0, run.step, {}
        self.clock = time.time()  # of the last `read`
        self.pause, self.pace = 0.0, 0.0  # seconds not spent on steps since then; seconds a step takes
        self.mine, self.quiet = run.processes.rank == 0, quiet
        self.bar = tqdm(total=steps, initial=run.step, desc=run.options.task, dynamic_ncols=True,
                        disable=quiet or not self.mine,
                        bar_format="{desc} {percentage:.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]")
        if self.mine:
            lines = [",".join(COLUMNS)]
            if run.step and self.path.exists():  # resumed: forget what came after the checkpoint
                rows = filter(ROW.fullmatch, self.path.read_text(errors="replace").splitlines())
                lines += [row for row in rows if int(row.split(",")[0]) <= run.step]
            write_text(self.path, "\n".join(lines) + "\n")

    def add(self, loss, metrics):
        values = [loss.detach().float(), *(metrics[name].float() for name in self.names)]
        self.sums = self.sums + torch.stack(values)

    def read(self, stop, scale, M_max):
        """Take in the figures since the last call; True if any process was asked to stop."""
        run, steps = self.run, self.run.step - self.first_step
        asked = torch.full((1,), float(stop.is_set()), device=run.processes.device)
        run.processes.sum_([self.sums, asked])
        loss, count, token_loss, *sums = self.sums.tolist()
        now = time.time()
        seconds, run.seconds = now - self.clock, run.seconds + now - self.clock
        pace = (seconds - self.pause) / steps
        if self.row:  # the first steps of all are slow, and tell nothing
            self.pace = 0.7 * self.pace + 0.3 * pace if self.pace and not self.pause else pace
        puzzles = steps * run.options.batch_size
        self.row = {"step": run.step, "seconds": round(run.seconds, 1), "lr": run.options.lr * scale,
                    "M_max": M_max, "loss": loss / puzzles, "token_loss": token_loss / puzzles,
                    "q_loss": (loss - token_loss) / puzzles, "puzzles_per_s": count / max(seconds, 1e-9)}
        if count:  # else nothing halted: no mean to speak of
            means = [value / count for value in sums]
            self.row.update(zip(("cell", "exact", "q_halt_accuracy", "segments"), means))
        self.clock, self.pause, self.sums, self.first_step = now, 0.0, 0, run.step
        self.bar.update(steps)
        self.show()
        return asked.item() > 0

    def show(self):
        left = round((self.steps - self.run.step) * self.pace)  # seconds, evaluations not counted
        shown = [f"{left // 60}:{left % 60:02} left"] if self.pace else []
        shown += [f"{label} {self.row[key]:.3f}" for key, label in SHOWN.items() if key in self.row]
        self.bar.set_postfix_str(", ".join(shown))

    @contextmanager
    def doing(self, what):
        """Say what takes time in place of training steps, and keep the bar's clock going meanwhile."""
        began, done = time.time(), threading.Event()

        def tick():
            while not done.wait(1):
                self.bar.refresh()

        ticking = threading.Thread(target=tick, daemon=True)
        self.bar.set_description_str(f"{self.run.options.task}, {what}")
        ticking.start()
        try:
            yield
        finally:
            done.set()
            ticking.join()
            self.pause += time.time() - began
            self.bar.set_description_str(self.run.options.task)

    def validated(self, result, boards):
        """Show a result of `evaluate` (train.py); `boards`: answers drawn in characters."""
        self.row.update({f"val_{name}": result[name] for name in ("cell", "exact", "valid", "segments")})
        self.show()
        if self.mine:
            summary = (f"step {self.run.step} of {self.steps}: solves {result['exact']:.3f} of "
                       f"{result['n']} validation puzzles, in {result['segments']:.1f} segments")
            tqdm.write(summary if self.quiet else f"{boards}\n{summary}\n")

    def write_row(self):
        if self.mine:
            with writing(self.path), open(self.path, "a") as file:
                file.write(",".join(str(self.row.get(name, "")) for name in COLUMNS) + "\n")


@contextmanager
def signals():
    """An event that Ctrl-C or SIGTERM sets: the loop saves and ends. A second Ctrl-C ends at once."""
    stop = threading.Event()

    def ask(number, frame):
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interval(p, n):
    """Wilson's 95 % interval of a share p (a number or an array of them) of n puzzles: low, high."""
    z = 1.96
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return np.maximum(0, middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def print_table(result):
    """A result of `evaluate` (train.py), with the 95 % interval of the share of puzzles solved."""
    low, high = interval(result["exact"], result["n"])
    print(f"  puzzles          {result['n']}")
    print(f"  exact            {result['exact']:.4f}  (95 % interval {low:.4f} to {high:.4f})")
    for name in ("valid", "cell", "segments", "q_halt_accuracy"):
        print(f"  {name:<16} {result[name]:.4f}")
    print(f"  puzzles_per_s    {result['puzzles_per_s']:.1f}")

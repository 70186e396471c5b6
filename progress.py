"""What a person sees of a run while it goes on: the progress bar, metrics.csv, and Ctrl-C, which saves first."""

import signal
import threading
import time
from contextlib import contextmanager

import torch
from tqdm import tqdm

from evaluate import write, writing

CSV_COLUMNS = ("step", "seconds", "lr", "M_max", "loss", "cell", "exact", "segments", "q_halt_accuracy", "puzzles_per_s",
               "val_cell", "val_exact", "val_valid", "val_segments")


class Log:
    """Progress bar and metrics.csv. Figures are summed on the device and read when `read` is called."""

    names = ("count", "accuracy", "exact_accuracy", "q_halt_accuracy", "steps")

    def __init__(self, out, run, steps):
        self.run, self.path, self.began = run, out / "metrics.csv", time.time() - run.seconds
        self.sums, self.first_step = 0, run.step
        self.bar = tqdm(total=steps, initial=run.step, desc=run.options.task, disable=run.processes.rank > 0,
                        dynamic_ncols=True)
        if run.processes.rank == 0:
            kept = [",".join(CSV_COLUMNS)]
            if run.step and self.path.exists():  # resumed: forget what came after the checkpoint
                rows = self.path.read_text().splitlines()[1:]
                kept += [row for row in rows if row.count(",") == kept[0].count(",")
                         and int(row.split(",")[0]) <= run.step]
            write(self.path, lambda path: path.write_text("\n".join(kept) + "\n"))

    def add(self, loss, metrics):
        self.sums = self.sums + torch.stack([loss.detach().float(), *(metrics[name].float() for name in self.names)])

    def read(self, stop, scale, M_max):
        """Take in the figures since the last call; True if any process was asked to stop."""
        run, steps = self.run, self.run.step - self.first_step
        asked = torch.full((1,), float(stop.is_set()), device=run.processes.device)
        run.processes.sum_([self.sums, asked])
        loss, count, *sums = self.sums.tolist()
        seconds = time.time() - self.began
        cell, exact, q_halt_accuracy, segments = (value / max(count, 1) for value in sums)
        self.row = {"step": run.step, "seconds": round(seconds, 1), "lr": run.options.lr * scale, "M_max": M_max,
                    "loss": loss / steps / run.options.batch_size, "cell": cell, "exact": exact, "segments": segments,
                    "q_halt_accuracy": q_halt_accuracy, "puzzles_per_s": count / max(seconds - run.seconds, 1e-9)}
        if not count:  # nothing halted: no mean to speak of
            self.row.update(dict.fromkeys(("cell", "exact", "segments", "q_halt_accuracy"), ""))
        run.seconds, self.sums, self.first_step = seconds, 0, run.step
        self.bar.update(steps)
        self.show()
        return asked.item() > 0

    def show(self):
        keys = {"loss": "loss", "exact": "exact", "segments": "segments", "puzzles_per_s": "puzzles/s", "val_exact": "val"}
        self.bar.set_postfix({label: f"{self.row[key]:.3g}" for key, label in keys.items()
                              if self.row.get(key, "") != ""})

    def validated(self, result):
        self.row.update({f"val_{name}": result[name] for name in ("cell", "exact", "valid", "segments")})
        self.show()

    def write_row(self):
        if self.run.processes.rank == 0:
            with writing(self.path), open(self.path, "a") as file:
                file.write(",".join(str(self.row.get(name, "")) for name in CSV_COLUMNS) + "\n")


@contextmanager
def signals():
    """An event that Ctrl-C or SIGTERM sets, so that the loop can save before it ends. A second Ctrl-C ends at once."""
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

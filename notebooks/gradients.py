"""Does the better gradient train better? HRM on 4x4 Sudoku with gradient through the last k L-updates: the
table behind section 2.9 of notebook 02.

    python notebooks/gradients.py    # five seeds of k = 1, 2, 4: five minutes on one core
"""

import csv
import io
import sys
import time
from pathlib import Path

import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from data import load_splits, load_task, offer_batch, to_tensors
from hrm import HRM, HRMConfig, Slots, act_step, draw_M_min, solve
from puzzles.errors import exit_status
from puzzles.files import write_text
from training.optimisers import AdamAtan2
from training.options import Parser

TABLE = ROOT / "notebooks/data/gradients.csv"
SEEDS = range(5)
STEPS = {1: 650, 2: 550, 4: 400}  # of about the same time
M_MAX, BATCH, RATE = 8, 32, 3e-3
CPU = torch.device("cpu")


def puzzles():
    """A task, and of its puzzles 400 to learn from and 200 to measure on."""
    task = load_task("sudoku", size=4, extra=3)
    return task, load_splits(task, None, 400, 200, 0, 0, ROOT / "data/cache", False)


def learn(k, seed, steps, task, splits):
    """Train HRM (N = T = 2, one layer in each module) with gradient_steps = k. Yields, after step 400 and
    the last: the step, seconds of training, share of the 200 puzzles solved after 8 segments."""
    torch.manual_seed(seed)
    model = HRM(HRMConfig(
        vocab_size=6, seq_len=16, hidden_size=64, num_heads=2, H_layers=1, L_layers=1, inner_multiple=16,
        positions="rope2d+learned", rope_base=10.0, puzzle_emb_ndim=0, M_max=M_MAX, halting="bce",
        q_weight=0.03, token_loss="softmax", dtype="float32"))
    model.gradient_steps = k
    optimizer = AdamAtan2(model.parameters(), lr=RATE, weight_decay=0.1)
    empty = torch.zeros(BATCH, 16, dtype=torch.long)
    slots = Slots.empty(model, empty, empty, empty[:, 0])
    inputs, labels, _ = to_tensors(splits["val"], CPU)
    seconds = 0
    for step in range(1, steps + 1):
        begun = time.process_time()
        batch = to_tensors(offer_batch(task, splits["train"], step, BATCH, seed), CPU)
        optimizer.param_groups[0]["lr"] = RATE * min(1, step / 50)
        slots, loss, _, _ = act_step(model, slots, batch, M_MAX, draw_M_min(BATCH, M_MAX, 0.1))
        (loss / BATCH).backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds += time.process_time() - begun
        if step in (STEPS[4], steps):
            answers = solve(model, inputs, confidence=1).predictions
            yield step, seconds, (answers == labels).all(-1).float().mean().item()


def main(argv=None):
    Parser("notebooks/gradients.py", __doc__).parse_args(argv)
    given = puzzles()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["k", "seed", "step", "seconds", "solved"])
    for seed in tqdm(SEEDS, unit="seed"):
        for k, steps in STEPS.items():
            for step, seconds, solved in learn(k, seed, steps, *given):
                writer.writerow([k, seed, step, round(seconds, 1), round(solved, 3)])
    write_text(TABLE, text.getvalue())


if __name__ == "__main__":
    sys.exit(exit_status(main))

"""The paper's runs, one command after the other, and a table of what they found beside the paper's numbers.

    python extras/reproduce.py sudoku                       # as published, on all GPUs that are here
    python extras/reproduce.py sudoku --batch-size 384      # further options of train.py come last

A command is skipped when its result is there: the same line, given again, goes on where it was stopped.
**No GPU has run this yet**.
"""

import argparse
import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import torch

TASKS = {  # what the paper solves (arXiv 2506.21734; ARC: in two attempts), options, which checkpoint is used
    "sudoku": ("0.550", "--data sapientinc/sudoku-extreme --train-size 1000 --test-size 10000", "best.pt"),
    "maze": ("0.745", "--data sapientinc/maze-30x30-hard-1k --val-size 0", "last.pt"),
    "arc1": ("0.403", "", "last.pt"),
    "arc2": ("0.050", "", "last.pt"),
}


def run(script, *words):
    """One of our scripts, train.py on all GPUs. Ctrl-C is left to it: it saves and ends, and so does this."""
    launcher = [sys.executable]
    if script == "train.py" and torch.cuda.device_count() > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=gpu"]
    signal.signal(signal.SIGINT, lambda *_: None)
    status = subprocess.call([*launcher, Path(__file__).parents[1] / script, *words])
    if status:
        sys.exit(status)


def main(argv=None):
    parser = argparse.ArgumentParser(description="The paper's runs, and a table beside its numbers.")
    parser.add_argument("--out", type=Path, default="runs/reproduce", help="gets a folder TASK [%(default)s]")
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("options", nargs=argparse.REMAINDER, help="of train.py")
    args = parser.parse_args(argv)
    paper, options, best = TASKS[args.task]
    out = args.out / args.task
    folder = shlex.quote(str(out))
    options += f" --preset paper --task {args.task} {shlex.join(args.options)} --out {folder}"
    model = f"--checkpoint {folder}/{best} --out {folder}"
    commands = [  # the paper's number, the file that holds ours, and what makes it
        (paper, "eval.json", f"train.py {options}"),
        ("", "votes/eval.json", f"train.py --eval {folder}/{best} --votes 8 --out {folder}/votes"),
        ("z_H 89.95, z_L 30.22", "participation-ratio-*.json", f"analyze.py participation-ratio {model}"),
        ("fig. 3", "convergence-*.json", f"analyze.py convergence {model}"),
        ("fig. 5", "halting-*.json", f"analyze.py halting {model}"),
    ]
    table = "| command | paper | here |\n| --- | --- | --- |\n"
    for claim, result, command in commands:
        print(command, flush=True)
        if not list(out.glob(result)):
            begun = result == "eval.json" and (out / "last.pt").exists()
            run(*shlex.split(f"train.py --resume {folder}" if begun else command))
        path = next(out.glob(result))
        found = json.loads(path.read_text())
        here = found.get("pass@2", found.get("exact", f"[figure]({path.stem}.png)"))
        table += f"| `{command}` | {claim} | {here} |\n"
    (out / "table.md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()

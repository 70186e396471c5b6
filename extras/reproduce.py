"""Train the paper's configuration, measure what comes of it, and put it beside the paper's numbers.

    python extras/reproduce.py sudoku                       # as published, on all GPUs that are here
    python extras/reproduce.py sudoku --recipe quick --hours 0.5 --batch-size 384    # train.py's options last

Its table (table.md, table.json) grows with each stage: training, one answer to each test puzzle, votes, the
analyses. The same command, given again, goes on where it was stopped or killed. **No GPU has run this yet**.
"""

import importlib
import json
import resource
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from torch.utils.benchmark import timer  # waits for a GPU, which computes on while Python goes ahead

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # alone, it would look for modules in extras/

import train
from data import load_task
from training import options as train_options
from training.files import UserError, write_text
from training.log import interval
from training.processes import Processes, choose_device

# Of each task: what the paper solves (Wang et al., arXiv 2506.21734; ARC: in two attempts), and its data.
TASKS = {"sudoku": ("55.0%", "--data sapientinc/sudoku-extreme --test-size 10000"),  # of its 422 786
         "maze": ("74.5%", "--data sapientinc/maze-30x30-hard-1k"), "arc1": ("40.3%", ""), "arc2": ("5%", "")}
RECIPES = {"paper": "--preset paper",  # "quick": with what made the default run quick, untried at this size
           "quick": "--preset paper --halting bce --q-weight 0.03 --halt --confidence 0.95 --warmup 200 "
                    "--token-loss softmax --optimizer muon --lr 1e-3 --lr-end 0.05 --weight-decay 0.1 "
                    "--ema 0.999 --grow-M-max 0.6"}
ANALYSES = {"participation-ratio": "Sudoku: 89.95, 30.22, 2.98", "convergence": "fig. 3", "halting": "fig. 5"}
TORCHRUN = sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"
SECONDS = 30  # that training steps are measured


def plan(given, hours, gpus):
    """Say what it will take -> the options that follow from it, and what was measured."""
    options, sizes = train_options.with_preset({**given, "grow_M_max": 0.0})  # M_max in full, as at the end
    task = load_task(options.task, options.data, **train_options.task_keywords(options))
    run, splits, steps = train.begin(options, sizes, task, Processes(choose_device(options.device)))
    answers = len(splits["test"]) * (task.augmentations + 2 if task.report else 1 + 8 + 10)
    segments = answers * run.config.M_max / options.batch_size  # at most; each is less work than in training
    print(f"measuring training steps for {SECONDS} s, once they are compiled", flush=True)
    options.batch_size //= gpus  # the share of each; what they tell each other is not measured
    run, taken = train.Run(options, run.config, task, splits["train"], run.processes), []
    if train_options.compiles(options, 10**9, run.processes.device):
        train.compile_model(run.model, 10**9)
    for _, M_max, micro_batches in train.offers(task, splits["train"], run, 10**9):
        start = timer()
        train.update(run, micro_batches, M_max, 1.0, SimpleNamespace(add=lambda *figures: None))
        taken.append(timer() - start)
        if sum(taken[3:]) >= SECONDS:  # the first three compile
            break
    seconds = sum(taken[3:]) / len(taken[3:])
    memory = torch.cuda.max_memory_allocated() or 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if hours:  # a tenth is left for evaluations and checkpoints on the way
        steps = max(1, min(steps, int(0.9 * 3600 * hours / seconds)))
    print(f"{steps} steps of {seconds:.3f} s: {steps * seconds / 3600:.2f} h; evaluation: at most "
          f"{segments * seconds / 3600:.2f} h; memory (of each GPU): {memory / 2**30:.1f} GiB", flush=True)
    words = f"--steps {steps} --warmup {min(options.warmup, steps // 10)} --eval-every {-(-steps // 20)}"
    return {"words": words.split(), "seconds_per_step": seconds, "bytes": memory}


def stages(task, words, device, out):
    """(name, the paper's number, script, its words, its folder) of each, once those before it are done."""
    run, arc, ending = out / "run", task.startswith("arc"), ["--device", device, "--out"]
    # ARC votes over its variants only, and each checkpoint holds gigabytes of puzzle embedding: none is kept.
    name, keep = ("all-variants", []) if arc else ("one-answer", ["--keep"])
    yield name, TASKS[task][0], train, [*words, *keep, "--out", str(run)], run
    best = json.loads((run / "eval.json").read_text())["checkpoint"]
    last = [str(path) for path in sorted(run.glob("step-*.pt"))[-10:]]
    votes = {"8-votes": [best, "--votes", "8"], f"last-{len(last)}-checkpoints": last}
    for name, asked in ({"one-variant": [best, "--votes", "1"]} if arc else votes).items():
        yield name, "", train, ["--eval", *asked, *ending, str(out / name)], out / name
    analyze = importlib.import_module("analyze")
    for name, claim in ANALYSES.items():
        yield name, claim, analyze, [name, "--checkpoint", best, *ending, str(out)], out


def found(name, folder):
    """What a stage has found, in a few words."""
    if name in ANALYSES:
        path = next(folder.glob(f"{name}-*.json"))
        states = json.loads(path.read_text()).get("trained", {}).get("tokens", {})
        ratios = [f"{state} {result['value']:.2f}" for state, result in states.items()]
        return ", ".join([*ratios, f"[figure]({path.stem}.png)"])
    result = json.loads((folder / "eval.json").read_text())
    share, n = (result["pass@2"], result["tasks"]) if "pass@2" in result else (result["exact"], result["n"])
    return "{:.1%} ({:.1%} to {:.1%} of {})".format(share, *interval(share, n), n)


def save(out, table):
    head = [["", "paper", "here", "hardware", "time", "command"], ["---"] * 6]
    rows = head + [[name, *row.values()] for name, row in table["rows"].items()]
    write_text(out / "table.md", "".join(f"| {' | '.join(row)} |\n" for row in rows))
    write_text(out / "table.json", json.dumps(table, indent=2))


def main(argv=None):
    parser = train_options.Parser("extras/reproduce.py", __doc__)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--recipe", choices=RECIPES, default="paper", help="[paper]")
    parser.add_argument("--hours", type=train_options.number(0.001), help="of training [the recipe's steps]")
    parser.add_argument("--out", type=Path, default="runs/reproduce", help="gets a folder TASK-RECIPE")
    ours, others = parser.parse_known_args(argv)
    out, down = ours.out / f"{ours.task}-{ours.recipe}", "--lr-end 0.05" if ours.hours else ""
    words = [*f"{RECIPES[ours.recipe]} --task {ours.task} {TASKS[ours.task][1]} {down}".split(), *others]
    given = train_options.parse(words, "", "extras/reproduce.py")
    device, cuda = choose_device(given.get("device", "auto")).type, torch.cuda
    gpus, name = (cuda.device_count(), cuda.get_device_name()) if device == "cuda" else (1, "CPU")
    hardware, launcher = f"{gpus} x {name}", f"torchrun --nproc-per-node {gpus}"
    path = out / "table.json"
    table = json.loads(path.read_text()) if path.exists() else {"words": words, "rows": {}}
    if table["words"] != words:
        raise UserError(f"{out} was begun with {shlex.join(table['words'])}; pass another --out")
    if "plan" not in table:
        table["plan"] = plan(given, ours.hours, gpus)
        cuda.empty_cache()  # another process may train there
        save(out, table)
    for name, claim, script, words, folder in stages(ours.task, words + table["plan"]["words"], device, out):
        if name in table["rows"]:
            continue
        start, metrics, several = timer(), folder / "metrics.csv", gpus > 1 and script is train
        resumed = [*words, *(["--resume", str(folder)] if (folder / "last.pt").exists() else [])]
        torchrun = [*TORCHRUN, str(gpus), script.__file__, *resumed]  # lives on at Ctrl-C, to end its workers
        if status := subprocess.Popen(torchrun).wait() if several else script.main(resumed):
            return status
        trained = metrics.exists() and metrics.read_text().splitlines()[-1].split(",")[1]  # before a stop too
        seconds = float(trained or timer() - start)
        command = f"{launcher if several else 'python'} {script.__name__}.py {shlex.join(words)}"
        table["rows"][name] = {"paper": claim, "here": found(name, folder), "hardware": hardware,
                               "time": f"{seconds / 60:.1f} min", "command": command}
        save(out, table)
    print((out / "table.md").read_text())


if __name__ == "__main__":
    sys.exit(train_options.exit_status(main))

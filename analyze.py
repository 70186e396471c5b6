"""The paper's figures, one command each, and what later work asked of the model.

    python analyze.py depth                                                              # fig. 2
    python analyze.py convergence --checkpoint HRM.pt RECURRENT.pt TRANSFORMER.pt        # fig. 3
    python analyze.py halting --checkpoint checkpoints/maze-9x9.pt                       # fig. 5
    python analyze.py steps --checkpoint checkpoints/maze-9x9.pt --puzzle my_maze.txt    # fig. 7
    python analyze.py participation-ratio --checkpoint checkpoints/sudoku-6x6.pt         # fig. 8
    python analyze.py fixed-point --checkpoint checkpoints/sudoku-6x6.pt     # Ren & Liu, arXiv 2601.10679
    python analyze.py strategies --checkpoint checkpoints/sudoku-6x6.pt      # votes and noise, extras/vote.py

Each writes a PNG and the numbers behind it as JSON, and is two functions in a file of the folder analysis/:
one that measures and returns numbers, and plot_... that makes a figure of them. The states that they look at
come from analysis/states.py.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from analysis.convergence import convergence, plot_convergence
from analysis.depth import depth, plot_depth
from analysis.dimensions import participation_ratios, plot_participation_ratios
from analysis.fixed_point import fixed_point, plot_fixed_point
from analysis.halting import halting, plot_halting
from analysis.steps import Steps, animate, follow, parse_puzzle, play, plot_steps
from analysis.strategies import plot_strategies, strategies
from data import load_splits, to_tensors
from puzzles.task import Split, Task
from training.checkpoints import load_model
from training.files import UserError, write, write_text
from training.options import Options, Parser, exit_status, number, whole
from training.pictures import save_figure
from training.processes import choose_device


@dataclass
class Job:
    """What a command works with; `depth` has no model."""
    args: argparse.Namespace
    name: str  # of the task, with its size
    models: list = ()
    task: Task = None
    split: Split = None  # test puzzles, where they are needed
    confidence: float = 0.5  # at which ACT stops

    def path(self, suffix):
        """A file for the result."""
        return Path(self.args.out) / f"{self.args.command}-{self.name}{suffix}"

    def over_puzzles(self, measure, model):
        """For what looks at states."""
        inputs, _, puzzle_ids = to_tensors(self.split, next(model.parameters()).device)
        once = model.config.model == "transformer"  # in one segment, whatever --max-segments says
        return measure(model, inputs, puzzle_ids, 1 if once else self.args.max_segments)

    def over_split(self, measure):
        """For what looks at answers."""
        return measure(self.models[0], self.split, self.args.max_segments, self.confidence, self.task)


def watch(job):
    """`steps` is also seen in the terminal, and as a GIF."""
    args, task, split = job.args, job.task, job.split
    if args.puzzle is not None:
        puzzle = parse_puzzle(task, args.puzzle), None, 0
    elif args.index < len(split):
        puzzle = split.inputs[args.index], split.labels[args.index], int(split.puzzle_ids[args.index])
    else:
        raise UserError(f"--index {args.index}: there are only {len(split)} test puzzles, counted from 0")
    steps = follow(job.models[0], task, *puzzle, args.max_segments, job.confidence)
    play(task, steps, seconds=args.seconds)
    write(job.path(".gif"), lambda temporary: animate(task, steps, temporary))
    print(f"written: {job.path('.gif')}")
    return vars(steps)


def compare_strategies(job):
    votes, task = job.args.votes, job.task
    if votes > 1 and task.view(1, 1) is None:
        raise UserError(f"task {task.name} has no symmetries for --votes {votes}; pass --votes 1")
    return {"strategies": strategies(job.models, task, job.split, job.confidence, votes)}


@dataclass
class Command:
    shows: str
    measure: Callable  # Job -> numbers
    plot: Callable  # these numbers, Job -> matplotlib figure
    puzzles: int | None = None  # how many of the test puzzles, if --puzzles is not given
    checkpoints: int | str = 1  # how many --checkpoint takes; "+": several


COMMANDS = {
    "convergence": Command(
        "do the states settle? (fig. 3); several checkpoints of one task are compared",
        lambda job: {"models": [job.over_puzzles(convergence, model) for model in job.models]},
        lambda numbers, job: plot_convergence(numbers["models"]), 50, "+"),
    "participation-ratio": Command(
        "how many dimensions do the states fill? (fig. 8)",
        lambda job: job.over_puzzles(participation_ratios, job.models[0]),
        lambda numbers, job: plot_participation_ratios(numbers), 100),
    "steps": Command(
        "what would the model answer after each update? (fig. 7)",
        watch, lambda numbers, job: plot_steps(job.task, Steps(**numbers))),
    "halting": Command(
        "does it think longer about harder puzzles, what does that save, what would more bring? (fig. 5)",
        lambda job: job.over_split(halting),
        lambda numbers, job: plot_halting(numbers, job.task.unit), 1000),
    "fixed-point": Command(
        "does a solved board stay solved? (Ren & Liu, arXiv 2601.10679)",
        lambda job: job.over_split(fixed_point),
        lambda numbers, job: plot_fixed_point(numbers), 200),
    "strategies": Command(
        "what do votes, noise, longer thinking and several checkpoints buy? (extras/vote.py)",
        compare_strategies,
        lambda numbers, job: plot_strategies(numbers["strategies"], f"{job.name}: {len(job.split)} puzzles"),
        500, "+"),
    "depth": Command(
        "train many sizes: is it depth that helps? (fig. 2)",
        lambda job: depth(job.args.runs or f"runs/depth-{job.args.scale}", job.args.scale),
        lambda numbers, job: plot_depth(numbers), checkpoints=0),
}


def load(args):
    """What the command line asks for -> Job."""
    if args.command == "depth":
        return Job(args, args.scale)
    loaded = [load_model(path, args.task, {"size": args.size}) for path in args.checkpoint]
    _, task, trained = loaded[0]
    what = f"{task.name}-{task.grid[0]}x{task.grid[1]}"
    for path, (_, other, _) in zip(args.checkpoint, loaded):
        if (other.name, other.grid) != (task.name, task.grid):
            raise UserError(f"{path} solves {other.name}-{other.grid[0]}x{other.grid[1]}, but "
                            f"{args.checkpoint[0]} {what}; compare models of one task")
    options = {**vars(Options()), **trained}  # an old checkpoint may know options that are gone
    if args.data is not None:
        options.update(data=args.data, test_size=None)
    split = None
    if getattr(args, "puzzle", None) is None:
        names = "data", "train_size", "val_size", "test_size", "seed"
        splits = load_splits(task, *(options[name] for name in names))
        split = splits["test"][: getattr(args, "puzzles", None)]
    models = [model.to(choose_device(args.device)) for model, *_ in loaded]
    if len(models) == 1 and models[0].config.model != "hrm":
        what += f"-{models[0].config.model}"
    return Job(args, what, models, task, split, options["confidence"])


def save(path, numbers, figure):
    """Write the figure as a PNG and the numbers as JSON; path(suffix) is the file."""
    text = json.dumps(numbers, default=lambda array: array.tolist())
    short = json.loads(text, parse_float=lambda digits: float(f"{float(digits):.5g}"),
                       parse_constant=lambda nan: None)  # JSON has no nan
    write_text(path(".json"), json.dumps(short) + "\n")
    save_figure(path(".png"), figure)
    print(f"written: {path('.png')}, {path('.json')}")


def parse(argv):
    parser = Parser("analyze.py", __doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="NAME")
    for name, command in COMMANDS.items():
        add = commands.add_parser(name, help=command.shows, description=command.shows).add_argument
        add("--out", default="runs/analysis", help="folder for the figure and its numbers [%(default)s]")
        if name == "depth":
            add("--scale", default="cpu", choices=("cpu", "gpu"), help="which grid of models [%(default)s]")
            add("--runs", help="folder of the runs, which are kept and resumed [runs/depth-SCALE]")
            continue
        add("--checkpoint", required=True, nargs=command.checkpoints, help="what train.py wrote")
        if command.puzzles:
            add("--puzzles", type=whole(1), default=command.puzzles, help="test puzzles [%(default)s]")
        if name != "strategies":
            add("--max-segments", type=whole(1), help="segments per puzzle, if not the usual number")
        add("--data", help="puzzles from FILE.csv or a folder, not those of the training run")
        add("--task", help="only for a published checkpoint: its task")
        add("--size", type=whole(1), help="only for a published checkpoint: side of the board")
        add("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="auto: CUDA or CPU")
        if name == "strategies":
            add("--votes", type=whole(1), default=16, help="most votes per puzzle [%(default)s]")
        if name == "steps":
            add("--puzzle", help="your own: all characters in a row, or a text file")
            add("--index", type=whole(0), default=0, help="without --puzzle: which of the test puzzles")
            add("--seconds", type=number(0, 60), default=0.3, help="between two boards [%(default)s]")
    return parser.parse_args(argv)


def run(argv):
    import matplotlib

    matplotlib.use("Agg")  # no screen is needed
    args = parse(argv)
    job, command = load(args), COMMANDS[args.command]
    numbers = command.measure(job)
    save(job.path, numbers, command.plot(numbers, job))


def main(argv=None):
    return exit_status(run, argv)


if __name__ == "__main__":
    sys.exit(main())

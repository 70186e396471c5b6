"""The paper's figures, one command each.

    python analyze.py depth                                                              # fig. 2
    python analyze.py convergence --checkpoint HRM.pt RECURRENT.pt TRANSFORMER.pt        # fig. 3
    python analyze.py halting --checkpoint checkpoints/maze-9x9.pt                       # fig. 5
    python analyze.py steps --checkpoint checkpoints/maze-9x9.pt --puzzle my_maze.txt    # fig. 7
    python analyze.py participation-ratio --checkpoint checkpoints/sudoku-6x6.pt         # fig. 8

Each writes a PNG and the numbers behind it as JSON, and is two functions in a file of the folder analysis/:
one that measures and returns numbers, and plot_... that makes a figure of them. The states that they look at
come from analysis/states.py.
"""

import json
import sys
from pathlib import Path

import matplotlib.style

import train
from analysis.convergence import convergence, plot_convergence
from analysis.depth import depth, plot_depth
from analysis.dimensions import participation_ratios, plot_participation_ratios
from analysis.halting import halting, plot_halting
from analysis.steps import animate, follow, parse_puzzle, play, plot_steps
from data import to_tensors
from puzzles.boards import save_figure
from puzzles.errors import UserError, exit_status
from puzzles.files import write, write_text
from training.checkpoints import held_out, load_models
from training.options import Parser
from training.processes import choose_device

# How many of the test puzzles each takes; `steps` takes one, `depth` makes its own.
COMMANDS = {"depth": None, "convergence": 50, "halting": 1000, "steps": None, "participation-ratio": 100}


def analyse(args):
    """All commands but `depth`, which takes no checkpoint."""
    asked = {"data": args.data, "max_segments": args.max_segments}
    models, task, options = load_models(args.checkpoint, args.task, {"size": args.size}, asked)
    device = choose_device()
    for model in models:
        model.to(device)
    segments = args.max_segments
    confidence = options.confidence if options.confidence < 1 else 0.5  # here all models halt
    rows, columns = task.grid
    path = f"{args.out}/{args.command}-{task.name}-{rows}x{columns}"
    if options.model != "hrm":
        path += f"-{options.model}"
    if args.command == "steps":
        puzzle = choose_puzzle(args, task, options)
        steps = follow(models[0], task, *puzzle, segments, confidence)
        play(task, steps)
        write(Path(f"{path}.gif"), lambda temporary: animate(task, steps, temporary))
        print(f"written: {path}.gif")
        return save(path, vars(steps), plot_steps(task, steps))
    split = held_out(args.checkpoint, task, options)
    split = split[: args.puzzles or COMMANDS[args.command]]
    inputs, _, puzzle_ids = to_tensors(split, device)
    if args.command == "halting":
        numbers = halting(models[0], task, split, segments, confidence)
        return save(path, numbers, plot_halting(numbers, task.unit))
    if args.command == "participation-ratio":
        numbers = participation_ratios(models[0], inputs, puzzle_ids, segments)
        return save(path, numbers, plot_participation_ratios(numbers))
    numbers = [convergence(each, inputs, puzzle_ids, segments) for each in models]
    save(path, {"models": numbers}, plot_convergence(numbers))


def choose_puzzle(args, task, options):
    """The puzzle that `steps` is about: its question, label (None if nobody knows it) and puzzle id."""
    if args.puzzle is not None:
        return parse_puzzle(task, args.puzzle), None, 0
    split = held_out(args.checkpoint, task, options)
    if not 0 <= args.index < len(split):
        raise UserError(f"--index {args.index}: there are only {len(split)} test puzzles, counted from 0")
    label = split.labels[args.index]
    return split.inputs[args.index], label if label.any() else None, split.puzzle_ids[args.index]


def save(path, numbers, figure):
    """Write the figure as PATH.png and the numbers as PATH.json."""
    text = json.dumps(numbers, default=lambda array: array.tolist())
    write_text(Path(f"{path}.json"), text + "\n")
    save_figure(Path(f"{path}.png"), figure)
    print(f"written: {path}.png, {path}.json")


def run(argv):
    parser = Parser("analyze.py", __doc__)
    add = parser.add_argument
    add("command", metavar="NAME", choices=COMMANDS, help=", ".join(COMMANDS))
    add("--checkpoint", nargs="+", default=[], help="what train.py wrote; convergence compares several")
    add("--data", help="puzzles from FILE.csv or a folder, not those of the training run")
    add("--task", help="for a published checkpoint, or a task of your own (NAME.py here): its name")
    add("--size", type=int, help="for a published checkpoint: side of the board")
    add("--max-segments", type=int, help="segments per puzzle, if not the usual number")
    add("--puzzles", type=int, help="how many of the test puzzles (default: 50, 100 or 1000)")
    add("--puzzle", help="steps: your own, all characters in a row, or a text file")
    add("--index", type=int, default=0, help="steps without --puzzle: which of the test puzzles")
    add("--out", default="runs/analysis", help="folder for the figure and its numbers [%(default)s]")
    args = parser.parse_args(argv)
    matplotlib.style.use(Path(__file__).parent / "analysis/look.mplstyle")
    if args.command == "depth":
        numbers = depth(train.main, "runs/depth")
        return save(f"{args.out}/depth-sudoku-6x6", numbers, plot_depth(numbers))
    if not args.checkpoint or len(args.checkpoint) > 1 and args.command != "convergence":
        parser.error(f"{args.command} needs one --checkpoint")
    analyse(args)


def main(argv=None):
    return exit_status(run, argv)


if __name__ == "__main__":
    sys.exit(main())

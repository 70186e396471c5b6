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
from training.checkpoints import kept_test, load_model, split_options, unseen
from training.options import Options, Parser
from training.processes import choose_device

# How many of the test puzzles each takes; `steps` takes one, `depth` makes its own.
COMMANDS = {"depth": None, "convergence": 50, "halting": 1000, "steps": None, "participation-ratio": 100}


def measure(args, models, task, split, confidence):
    """Do what the command says with what `load` returned -> numbers, figure."""
    model = models[0]
    segments = args.max_segments
    if args.command == "steps":
        return watch(args, model, task, split, confidence)
    if args.command == "halting":
        numbers = halting(model, task, split, segments, confidence)
        return numbers, plot_halting(numbers, task.unit)
    inputs, _, puzzle_ids = to_tensors(split, choose_device())
    if args.command == "participation-ratio":
        numbers = participation_ratios(model, inputs, puzzle_ids, segments)
        return numbers, plot_participation_ratios(numbers)
    numbers = [convergence(each, inputs, puzzle_ids, segments) for each in models]
    return {"models": numbers}, plot_convergence(numbers)


def watch(args, model, task, split, confidence):
    """`steps` is also seen in the terminal, and as a GIF."""
    i = args.index
    if args.puzzle is not None:
        puzzle = [parse_puzzle(task, args.puzzle)]
    elif 0 <= i < len(split):
        puzzle = [split.inputs[i], split.labels[i], int(split.puzzle_ids[i])]
    else:
        raise UserError(f"--index {i}: there are only {len(split)} test puzzles, counted from 0")
    steps = follow(model, task, *puzzle, max_segments=args.max_segments, confidence=confidence)
    play(task, steps)
    gif = Path(args.out, f"steps-{args.name}.gif")
    write(gif, lambda temporary: animate(task, steps, temporary))
    print(f"written: {gif}")
    return vars(steps), plot_steps(task, steps)


def load(args):
    """What the command line asks for -> models, task, test puzzles (None if --puzzle gives one), and the
    confidence at which ACT stops. `args.name` becomes that of the task, with its size, and of the model."""
    loaded = [load_model(path, args.task, {"size": args.size}) for path in args.checkpoint]
    models, tasks, options = zip(*loaded)
    task = tasks[0]
    path = args.checkpoint[0]
    for other, its_task in zip(args.checkpoint, tasks):
        if (its_task.name, its_task.grid) != (task.name, task.grid):
            raise UserError(f"{other} solves other puzzles than {path}; compare models of one task")
    rows, columns = task.grid
    args.name = f"{task.name}-{rows}x{columns}"
    trained = Options(**options[0])
    if trained.model != "hrm":
        args.name += f"-{trained.model}"
    split = None
    if args.puzzle is None:
        if args.data is not None:
            trained.data = args.data
            trained.test_size = None
        test = kept_test(path, task, split_options(trained))
        split = unseen(path, task, test)[: args.puzzles]
    confidence = trained.confidence if trained.confidence < 1 else 0.5  # here all models halt
    return [model.to(choose_device()) for model in models], task, split, confidence


def save(path, numbers, figure):
    """Write the figure as path.png and the numbers as path.json."""
    text = json.dumps(numbers, default=lambda array: array.tolist())
    short = json.loads(text, parse_float=lambda digits: float(f"{float(digits):.5g}"),
                       parse_constant=lambda nan: None)  # JSON has no nan
    write_text(path.with_suffix(".json"), json.dumps(short) + "\n")
    save_figure(path.with_suffix(".png"), figure)
    print(f"written: {path}.png, {path}.json")


def parse(argv):
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
    several = args.command == "convergence"
    if args.command != "depth" and (not args.checkpoint or len(args.checkpoint) > 1 and not several):
        parser.error(f"{args.command} needs one --checkpoint")
    args.puzzles = args.puzzles or COMMANDS[args.command]
    return args


def run(argv):
    args = parse(argv)
    matplotlib.style.use(Path(__file__).parent / "analysis/look.mplstyle")
    if args.command == "depth":
        args.name = "sudoku-6x6"
        numbers = depth(train.main, "runs/depth")
        figure = plot_depth(numbers)
    else:
        numbers, figure = measure(args, *load(args))
    save(Path(args.out, f"{args.command}-{args.name}"), numbers, figure)


def main(argv=None):
    return exit_status(run, argv)


if __name__ == "__main__":
    sys.exit(main())

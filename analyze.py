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

import matplotlib

import train
from analysis.convergence import convergence, plot_convergence
from analysis.depth import depth, plot_depth
from analysis.dimensions import participation_ratios, plot_participation_ratios
from analysis.halting import halting, plot_halting
from analysis.steps import animate, follow, parse_puzzle, play, plot_steps
from data import to_tensors
from training.checkpoints import kept_test, load_model
from training.files import UserError, write, write_text
from training.options import DEVICES, Options, Parser, exit_status, whole
from training.pictures import save_figure
from training.processes import choose_device

COMMANDS = {  # what each shows, and how many of the test puzzles, if --puzzles is not given
    "convergence": ("do the states settle? (fig. 3); several checkpoints of one task are compared", 50),
    "participation-ratio": ("how many dimensions do the states fill? (fig. 8)", 100),
    "steps": ("what would the model answer after each update? (fig. 7)", None),
    "halting": ("does it think longer about harder puzzles, what does that save? (fig. 5)", 1000),
    "depth": ("train many sizes: is it depth that helps? (fig. 2)", None),
}
STYLE = {"axes.grid": True, "axes.axisbelow": True, "grid.alpha": 0.3, "legend.frameon": False}


def measure(args, models, task, split, confidence):
    """Do what the command says with what `load` returned -> numbers, figure."""
    model, segments = models[0], args.max_segments
    if args.command == "steps":
        return watch(args, model, task, split, confidence)
    if args.command == "halting":
        numbers = halting(model, split, segments, confidence, task)
        return numbers, plot_halting(numbers, task.unit)
    inputs, _, puzzle_ids = to_tensors(split, next(model.parameters()).device)
    if args.command == "participation-ratio":
        numbers = participation_ratios(model, inputs, puzzle_ids, segments)
        return numbers, plot_participation_ratios(numbers)
    numbers = [convergence(each, inputs, puzzle_ids, segments) for each in models]
    return {"models": numbers}, plot_convergence(numbers)


def watch(args, model, task, split, confidence):
    """`steps` is also seen in the terminal, and as a GIF."""
    if args.puzzle is not None:
        puzzle = parse_puzzle(task, args.puzzle), None, 0
    elif args.index < len(split):
        puzzle = split.inputs[args.index], split.labels[args.index], int(split.puzzle_ids[args.index])
    else:
        raise UserError(f"--index {args.index}: there are only {len(split)} test puzzles, counted from 0")
    steps = follow(model, task, *puzzle, args.max_segments, confidence)
    play(task, steps)
    gif = Path(args.out, f"steps-{args.name}.gif")
    write(gif, lambda temporary: animate(task, steps, temporary))
    print(f"written: {gif}")
    return vars(steps), plot_steps(task, steps)


def load(args):
    """What the command line asks for -> models, task, test puzzles (none if --puzzle gives one), and the
    confidence at which ACT stops. `args.name` becomes that of the task, with its size, and of the model."""
    loaded = [load_model(path, args.task, {"size": args.size}) for path in args.checkpoint]
    models, tasks, trained = zip(*loaded)
    boards = [f"{task.name}-{task.grid[0]}x{task.grid[1]}" for task in tasks]
    for path, board in zip(args.checkpoint, boards):
        if board != boards[0]:
            raise UserError(f"{path} solves {board}, but {args.checkpoint[0]} {boards[0]}; "
                            f"compare models of one task")
    args.name, kind = boards[0], models[0].config.model
    if len(models) == 1 and kind != "hrm":
        args.name += f"-{kind}"
    options = {**vars(Options()), **trained[0]}  # an old checkpoint may know options that are gone
    if args.data is not None:
        options.update(data=args.data, test_size=None)
    split = None
    if args.puzzle is None:
        names = "data", "train_size", "val_size", "test_size", "seed"
        test = kept_test(args.checkpoint[0], tasks[0], [options[name] for name in names])
        split = test[: args.puzzles]
    models = [model.to(choose_device(args.device)) for model in models]
    return models, tasks[0], split, options["confidence"]


def save(folder, name, numbers, figure):
    """Write the figure as a PNG and the numbers as JSON."""
    text = json.dumps(numbers, default=lambda array: array.tolist())
    short = json.loads(text, parse_float=lambda digits: float(f"{float(digits):.5g}"),
                       parse_constant=lambda nan: None)  # JSON has no nan
    png, numbers_json = Path(folder, f"{name}.png"), Path(folder, f"{name}.json")
    write_text(numbers_json, json.dumps(short) + "\n")
    save_figure(png, figure)
    print(f"written: {png}, {numbers_json}")


def parse(argv):
    parser = Parser("analyze.py", __doc__)
    parser.set_defaults(puzzle=None, puzzles=None, max_segments=None)  # where they are no options
    commands = parser.add_subparsers(dest="command", required=True, metavar="NAME")
    for name, (shows, puzzles) in COMMANDS.items():
        add = commands.add_parser(name, help=shows, description=shows).add_argument
        add("--out", default="runs/analysis", help="folder for the figure and its numbers [%(default)s]")
        if name == "depth":
            continue
        several = "+" if name == "convergence" else 1
        add("--checkpoint", required=True, nargs=several, help="what train.py wrote")
        add("--data", help="puzzles from FILE.csv or a folder, not those of the training run")
        add("--task", help="only for a published checkpoint: its task")
        add("--size", type=whole(1), help="only for a published checkpoint: side of the board")
        add("--device", default="auto", choices=DEVICES, help="auto: CUDA or CPU [%(default)s]")
        if name != "steps":
            add("--puzzles", type=whole(1), default=puzzles, help="test puzzles [%(default)s]")
        add("--max-segments", type=whole(1), help="segments per puzzle, if not the usual number")
        if name == "steps":
            add("--puzzle", help="your own: all characters in a row, or a text file")
            add("--index", type=whole(0), default=0, help="without --puzzle: which of the test puzzles")
    return parser.parse_args(argv)


def run(argv):
    args = parse(argv)
    matplotlib.use("Agg")  # no screen is needed
    matplotlib.rcParams.update(STYLE)
    if args.command == "depth":
        args.name, numbers = "sudoku-6x6", depth(train.main, "runs/depth")
        figure = plot_depth(numbers)
    else:
        numbers, figure = measure(args, *load(args))
    save(args.out, f"{args.command}-{args.name}", numbers, figure)


def main(argv=None):
    return exit_status(run, argv)


if __name__ == "__main__":
    sys.exit(main())

"""All options of train.py: what they mean, the presets, the command line, and what is refused.

The defaults are the paper's, where it is silent those of the authors' code; a preset changes some of them for the
machine at hand; what is given on the command line comes last.
"""

import argparse
import math
import shutil
from dataclasses import dataclass, field, fields

import torch

from data import UserError, parse_options
from hrm import HRMConfig


def option(default, help, runtime=False):
    return field(default=default, metadata={"help": help, "runtime": runtime})


@dataclass
class Options:
    """All options but the model's sizes, which are the fields of HRMConfig. The defaults are the paper's.

    Those marked `runtime` do not change what is learned; all others must stay as they are on --resume.
    """

    task: str = option("maze", "maze, sudoku, arc1, arc2, or a task of your own from NAME.py in this folder")
    size: int = option(None, "side of the board (default: the preset's, or that of --data)")
    task_options: str = option("", "further options of the task, such as 'kind=random min_path=20'")
    data: str = option(None, "folder with train.csv and test.csv, or OWNER/NAME on Hugging Face (default: generated)")
    train_size: int = option(1000, "training puzzles")
    val_size: int = option(500, "validation puzzles, which choose best.pt; of a file, rows that are not trained on")
    test_size: int = option(None, "test puzzles (default: 1000 generated ones, or the whole file)")
    augment: bool = option(True, "a random symmetry of each puzzle every time that it is offered")
    easier: str = option("off", "mixed: a random part of the blanks is filled in, in half of the puzzles offered; growing: "
                                "in all, fewer and fewer over the first half of the run; off")
    steps: int = option(None, "optimiser steps (default: as many as --epochs takes)")
    epochs: int = option(20_000, "times that each training puzzle is offered")
    batch_size: int = option(768, "ACT slots, in all processes together")
    lr: float = option(1e-4, "learning rate of Adam-atan2")
    lr_end: float = option(1.0, "last learning rate as a fraction of --lr, reached on a cosine (1: constant)")
    warmup: int = option(2000, "steps over which the learning rates rise from 0")
    weight_decay: float = option(1.0, "decoupled weight decay of Adam-atan2")
    puzzle_lr: float = option(1e-4, "learning rate of the puzzle embedding's sign-SGD")
    puzzle_weight_decay: float = option(1.0, "weight decay of the puzzle embedding, on the rows in the batch")
    ema: float = option(0.0, "decay of an average of the weights, which is evaluated in their place (0: off)")
    grow_M_max: float = option(0.0, "double M_max from 1 to its full value over this fraction of the run (0: off)")
    halt: bool = option(False, "evaluation lets each puzzle stop when the Q-head says so, not always after M_max")
    confidence: float = option(0.5, "with --halt and --halting bce: stop at this probability of being right")
    eval_every: int = option(2000, "steps between two evaluations on the validation puzzles")
    seed: int = option(0, "of weights, puzzles, order, augmentation and exploration")

    preset: str = option("auto", "defaults for all these: cpu, paper, or auto, which looks for a GPU", runtime=True)
    out: str = option(None, "folder of the run (default: runs/TASK)", runtime=True)
    resume: str = option(None, "folder of a run to go on with", runtime=True)
    eval: list = option(None, "checkpoint to evaluate on the test puzzles, ours or a published one; several vote", runtime=True)
    max_segments: int = option(None, "segments per puzzle in --eval (default: the model's M_max)", runtime=True)
    votes: int = option(None, "answers proposed per puzzle in --eval, of which one is chosen: see vote.py (default: 1; of "
                              "ARC, whose variants vote, all)", runtime=True)
    views: bool = option(True, "each vote sees the puzzle under another symmetry", runtime=True)
    noise: float = option(0.0, "of the votes after the first: standard deviation of noise on the states", runtime=True)
    choose: str = option("valid", "an answer that keeps the rules, else by majority; or just majority, or q", runtime=True)
    device: str = option("auto", "auto, cpu, cuda or mps", runtime=True)
    compile: bool = option(None, "torch.compile (default: on CUDA, and on the CPU for 1000 steps or more)", runtime=True)
    accumulate: int = option(1, "micro-batches per step, to save memory; the result is the same", runtime=True)
    save_every: int = option(500, "steps between two checkpoints", runtime=True)
    log_every: int = option(20, "steps between two rows of metrics.csv", runtime=True)


OPTIONS = {f.name: f for f in fields(Options)}
SIZES = {f.name: f for f in fields(HRMConfig) if f.name not in ("vocab_size", "seq_len", "num_puzzles")}

PAPER_ARC = {"size": 30, "weight_decay": 0.1, "puzzle_lr": 1e-2, "puzzle_weight_decay": 0.1, "epochs": 100_000,
             "save_every": 5000}  # a checkpoint holds gigabytes of puzzle embedding

# What a preset changes in the defaults above and in HRMConfig's. "paper" is what the paper and its code say.
PRESETS = {
    "paper": {
        "maze": {"size": 30, "task_options": "kind=random min_path=110", "augment": False},
        "sudoku": {"size": 9},
        "arc1": PAPER_ARC,
        "arc2": PAPER_ARC,
    },
    # Deviations from the paper that let two CPU cores learn in minutes; the README says what each is worth.
    "cpu": {
        "all": {
            "hidden_size": 64, "num_heads": 2, "H_layers": 2, "L_layers": 2, "inner_multiple": 16, "dtype": "float32",
            "positions": "rope2d+learned", "rope_base": 10.0, "puzzle_emb_ndim": 64, "token_loss": "softmax",
            "M_max": 8, "grow_M_max": 0.9, "halting": "bce", "halt": True, "confidence": 0.95,
            "lr": 1.5e-3, "lr_end": 0.05, "warmup": 50, "weight_decay": 0.1, "puzzle_lr": 1.5e-3,
            "puzzle_weight_decay": 0.1, "ema": 0.995, "eval_every": 500, "save_every": 500, "log_every": 10,
            "train_size": None, "batch_size": 32, "steps": 5000,
        },
        "maze": {"size": 9, "train_size": 20_000, "steps": 5000},
        "sudoku": {"size": 6, "batch_size": 64, "steps": 6000},
        "arc1": {"size": 6, "task_options": "augmentations=60 training=false", "M_max": 4, "puzzle_lr": 3e-2,
                 "batch_size": 64, "steps": 4500},
    },
}

# A model that answers in one pass has nothing to repeat.
MODEL_SIZES = {"transformer": {"H_cycles": 1, "L_cycles": 1, "M_max": 1}}


def parse(argv, description):
    """Command line -> dict of the options that were given."""

    def fail(message):
        raise UserError(f"{message}; python train.py --help lists the options")

    parser = argparse.ArgumentParser("train.py", description=description, argument_default=argparse.SUPPRESS, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = fail
    groups = {"options": OPTIONS, "sizes of the model (HRMConfig in hrm.py)": SIZES}
    for title, known in groups.items():
        group = parser.add_argument_group(f"{title}; the paper's values in brackets")
        for name, f in known.items():
            kind = {bool: {"action": argparse.BooleanOptionalAction}, list: {"nargs": "+"}}.get(f.type, {"type": f.type})
            default = "" if f.default is None or f.default == "" else f" [{f.default}]"
            group.add_argument(f"--{name.replace('_', '-')}", dest=name, help=f.metadata.get("help", "") + default, **kind)
    return vars(parser.parse_args(argv))


def choose(given, processes):
    """The options given, on top of a preset's -> Options, dict of model sizes. Says what it chose."""
    asked = given.get("preset", "auto")
    auto = "paper" if processes.device.type == "cuda" else "cpu"
    if asked not in ("auto", *PRESETS):
        raise UserError(f"preset {asked!r} is unknown; choose auto, {' or '.join(PRESETS)}")
    name = auto if asked == "auto" else asked
    for preset in sorted(PRESETS, key=lambda preset: preset != name, reverse=True):  # the chosen one last
        values = {**PRESETS[preset].get("all", {}), **PRESETS[preset].get(given.get("task", "maze"), {}),
                  **MODEL_SIZES.get(given.get("model"), {}), **given}
        if "data" in given and given.get("task") not in ("arc1", "arc2"):
            # the file knows its size, and options of generated puzzles do not apply
            values.update({"size": given.get("size"), "task_options": given.get("task_options", "")})
        options = Options(**{key: value for key, value in values.items() if key in OPTIONS})
        sizes = {key: value for key, value in values.items() if key in SIZES}
        try:
            config = HRMConfig(seq_len=(options.size or 9) ** 2, **sizes)
        except ValueError as error:
            if preset == name:
                raise UserError(str(error)) from None
            continue  # the sizes given do not fit the other preset, and need not
        if processes.rank == 0:
            role = f"preset {preset}" if preset == name else f"(--preset {preset} would be"
            length = f"{options.steps} steps" if options.steps else f"{options.epochs} epochs"
            print(f"{role}: {options.task}{f' {options.size}x{options.size}' if options.size else ''}, {config.model}, "
                  f"{config.H_layers}+{config.L_layers} layers {config.hidden_size} wide, {length} of batch "
                  f"{options.batch_size}, learning rate {options.lr:g}, M_max {config.M_max}, {config.dtype}"
                  f"{'' if preset == name else ')'}", flush=True)
    return options, sizes


def task_keywords(options):
    """Size and further options of the task, as keywords."""
    return {"size": options.size, **parse_options(options.task_options)}


def check_ranges(options):
    """Refuse values that make no sense."""
    for name in ("train_size", "batch_size", "accumulate", "epochs", "eval_every", "save_every", "log_every", "lr",
                 "max_segments", "votes"):
        if getattr(options, name) is not None and not 0 < getattr(options, name) < math.inf:
            raise UserError(f"--{name.replace('_', '-')} {getattr(options, name)} must be greater than 0")
    for name in ("lr_end", "warmup", "weight_decay", "puzzle_lr", "puzzle_weight_decay", "val_size", "seed"):
        if not 0 <= getattr(options, name) < math.inf:
            raise UserError(f"--{name.replace('_', '-')} {getattr(options, name)} must not be negative")
    if options.easier not in ("off", "mixed", "growing"):
        raise UserError(f"--easier {options.easier} is unknown; choose off, mixed or growing")
    if not 0 < options.confidence < 1:
        raise UserError(f"--confidence {options.confidence} must lie between 0 and 1")
    if not (0 <= options.ema < 1 and 0 <= options.grow_M_max <= 1):
        raise UserError(f"--ema {options.ema} must lie in 0..1 (1 excluded) and --grow-M-max {options.grow_M_max} in 0..1")


def check(options, n, processes):
    """Refuse what cannot be trained with n puzzles -> number of optimiser steps."""
    check_ranges(options)
    if n == 0:
        raise UserError(f"--data {options.data} holds no training puzzles; pass a folder with train.csv and test.csv")
    parts = processes.world * options.accumulate
    if options.batch_size % parts:
        raise UserError(f"--batch-size {options.batch_size} is no multiple of {parts}, the number of processes times "
                        f"--accumulate")
    steps = options.steps if options.steps is not None else options.epochs * n // options.batch_size
    if steps < 1:
        raise UserError(f"{steps} optimiser steps are too few; raise --steps or --epochs, or lower --batch-size")
    return steps


def choose_device(name):
    """"auto" takes the fastest there is."""
    if name not in ("auto", "cpu", "cuda", "mps"):
        raise UserError(f"device {name!r} is unknown; choose auto, cpu, cuda or mps")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device in there if there[device])
    if not there[name]:
        raise UserError(f"no {name} device here; leave --device out")
    return torch.device(name)


def compiles(options, steps, device):
    """Use torch.compile? On a CPU it makes a step about 1.3 times as fast, but first takes half a minute and g++."""
    if options.compile is not None:
        return options.compile
    return device.type == "cuda" or (device.type == "cpu" and steps >= 1000 and shutil.which("g++") is not None)

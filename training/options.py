"""All options of train.py: what they mean, which values they take, the presets, and the command line.

The defaults are the paper's, where it is silent those of the authors' code; a preset changes some of them for
the machine at hand; what is given on the command line comes last.
"""

import argparse
import math
import os
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, fields

from hrm import CHOICES, HRMConfig
from training.files import Shown, UserError


# ------------------------------------------------------------------------------------------ any command line
class Parser(argparse.ArgumentParser):
    """A command line whose mistakes are UserErrors."""

    def __init__(self, prog, description=None, **others):
        super().__init__(prog, description=description, allow_abbrev=False,
                         formatter_class=argparse.RawDescriptionHelpFormatter, **others)

    def error(self, message):
        raise UserError(f"{message}; python {self.prog} --help lists the options")


def number(low, high=math.inf, kind=float):
    """argparse's `type=` for numbers from low to high; kind=int: whole ones."""

    def convert(text):
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no {'whole ' * (kind is int)}number") from None
        if not low <= value <= high or math.isinf(value):
            allowed = f"at least {low:g}" if high > 1e9 and not value > high else f"in {low:g}..{high:g}"
            raise argparse.ArgumentTypeError(f"{text} must be {allowed}")
        return value

    return convert


def whole(low, high=2**63 - 1):
    return number(low, high, int)


def existing(text):
    """Data: what is here is named by its whole path, so that a run can be resumed from another folder."""
    if not text:
        raise argparse.ArgumentTypeError("'' names no data")
    return os.path.abspath(text) if os.path.exists(text) else text


def parse_options(text):
    """NAME=VALUE words, as on the command line -> dict of the task's further options."""
    found = {}
    for word in text.split():
        name, is_there, value = word.partition("=")
        if not is_there or name in (*found, "size"):
            raise UserError(f"--task-options {word!r}: write NAME=VALUE, each name once, and size as --size")
        found[name] = value
    return found


TOO_MUCH = "memory", "allocate", "overflow", "too big", "too large", "out of bounds", "allowed dimension"


def exit_status(command, *arguments):
    """Run a command -> its exit status. What a user can mend becomes one line, and 2."""
    with redirect_stdout(Shown(sys.stdout)), redirect_stderr(Shown(sys.stderr)):
        try:
            return command(*arguments) or 0
        except KeyboardInterrupt:
            print("stopped; what was saved before is untouched", file=sys.stderr)
            return 130
        except (UserError, OSError) as error:
            reason = error
        except (ArithmeticError, MemoryError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            if not any(words in reason.lower() for words in TOO_MUCH):
                raise
            reason = f"too much for this machine; lower a size or the number of puzzles ({reason})"
        if os.environ.get("LOCAL_RANK", "0") == "0":  # one line, not one of each process
            print(f"error: {reason}", file=sys.stderr)
        return 2


# --------------------------------------------------------------------------------------------------- presets
PAPER_ARC = {"size": 30, "weight_decay": 0.1, "puzzle_lr": 1e-2, "puzzle_weight_decay": 0.1,
             "epochs": 100_000, "save_every": 5000}  # a checkpoint holds gigabytes of puzzle embedding

# What a preset changes in the defaults above and in HRMConfig's. "paper" is what the paper and its code say.
PRESETS = {
    "paper": {
        "maze": {"size": 30, "task_options": "kind=random min_path=110", "augment": False},
        "sudoku": {"size": 9},
        "arc1": PAPER_ARC,
        "arc2": PAPER_ARC,
    },
    # Deviations from the paper that let two CPU cores learn in minutes; docs/paper.md says what each is for.
    "small": {
        "all": {
            "hidden_size": 64, "num_heads": 2, "H_layers": 2, "L_layers": 2, "inner_multiple": 16,
            "positions": "rope2d+learned", "rope_base": 10.0, "puzzle_emb_ndim": 64, "dtype": "float32",
            "token_loss": "softmax", "M_max": 8, "grow_M_max": 0.6, "halting": "bce", "q_weight": 0.03,
            "halt": True, "confidence": 0.95, "optimizer": "muon", "lr": 3e-3, "lr_end": 0.05, "warmup": 50,
            "weight_decay": 0.1, "puzzle_lr": 1.5e-3, "puzzle_weight_decay": 0.1, "ema": 0.995,
            "eval_every": 300, "save_every": 300, "log_every": 10, "train_size": None, "batch_size": 16,
            "steps": 3600,
        },
        "maze": {"size": 9, "train_size": 20_000, "exploration": 0.5},
        "sudoku": {"size": 6, "num_heads": 4, "batch_size": 32, "grow_M_max": 0.3, "confidence": 0.98,
                   "eval_every": 500, "steps": 6000},
        "arc1": {"size": 6, "task_options": "augmentations=60 training=false", "M_max": 4, "puzzle_lr": 3e-2,
                 "batch_size": 64, "eval_every": 500, "steps": 4500},
    },
}
PRESETS["auto"] = PRESETS["cpu"] = PRESETS["small"]  # cpu: its name in earlier versions

DEVICES = "auto", "cpu", "cuda", "mps"
# A model that answers in one pass has nothing to repeat.
MODEL_SIZES = dict.fromkeys(("transformer", "prenorm"), {"H_cycles": 1, "L_cycles": 1, "M_max": 1})


# ------------------------------------------------------------------------------------------ those of train.py
def option(default, help, type=None, choices=None):
    return field(default=default, metadata={"help": help, "type": type, "choices": choices})


@dataclass
class Options:
    """All but the model's sizes, which are the fields of HRMConfig. The defaults are the paper's."""
    task: str = option("maze", "maze, sudoku, arc1, arc2, flood, or a task of your own from NAME.py here")
    size: int = option(None, "side of the board (default: the preset's, or that of --data)", whole(1))
    task_options: str = option("", "further options of the task, such as 'kind=random min_path=20'")
    data: str = option(None, "folder with train.csv and test.csv, or OWNER/NAME on Hugging Face", existing)
    train_size: int = option(1000, "training puzzles", whole(1))
    val_size: int = option(500, "validation puzzles, which choose best.pt: never trained on", whole(0))
    test_size: int = option(None, "test puzzles (default: 1000, or the whole file)", whole(1))
    augment: bool = option(True, "a random symmetry of each puzzle every time that it is offered")
    steps: int = option(None, "optimiser steps (default: as many as --epochs takes)", whole(1))
    epochs: int = option(20_000, "times that each training puzzle is offered", whole(1))
    batch_size: int = option(768, "ACT slots, in all processes together", whole(1))
    optimizer: str = option("adam_atan2", "muon: Muon for the matrices of H and L, for short runs", None,
                            ("adam_atan2", "muon"))
    muon_lr: float = option(4e-3, "learning rate of Muon", number(0))
    muon_weight_decay: float = option(0.01, "decoupled weight decay of Muon", number(0))
    lr: float = option(1e-4, "learning rate of Adam-atan2", number(1e-12))
    lr_end: float = option(1.0, "last learning rate as a share of --lr, on a cosine (1: constant)", number(0))
    warmup: int = option(2000, "steps over which the learning rates rise from 0", whole(0))
    weight_decay: float = option(1.0, "decoupled weight decay of Adam-atan2", number(0))
    puzzle_lr: float = option(1e-4, "learning rate of the puzzle embedding's sign-SGD", number(0))
    puzzle_weight_decay: float = option(1.0, "its weight decay, of the rows in the batch", number(0))
    ema: float = option(0.0, "decay of the average of weights that is evaluated (0: off)", number(0, 0.9999))
    grow_M_max: float = option(0.0, "double M_max from 1 over this part of the run (0: off)", number(0, 1))
    halt: bool = option(False, "in evaluation a puzzle stops when the Q-head says so, not only after M_max")
    confidence: float = option(0.5, "with --halt and --halting bce: stop at this probability of being right",
                               number(1e-9, 1 - 1e-9))
    eval_every: int = option(2000, "steps between two evaluations on the validation puzzles", whole(1))
    seed: int = option(0, "of weights, puzzles, order, augmentation and exploration", whole(0))

    # From here on, nothing changes what is learned: these may differ on --resume.
    preset: str = option("auto", "small, for two CPU cores, or paper; auto is small", None, tuple(PRESETS))
    out: str = option(None, "folder of the run (default: runs/TASK)")
    resume: str = option(None, "folder of a run to go on with")
    eval: list = option(None, "checkpoint to evaluate on the test puzzles, ours or published; several vote")
    max_segments: int = option(None, "segments per puzzle in --eval (default: the model's M_max)", whole(1))
    votes: int = option(None, "answers to a puzzle, of which one is chosen (default: 1; ARC all)", whole(1))
    views: bool = option(True, "each vote sees the puzzle under another symmetry")
    noise: float = option(0.0, "on the states, in all votes but the first: its deviation", number(0, 1e6))
    noise_seed: int = option(0, "of that noise", whole(0))
    device: str = option("auto", "auto is CUDA or the CPU; mps is untested", None, DEVICES)
    compile: bool = option(None, "torch.compile (default: on CUDA, and on the CPU from 1000 steps on)")
    accumulate: int = option(1, "micro-batches per step, to save memory; the result is the same", whole(1))
    save_every: int = option(500, "steps between two checkpoints", whole(1))
    keep: bool = option(False, "keep the averaged weights of every evaluation too, as step-NUMBER.pt")
    log_every: int = option(20, "steps between two rows of metrics.csv", whole(1))
    quiet: bool = option(False, "no progress bar and no boards: one line for each evaluation")


OPTIONS = {f.name: f for f in fields(Options)}
RUNTIME = list(OPTIONS)[list(OPTIONS).index("preset"):]  # may differ on --resume
SIZES = {f.name: f for f in fields(HRMConfig) if f.name not in ("vocab_size", "seq_len", "num_puzzles")}


def parse(argv, description, prog="train.py"):
    """Command line -> dict of the options that were given."""
    parser = Parser(prog, description, argument_default=argparse.SUPPRESS)
    for title, known in (("options", OPTIONS), ("sizes of the model, see HRMConfig in hrm.py", SIZES)):
        group = parser.add_argument_group(f"{title}; the paper's values in brackets")
        for name, f in known.items():
            kind = {"type": f.metadata.get("type") or f.type,
                    "choices": f.metadata.get("choices") or CHOICES.get(name)}
            if f.type is bool:
                kind = {"action": argparse.BooleanOptionalAction}
            elif f.type is list:
                kind = {"nargs": "+"}
            default = "" if f.default in (None, "") else f" [{f.default}]"
            names = [f"--{name.replace('_', '-')}", *(["-q"] if name == "quiet" else [])]
            group.add_argument(*names, dest=name, **kind, help=f.metadata.get("help", "") + default)
    return vars(parser.parse_args(argv))


def with_preset(given):
    """The options given, on top of a preset's -> Options, dict of model sizes."""
    preset, task = PRESETS[given.get("preset", "auto")], given.get("task", Options.task)
    of_model = MODEL_SIZES.get(given.get("model"), {})
    values = {**preset.get("all", {}), **preset.get(task, {}), **of_model, **given}
    if "data" in given and task not in ("arc1", "arc2"):
        # the file knows its size, and options of generated puzzles do not apply
        values.update({"size": given.get("size"), "task_options": given.get("task_options", "")})
    options = Options(**{name: value for name, value in values.items() if name in OPTIONS})
    return options, {name: value for name, value in values.items() if name in SIZES}


def task_keywords(options):
    """Size and further options of the task, as keywords."""
    return {"size": options.size, **parse_options(options.task_options)}


def optimiser_steps(options, n, processes):
    """How many steps a run with n training puzzles takes. Refuses what cannot be trained."""
    if n == 0:
        raise UserError(f"--data {options.data} holds no training puzzles; pass a folder with train.csv")
    parts = processes.world * options.accumulate
    if options.batch_size % parts:
        raise UserError(f"--batch-size {options.batch_size} is no multiple of {parts}, the number of "
                        f"processes times --accumulate")
    steps = options.steps or options.epochs * n // options.batch_size
    if steps < 1:
        raise UserError(f"{steps} optimiser steps are too few; raise --epochs, or lower --batch-size")
    return steps


def compiles(options, steps, device):
    """Use torch.compile? It first takes half a minute and g++; a CPU's step is then 1.3 times as fast."""
    compiler = device.type != "cpu" or shutil.which(os.environ.get("CXX", "g++")) is not None
    if options.compile and not compiler:
        raise UserError("--compile needs g++, which is not here; install it, or pass --no-compile")
    if options.compile is not None:
        return options.compile
    return device.type == "cuda" or device.type == "cpu" and compiler and steps >= 1000

"""All options of train.py: what they mean, which values they take, the presets, and the command line.

The defaults are the paper's, where it is silent those of the authors' code; a preset changes some of them for
the machine at hand; what is given on the command line comes last.
"""

import argparse
from dataclasses import dataclass, fields

from hrm import HRMConfig, check, setting
from puzzles.errors import UserError
from training.processes import choose_device


# --------------------------------------------------------------------------------------------------- options
@dataclass
class Options:
    """All but the model's sizes, which are the fields of HRMConfig."""
    task: str = setting("maze", "maze, sudoku, arc1, arc2, flood, or a task of your own from NAME.py here")
    size: int = setting(None, "side of the board (default: the preset's, or that of --data)")
    task_options: str = setting("", "further options of the task, such as 'kind=random min_path=20'")
    data: str = setting(None, "folder with train.csv and test.csv, FILE.csv, or OWNER/NAME on Hugging Face")
    train_size: int = setting(1000, "training puzzles")
    val_size: int = setting(500, "validation puzzles, which choose best.pt: never trained on", low=0)
    test_size: int = setting(None, "test puzzles (default: 1000, or the whole file)")
    hints: float = setting(0.0, "share of training puzzles in which a part of the answer stands already",
                           low=0, high=1)
    model: str = setting("hrm", "the others are what HRM is compared with: extras/baselines.py",
                         choices=("hrm", "recurrent", "transformer", "prenorm", "trm", "bptt"))
    steps: int = setting(26_041, "optimiser steps")
    batch_size: int = setting(768, "ACT slots, in all processes together")
    optimizer: str = setting("adam_atan2", "muon: Muon for the matrices of H and L, for short runs",
                             choices=("adam_atan2", "muon"))
    lr: float = setting(1e-4, "learning rate of Adam-atan2; Muon's is 4/3 of it", low=1e-12)
    lr_end: float = setting(1.0, "share of --lr to which it falls over the last three fifths of the run",
                            low=0)
    warmup: int = setting(2000, "steps over which the learning rates rise from 0", low=0)
    weight_decay: float = setting(1.0, "decoupled weight decay, of weights and puzzle embedding", low=0)
    puzzle_lr: float = setting(1e-4, "learning rate of the puzzle embedding's sign-SGD", low=0)
    ema: float = setting(0.0, "decay of the average of weights that is evaluated (0: off)",
                         low=0, high=0.9999)
    grow_M_max: float = setting(0.0, "double M_max from 1 over this part of the run (0: off)", low=0, high=1)
    confidence: float = setting(1.0, "in evaluation, stop at this probability of being right (1: never; with "
                                "--halting q, below 1: if the halt value is the higher one)", low=0, high=1)
    eval_every: int = setting(2000, "steps between two evaluations, each with a checkpoint")
    seed: int = setting(0, "of weights, puzzles, order, symmetries and exploration", low=0)

    # From here on, nothing but init changes what is learned: the others may differ on --resume.
    preset: str = setting("small", "small is for two CPU cores", choices=("small", "paper"))
    out: str = setting(None, "folder of the run (default: runs/TASK)")
    init: str = setting(None, "begin with the weights of this checkpoint")
    resume: str = setting(None, "folder of a run to go on with")
    eval: list = setting(None, "checkpoint to evaluate on the test puzzles, ours or published; several vote")
    max_segments: int = setting(None, "segments per puzzle in --eval (default: M_max of the first model)")
    votes: int = setting(None, "answers to a puzzle, of which one is chosen (default: 1; ARC all)")
    compile: bool = setting(None, "torch.compile (default: on CUDA, and on the CPU from 2000 steps on)")
    accumulate: int = setting(1, "micro-batches per step, to save memory; the result is the same")
    quiet: bool = setting(False, "no progress bar and no boards: one line for each evaluation")

    def __post_init__(self):
        check(self)


OPTIONS = {f.name: f for f in fields(Options)}
RUNTIME = list(OPTIONS)[list(OPTIONS).index("preset"):]  # may differ on --resume
SIZES = {f.name: f for f in fields(HRMConfig) if f.metadata}


# --------------------------------------------------------------------------------------------------- presets
PAPER_ARC = {"size": 30, "weight_decay": 0.1, "puzzle_lr": 1e-2, "eval_every": 5000}

# What a preset changes in the defaults above and in HRMConfig's. "paper" is what the paper and its code say.
PRESETS = {
    "paper": {
        "all": {},
        "maze": {"size": 30, "task_options": "kind=random min_path=110"},
        "sudoku": {"size": 9},
        "arc1": {**PAPER_ARC, "steps": 401_041},  # 100 000 times 3080 pairs
        "arc2": {**PAPER_ARC, "steps": 607_682},
    },
    # Deviations from the paper that let two CPU cores learn in minutes; docs/paper.md says what each is for.
    "small": {
        "all": {
            "hidden_size": 64, "num_heads": 2, "H_layers": 2, "L_layers": 2, "inner_multiple": 16,
            "positions": "rope2d+learned", "rope_base": 10.0, "dtype": "float32", "token_loss": "softmax",
            "M_max": 8, "grow_M_max": 0.6, "halting": "bce", "q_weight": 0.03, "confidence": 0.98,
            "optimizer": "muon", "lr": 3e-3, "lr_end": 0.05, "warmup": 50, "weight_decay": 0.1,
            "puzzle_lr": 1.5e-3, "ema": 0.995, "eval_every": 300, "train_size": None, "batch_size": 16,
            "steps": 3600,
        },
        "maze": {"size": 9, "train_size": 20_000, "val_size": 300, "hidden_size": 48, "num_heads": 3,
                 "exploration": 0.5, "hints": 0.2, "grow_M_max": 0.8, "lr": 2.5e-3, "lr_end": 0.0,
                 "eval_every": 500, "steps": 3000},
        "sudoku": {"size": 6, "num_heads": 4, "batch_size": 32, "grow_M_max": 0.3, "eval_every": 500,
                   "steps": 6000},
        "arc1": {"size": 6, "task_options": "augmentations=60 training=false", "M_max": 4, "confidence": 0.95,
                 "puzzle_lr": 3e-2, "batch_size": 64, "eval_every": 500, "steps": 4500},
    },
}
# A model that answers in one pass has nothing to repeat.
ONE_PASS = {"H_cycles": 1, "L_cycles": 1, "M_max": 1}


def with_preset(given):
    """The options given, on top of a preset's -> Options, dict of model sizes (some are no options)."""
    preset = PRESETS[given.get("preset", "small")]
    task = given.get("task", Options.task)
    dtype = "bfloat16" if choose_device().type == "cuda" else "float32"  # on a CPU bfloat16 is slow
    values = {"dtype": dtype, **preset["all"], **preset.get(task, {})}
    if given.get("model") in ("transformer", "prenorm"):
        values |= ONE_PASS
    if "data" in given and not task.startswith("arc"):  # the file knows its size; nothing is generated
        values |= {"size": None, "train_size": None}
    values |= given
    values["puzzle_emb_ndim"] = values.get("hidden_size", HRMConfig.hidden_size)
    options = {name: value for name, value in values.items() if name in OPTIONS}
    sizes = {name: value for name, value in values.items() if name not in OPTIONS}
    return build(Options, **options), sizes


def build(make, **settings):
    """make(**settings), with a ValueError (a value not taken, sizes that do not fit) as a UserError."""
    try:
        return make(**settings)
    except ValueError as error:
        raise UserError(str(error)) from None


# ---------------------------------------------------------------------------------------------- command line
class Parser(argparse.ArgumentParser):
    """A command line whose mistakes are UserErrors."""

    def __init__(self, prog, description):
        super().__init__(prog, description=description, allow_abbrev=False,
                         formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message):
        raise UserError(f"{message}; python {self.prog} --help lists the options")


def parse(argv, description, prog="train.py"):
    """Command line -> dict of the options that were given."""
    parser = Parser(prog, description)
    options = parser.add_argument_group("options, with the paper's values in brackets")
    sizes = parser.add_argument_group("sizes of the model, see HRMConfig in hrm.py")
    for f in OPTIONS.values():
        add_option(options, f)
    for f in SIZES.values():
        add_option(sizes, f)
    return vars(parser.parse_args(argv))


def add_option(group, f):
    """The field f of a dataclass as an option."""
    names = ["--" + f.name.replace("_", "-")]
    if f.name == "quiet":
        names.append("-q")
    if f.type is bool:
        kind = {"action": argparse.BooleanOptionalAction}
    elif f.type is list:
        kind = {"nargs": "+"}
    else:
        kind = {"type": f.type, "choices": f.metadata["choices"]}
    text = f.metadata["help"].replace("%", "%%")
    if f.default not in (None, ""):
        text += f" [{f.default}]"
    group.add_argument(*names, dest=f.name, default=argparse.SUPPRESS, help=text, **kind)

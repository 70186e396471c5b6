"""Checkpoints: what they hold is written in training/run.py; here they are read.

    model, task, options = load_model("runs/maze/best.pt")

Those that the authors released (extras/published.py) are read in the same way.
"""

import importlib
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch

from data import load_splits, load_task, task_class
from hrm import HRM, HRMConfig
from puzzles.errors import UserError
from puzzles.split import Split
from training.options import RUNTIME, Options, build
from training.processes import choose_device

VERSION = 1  # of what `Run.weights` writes (training/run.py)


def make_model(name, config):
    """A new model, untrained. Those beside HRM are in extras/, and read only when asked for."""
    if name == "hrm":
        return HRM(config)
    return importlib.import_module("extras.baselines").MODELS[name](config)


def read_checkpoint(path):
    """The dict in a checkpoint file, or in last.pt of a folder: tensors and plain values, no code."""
    path = Path(path)
    if path.is_dir():
        path = path / "last.pt"
    try:
        if zipfile.is_zipfile(path) and zipfile.ZipFile(path).testzip():  # PyTorch checks no checksums
            raise ValueError("it is damaged")
        with warnings.catch_warnings(action="ignore"):  # of files that PyTorch did not write, and refuses
            content = torch.load(path, map_location="cpu", weights_only=True)
        return dict(content)
    except FileNotFoundError:
        raise UserError(f"no checkpoint at {path}; runs write runs/TASK/last.pt and best.pt") from None
    except Exception as error:  # a damaged file can fail anywhere inside the unpickler
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path} cannot be read as a checkpoint: {reason[:100]}; "
                        f"pass one that train.py wrote") from None


def read_ours(path):
    """The dict in one of our checkpoints."""
    return check_version(read_checkpoint(path), path)


def check_version(content, path):
    """The content of a file, if this version wrote it."""
    if content.get("version") != VERSION:
        raise UserError(f"{path} is no checkpoint of this project, or of another version of it")
    return content


def task_of(saved, trusted=None):
    """The task of a checkpoint, from its dict of name and options. A file of the user's is run for it only if
    its name is `trusted`, as --task: what a checkpoint holds must not choose the code."""
    options = dict(saved)
    name = options.pop("name")
    return task_class(name, own=name == trusted)(**options)


def load_weights(model, weights, path):
    """Into a model that should fit them."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"the weights in {path} do not fit: {' '.join(str(error).split())}") from None
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise UserError(f"{path} holds weights that are not finite: its run diverged; pass another one")


def load_model(path, task_name=None, task_options={}, **sizes):
    """A checkpoint -> model (evaluation weights, on the CPU), its task, the dict of options that trained it.

    One of ours knows its task, model and sizes: what is given here must agree. A published one (weights under
    the authors' names) knows only its shapes: it needs `task_name` and what differs from HRMConfig's
    defaults (`model`: for TRM's)."""
    content = read_checkpoint(path)
    if choose_device().type == "cpu":
        sizes.setdefault("dtype", "float32")  # bfloat16 is slow there
    names = content.get("model_state_dict", content)
    if any("inner." in str(name) for name in names):
        published = importlib.import_module("extras.published")
        task = load_task(task_name or "sudoku", **task_options)
        try:
            model = published.from_published(content, **{"seq_len": task.seq_len, **sizes})
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None
        options = {}
    else:
        check_version(content, path)
        task = task_of(content["task"], task_name)
        options = content["options"]
        config = {**content["config"], "dtype": sizes.pop("dtype", content["config"]["dtype"])}
        known = task.options | config | {"task": task.name, "model": options["model"]}
        for name, value in {"task": task_name, **task_options, **sizes}.items():
            if value is not None and str(value).lower() != str(known.get(name)).lower():
                raise UserError(f"{name} {value} does not fit {path}, which was trained with "
                                f"{known.get(name)}; leave it out, the checkpoint knows")
        model = make_model(options["model"], HRMConfig(**config))
        load_weights(model, content["averaged"], path)
    if model.config.vocab_size < task.vocab_size or model.config.seq_len != task.seq_len:
        raise UserError(f"{path} reads {model.config.seq_len} tokens out of {model.config.vocab_size}, but "
                        f"{task.name} of size {task.size} has {task.seq_len} out of {task.vocab_size}; "
                        f"pass another --task or --size")
    return model, task, options


def split_options(options):
    """Of the Options, what `load_splits` takes."""
    return {name: getattr(options, name) for name in ("data", "train_size", "val_size", "test_size", "seed")}


def kept_test(path, task, wanted):
    """The test puzzles of load_splits(task, **wanted): kept in the checkpoint, if these made it, or made
    anew."""
    kept = read_checkpoint(path).get("test")
    if not kept or kept["wanted"] != wanted:
        return load_splits(task, **wanted)["test"]
    inputs = kept["inputs"].numpy()
    labels = kept["labels"].numpy()
    return Split(inputs, labels, np.zeros(len(inputs), np.int32))


def unseen(path, task, split, known=None):
    """The puzzles of a split on which, up to symmetry, the model in this checkpoint was not trained. `known`:
    the fingerprints of those it was; None: as the checkpoint says."""
    if known is None:
        known = read_checkpoint(path).get("fingerprints")
    if known is None:
        return split  # of a published one nobody knows
    new = ~np.isin(task.fingerprint(split.inputs), known.numpy().view(np.uint64))
    if len(split) and not new.any():
        raise UserError(f"{path} was trained on all of these puzzles; pass other --data or another --seed")
    if not new.all():
        print(f"{(~new).sum()} of {len(split)} puzzles are left out: {path} was trained on them")
    return split[new]


def load_models(paths, task_name, task_options, asked, **sizes):
    """Checkpoints of one task, each as `load_model` reads it -> models, task, and the Options of the first
    run with those that are `asked` for (None: not asked)."""
    loaded = [load_model(path, task_name, task_options, **sizes) for path in paths]
    models, tasks, trained = zip(*loaded)
    task = tasks[0]
    for path, other in zip(paths, tasks):
        if (other.name, other.options) != (task.name, task.options):
            raise UserError(f"{path} was trained for another task than {paths[0]}; "
                            f"only checkpoints of one task go together")
    saved = {name: value for name, value in trained[0].items() if name not in RUNTIME}
    given = {name: value for name, value in asked.items() if value is not None}
    options = build(Options, **(saved | given))
    if "data" in given and "test_size" not in given:
        options.test_size = None
    return models, task, options


def held_out(paths, task, options):
    """The test puzzles of these Options on which no model in these checkpoints was trained."""
    split = kept_test(paths[0], task, split_options(options))
    if not task.votes_over_variants:
        for path in paths:
            split = unseen(path, task, split)
    return split


def to_resume(given):
    """What --resume goes on with: its folder, its checkpoint, options and task."""
    folder = Path(given["resume"])
    out = folder if folder.is_dir() else folder.parent
    checkpoint = read_ours(folder)
    if "slots" not in checkpoint:
        raise UserError(f"{folder} is no last.pt of a run and cannot be resumed; pass the run's folder")
    if Path(given.get("out", out)) != out:
        raise UserError(f"--out {given['out']} is not where the run is; leave it out")
    for name, value in given.items():
        if name == "data" or name in RUNTIME and name != "init":  # data may have moved; it is compared later
            checkpoint["options"][name] = value
        elif name != "task":
            raise UserError(f"--{name.replace('_', '-')} {value}: the run in {folder} knows its own; "
                            f"leave it out, or begin another run with --out")
    task = task_of(checkpoint["task"], given.get("task"))
    return out, checkpoint, build(Options, **checkpoint["options"]), task

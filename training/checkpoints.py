"""Checkpoints: ours, and those that the authors released.

    model, task, options = load_model("runs/maze/best.pt")                               # ours
    model = from_published(torch.load("checkpoint", weights_only=True))                  # Sudoku-Extreme
    model = from_published(torch.load("checkpoint", weights_only=True), seq_len=900)     # Maze-Hard, ARC-AGI
    torch.save(to_published(model), "checkpoint")                                        # and back
"""

import importlib
import math
import sys
import warnings
import zipfile
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from data import load_splits, load_task, task_class
from hrm import HRM, HRMConfig, swiglu_size
from puzzles.task import Split
from training.files import UserError
from training.options import OPTIONS, RUNTIME, SIZES, Options


# ------------------------------------------------------------------------------------------------- our own
def make_model(config):
    """HRMConfig -> a new model, untrained. Those beside HRM are in extras/, and read only when asked for."""
    if config.model == "hrm":
        return HRM(config)
    return build(importlib.import_module("extras.baselines").MODELS[config.model], config)


def build(make, *args, **kwargs):
    """make(...), with a ValueError (sizes that do not fit together) as one line for the user."""
    try:
        return make(*args, **kwargs)
    except ValueError as error:
        raise UserError(str(error)) from None


@contextmanager
def fitting(path):
    """A checkpoint that lacks something, or holds what does not fit, becomes one line for the user."""
    try:
        yield
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is no checkpoint of this project, or does not fit the options given "
                        f"({type(error).__name__}: {reason}); change them or the checkpoint") from None


def read_checkpoint(path):
    """The dict in a checkpoint file, or in last.pt of a folder: tensors and plain values, no code."""
    path = Path(path) / "last.pt" if Path(path).is_dir() else Path(path)
    try:
        if zipfile.is_zipfile(path) and (part := zipfile.ZipFile(path).testzip()):
            raise ValueError(f"{part} in it is damaged")  # PyTorch does not look at the checksums
        with warnings.catch_warnings(action="ignore"):  # of files that PyTorch did not write, and refuses
            content = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
    except FileNotFoundError:
        raise UserError(f"no checkpoint at {path}; runs write runs/TASK/last.pt and best.pt") from None
    except Exception as error:  # a damaged file can fail anywhere inside the unpickler
        reason = (str(error).splitlines() or ["damaged"])[0]
        raise UserError(f"{path} cannot be read as a checkpoint: {reason[:100]}; "
                        f"pass one that train.py wrote") from None
    with fitting(path):
        saved = {**content.get("options", {}), **content.get("config", {})}
        for f in (*fields(Options), *fields(HRMConfig)):
            if not isinstance(saved.get(f.name), (f.type, type(None), int if f.type is float else f.type)):
                raise TypeError(f"{f.name} is {saved[f.name]!r}")
    return content


def known(values, names, path, what):
    """The dict `values` without what this version does not know, which is named in a line if it was on."""
    unknown = {name: value for name, value in values.items() if name not in names}
    off = (None, False, 0, "", "off")
    in_use = [f"{name}={value}" for name, value in unknown.items() if value not in off]
    if in_use:
        print(f"{path}: {what} of another version ignored: {', '.join(in_use)}", file=sys.stderr)
    return {name: value for name, value in values.items() if name in names}


def task_of(path, saved, trusted=None):
    """The task of a checkpoint, from its dict of name and options. A file of the user's is run for it only if
    its name is `trusted`, as --task: what a checkpoint holds must not choose the code."""
    kind = task_class(saved["name"], own=saved["name"] == trusted)
    options = {name: value for name, value in saved.items() if name != "name"}
    return kind(**known(options, ["size", *kind.default_options], path, "task options"))


def load_model(path, task_name=None, task_options={}, **sizes):
    """A checkpoint -> model (evaluation weights, on the CPU), its task, the dict of options that trained it.

    One of ours knows its task and sizes: what is given here must agree. A published one (weights under the
    authors' names) knows only its shapes: it needs `task_name` and what differs from HRMConfig's defaults."""
    content = read_checkpoint(path)
    if any("model.inner." in str(name) for name in content):
        task, options = load_task(task_name or "sudoku", **task_options), {}
        with fitting(path):
            model = from_published(content, **{"seq_len": task.seq_len, **sizes})
    else:
        with fitting(path):
            task, options = task_of(path, content["task"], task_name), dict(content["options"])
            for name in ("train_size", "val_size", "test_size", "seed"):
                options[name]  # without these nobody knows what it was trained on
            config = known(content["config"], [f.name for f in fields(HRMConfig)], path, "sizes")
            model = make_model(HRMConfig(**config))
            model.load_state_dict(content["averaged"])
        if not all(weights.isfinite().all() for weights in content["averaged"].values()):
            raise UserError(f"{path} holds weights that are not finite: its run diverged; pass another one")
        trained = {**content["task"], **content["config"]}
        for name, value in {"name": task_name, **task_options, **sizes}.items():
            if value is not None and str(value).lower() != str(trained.get(name)).lower():
                what = "task" if name == "name" else name
                raise UserError(f"{what} {value} does not fit {path}, which was trained with "
                                f"{trained.get(name)}; leave it out, the checkpoint knows")
    if model.config.vocab_size < task.vocab_size or model.config.seq_len != task.seq_len:
        raise UserError(f"{path} reads {model.config.seq_len} tokens out of {model.config.vocab_size}, but "
                        f"{task.name} of size {task.size} has {task.seq_len} out of {task.vocab_size}; "
                        f"pass another --task or --size")
    return model, task, options


def kept_test(path, task, puzzles):
    """The "test" of load_splits(task, *puzzles): kept in the checkpoint, if these made it, or made anew."""
    kept = read_checkpoint(path).get("test")
    if not kept or kept["puzzles"] != list(puzzles):
        return load_splits(task, *puzzles)["test"]
    with fitting(path):
        rows = kept["inputs"].numpy(), kept["labels"].numpy()
        return Split(*rows, np.zeros(len(rows[0]), np.int32), task.rating(*rows))


def to_resume(given):
    """What --resume goes on with: its folder, its checkpoint, options, task and model sizes."""
    folder = Path(given["resume"])
    out, checkpoint = folder if folder.is_dir() else folder.parent, read_checkpoint(folder)
    if not {"slots", "options", "config", "task", "puzzles"} <= checkpoint.keys():
        raise UserError(f"{folder} is no last.pt of a run and cannot be resumed; pass the run's folder")
    if Path(given.get("out", out)) != out:
        raise UserError(f"--out {given['out']} is not where the run is; leave it out")
    with fitting(folder):
        options = known(checkpoint["options"], OPTIONS, folder, "options")
        config = known(checkpoint["config"], [f.name for f in fields(HRMConfig)], folder, "sizes")
        saved, sizes = {**options, **config}, {name: config[name] for name in config.keys() & SIZES.keys()}
        for name, value in given.items():
            if name in RUNTIME or name == "data":  # it may have moved; what is in it is compared later
                options[name] = value
            elif value != saved.get(name):
                raise UserError(f"--{name.replace('_', '-')} {value} differs from the {saved.get(name)} of "
                                f"the run in {folder}; leave it out, or begin another run with --out")
        task = task_of(folder, checkpoint["task"], given.get("task"))
        return out, checkpoint, Options(**options), task, sizes


# ---------------------------------------------------------------------------------------- the authors' own
PUBLISHED_NAMES = {
    "tokens.weight": "embed_tokens.embedding_weight", "positions.weight": "embed_pos.embedding_weight",
    "puzzle_emb": "puzzle_emb.weights", ".blocks": "_level.layers", "attention.qkv": "self_attn.qkv_proj",
    "attention.out": "self_attn.o_proj", "mlp.gate_up": "mlp.gate_up_proj", "mlp.down": "mlp.down_proj",
}


def published_name(name):
    """What the authors' released checkpoints call our parameter or buffer `name`."""
    for ours, theirs in PUBLISHED_NAMES.items():
        name = name.replace(ours, theirs)
    return "model.inner." + ("lm_head.weight" if name == "head.weight" else name)


def to_published(model):
    """The weights under the names of the authors' checkpoints; `from_published` reads them back."""
    return {published_name(name): tensor for name, tensor in model.state_dict().items()}


def from_published(state_dict, **config):
    """Build an HRM from the authors' checkpoint (name → tensor), with or without `_orig_mod.` in front.

    Shapes tell vocab_size, hidden_size, the layers, the expansion, the puzzle embedding and, with learned
    positions, seq_len. Give the rest as keywords where it differs from HRMConfig's defaults (num_heads,
    seq_len, the cycles, M_max, …). KeyError or RuntimeError name the entries that are missing, surplus or
    misshapen."""
    weights = {name.removeprefix("_orig_mod.").removeprefix("model.inner."): tensor
               for name, tensor in state_dict.items()}

    def layers(module):
        return len({name.split(".")[2] for name in weights if name.startswith(f"{module}_level.layers.")})

    vocab_size, D = weights["embed_tokens.embedding_weight"].shape
    inner = weights["L_level.layers.0.mlp.down_proj.weight"].shape[-1]
    num_puzzles, ndim = weights["puzzle_emb.weights"].shape if "puzzle_emb.weights" in weights else (1, 0)
    found = {"vocab_size": vocab_size, "hidden_size": D, "H_layers": layers("H"), "L_layers": layers("L"),
             "num_puzzles": num_puzzles, "puzzle_emb_ndim": ndim, "positions": "rope"}
    if "embed_pos.embedding_weight" in weights:
        positions = len(weights["embed_pos.embedding_weight"])
        found.update(positions="learned", seq_len=positions - math.ceil(ndim / D))
    if swiglu_size(D, config.get("expansion", 4.0), 256) != inner:
        found["expansion"] = 1.5 * inner / D
    for name in config.keys() & found.keys():
        if config[name] != found[name]:
            raise ValueError(f"{name}={config[name]} was asked for, but the shapes say {found[name]}")
    model = HRM(HRMConfig(**{**config, **found}))
    ours = {published_name(name).removeprefix("model.inner."): name for name in model.state_dict()}
    model.load_state_dict({ours.get(name, name): tensor for name, tensor in weights.items()})
    return model

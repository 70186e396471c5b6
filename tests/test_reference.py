"""Our models compute what the published implementations compute, gradients and ACT included.

Recorded from them: reference_small.npz, the published HRM in float32; reference_double.npz, the same with
every float32 replaced by float64, where rounding can hide nothing; reference_trm.npz, the official TRM in
float64.
`HRM_REFERENCE=FILE pytest tests/test_reference.py` adds a file of an HRM in either precision.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from extras.published import from_published, published_name
from hrm import IGNORE, Slots, act_step, measure
from tests.rounding import difference, tolerance

FILES = [Path(__file__).with_name(f"reference_{name}.npz") for name in ("small", "double", "trm")]
if "HRM_REFERENCE" in os.environ:
    FILES.append(Path(os.environ["HRM_REFERENCE"]))
GIVEN = {  # what shapes do not tell, in their words and in ours
    "num_heads": "num_heads",
    "seq_len": "seq_len",
    "H_cycles": "H_cycles",
    "L_cycles": "L_cycles",
    "halt_max_steps": "M_max",
    "halt_exploration_prob": "exploration",
    "forward_dtype": "dtype",
    "rms_norm_eps": "norm_eps",
    "rope_theta": "rope_base",
}
METRIC_NAMES = "exact_accuracy", "accuracy", "steps", "q_halt_accuracy"  # theirs for METRICS
INSIDE = "target_q_continue", "q_halt_loss", "q_continue_loss"  # of ours, only the loss shows them


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def published(request, precision):
    """A model made from the weights of a file; the file's arrays and config."""
    with np.load(request.param) as file:
        config = json.loads(str(file["config"]))
        arrays = {name: torch.from_numpy(file[name]) for name in file.files if name != "config"}
    precision(getattr(torch, config["forward_dtype"]))
    sizes = {GIVEN[name]: value for name, value in config.items() if name in GIVEN}
    if not config["H_layers"]:
        sizes |= {"model": "trm", "halting": "bce"}
    weights = {name[2:]: array for name, array in arrays.items() if name.startswith("w.")}
    return from_published(weights, **sizes), arrays, config


def replay(model, arrays, exploration):
    """Our figures for every recorded step, under their names."""
    names = "inputs", "labels", "puzzle_identifiers"
    batch = [arrays[f"batch.{name}"].long() for name in names]
    slots = Slots.empty(model, *batch)
    found = {}
    step = 0
    while f"s{step}.loss" in arrays:
        before = slots.refill(model, *batch)
        M_min = 1
        if exploration:  # its random draws are not recorded, only their outcome: who halted
            M_min = torch.where(arrays[f"s{step}.halted"], 1, before.segments + 2)
        slots, loss, metrics, vectors = act_step(model, slots, batch, model.config.M_max, M_min)
        model.zero_grad()
        loss.backward()
        state = before.z_H, before.z_L
        _, logits, q_halt, q_continue = model(state, slots.inputs, vectors)
        # Theirs leave out of the metrics a padding row, in which there is nothing to solve.
        counted = slots.halted & (slots.labels != IGNORE).any(-1)
        measured = measure(logits.argmax(-1), slots.labels, slots.segments, q_halt)
        ours = {
            "loss": loss,
            "z_H": slots.z_H,
            "z_L": slots.z_L,
            "logits": logits,
            "q_halt_logits": q_halt,
            "q_continue_logits": q_continue,
            "steps": slots.segments,
            "halted": slots.halted,
            "grad.puzzle_emb.local": vectors.grad,
            "metric.lm_loss": metrics["token_loss"],
            "metric.count": counted.sum(),
        }
        for name, figures in zip(METRIC_NAMES, measured, strict=True):
            ours[f"metric.{name}"] = (figures * counted).sum()
        for name, p in model.named_parameters():
            if model.H is model.L:  # TRM: theirs has one name for both roles
                name = name.replace("H.blocks", "L.blocks")
            ours[f"grad.{published_name(name)}"] = p.grad.clone()
        for name, tensor in ours.items():
            found[f"s{step}.{name}"] = tensor
        step += 1
    return found


def test_it_is_the_published_model(published):
    model, arrays, config = published

    def compute(model):
        return replay(model, arrays, config["halt_exploration_prob"])

    ours = compute(model)
    theirs = {name: array for name, array in arrays.items() if name in ours}
    missing = {name for name in arrays.keys() - ours.keys() if name[0] == "s"}
    assert all(name.endswith(INSIDE) for name in missing)
    assert all("q_continue" in name for name in ours.keys() - theirs.keys())  # TRM has none
    dtype = getattr(torch, config["forward_dtype"])
    allowed = tolerance(lambda model: compute(model).values(), model, dtype)
    for name, array in theirs.items():
        assert difference([ours[name]], [array]) < allowed, name

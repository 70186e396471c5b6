"""Our HRM computes what the published implementation computes.

`HRM_REFERENCE=FILE pytest tests/test_reference.py` checks another file in the format of reference_small.npz.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from checkpoint import published_name
from hrm import HRM, Slots, act_step

FILE = os.environ.get("HRM_REFERENCE", Path(__file__).parent / "reference_small.npz")


@pytest.fixture(scope="module")
def reference():
    with np.load(FILE) as arrays:
        return {name: arrays[name] for name in arrays.files}


def load(reference):
    """The model of the reference file, its batch and the number of recorded steps."""
    config = json.loads(str(reference["config"]))
    ours = {
        "num_heads": config["num_heads"],
        "seq_len": config["seq_len"],
        "H_cycles": config["H_cycles"],
        "L_cycles": config["L_cycles"],
        "expansion": config["expansion"],
        "positions": config["pos_encodings"],
        "M_max": config["halt_max_steps"],
        "exploration": config["halt_exploration_prob"],
        "dtype": config["forward_dtype"],
    }
    for theirs, name in (("rms_norm_eps", "norm_eps"), ("rope_theta", "rope_base")):
        if theirs in config:
            ours[name] = config[theirs]
    weights = {name[2:]: torch.from_numpy(array) for name, array in reference.items() if name.startswith("w.")}
    model = HRM.from_published(weights, **ours)
    batch = [torch.from_numpy(reference[f"batch.{name}"]).long() for name in ("inputs", "labels", "puzzle_identifiers")]
    steps = 1 + max(int(name[1 : name.index(".")]) for name in reference if name[0] == "s" and name[1].isdigit())
    return model, config, weights, batch, steps


def close(ours, theirs, tolerance):
    """Largest difference relative to the largest value of the array."""
    ours, theirs = ours.detach().double().numpy(), np.asarray(theirs, dtype=np.float64)
    assert ours.shape == theirs.shape
    error = np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-30)
    assert error < tolerance, f"relative error {error:.2e}"


def test_config_is_inferred_from_the_shapes(reference):
    model, config, _, _, _ = load(reference)
    for theirs, ours in (("vocab_size", "vocab_size"), ("hidden_size", "hidden_size"), ("H_layers", "H_layers"),
                         ("L_layers", "L_layers"), ("puzzle_emb_ndim", "puzzle_emb_ndim"), ("seq_len", "seq_len"),
                         ("pos_encodings", "positions"), ("expansion", "expansion")):
        assert getattr(model.config, ours) == config[theirs]


def test_every_step_matches(reference):
    model, config, _, batch, steps = load(reference)
    slots = Slots.empty(model, *[torch.zeros_like(tensor) for tensor in batch])
    for step in range(steps):
        expected = {name.split(".", 1)[1]: value for name, value in reference.items() if name.startswith(f"s{step}.")}
        refilled = slots.refill(model, *batch)
        M_min = 1
        if config["halt_exploration_prob"]:  # its random draws are not recorded, only their outcome: who halted
            M_min = torch.where(torch.from_numpy(expected["halted"]), 1, refilled.steps + 2)
        slots, loss, metrics, puzzle_vectors = act_step(model, slots, batch, model.config.M_max, M_min)
        model.zero_grad()
        loss.backward()

        close(loss, expected["loss"], 1e-5)
        close(slots.z_H, expected["z_H"], 1e-5)
        close(slots.z_L, expected["z_L"], 1e-5)
        with torch.no_grad():
            vectors = model.puzzle_vectors(refilled.puzzle_ids)
            z, logits, q_halt, q_continue = model((refilled.z_H, refilled.z_L), refilled.inputs, vectors)
            _, _, next_halt, next_continue = model(z, refilled.inputs, vectors)
        close(logits, expected["logits"], 1e-5)
        close(q_halt, expected["q_halt_logits"], 1e-5)
        close(q_continue, expected["q_continue_logits"], 1e-5)
        if "target_q_continue" in expected:
            last = slots.steps >= model.config.M_max
            target = torch.where(last, next_halt, torch.maximum(next_halt, next_continue)).sigmoid()
            close(target, expected["target_q_continue"], 1e-5)
        assert (slots.halted.numpy() == expected["halted"]).all()
        assert (slots.steps.numpy() == expected["steps"]).all()
        for name, value in expected.items():
            if name.startswith("metric."):
                close(metrics[name.removeprefix("metric.")], value, 1e-5)

        gradients = {published_name(name): p.grad for name, p in model.named_parameters()}
        recorded = {name.removeprefix("grad."): value for name, value in expected.items() if name.startswith("grad.")}
        if "puzzle_emb.local" in recorded:
            close(puzzle_vectors.grad, recorded.pop("puzzle_emb.local"), 1e-4)
        assert recorded.keys() == gradients.keys()
        for name, value in recorded.items():
            close(gradients[name], value, 1e-4)


def test_published_layout_round_trip(reference):
    model, _, weights, _, _ = load(reference)
    written = model.to_published()
    assert written.keys() == weights.keys()
    assert all(torch.equal(written[name], weights[name]) for name in weights)
    ours = {name: getattr(model.config, name) for name in ("num_heads", "seq_len", "dtype")}
    again = HRM.from_published({f"_orig_mod.{name}": tensor for name, tensor in written.items()}, **ours)
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), model.state_dict().values()))

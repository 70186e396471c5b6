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

from extras.baselines import TRM
from hrm import HRMConfig, Slots, act_step
from training.checkpoints import from_published, published_name, to_published

FOLDER = Path(__file__).parent
FILES = [FOLDER / "reference_small.npz", FOLDER / "reference_double.npz"]
if "HRM_REFERENCE" in os.environ:
    FILES.append(Path(os.environ["HRM_REFERENCE"]))
# Of outputs and gradients. In float32 another CPU rounds otherwise, and the recurrence carries that on.
TOLERANCES = {torch.float32: (5e-5, 5e-4), torch.float64: (1e-12, 1e-12)}


def read(path):
    """A file -> its arrays, its config as a dict, and our names for what is in that."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    config = json.loads(str(arrays["config"]))
    ours = {
        "num_heads": "num_heads",
        "seq_len": "seq_len",
        "H_cycles": "H_cycles",
        "L_cycles": "L_cycles",
        "expansion": "expansion",
        "pos_encodings": "positions",
        "halt_max_steps": "M_max",
        "halt_exploration_prob": "exploration",
        "forward_dtype": "dtype",
        "rms_norm_eps": "norm_eps",
        "rope_theta": "rope_base",
    }
    return arrays, config, {ours[name]: value for name, value in config.items() if name in ours}


@pytest.fixture
def precision():
    """Sets PyTorch's default precision, and sets it back."""
    before = torch.get_default_dtype()
    yield torch.set_default_dtype
    torch.set_default_dtype(before)


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def published(request, precision):
    """An HRM with the weights of a file, the file's arrays and config."""
    arrays, config, sizes = read(request.param)
    dtype = getattr(torch, config["forward_dtype"])
    precision(dtype)
    weights = {name[2:]: torch.from_numpy(array) for name, array in arrays.items() if name.startswith("w.")}
    return from_published(weights, **sizes), arrays, config, weights, TOLERANCES[dtype]


def close(ours, theirs, tolerance):
    """Largest difference relative to the largest value of the array."""
    ours, theirs = ours.detach().double().numpy(), np.asarray(theirs, dtype=np.float64)
    assert ours.shape == theirs.shape
    error = np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-30)
    assert error < tolerance, f"relative error {error:.2e}"


def compare(model, arrays, exploration, tolerances, name_of):
    """Go through the recorded steps; name_of(our name of a parameter) is theirs."""
    of_output, of_gradient = tolerances
    names = "inputs", "labels", "puzzle_identifiers"
    batch = [torch.from_numpy(arrays[f"batch.{name}"]).long() for name in names]
    slots = Slots.empty(model, *[torch.zeros_like(tensor) for tensor in batch])
    steps = sorted({int(name[1 : name.index(".")]) for name in arrays if name[0] == "s"})
    assert steps == list(range(len(steps))) and len(steps) >= 3
    for step in steps:
        start = f"s{step}."
        expected = {name[len(start) :]: array for name, array in arrays.items() if name.startswith(start)}
        before, M_min = slots.refill(model, *batch), 1
        if exploration:  # its random draws are not recorded, only their outcome: who halted
            M_min = torch.where(torch.from_numpy(expected["halted"]), 1, before.segments + 2)
        slots, loss, metrics, puzzle_vectors = act_step(model, slots, batch, model.config.M_max, M_min)
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            vectors = model.puzzle_vectors(before.puzzle_ids)
            z, logits, q_halt, q_continue = model((before.z_H, before.z_L), before.inputs, vectors)
            _, _, next_halt, next_continue = model(z, before.inputs, vectors)
        last = slots.segments >= model.config.M_max
        target = torch.where(last, next_halt, torch.maximum(next_halt, next_continue)).sigmoid()
        ours = {
            "loss": loss,
            "z_H": slots.z_H,
            "z_L": slots.z_L,
            "logits": logits,
            "q_halt_logits": q_halt,
            "q_continue_logits": q_continue,
            "target_q_continue": target,
            "steps": slots.segments,
            "halted": slots.halted,
            "metric.steps": metrics["segments"],
            "grad.puzzle_emb.local": puzzle_vectors.grad,
        }
        ours |= {f"metric.{name}": value for name, value in metrics.items() if name != "segments"}
        ours |= {f"grad.{name_of(name)}": p.grad for name, p in model.named_parameters()}
        assert expected.keys() <= ours.keys()
        assert {name for name in ours if name.startswith("grad.model.")} <= expected.keys()
        for name, value in expected.items():
            close(ours[name], value, of_gradient if name.startswith("grad.") else of_output)


def test_hrm_is_the_published_one(published):
    model, arrays, config, _, tolerances = published
    compare(model, arrays, config["halt_exploration_prob"], tolerances, published_name)


def test_config_is_inferred_from_the_shapes(published):
    model, _, config, _, _ = published
    for name in (
        "vocab_size",
        "hidden_size",
        "H_layers",
        "L_layers",
        "puzzle_emb_ndim",
        "seq_len",
        "expansion",
    ):
        assert getattr(model.config, name) == config[name]
    assert model.config.positions == config["pos_encodings"]


def test_published_layout_round_trip(published):
    model, _, _, weights, _ = published
    written = to_published(model)
    assert written.keys() == weights.keys()
    assert all(torch.equal(written[name], weights[name]) for name in weights)
    ours = {name: getattr(model.config, name) for name in ("num_heads", "seq_len", "dtype")}
    again = from_published({f"_orig_mod.{name}": tensor for name, tensor in written.items()}, **ours)
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), model.state_dict().values()))


def test_trm_is_the_official_one(precision):
    precision(torch.float64)
    arrays, config, sizes = read(FOLDER / "reference_trm.npz")
    sizes |= {name: config[name] for name in ("vocab_size", "hidden_size", "L_layers", "puzzle_emb_ndim")}
    sizes["num_puzzles"] = config["num_puzzle_identifiers"]
    model = TRM(HRMConfig(model="trm", halting="bce", **sizes))

    def official(name):
        return published_name(name.replace("H.blocks", "L.blocks"))  # one network in both roles

    weights = {name: torch.from_numpy(arrays[f"w.{official(name)}"]) for name in model.state_dict()}
    model.load_state_dict(weights)
    compare(model, arrays, 0.0, TOLERANCES[torch.float64], official)

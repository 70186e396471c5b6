"""The models in extras/baselines.py: what each computes, how many parameters it has, and that the loop trains
them. Compared in float64, where rounding stays far below the tolerance on any CPU."""

import csv

import pytest
import torch

import train
from extras.baselines import MODELS
from hrm import rms_norm, solve
from puzzles.errors import UserError
from tests import models
from tests.models import INPUTS, ONE_PASS
from tests.runs import error_of, read_json
from training.checkpoints import load_model
from training.options import OPTIONS

VECTORS = torch.zeros(2, 0)


def make(name, **sizes):
    return models.make(name, **{"puzzle_emb_ndim": 0, "dtype": "float64", **sizes})


def begin(model):
    """What a segment begins with: z_H, z_L, x̃, and the rotary tables."""
    return *model.initial_state(2), model.input_network(INPUTS, VECTORS), (model.cos, model.sin)


def think(model):
    """One segment -> z_H and the logits."""
    (z_H, _), logits, _, _ = model(model.initial_state(2), INPUTS, VECTORS)
    return z_H, logits


def test_every_name_has_a_class():
    assert ("hrm", *MODELS) == OPTIONS["model"].metadata["choices"]


def test_parameters():
    """Recurrent and Transformer are as large as HRM; TRM saves one of two equal modules."""
    hrm, recurrent, transformer, trm = [sum(p.numel() for p in make(name, **ONE_PASS).parameters())
                                        for name in ("hrm", "recurrent", "transformer", "trm")]
    assert recurrent == transformer == hrm
    assert trm == hrm - sum(p.numel() for p in make("hrm").L.parameters())


def test_recurrent_applies_one_module_N_times_T_times():
    model = make("recurrent", H_cycles=2, L_cycles=3)
    z, _, x, rope = begin(model)
    for _ in range(6):
        z = model.H(z, x, rope)
    z_H, logits = think(model)
    torch.testing.assert_close(z_H, z.detach())
    torch.testing.assert_close(logits, model.head(z))


def test_transformer_is_one_pass():
    model = make("transformer")
    z, _, x, rope = begin(model)
    h = z + x
    for block in model.H.blocks:
        h = block(h, rope)
    torch.testing.assert_close(think(model)[1], model.head(h))
    assert solve(model, INPUTS).segments.tolist() == [1, 1]
    with pytest.raises(UserError, match="H_cycles is 2; a Transformer predicts in one pass"):
        MODELS["transformer"](make("hrm", M_max=1).config)


def test_prenorm_by_hand():
    """h ← h + attention(norm(h)), h ← h + mlp(norm(h)), a last norm before the heads; the sum grows."""
    model = make("prenorm")
    z, _, x, rope = begin(model)
    h = z + x
    for block in model.H.blocks:
        h = h + block.attention(rms_norm(h, 1e-5), rope)
        h = h + block.mlp(rms_norm(h, 1e-5))
    torch.testing.assert_close(think(model)[1], model.head(rms_norm(h, 1e-5)))
    assert h.square().mean() > 1.5


@pytest.mark.parametrize("name, steps", [("hrm", 1), ("hrm", 2), ("hrm", 3), ("bptt", 6), ("trm", 3)])
def test_gradient_of_the_last_steps(name, steps):
    """The last L-updates, and the H-updates among them, carry gradient: against a loop that detaches by hand.
    TRM has one network, and the gradient of its whole last cycle."""
    model = make(name, H_cycles=2, L_cycles=3)
    if name == "hrm":
        model.gradient_steps = steps
    assert (model.H is model.L) == (name == "trm")
    z_H, z_L, x, rope = begin(model)
    for i in range(1, 7):
        constant = i <= 6 - steps
        z_L = model.L(z_L, z_H + x, rope)
        z_L = z_L.detach() if constant else z_L
        if i % 3 == 0:
            z_H = model.H(z_H, z_L, rope)
            z_H = z_H.detach() if constant else z_H
    weights = [*{*model.H.parameters(), *model.L.parameters()}]
    expected = torch.autograd.grad(model.head(z_H).square().sum(), weights)
    found = torch.autograd.grad(think(model)[1].square().sum(), weights)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", MODELS)
def test_the_loop_trains_saves_and_evaluates(name, here, capsys):
    """Thirty steps on 4x4 Sudoku lower the loss, and the checkpoint knows which model it holds."""
    options = ("--task sudoku --size 4 --hidden-size 16 --num-heads 1 --steps 30 --batch-size 32 --warmup 5 "
               "--train-size 64 --val-size 32 --test-size 32 --eval-every 30 --lr 5e-3 --M-max 2 --out run")
    if name in ("transformer", "prenorm"):
        options += " --M-max 1"
    assert train.main([*options.split(), "--model", name]) == 0
    rows = list(csv.DictReader(open("run/metrics.csv")))
    assert float(rows[-1]["loss"]) < 0.9 * float(rows[0]["loss"])
    assert isinstance(load_model("run/best.pt")[0], MODELS[name])
    assert read_json("run/eval.json")["n"] == 32
    assert f"trained with {name}" in error_of(capsys, "--eval", "run/best.pt", "--model", "hrm")

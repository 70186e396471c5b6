"""The models in extras/baselines.py: what each computes, how many parameters it has, and that the loop trains
them."""

import json

import pytest
import torch

import train
from extras.baselines import MODELS
from hrm import rms_norm, CHOICES, HRMConfig, solve
from training.checkpoints import make_model
from training.files import UserError

SIZES = dict(
    vocab_size=5,
    seq_len=6,
    hidden_size=16,
    num_heads=2,
    H_layers=1,
    L_layers=1,
    inner_multiple=8,
    puzzle_emb_ndim=0,
    dtype="float32",
)
INPUTS = torch.tensor([[1, 2, 3, 4, 1, 2], [4, 3, 2, 1, 4, 3]])


def make(model, **sizes):
    torch.manual_seed(0)
    return make_model(HRMConfig(**{**SIZES, "model": model, **sizes}))


def gradient(model, weights, gradient_steps=None):
    _, logits, _, _ = model(model.initial_state(2), INPUTS, gradient_steps=gradient_steps)
    return torch.autograd.grad(logits.square().sum(), weights)


def test_every_name_has_a_class():
    assert ("hrm", *MODELS) == CHOICES["model"]


def test_parameters():
    """Recurrent and Transformer are as large as HRM; TRM saves one of two equal modules."""
    count = {
        name: sum(p.numel() for p in make(name, **sizes).parameters())
        for name, sizes in (
            ("hrm", {}),
            ("recurrent", {}),
            ("trm", {}),
            ("transformer", {"H_cycles": 1, "L_cycles": 1, "M_max": 1}),
        )
    }
    module = sum(p.numel() for p in make("hrm").L.parameters())
    assert count["recurrent"] == count["transformer"] == count["hrm"]
    assert count["trm"] == count["hrm"] - module


def test_recurrent_applies_one_module_N_times_T_times():
    model = make("recurrent", H_cycles=2, L_cycles=3)
    x, z = model.input_network(INPUTS, None), model.initial_state(2)[0]
    for _ in range(6):
        z = model.H(z, x, (model.cos, model.sin))
    (z_H, _), logits, _, _ = model(model.initial_state(2), INPUTS)
    torch.testing.assert_close(z_H, z)
    torch.testing.assert_close(logits, model.head(z))


def test_transformer_is_one_pass():
    model = make("transformer", H_cycles=1, L_cycles=1, M_max=1)
    _, logits, _, _ = model(model.initial_state(2), INPUTS)
    h = model.initial_state(2)[0] + model.input_network(INPUTS, None)
    for block in model.H.blocks:
        h = block(h, (model.cos, model.sin))
    torch.testing.assert_close(logits, model.head(h))
    assert solve(model, INPUTS).segments.tolist() == [1, 1]
    with pytest.raises(UserError, match="M_max is 4; a Transformer predicts in one pass"):
        make("transformer", H_cycles=1, L_cycles=1, M_max=4)


def test_prenorm_by_hand():
    """h ← h + attention(norm(h)), h ← h + mlp(norm(h)), a last norm before the heads; the sum grows."""
    model = make("prenorm", H_cycles=1, L_cycles=1, M_max=1)
    h = model.initial_state(2)[0] + model.input_network(INPUTS, None)
    for block in model.H.blocks:
        h = h + block.attention(rms_norm(h, 1e-5), (model.cos, model.sin))
        h = h + block.mlp(rms_norm(h, 1e-5))
    _, logits, _, _ = model(model.initial_state(2), INPUTS)
    torch.testing.assert_close(logits, model.head(rms_norm(h, 1e-5)))
    assert h.square().mean() > 1.5


def test_trm_uses_one_network_and_the_gradient_of_the_last_cycle():
    model = make("trm", H_cycles=2, L_cycles=3)
    assert model.H is model.L
    rope, (y, z) = (model.cos, model.sin), model.initial_state(2)
    x = model.input_network(INPUTS, None)
    with torch.no_grad():
        for _ in range(3):
            z = model.L(z, y + x, rope)
        y = model.L(y, z, rope)
    for _ in range(3):
        z = model.L(z, y + x, rope)
    y = model.L(y, z, rope)
    weights = list(model.L.parameters())
    expected = torch.autograd.grad(model.head(y).square().sum(), weights)
    torch.testing.assert_close(gradient(model, weights), expected)
    assert (gradient(model, weights, gradient_steps=1)[0] - expected[0]).abs().max() > 1e-4


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_k_step_gradient_of_hrm(k):
    """The last k L-updates, and the H-updates among them, carry gradient: against a loop that detaches by
    hand."""
    model = make("hrm", H_cycles=2, L_cycles=3)
    rope, (z_H, z_L) = (model.cos, model.sin), model.initial_state(2)
    x = model.input_network(INPUTS, None)
    for i in range(1, 7):
        constant = i <= 6 - k
        z_L = model.L(z_L, z_H + x, rope)
        z_L = z_L.detach() if constant else z_L
        if i % 3 == 0:
            z_H = model.H(z_H, z_L, rope)
            z_H = z_H.detach() if constant else z_H
    weights = [*model.H.parameters(), *model.L.parameters()]
    expected = torch.autograd.grad(model.head(z_H).square().sum(), weights)
    torch.testing.assert_close(gradient(model, weights, gradient_steps=k), expected)


@pytest.mark.parametrize("model", ["recurrent", "transformer", "prenorm", "trm"])
def test_the_loop_trains_saves_and_evaluates(model, tmp_path, capsys):
    """Thirty steps on 4x4 Sudoku lower the loss, and the checkpoint knows which model it holds."""
    out = tmp_path / "run"
    options = (
        f"--task sudoku --size 4 --model {model} --hidden-size 16 --num-heads 1 --steps 30 --batch-size 32 "
        f"--warmup 5 --train-size 64 --val-size 32 --test-size 32 --eval-every 30 --log-every 5 --lr 5e-3 "
        f"--M-max {1 if model in ('transformer', 'prenorm') else 2}"
    )
    assert train.main([*options.split(), "--out", str(out), "--device", "cpu"]) == 0
    rows = (out / "metrics.csv").read_text().splitlines()
    loss = [float(row.split(",")[rows[0].split(",").index("loss")]) for row in rows[1:]]
    assert loss[-1] < 0.8 * loss[0]
    assert json.loads((out / "config.json").read_text())["model"]["model"] == model
    assert train.main(["--eval", str(out / "best.pt"), "--model", "hrm", "--device", "cpu"]) == 2
    assert (
        f"model hrm does not fit {out / 'best.pt'}, which was trained with {model}" in capsys.readouterr().err
    )

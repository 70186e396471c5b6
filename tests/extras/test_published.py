"""The authors' checkpoints: what goes and comes back answers as before, what they cannot say is refused."""

import pytest
import torch

from extras.published import from_published, to_published
from hrm import HRMConfig, solve
from puzzles.errors import UserError
from training.checkpoints import load_model, make_model

SIZES = dict(
    vocab_size=6,
    seq_len=16,
    hidden_size=32,
    num_heads=4,
    H_layers=2,
    L_layers=1,
    puzzle_emb_ndim=32,
    num_puzzles=3,
    dtype="float32",
)
TOLD = dict(num_heads=4, seq_len=16, dtype="float32")


def make(name="hrm", **changes):
    torch.manual_seed(0)
    model = make_model(name, HRMConfig(**{**SIZES, **changes}))
    torch.nn.init.normal_(model.q_head.weight)
    torch.nn.init.normal_(model.puzzle_emb)
    return model


def assert_same(model, again):
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    inputs = torch.randint(6, (2, 16))
    q_halt = solve(model, inputs).q_halt
    assert torch.equal(q_halt, solve(again, inputs).q_halt)


@pytest.mark.parametrize("changes", [
    {},
    {"positions": "learned"},
    {"puzzle_emb_ndim": 0, "num_puzzles": 1},
    {"puzzle_emb_ndim": 40},
    {"expansion": 30.0},
])
def test_there_and_back(changes):
    model = make(**changes)
    assert_same(model, from_published(to_published(model), **TOLD))


@pytest.mark.parametrize("changes", [{"positions": "rope2d"}, {"rope_base": 10.0}])
def test_what_their_format_cannot_say_is_refused(changes):
    with pytest.raises(ValueError, match="rope with base 10000, or learned positions, not"):
        to_published(make(**changes))


@pytest.mark.parametrize("wrapping", ["", "_orig_mod.", "module.", "module._orig_mod."])
def test_load_model_reads_what_is_wrapped(tmp_path, wrapping):
    path = tmp_path / "theirs.pt"
    weights = {wrapping + name: tensor for name, tensor in to_published(make()).items()}
    for content in (weights, {"model_state_dict": weights, "step": 5}):
        torch.save(content, path)
        model, task, options = load_model(path, "sudoku", {"size": 4}, num_heads=4)
        assert_same(make(), model)
        assert options == {}
    with pytest.raises(UserError, match="pass --num-heads"):
        load_model(path, "sudoku", {"size": 4})
    with pytest.raises(UserError, match="reads 81 tokens out of 6, but sudoku of size 9 has 81 out of 11"):
        load_model(path, "sudoku", {"size": 9}, num_heads=4)


def test_bfloat16_weights_are_read():
    weights = {name: tensor.bfloat16() for name, tensor in to_published(make()).items()}
    again = from_published(weights, **TOLD)
    assert torch.equal(again.head.weight, make().head.weight.bfloat16().float())


def test_the_official_trm_has_one_module_for_both_roles():
    model = make("trm", H_layers=1)
    weights = to_published(model)
    for name in [name for name in weights if "H_level" in name]:
        del weights[name]
    assert_same(model, from_published(weights, model="trm", **TOLD))
    with pytest.raises(ValueError, match="pass --model trm"):
        from_published(weights, **TOLD)


def test_what_does_not_fit_is_named():
    weights = to_published(make())
    with pytest.raises(ValueError, match="hidden_size=64 was asked for, but the shapes say 32"):
        from_published(weights, hidden_size=64, **TOLD)
    del weights["model.inner.lm_head.weight"]
    weights["model.inner.L_init"] = torch.zeros(3)
    with pytest.raises(ValueError, match='Missing.*"head.weight".*size mismatch for L_init'):
        from_published(weights, **TOLD)
    with pytest.raises(ValueError, match="no checkpoint of the authors' HRM or TRM: first comes weight"):
        from_published({"weight": torch.zeros(3)})

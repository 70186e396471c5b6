"""extras/bench.py counts what it says it counts; training compiles once and computes the same."""

import re
import shutil

import pytest
import torch

import train
from extras import bench
from hrm import CHOICES, HRMConfig, Linear, Slots, act_step, swiglu_size
from training.checkpoints import make_model
from training.optimisers import AdamAtan2
from training.options import exit_status

MODELS, ONE_PASS = CHOICES["model"], ("transformer", "prenorm")


def make(model="hrm", halting="q", **changes):
    """A small model and a batch for it; sizes that all differ, so that none can be taken for another."""
    sizes = dict(
        vocab_size=7,
        seq_len=12,
        hidden_size=24,
        num_heads=3,
        H_layers=1,
        L_layers=2,
        H_cycles=2,
        L_cycles=3,
        inner_multiple=4,
        puzzle_emb_ndim=20,
        M_max=3,
        exploration=0,
        dtype="float32",
    )
    if model in ONE_PASS:
        sizes.update(H_cycles=1, L_cycles=1, M_max=1)
    config = HRMConfig(model=model, halting=halting, **{**sizes, **changes})
    torch.manual_seed(0)
    model, generator = make_model(config), torch.Generator().manual_seed(0)
    inputs, labels = torch.randint(1, config.vocab_size, (2, 5, config.seq_len), generator=generator)
    return model, (inputs, labels, torch.zeros(5, dtype=torch.long))


def step(model, slots, batch):
    slots, loss, _, _ = act_step(model, slots, batch, model.config.M_max)
    loss.backward()
    return slots, loss.item()


# --------------------------------------------------------------------------------------------------- counting


def layers(config):
    """Layers that a segment computes, and how many of them carry gradient."""
    N, T, H, L = config.H_cycles, config.L_cycles, config.H_layers, config.L_layers
    return {
        "hrm": (N * T * L + N * H, L + H),
        "trm": (N * (T + 1) * L, (T + 1) * L),
        "recurrent": (N * T * (H + L), H + L),
        "transformer": (H + L, H + L),
        "prenorm": (H + L, H + L),
    }[config.model]


@pytest.mark.parametrize("halting", ["q", "bce"])
@pytest.mark.parametrize("name", MODELS)
def test_flops_by_hand(name, halting):
    """A product of (m, k) and (k, n) is 2mkn; backward takes two products for each of forward; the Q-target
    of the paper looks one segment ahead, without gradient."""
    config = make(name, halting)[0].config
    D, tokens = config.hidden_size, config.puzzle_positions + config.seq_len
    inner = swiglu_size(D, config.expansion, config.inner_multiple)
    layer = tokens * 2 * (4 * D * D + 3 * D * inner + 2 * D * tokens)
    heads = 2 * D * (tokens * config.vocab_size + 2)
    forward = 2 if halting == "q" and config.M_max > 1 else 1
    computed, with_gradient = layers(config)
    expected = (forward * computed + 2 * with_gradient) * layer + (forward + 2) * heads
    assert bench.count_flops(config, 5) == 5 * expected


def test_the_published_configuration_is_27_TFLOP_per_step():
    assert bench.count_flops(HRMConfig(), 768) == pytest.approx(27e12, rel=0.05)


# -------------------------------------------------------------------------------------------------- compiling


@pytest.mark.parametrize("name, halting", [*((name, "q") for name in MODELS), ("hrm", "bce")])
def test_every_model_compiles_whole_and_only_once(name, halting):
    """No graph break (`fullgraph`), and no new graph as slots halt and take new puzzles."""
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    cycles = {} if name in ONE_PASS else {"H_cycles": 1, "L_cycles": 2}  # fewer: they take long to trace
    model, batch = make(name, halting, L_layers=1, **cycles)
    counter, slots, graphs, halted = CompileCounter(), Slots.empty(model, *batch), [], set()
    model.compile(backend=counter, fullgraph=True)
    for i in range(6):
        with torch.no_grad():
            model.q_head.bias[0] = 1.0 if i == 3 else -6.0  # in the fourth step all halt early
        slots, _ = step(model, slots, batch)
        graphs.append(counter.frame_count)
        halted.add(int(slots.halted.sum()))
    assert halted == ({5} if name in ONE_PASS else {0, 5})
    assert len(set(graphs)) == 1
    looks_ahead = halting == "q" and name not in ONE_PASS  # in a graph of its own, without gradient
    assert graphs[0] == 1 + looks_ahead


def test_a_compiled_segment_casts_every_weight_once():
    """Eager bfloat16 casts L's weights at each of its N·T updates; one graph for the whole segment shares the
    casts."""
    from functorch.compile import make_boxed_func, min_cut_rematerialization_partition
    from torch._dynamo.backends.common import aot_autograd

    torch._dynamo.reset()
    casts = []

    def forward_compiler(module, example_inputs):
        casts.extend(
            node.args[0].name
            for node in module.graph.nodes
            if node.target is torch.ops.aten._to_copy.default
            and node.args[0].op == "placeholder"
            and node.meta["val"].dtype == torch.bfloat16
        )
        return make_boxed_func(module.forward)

    model, batch = make(halting="bce", dtype="bfloat16", H_cycles=1, L_cycles=2, L_layers=1)
    model.compile(
        fullgraph=True,
        backend=aot_autograd(
            fw_compiler=forward_compiler,
            bw_compiler=lambda module, _: make_boxed_func(module.forward),
            partition_fn=min_cut_rematerialization_partition,
        ),
    )
    step(model, Slots.empty(model, *batch), batch)
    assert len(casts) == len(set(casts)) >= sum(isinstance(part, Linear) for part in model.modules())


@pytest.mark.parametrize(
    "dtype, backend, tolerance",
    [
        # the C++ compiler itself, where there is one: about 20 s, and 5 when its cache knows the code
        ("float32", "inductor" if shutil.which("g++") else "aot_eager", 1e-5),
        ("bfloat16", "aot_eager", 2e-2),
    ],
)
def test_compiled_training_has_the_same_losses(dtype, backend, tolerance):
    torch._dynamo.reset()
    losses = []
    for compiled in (False, True):
        model, batch = make(dtype=dtype, L_layers=1, H_cycles=1, L_cycles=1, positions="learned")
        optimizer = AdamAtan2(model.parameters(), lr=1e-3, weight_decay=0.1)
        slots = Slots.empty(model, *batch)
        if compiled:
            model.compile(backend=backend, fullgraph=True)
        for _ in range(8):
            slots, loss = step(model, slots, batch)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss)
    assert losses[8:] == pytest.approx(losses[:8], rel=tolerance)
    assert losses[7] < 0.9 * losses[0]


@pytest.mark.parametrize("resumed", [False, True])
def test_training_begins_before_it_compiles(tmp_path, monkeypatch, capsys, resumed):
    """Where the compiled steps begin depends on the step alone, so that a resumed run computes the same."""
    compiled, steps = [], []
    monkeypatch.setattr(train, "compile_model", lambda model, many: compiled.append(len(steps)))
    original = train.update
    monkeypatch.setattr(train, "update", lambda *args: (steps.append(1), original(*args)))
    monkeypatch.chdir(tmp_path)
    sizes = (
        "--hidden-size 8 --num-heads 1 --H-layers 1 --L-layers 1 --puzzle-emb-ndim 0 --size 4 --task sudoku "
        "--batch-size 2 --train-size 20 --val-size 3 --test-size 3 --save-every 1 --device cpu --compile"
    ).split()
    if resumed:
        stop_at = train.EAGER_STEPS + 2
        monkeypatch.setattr(
            train.Log,
            "read",
            lambda log, stop, *args, read=train.Log.read: (read(log, stop, *args), log.run.step == stop_at)[
                1
            ],
        )
        assert train.main([*sizes, "--steps", "14", "--out", "run"]) == 130
        compiled.clear(), steps.clear()
        assert train.main(["--resume", "run"]) == 0
        assert compiled == [0] and len(steps) == 14 - stop_at
    else:
        assert train.main([*sizes, "--steps", "14", "--out", "run"]) == 0
        assert compiled == [train.EAGER_STEPS] and len(steps) == 14


# ------------------------------------------------------------ what it prints


def test_a_run_of_it(capsys):
    arguments = (
        "--rounds 2 --hidden-size 16 --num-heads 1 --H-layers 1 --L-layers 1 --size 4 --task sudoku "
        "--batch-size 8 --train-size 20 --device cpu --preset small --no-compile"
    )
    assert exit_status(bench.main, arguments.split()) == 0
    printed = capsys.readouterr().out
    flops, product = (
        float(x) for x in re.search(r"a step is ([\d.]+) GFLOP; .* at ([\d.]+) GFLOP/s", printed).groups()
    )
    ms, sequences, tokens, used = (
        float(x)
        for x in re.search(
            r"eager +([\d.]+) ms/step +([\d.]+) sequences/s +(\d+) tokens/s +([\d.]+)%", printed
        ).groups()
    )
    assert sequences == pytest.approx(8 / (ms / 1e3), rel=0.05)
    assert tokens == pytest.approx(20 * sequences, rel=0.05)
    assert flops > 0 and product > 0 and 0 < used < 100
    assert "three steps, eager" in printed and "aten::" in printed


@pytest.mark.parametrize(
    "wrong",
    [
        "--rounds 1",
        "--steeps 3",
        "--task nothing",
        "--model transformer --M-max 8",
    ],
)
def test_mistakes_are_one_line(wrong, capsys):
    assert exit_status(bench.main, [*wrong.split(), "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line and "making" not in line]
    assert len(lines) == 1 and lines[0].startswith("error: ") and "train.py --help" not in error

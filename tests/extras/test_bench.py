"""extras/bench.py counts what it says it counts; every model compiles once, and then computes the same."""

import re
import shutil

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounter

from extras import bench
from hrm import Slots, act_step, swiglu_size
from puzzles.errors import exit_status
from tests.models import make
from training import speed
from training.optimisers import AdamAtan2
from training.options import OPTIONS, parse

MODELS = OPTIONS["model"].metadata["choices"]
ONE_PASS = ("transformer", "prenorm")
SMALL = ("--task sudoku --size 4 --hidden-size 24 --num-heads 2 --H-layers 1 --L-layers 2 --H-cycles 2 "
         "--L-cycles 3 --batch-size 6 --accumulate 2 --optimizer adam_atan2 --no-compile").split()


def test_flops_by_hand_and_the_line_of_the_log(monkeypatch):
    """A product of (m, k) and (k, n) is 2mkn; backward takes two products for each of forward; the Q-target
    of the paper looks one segment ahead, without gradient."""
    run, _, flops = bench.prepare(parse([*SMALL, "--halting", "q"], ""), compiled=False)
    D = 24
    tokens = 1 + 16
    inner = swiglu_size(D, 4.0, run.config.inner_multiple)
    layer = tokens * 2 * (4 * D * D + 3 * D * inner + 2 * D * tokens)
    heads = 2 * D * (tokens * run.config.vocab_size + 2)
    computed = 6 * 2 + 2 * 1  # layers: six updates of L, two of H
    assert flops == 6 * ((2 * computed + 2 * 3) * layer + (2 + 2) * heads)

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Abacus")
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 3 * 2**30)
    monkeypatch.setattr(speed, "timed", lambda work: 1e-3)
    share = f"{300 * flops / 6 / (2 * 64**3 / 1e-3):.0%}"  # of 300 slots a second
    line = speed.on_gpus(run, 300.0, n=64)
    assert line == f"1 x Abacus: 300 slots/s, {share} of the rate of a large product, 3.0 GiB in use"


def test_a_run_of_it(capsys):
    assert exit_status(bench.main, [*SMALL, "--rounds", "2", "--compare"]) == 0
    printed = capsys.readouterr().out
    found = re.search(r"step +(\S+) ms/step +(\S+) sequences/s +(\S+)%", printed).groups()
    ms, sequences, used = map(float, found)
    assert sequences == pytest.approx(6 / (ms / 1e3), rel=0.1)
    assert 0 < used < 100
    assert "not compiled" in printed and "compiled is" in printed and "aten::" in printed


def test_whole_runs_are_timed(capsys):
    sizes = "--steps 4 --eval-every 2 --train-size 20 --val-size 5 --test-size 6"
    run = [*SMALL, *sizes.split()]
    assert exit_status(bench.main, ["--to", "1e-9", "--seeds", "3", *run]) == 0
    assert exit_status(bench.main, ["--to", "-1", "--seeds", "4", *run]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:7] for line in lines] == ["seed 3:", "seed 4:"]
    for line, target in zip(lines, ("1e-09", "-1.0")):
        reached, whole = re.search(rf"{target} of .*: (never|\S+ s); whole run (\S+) s, 0.000", line).groups()
        assert (reached == "never") == (target == "1e-09")
        assert reached == "never" or 0 < float(reached[:-2]) <= float(whole)


def small(name="hrm", **sizes):
    """A model and a batch for it."""
    model = make(name, H_cycles=1, L_cycles=1, puzzle_emb_ndim=20, exploration=0.0, **sizes)
    inputs, labels = torch.randint(1, 5, (2, 5, 6))
    return model, (inputs, labels, inputs[:, 0] * 0)


def step(model, slots, batch):
    slots, loss, _, _ = act_step(model, slots, batch, model.config.M_max)
    loss.backward()
    return slots, loss.item()


@pytest.mark.parametrize("name, halting", [*((name, "q") for name in MODELS), ("hrm", "bce")])
def test_every_model_compiles_whole_and_only_once(name, halting):
    """No graph break (`fullgraph`), and no new graph as slots halt and take new puzzles."""
    torch._dynamo.reset()
    model, batch = small(name, halting=halting)
    counter = CompileCounter()
    model.compile(backend=counter, fullgraph=True)
    slots = Slots.empty(model, *batch)
    graphs = []
    halted = set()
    for i in range(6):
        with torch.no_grad():
            model.q_head.bias[0] = 1.0 if i == 3 else -6.0  # in the fourth step all halt early
        slots, _ = step(model, slots, batch)
        graphs.append(counter.frame_count)
        halted.add(int(slots.halted.sum()))
    looks_ahead = halting == "q" and name not in ONE_PASS  # in a graph of its own, without gradient
    assert graphs == [1 + looks_ahead] * 6
    assert halted == ({5} if name in ONE_PASS else {0, 5})


def losses(nudge=0.0, **how):
    """Of eight steps; the weights are first moved by `nudge` of their size, and `how` it is compiled."""
    torch._dynamo.reset()
    model, batch = small(halting="q")
    model.q_head.bias.data[0] = -6.0  # to halt and to go on are not equally good: no rounding decides
    for weights in model.parameters():
        weights.data *= 1 + nudge * torch.randn_like(weights)
    if how:
        model.compile(**how)
    optimizer = AdamAtan2(model.parameters(), lr=1e-3, weight_decay=0.1)
    slots = Slots.empty(model, *batch)
    found = []
    for _ in range(8):
        slots, loss = step(model, slots, batch)
        optimizer.step()
        optimizer.zero_grad()
        found.append(loss)
    return np.array(found)


def test_compiled_training_has_the_same_losses(monkeypatch):
    """They differ by less than what a hundred roundings of every weight grow to."""
    # As train.py does:
    monkeypatch.setattr(torch.compiler.config, "cache_key_tag", torch.backends.cpu.get_cpu_capability())
    plain = losses()
    grown = np.abs(losses(nudge=100 * 2**-23) - plain).max()
    compiled = losses(fullgraph=True, backend="inductor" if shutil.which("g++") else "aot_eager")
    assert np.abs(compiled - plain).max() < grown < 1e-3
    assert plain[7] < 0.95 * plain[0]

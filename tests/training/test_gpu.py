"""What a GPU would do, without one: a training step of the paper's size on tensors that have no content. On
"meta" its memory is counted; a CUDA build of PyTorch makes tensors that say they are on a GPU. An operation
that makes the CPU wait for a figure is refused on both, one between two devices on the latter."""

import weakref
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

import train
from analysis.dimensions import condense
from analysis.states import intermediate_predictions, record, residuals, rows
from data import load_task
from extras import arc_vote, vote
from hrm import HRMConfig, Solution, solve
from puzzles.split import Split
from training.options import Options
from training.processes import Processes
from training.run import Run


def make_run(device, **options):
    """A run with 27M parameters in bfloat16, its task, three puzzles, and what a step offers."""
    task = load_task("maze", size=9)
    cells = np.ones((3, task.seq_len), np.uint8)
    split = Split(cells, cells, np.arange(3))
    processes = Processes()
    processes.device = torch.device(device)
    with processes.device:
        run = Run(Options(**options), HRMConfig(6, 81, num_puzzles=4), task, split, processes)
    return run, task, split


class Memory(TorchDispatchMode):
    """Counts the bytes of the tensors that are made and not yet let go."""
    now = most = 0

    def __init__(self):
        super().__init__()
        self.known = WeakIdKeyDictionary()

    def add(self, size):
        self.now += size
        self.most = max(self.most, self.now)

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        for storage in [each.untyped_storage() for each in tree_leaves(result) if torch.is_tensor(each)]:
            if storage not in self.known:
                self.known[storage] = True
                self.add(storage.nbytes())
                weakref.finalize(storage, self.add, -storage.nbytes())
        return result


def flash(q, k, v):
    """What a GPU computes attention with: no (P+S, P+S) scores are kept."""
    return torch.ops.aten._scaled_dot_product_flash_attention(q, k, v)[0]


def test_the_memory_of_an_update(monkeypatch):
    """Not compiled: 220 kB a token at most, of which backward needs 199, and the weights in bfloat16."""
    monkeypatch.setattr(F, "scaled_dot_product_attention", flash)
    run, task, split = make_run("meta", batch_size=64)
    offered = train.offer(run, task, split, 0)
    train.train_step(run, offered)  # makes the optimiser's moments
    with Memory() as memory:
        train.train_step(run, offered)
    assert memory.most == pytest.approx(64 * (81 + 1) * 220e3 + 27.3e6 * 2, rel=0.02)


@pytest.mark.parametrize("optimizer", ["adam_atan2", "muon"])
@pytest.mark.parametrize("name", ["meta", *["cuda"] * torch.backends.cuda.is_built()])
def test_every_path_of_a_run(name, optimizer, monkeypatch):
    """But for backward, as autograd's engine wants a real GPU; what `solve` answers is read as zeros."""
    mode = FakeTensorMode()
    there = mode if name == "cuda" else nullcontext()
    move = torch.Tensor.to
    act_step = train.act_step

    def to(tensor, *where, **how):
        if "cuda" in str(where) and not isinstance(tensor, FakeTensor):
            tensor = mode.from_tensor(tensor)
        with there:
            return move(tensor, *where, **how)

    def act_step_with_gradients(model, *offered):
        found = act_step(model, *offered)
        for leaf in (*model.parameters(), found[-1]):
            leaf.grad = torch.zeros_like(leaf)
        return found

    def solve_there(model, inputs, puzzle_ids, *limits):
        with there:
            asked = solve(model, inputs, puzzle_ids, 2, confidence=1)
        assert {each.device.type for each in vars(asked).values()} == {name}
        zeros = torch.zeros(inputs.shape, dtype=torch.long)
        return Solution(zeros, zeros[:, 0], zeros[:, 0].float())

    for module in (train, vote, arc_vote):
        monkeypatch.setattr(module, "solve", solve_there)
    monkeypatch.setattr(train, "act_step", act_step_with_gradients)
    monkeypatch.setattr(torch.nn.init, "trunc_normal_", lambda tensor, **how: tensor)
    monkeypatch.setattr(torch.nn.Module, "to", lambda model, device: model)  # where it was made
    monkeypatch.setattr(FakeTensorMode, "__deepcopy__", lambda mode, memo: mode, raising=False)
    monkeypatch.setattr(torch.Tensor, "to", to)
    for method in ("pin_memory", "cpu", "backward"):
        monkeypatch.setattr(torch.Tensor, method, lambda tensor: tensor)
    with there:
        run, task, split = make_run(name, optimizer=optimizer, ema=0.9, accumulate=2)
    for step in range(2):
        offered = train.offer(run, task, split, step)
        with there:
            train.train_step(run, offered)
    run.check_finite = run.check_replicas = lambda: None  # they read figures
    state = run.checkpoint()
    assert {each.device.type for each in tree_leaves([state["slots"], state["averaged"]])} == {name}

    assert train.evaluate([run.averaged], task, split)["n"] == 3
    assert len(vote.vote([run.model], task, split.inputs, split.puzzle_ids, 2).segments) == 3
    puzzle = SimpleNamespace(variants=np.arange(11)[None], first_id=1)
    pairs = [(puzzle, np.ones((3, 3), int), None)]
    arc_vote.predict(run.model, load_task("arc1", size=9), SimpleNamespace(pairs=pairs), 0, 1, run.processes)
    inputs, _, ids = train.to_tensors(split, run.processes.device)
    with there:
        trajectory = record(run.model, inputs, ids, 2)
        residuals(trajectory.z_H, trajectory.initial[0])
        intermediate_predictions(run.model, trajectory)
        condense(rows(trajectory.z_L, "tokens"))

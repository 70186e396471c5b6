"""Train or evaluate a Hierarchical Reasoning Model.

    python train.py --task maze                      # a laptop learns to solve mazes
    python train.py --resume runs/maze               # go on where a run was stopped
    python train.py --eval runs/maze/best.pt         # how good is it, on test puzzles it has never seen
    torchrun --nproc-per-node 8 train.py --task sudoku --data sapientinc/sudoku-extreme --train-size 1000

`train` below is the whole loop: every step offers a batch of puzzles to the ACT slots (hrm.py), each slot thinks for
one segment, and the weights are updated at once (deep supervision: paper, section 2). All that is random in a step is
a function of (seed, step), so that a run which is stopped and resumed, or split over more processes, computes the same.
"""

import copy
import json
import math
import os
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from baselines import make_model
from data import UserError, load_splits, load_task
from evaluate import build, draw_curves, evaluate, fitting, load_model, read_checkpoint, report, to_tensors, write
from hrm import HRMConfig, Slots, act_step, draw_M_min
from options import OPTIONS, SIZES, Options, check, check_ranges, choose, choose_device, compiles, parse, task_keywords
from progress import Log, signals
from vote import check_vote

EAGER_STEPS = 10  # of a run, before torch.compile: its first figures come at once, and any mistake in the options too


# ------------------------------------------------------------------------------------------------- optimisers


class AdamAtan2(torch.optim.Optimizer):
    """Adam with atan2 in place of the division (Everett et al. 2024): no ε, and every update is bounded by lr·π/2.

    p ← p·(1 − lr·wd); p ← p − lr/(1−β₁ᵗ) · atan2(m, √(v/(1−β₂ᵗ))). [≠] The paper that proposed it corrects the bias
    of m inside atan2; the published HRM code does it outside, as here.
    """

    def __init__(self, params, lr, weight_decay, betas=(0.9, 0.95)):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "betas": betas, "t": 0})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            group["t"] += 1
            (beta1, beta2), lr, t = group["betas"], group["lr"], group["t"]
            params = [p for p in group["params"] if p.grad is not None]
            grads = [p.grad for p in params]
            for p in params:
                if p not in self.state:
                    self.state[p] = {"m": torch.zeros_like(p), "v": torch.zeros_like(p)}
            m, v = ([self.state[p][name] for p in params] for name in ("m", "v"))
            torch._foreach_lerp_(m, grads, 1 - beta1)
            torch._foreach_mul_(v, beta2)
            torch._foreach_addcmul_(v, grads, grads, 1 - beta2)
            root = torch._foreach_div(v, 1 - beta2**t)
            torch._foreach_sqrt_(root)
            torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
            update = [torch.atan2(a, b) for a, b in zip(m, root)]
            torch._foreach_add_(params, update, alpha=-lr / (1 - beta1**t))


@torch.no_grad()
def sign_sgd_(table, ids, grads, lr, weight_decay):
    """Update in place the rows `ids` (B,) of a puzzle embedding table with their gradients (B, ndim), and no others.

    Gradients of equal ids are summed first: a puzzle takes one step however often the batch holds it.
    """
    rows, where = ids.unique(return_inverse=True)
    total = torch.zeros(len(rows), table.shape[1], dtype=grads.dtype, device=table.device).index_add_(0, where, grads)
    table[rows] = table[rows] * (1 - lr * weight_decay) - lr * total.sign()


def lr_scale(step, steps, options):
    """Learning rate at this step (from 0), as a fraction of its peak: linear warm-up, then constant or a cosine."""
    progress = min(1.0, max(0, step - options.warmup) / max(1, steps - options.warmup))
    cosine = options.lr_end + (1 - options.lr_end) * 0.5 * (1 + math.cos(math.pi * progress))
    return min(1.0, (step + 1) / max(1, options.warmup)) * cosine


def M_max_at(step, steps, M_max, grow):
    """The M_max of this step: 1, 2, 4, … in equal parts of the first `grow` of the run, then the full value.

    A small model that may think for long from the start spends its first minutes copying the input, and sees few
    new puzzles meanwhile; one that must answer at once does not.
    """
    doublings = math.ceil(math.log2(M_max))
    if not grow or step >= grow * steps:
        return M_max
    return min(M_max, 2 ** int(step / (grow * steps) * doublings))


# ------------------------------------------------------------------------------------------------------- data


def easier_share(recipe, step, steps, random):
    """How large a part of its blanks each puzzle may have filled in (B,), from uniform random numbers (B,)."""
    return (random < 0.5) if recipe == "mixed" else np.full(len(random), max(0.0, 1 - 2 * step / steps))


def offers(task, split, run, steps):
    """From run.step on: (step, M_max, micro-batches), each micro-batch (inputs, labels, puzzle_ids, M_min).

    A batch is drawn whole and then cut, so that the processes and micro-batches together see the same one however
    many they are; and it is made in a thread of its own, one step ahead of the model.
    """
    options, processes = run.options, run.processes

    def make(step):
        rng = np.random.default_rng([options.seed, step, 1])
        offer = task.offer(split, step, options, rng)
        if options.easier != "off":
            share = rng.random(len(offer)) * easier_share(options.easier, step, steps, rng.random(len(offer)))
            offer.inputs = task.easier(offer.inputs, offer.labels, share, rng)
        batch = to_tensors(offer, processes.device)
        M_max = M_max_at(step, steps, run.config.M_max, options.grow_M_max)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        M_min = draw_M_min(options.batch_size, M_max, run.config.exploration, generator)
        whole = (*batch, M_min.to(processes.device))
        return M_max, list(zip(*(processes.mine(tensor).chunk(options.accumulate) for tensor in whole)))

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(make, run.step)
        for step in range(run.step, steps):
            offer, ahead = ahead.result(), pool.submit(make, step + 1)
            yield step, *offer


# --------------------------------------------------------------------------------------------------- training


class Processes:
    """The processes that `torchrun` started (or this one alone), each with an equal share of the slots."""

    def __init__(self, device):
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        if device.type == "cuda":
            self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
            torch.cuda.set_device(self.device)
        else:
            self.device = device
        if self.world > 1:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")

    def mine(self, rows):
        """This process's part of a tensor (B, ...)."""
        return rows.chunk(self.world)[self.rank]

    def gather(self, rows):
        """The tensor (B, ...) of which every process holds a part."""
        if self.world == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.world)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def wait(self):
        if self.world > 1:
            dist.barrier()

    def sum_(self, tensors):
        """Replace tensors by their sum over the processes, in one message."""
        if self.world > 1:
            flat = torch.cat([tensor.flatten() for tensor in tensors])
            dist.all_reduce(flat)
            for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors])):
                tensor.copy_(total.view_as(tensor))


class Run:
    """Everything that changes in training, and so all that a checkpoint holds."""

    def __init__(self, options, config, task, split, processes):
        torch.manual_seed(options.seed)
        self.options, self.config, self.processes = options, config, processes
        self.task = {"name": task.name, **task.options}
        self.puzzles = zlib.crc32(split.inputs.tobytes())  # tells on --resume whether the data is still the same
        self.model = make_model(config).to(processes.device)
        # The average is evaluated in the model's place. It shares the puzzle embedding, which is large, and whose rows
        # are seldom in a batch: an average would lag behind.
        table = getattr(self.model, "puzzle_emb", None)
        self.averaged = copy.deepcopy(self.model, {id(table): table}) if options.ema else self.model
        self.optimizer = AdamAtan2(self.model.parameters(), options.lr, options.weight_decay)
        B = options.batch_size // processes.world // options.accumulate
        shape = [torch.zeros(B, *rest, dtype=torch.long, device=processes.device) for rest in ([task.seq_len],) * 2 + ([],)]
        self.slots = [Slots.empty(self.model, *shape) for _ in range(options.accumulate)]  # one per micro-batch
        self.step, self.best, self.seconds = 0, -1.0, 0.0

    def checkpoint(self):
        parts = [self.processes.gather(torch.cat(tensors)) for tensors in zip(*(vars(s).values() for s in self.slots))]
        return {**self.weights(), "model": self.model.state_dict(), "averaged": self.averaged.state_dict(),
                "optimizer": self.optimizer.state_dict(), "slots": parts, "best": self.best, "seconds": self.seconds}

    def weights(self):
        """What evaluation needs."""
        return {"averaged": self.averaged.state_dict(), "step": self.step, "options": asdict(self.options),
                "config": asdict(self.config), "task": self.task, "puzzles": self.puzzles}

    def restore(self, checkpoint):
        self.model.load_state_dict(checkpoint["model"])
        self.averaged.load_state_dict(checkpoint["averaged"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        mine = [self.processes.mine(tensor.to(self.processes.device)).chunk(len(self.slots))
                for tensor in checkpoint["slots"]]
        self.slots = [Slots(*tensors) for tensors in zip(*mine)]
        self.step, self.best, self.seconds = (checkpoint[name] for name in ("step", "best", "seconds"))


def save(path, content, processes):
    if processes.rank == 0:
        write(path, lambda temporary: torch.save(content, temporary))


def update(run, micro_batches, M_max, scale, log):
    """Deep supervision: one segment for every slot, one update of the weights. `scale`: of the learning rates."""
    options, model, processes = run.options, run.model, run.processes
    puzzle_ids, puzzle_grads = [], []
    for i, (*batch, M_min) in enumerate(micro_batches):
        run.slots[i], loss, metrics, puzzle_vectors = act_step(model, run.slots[i], batch, M_max, M_min)
        (loss / options.batch_size).backward()
        log.add(loss, metrics)
        if puzzle_vectors is not None:
            puzzle_ids.append(run.slots[i].puzzle_ids)
            puzzle_grads.append(puzzle_vectors.grad)
    processes.sum_([p.grad for p in model.parameters()])
    run.optimizer.param_groups[0]["lr"] = options.lr * scale
    run.optimizer.step()
    run.optimizer.zero_grad()
    if puzzle_grads:
        ids, grads = (processes.gather(torch.cat(parts)) for parts in (puzzle_ids, puzzle_grads))
        sign_sgd_(model.puzzle_emb, ids, grads, options.puzzle_lr * scale, options.puzzle_weight_decay)
    if options.ema:
        with torch.no_grad():
            torch._foreach_lerp_(list(run.averaged.parameters()), list(model.parameters()), 1 - options.ema)


def train(run, task, splits, out, steps, log, stop):
    """The loop, from run.step to `steps`; False if the event `stop` ended it early."""
    options, processes = run.options, run.processes
    compile_at = max(run.step, EAGER_STEPS) if compiles(options, steps, processes.device) else None
    for step, M_max, micro_batches in offers(task, splits["train"], run, steps):
        if step == compile_at:
            run.model.compile()
        scale = lr_scale(step, steps, options)
        update(run, micro_batches, M_max, scale, log)

        # To read a figure makes the CPU wait for the GPU, so the rest is not done at every step.
        run.step = step + 1
        evaluating, saving = (run.step == steps or run.step % every == 0
                              for every in (options.eval_every, options.save_every))
        if not (evaluating or saving or run.step % options.log_every == 0):
            continue
        interrupted = log.read(stop, scale, M_max)
        if evaluating and len(splits["val"]):
            with torch.compiler.set_stance("force_eager"):  # puzzles that halt change the batch: not to be compiled for
                result = evaluate(run.averaged, task, splits["val"], processes, halt=options.halt,
                                  confidence=options.confidence)
            log.validated(result)
            if result["exact"] >= run.best:
                run.best = result["exact"]
                save(out / "best.pt", run.weights(), processes)
        log.write_row()
        if evaluating or saving or interrupted:
            save(out / "last.pt", run.checkpoint(), processes)
        if interrupted and run.step < steps:
            return False
    return True


# ---------------------------------------------------------------------------------------------------- commands


def train_command(given, processes):
    """Begin a run, or go on with one, and evaluate what it found -> exit status."""
    checkpoint = None
    if "resume" in given:
        folder = Path(given["resume"])
        checkpoint = read_checkpoint(folder)
        if not {"slots", "options", "config", "task", "puzzles"} <= checkpoint.keys():
            raise UserError(f"{folder} is not the last.pt of a run and cannot be resumed; pass the folder of the run")
        out = folder if folder.is_dir() else folder.parent
        if Path(given.get("out", out)) != out:
            raise UserError(f"--out {given['out']} is not where the run is; leave it out, a run goes on in its folder")
        saved = {**checkpoint["options"], **checkpoint["config"]}
        for name, value in given.items():
            if name in SIZES or not OPTIONS[name].metadata["runtime"]:
                if value != saved.get(name):
                    raise UserError(f"--{name.replace('_', '-')} {value} differs from the {saved.get(name)} of the run in "
                                    f"{folder}; leave it out, or begin another run with --out")
            else:
                saved[name] = value
        with fitting(folder):
            options = Options(**{name: saved[name] for name in OPTIONS})
            task = load_task(**checkpoint["task"])
            config = HRMConfig(**checkpoint["config"])
    else:
        options, sizes = choose(given, processes)
        check(options, options.train_size or 10_000, processes)  # before the puzzles are made, which may take a while
        out = Path(options.out or f"runs/{options.task}")
        if (out / "last.pt").exists():
            raise UserError(f"{out} already holds a run; go on with it: --resume {out}, or begin another: --out FOLDER")
        task = load_task(options.task, options.data, **task_keywords(options))
        if not task.report:
            check_vote(task, options.votes or 1, options.noise, options.views, options.choose)
        if options.easier != "off" and task.blank is None:
            raise UserError(f"--easier {options.easier}: the task {task.name} has no blanks to fill in; leave it out")
        config = None
    splits = load_splits(task, options.data, options.train_size, options.val_size, options.test_size, options.seed,
                         progress=processes.rank == 0)
    if config is None:
        puzzles = max(split.num_puzzles for split in splits.values())
        config = build(HRMConfig, vocab_size=task.vocab_size, seq_len=task.seq_len, num_puzzles=puzzles, **sizes)
    steps = check(options, len(splits["train"]), processes)
    run = Run(options, config, task, splits["train"], processes)
    if checkpoint:
        if checkpoint["puzzles"] != run.puzzles:
            raise UserError(f"the training puzzles are not those that {out} began with; restore --data {options.data}")
        with fitting(out):
            run.restore(checkpoint)
    if processes.rank == 0:
        write(out / "config.json", lambda path: path.write_text(json.dumps(
            {"task": run.task, "options": asdict(options), "model": asdict(config)}, indent=2)))
        print(f"{sum(p.numel() for p in run.model.parameters()):,} parameters; {', '.join(f'{len(split)} {name}' for name, split in splits.items())} puzzles; "
              f"results in {out}")
    log = Log(out, run, steps)
    with signals() as stop, log.bar:
        finished = train(run, task, splits, out, steps, log, stop)
    processes.wait()  # for rank 0, which writes the checkpoints
    if processes.rank == 0:
        draw_curves(out / "metrics.csv", out / "curves.png")
    if not finished:
        if processes.rank == 0:
            print(f"stopped and saved after step {run.step} of {steps}; go on with: python train.py --resume {out}")
        return 130
    best = out / "best.pt" if run.best >= 0 else out / "last.pt"
    model, task, _ = load_model(best)
    model.to(processes.device)
    report([model], task, splits["test"], out, processes, best, **thinking(options))
    return 0


def thinking(options):
    """The options of `vote` and `solve`."""
    return {name: getattr(options, name) for name in ("max_segments", "halt", "confidence", "votes", "noise", "views",
                                                      "choose", "seed")}


def evaluate_command(given, processes):
    asked = Options(**{name: value for name, value in given.items() if name in OPTIONS})
    check_ranges(asked)
    sizes = {name: value for name, value in given.items() if name in SIZES}
    loaded = [load_model(path, given.get("task"), task_keywords(asked), **sizes) for path in given["eval"]]
    models, tasks, (trained, *_) = zip(*loaded)
    path, task = Path(given["eval"][0]), tasks[0]
    for other, its_task in zip(given["eval"], tasks):
        if (its_task.name, its_task.options) != (task.name, task.options):
            raise UserError(f"{other} was trained for another task than {path}; only checkpoints of one task can vote")
    options = Options(**{**trained, **{name: value for name, value in given.items() if name in OPTIONS}})
    if "data" in given and "test_size" not in given:
        options.test_size = None
    splits = load_splits(task, options.data, options.train_size, options.val_size, options.test_size, options.seed)
    out = Path(asked.out or (path if path.is_dir() else path.parent))
    options.max_segments = asked.max_segments
    if not task.report:
        check_vote(task, options.votes or 1, options.noise, options.views, options.choose)
    report([model.to(processes.device) for model in models], task, splits["test"], out, processes,
           " ".join(given["eval"]), **thinking(options))


def main(argv=None):
    try:
        given = parse(argv, __doc__)
        processes = Processes(choose_device(given.get("device", "auto")))
        if "eval" in given:
            evaluate_command(given, processes)
            return 0
        return train_command(given, processes)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; what was saved before is untouched", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

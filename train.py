"""Train or evaluate a Hierarchical Reasoning Model.

    python train.py --task maze                      # a laptop learns to solve mazes
    python train.py --resume runs/maze               # go on where a run was stopped
    python train.py --eval runs/maze/best.pt         # how good is it, on test puzzles it has never seen
    torchrun --nproc-per-node 8 train.py --preset paper --task sudoku --data sapientinc/sudoku-extreme

`train` below is the whole loop: every step offers a batch of puzzles to the ACT slots (hrm.py), each slot
thinks for one segment, and the weights are updated at once (deep supervision: paper, section 2). All that is
random in a step is a function of (seed, step), so that a run which is stopped and resumed, or split over more
processes, computes the same.
"""

import copy
import importlib
import json
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from data import BUILT_IN, load_splits, load_task, to_tensors
from hrm import Block, HRMConfig, Slots, act_step, draw_M_min, solve
from puzzles.task import returned
from training.checkpoints import build, fitting, kept_test, load_model, make_model, to_resume
from training.files import UserError, write, write_text
from training.log import Log, print_table, signals
from training.optimisers import M_max_at, lr_scale, make_optimizers, sign_sgd_
from training.options import (OPTIONS, RUNTIME, SIZES, Options, compiles, exit_status, optimiser_steps, parse,
                              task_keywords, with_preset)
from training.pictures import boards_side_by_side, draw_boards, draw_curves
from training.processes import Processes, choose_device

EAGER_STEPS = 10  # of a run, before torch.compile: its first figures come at once, and any mistake too


# ------------------------------------------------------------------------------------------------- training
class Run:
    """Everything that changes in training, and so all that a checkpoint holds."""

    def __init__(self, options, config, task, split, processes):
        torch.manual_seed(options.seed)
        self.options, self.config, self.processes = options, config, processes
        self.task = {"name": task.name, **task.options}
        parts = {"puzzles": split.inputs, "answers": split.labels}  # on --resume, are they still the same?
        self.checksums = {name: zlib.crc32(rows.tobytes()) for name, rows in parts.items()}
        self.test = None  # test puzzles that were made here: what is kept need not be made again
        self.model = make_model(config).to(processes.device)
        self.averaged = self.model  # what is evaluated
        if options.ema:
            self.averaged = copy.deepcopy(self.model)
            if config.puzzle_positions:  # shared: a row is seldom in a batch, its average would lag behind
                self.averaged.puzzle_emb = self.model.puzzle_emb
        self.optimizers = make_optimizers(self.model, options)
        B = options.batch_size // processes.world // options.accumulate
        tokens = torch.zeros(B, task.seq_len, dtype=torch.long, device=processes.device)
        empty = Slots.empty(self.model, tokens, tokens, tokens[:, 0])
        self.slots = [empty] * options.accumulate  # one for each micro-batch
        self.step, self.best, self.seconds = 0, -1.0, 0.0

    def weights(self):
        """What evaluation needs."""
        return {"averaged": self.averaged.state_dict(), "step": self.step, "options": asdict(self.options),
                "config": asdict(self.config), "task": self.task, "test": self.test, **self.checksums}

    def checkpoint(self):
        """All of it."""
        fields = zip(*(vars(slots).values() for slots in self.slots))  # of each, the parts of micro-batches
        slots = [self.processes.gather(torch.cat(parts)) for parts in fields]
        optimizers = [optimizer.state_dict() for optimizer in self.optimizers]
        return {**self.weights(), "model": self.model.state_dict(), "optimizers": optimizers, "slots": slots,
                "best": self.best, "seconds": self.seconds}

    def restore(self, checkpoint):
        self.model.load_state_dict(checkpoint["model"])
        self.averaged.load_state_dict(checkpoint["averaged"])
        states = checkpoint.get("optimizers") or [checkpoint["optimizer"]]  # of an earlier version
        for optimizer, state in zip(self.optimizers, states):
            optimizer.load_state_dict(state)
        mine = [self.processes.mine(tensor.to(self.processes.device)).chunk(len(self.slots))
                for tensor in checkpoint["slots"]]
        self.slots = [Slots(*tensors) for tensors in zip(*mine)]
        self.step, self.best, self.seconds = (checkpoint[name] for name in ("step", "best", "seconds"))

    def save(self, path, content):
        if self.processes.rank == 0:
            write(path, lambda temporary: torch.save(content, temporary))


def offers(task, split, run, steps):
    """From run.step on: (step, M_max, micro-batches), each micro-batch (inputs, labels, puzzle_ids, M_min).
    A batch is drawn whole and then cut, so that processes and micro-batches together see the same one however
    many they are; and it is made in a thread of its own, one step ahead of the model."""
    options, processes = run.options, run.processes

    def make(step):
        rng = np.random.default_rng([options.seed, step, 1])
        batch = task.offer(split, step, options, rng)
        M_max = M_max_at(step, steps, run.config.M_max, options.grow_M_max)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        M_min = draw_M_min(options.batch_size, M_max, run.config.exploration, generator)
        whole = to_tensors(batch, processes.device, M_min)
        return M_max, list(zip(*(processes.mine(tensor).chunk(options.accumulate) for tensor in whole)))

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(make, run.step)
        for step in range(run.step, steps):
            offer, ahead = ahead.result(), pool.submit(make, step + 1)
            yield step, *offer


def update(run, micro_batches, M_max, scale, log):
    """Deep supervision: one segment for every slot, one update of the weights. `scale`: of learning rates."""
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
    for optimizer, lr in zip(run.optimizers, (options.lr, options.muon_lr)):
        optimizer.param_groups[0]["lr"] = lr * scale
        optimizer.step()
        optimizer.zero_grad()
    if puzzle_grads:
        ids, grads = (processes.gather(torch.cat(parts)) for parts in (puzzle_ids, puzzle_grads))
        sign_sgd_(model.puzzle_emb, ids, grads, options.puzzle_lr * scale, options.puzzle_weight_decay)
    if options.ema:
        with torch.no_grad():
            torch._foreach_lerp_([*run.averaged.parameters()], [*model.parameters()], 1 - options.ema)


def train(run, task, splits, out, steps, log, stop):
    """The loop, from run.step to `steps`; False if the event `stop` ended it early."""
    options, processes = run.options, run.processes
    compile_at = max(run.step, EAGER_STEPS) if compiles(options, steps, processes.device) else None
    for step, M_max, micro_batches in offers(task, splits["train"], run, steps):
        scale = lr_scale(step, steps, options)
        if step == compile_at:
            compile_model(run.model, steps)
        with log.doing("compiling") if step == compile_at else nullcontext():
            update(run, micro_batches, M_max, scale, log)

        # To read a figure makes the CPU wait for the GPU, so the rest is not done at every step.
        run.step = step + 1
        last = run.step == steps
        evaluating = last or run.step % options.eval_every == 0
        saving = last or run.step % options.save_every == 0
        if not (evaluating or saving or run.step % options.log_every == 0):
            continue
        interrupted = log.read(stop, scale, M_max)
        finite = [torch.tensor(log.row["loss"]), *run.model.parameters()]
        if not all(values.isfinite().all() for values in finite):
            raise UserError(f"loss {log.row['loss']:.3g} at step {run.step}, and not all weights are finite; "
                            f"lower --lr. What {out} held before is untouched")
        if evaluating and len(splits["val"]):
            with log.doing("evaluating"):
                result = validate(run, task, splits["val"], M_max, log)
            if result["exact"] >= run.best:
                run.best = result["exact"]
                run.save(out / "best.pt", run.weights())
        if evaluating and options.keep:
            run.save(out / f"step-{run.step:07}.pt", run.weights())
        log.write_row()
        if evaluating or saving or interrupted:
            run.save(out / "last.pt", run.checkpoint())
        if interrupted and not last:
            return False
    return True


def compile_model(model, steps):
    """A long run compiles the whole segment, which takes most of a minute. In a short one only the blocks,
    which share their code, pay: a few seconds, for a gain a few per cent smaller."""
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    for module in blocks if steps < 10_000 else [model]:
        module.compile()


def validate(run, task, split, M_max, log):
    """Evaluate the averaged weights with the M_max of this step, and show the first answers."""
    halting = {"halt": run.options.halt, "confidence": run.options.confidence, "max_segments": M_max}
    with torch.compiler.set_stance("force_eager"):  # as puzzles halt, the batch changes its size
        result = evaluate([run.averaged], task, split, run.processes, **halting)
        answers = answer([run.averaged], task, split[:4], **halting).predictions.numpy()
    log.validated(result, boards_side_by_side(task, split[:4], answers))
    return result


# ------------------------------------------------------------------------------------------------ evaluation
def answer(models, task, split, votes=1, noise=0.0, views=True, noise_seed=0, **thinking):
    """The answers to the puzzles of a split -> Solution on the CPU. `thinking`: keyword arguments of
    `solve`."""
    if len(models) > 1 or votes > 1:
        vote = importlib.import_module("extras.vote").vote  # read only when asked for
        return vote(models, task, split.inputs, split.puzzle_ids, votes=votes, noise=noise, views=views,
                    noise_seed=noise_seed, **thinking)
    inputs, _, puzzle_ids = to_tensors(split, next(models[0].parameters()).device)
    solution = solve(models[0], inputs, puzzle_ids, **thinking)
    for name, tensor in vars(solution).items():
        setattr(solution, name, tensor.cpu())
    return solution


def evaluate(models, task, split, processes=None, progress=False, **thinking):
    """Solve the n puzzles of a split with a list of models, which vote if they are several -> dict of "n" and
    of means over them: "exact" (every labelled cell is right), "valid" (right by the rules of the task: a
    maze may have several shortest paths), "cell", "segments", "q_halt_accuracy" (does q_halt > 0 tell right
    answers from wrong ones?), and "puzzles_per_s".

    `processes` share the work; `thinking` are keyword arguments of `answer`."""
    rank, world = (processes.rank, processes.world) if processes else (0, 1)
    start, keys = time.time(), ("n", "exact", "valid", "cell", "segments", "q_halt_accuracy")
    sums, device = torch.zeros(len(keys)), next(models[0].parameters()).device
    batch = 125 if device.type == "cpu" else 500  # a CPU is a quarter faster when the states fit its cache
    starts = range(rank * batch, len(split), world * batch)
    for i in tqdm(starts, "evaluating", disable=not progress, leave=False):
        part = split[i : i + batch]
        solution = answer(models, task, part, **thinking)
        labels = torch.from_numpy(part.labels.astype(np.int64))
        labelled = labels != 0  # PAD
        right = ((solution.predictions == labels) & labelled).sum(-1)
        exact = right == labelled.sum(-1)
        valid = task.check(part.inputs, solution.predictions.numpy().astype(np.uint8))
        valid = exact if valid is None else torch.from_numpy(
            returned(task, "check", valid, ((len(part),), 2))[0])
        measured = (torch.ones_like(exact), exact, valid, right / labelled.sum(-1).clamp(min=1),
                    solution.segments, (solution.q_halt > 0) == exact)
        sums += torch.stack([values.float().sum() for values in measured])
    if processes:
        sums = sums.to(device)
        processes.sum_([sums])
    n, *totals = sums.tolist()
    means = dict(zip(keys[1:], (total / n for total in totals)))
    return {"n": int(n), **means, "puzzles_per_s": n / (time.time() - start)}


def report(models, task, split, out, processes, path, progress, **thinking):
    """Evaluate on the test puzzles; print, write eval.json, and draw solved.png."""
    progress, models = progress and processes.rank == 0, [model.to(processes.device) for model in models]
    if task.report:
        return task.report(models, task, split, out, processes, path, progress, **thinking)
    thinking["max_segments"] = thinking["max_segments"] or models[0].config.M_max
    result = evaluate(models, task, split, processes, progress, **thinking)
    if processes.rank > 0:
        return
    votes = thinking["votes"] * len(models)
    print(f"{path} on {len(split)} test puzzles, {'up to' if thinking['halt'] else 'always'} "
          f"{thinking['max_segments']} segments each{f', {votes} votes' if votes > 1 else ''}:")
    print_table(result)
    write_text(out / "eval.json", json.dumps({"checkpoint": str(path), **thinking, **result}, indent=2))
    few = split[:8]
    solution = answer(models, task, few, **thinking)
    answers = solution.predictions.numpy().astype(np.uint8)
    titles = [f"in {segments} segment{'s' * (segments > 1)}" for segments in solution.segments]
    draw_boards(task, few, out / "solved.png", titles, answers)
    print(f"written: {out / 'eval.json'}, {out / 'solved.png'}")


# -------------------------------------------------------------------------------------------------- commands
def train_command(given, processes):
    """Begin a run, or go on with one, and evaluate what it found -> exit status."""
    if "resume" in given:
        out, checkpoint, options, task, sizes = to_resume(given)
    else:
        checkpoint, (options, sizes) = None, with_preset(given)
        build(HRMConfig, seq_len=(options.size or 9) ** 2, **sizes)  # refused before the puzzles are made
        optimiser_steps(options, options.train_size or 10_000, processes)
        out = Path(options.out or f"runs/{options.task}")
        if (out / "last.pt").exists():
            raise UserError(f"{out} already holds a run; go on with it: --resume {out}, "
                            f"or begin another: --out FOLDER")
        task = load_task(options.task, options.data, **task_keywords(options))
    options.votes = task.check_votes(given, 1, options.votes, options.noise, options.views)
    run, splits, steps = begin(options, sizes, task, processes)
    if options.data is None and not task.load:
        rows = {name: torch.from_numpy(getattr(splits["test"], name)) for name in ("inputs", "labels")}
        run.test = {"puzzles": list(puzzles(options)), **rows}
    if checkpoint:
        if any(checkpoint.get(name, now) != now for name, now in run.checksums.items()):  # old: no answers
            raise UserError(f"the training puzzles are not those that {out} began with; "
                            f"restore --data {options.data}")
        with fitting(out):
            run.restore(checkpoint)
    with processes.alone_in(out):
        return to_the_end(run, task, splits, out, steps)


def begin(options, sizes, task, processes):
    """Options and model sizes -> a Run that has done nothing yet, its puzzles, and the steps it will take."""
    splits = load_splits(task, *puzzles(options), progress=processes.rank == 0 and not options.quiet)
    config = build(HRMConfig, vocab_size=task.vocab_size, seq_len=task.seq_len,
                   num_puzzles=max(split.num_puzzles for split in splits.values()), **sizes)
    steps = optimiser_steps(options, len(splits["train"]), processes)
    return Run(options, config, task, splits["train"], processes), splits, steps


def to_the_end(run, task, splits, out, steps):
    """Train, and evaluate what was found -> exit status."""
    options, config, processes = run.options, run.config, run.processes
    if processes.rank == 0:
        parameters = sum(p.numel() for p in run.model.parameters())
        content = {"task": run.task, "options": asdict(options), "model": asdict(config),
                   "parameters": parameters}
        write_text(out / "config.json", json.dumps(content, indent=2))
        counts = ", ".join(f"{len(split)} {name}" for name, split in splits.items())
        print(f"{task.name} {task.grid[0]}x{task.grid[1]}, {counts} puzzles; {config.model}, {parameters:,} "
              f"parameters, {steps} steps of batch {options.batch_size}; results in {out}", flush=True)
    log = Log(out, run, steps, options.quiet)
    with signals() as stop, log.bar:
        finished = train(run, task, splits, out, steps, log, stop)
    processes.wait()  # for rank 0, which writes the checkpoints
    if finished:
        best = out / ("best.pt" if run.best >= 0 else "last.pt")
        model, task, _ = load_model(best)
        report([model], task, splits["test"], out, processes, best, not options.quiet, **thinking(options))
    if processes.rank == 0:
        draw_curves(out / "metrics.csv", out / "curves.png")
        if not finished:
            own = "" if task.name in BUILT_IN else f" --task {task.name}"
            print(f"stopped and saved after step {run.step} of {steps}; "
                  f"go on with: python train.py --resume {out}{own}")
        elif not task.report:
            print(f"the curves: {out / 'curves.png'}")
            print(f"watch it think: python analyze.py steps --checkpoint {best}")
    return 0 if finished else 130


def puzzles(options):
    """The options of `load_splits`."""
    return options.data, options.train_size, options.val_size, options.test_size, options.seed


def thinking(options):
    """The options of `answer`."""
    names = ("max_segments", "halt", "confidence", "votes", "noise", "views", "noise_seed")
    return {name: getattr(options, name) for name in names}


def evaluate_command(given, processes):
    """Measure checkpoints on test puzzles that none of them was trained on, into a folder of its own."""
    asked = {name: value for name, value in given.items() if name in OPTIONS}
    sizes = {name: value for name, value in given.items() if name in SIZES}
    keywords = task_keywords(Options(**asked))
    loaded = [load_model(path, given.get("task"), keywords, **sizes) for path in given["eval"]]
    models, tasks, trained = zip(*loaded)
    path, task = Path(given["eval"][0]), tasks[0]
    for other, its_task in zip(given["eval"], tasks):
        if (its_task.name, its_task.options) != (task.name, task.options):
            raise UserError(f"{other} was trained for another task than {path}; "
                            f"only checkpoints of one task can vote")
    kept = OPTIONS.keys() - set(RUNTIME)  # how a run was started says nothing about how to measure it
    saved = [{name: value for name, value in each.items() if name in kept} for each in trained]
    options = Options(**{**saved[0], **asked})
    if "data" in given and "test_size" not in given:
        options.test_size = None
    options.votes = task.check_votes(given, len(models), options.votes, options.noise, options.views)
    test = kept_test(path, task, puzzles(options))
    for name, each in zip(given["eval"], saved):
        if each and puzzles(Options(**each)) != puzzles(options) and not task.load:
            test = unseen(task, test, name, Options(**each))
    out = Path(options.out or "runs/eval/" + "-".join(path.resolve().with_suffix("").parts[-2:]))
    paths = " ".join(given["eval"])
    report(models, task, test, out, processes, paths, not options.quiet, **thinking(options))
    return 0


def unseen(task, split, name, options):
    """The puzzles of a split on which, up to symmetry, the checkpoint `name` was not trained."""
    known = load_splits(task, *puzzles(options))["train"]
    new = ~np.isin(task.fingerprint(split.inputs), task.fingerprint(known.inputs))
    if not new.any():
        raise UserError(f"{name} was trained on all of these puzzles; pass other --data or another --seed")
    if not new.all():
        print(f"{(~new).sum()} of {len(split)} puzzles are left out: {name} was trained on them")
    return split[new]


def main(argv=None):
    def command():
        given = parse(argv, __doc__)
        processes = Processes(choose_device(given.get("device", "auto")))
        status = evaluate_command(given, processes) if "eval" in given else train_command(given, processes)
        processes.close()
        return status

    return exit_status(command)


if __name__ == "__main__":
    sys.exit(main())

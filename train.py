"""Train or evaluate a Hierarchical Reasoning Model.

    python train.py --task maze                      # a laptop learns to solve mazes
    python train.py --resume runs/maze               # go on where a run was stopped
    python train.py --eval runs/maze/best.pt         # how good is it, on test puzzles it has never seen
    torchrun --nproc-per-node 8 train.py --preset paper --task sudoku --data sapientinc/sudoku-extreme

`train_step` is one update of the weights, `train` the loop around it: every step offers a batch of puzzles to
the ACT slots (hrm.py), each slot thinks for one segment, and the weights are updated at once (deep
supervision: paper, section 2). All that is random in a step is a function of (seed, step), so that a run
which is stopped and resumed, or split over more processes, computes the same.
"""

import importlib
import json
import math
import shlex
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from data import BUILT_IN, load_splits, load_task, offer_batch, parse_options, to_tensors
from hrm import METRICS, Block, HRMConfig, act_step, draw_M_min, measure, solve
from puzzles.boards import boards_side_by_side, draw_boards, save_figure
from puzzles.errors import UserError, exit_status
from puzzles.files import write_answers, write_text
from training.checkpoints import held_out, load_model, load_models, split_options, to_resume, unseen
from training.log import Interrupted, Log, print_table, signals
from training.optimisers import M_max_at, average_, lr_scale, sign_sgd_
from training.options import OPTIONS, SIZES, build, parse, with_preset
from training.pictures import draw_curves
from training.processes import Processes
from training.run import Run, lock

LOG_EVERY = 10  # steps between two rows of metrics.csv
EAGER_STEPS = 10  # of a run on a CPU, before torch.compile: its first figures come at once, any mistake too


# ------------------------------------------------------------------------------------------------- training
def offer(run, task, split, step):
    """What this step offers to the slots -> for each micro-batch (inputs, labels, puzzle_ids, M_min). What is
    random is drawn for the whole batch, so that processes and micro-batches together see the same one however
    many they are; each process then makes its own part."""
    options = run.options
    mine = run.processes.mine(torch.arange(options.batch_size)).numpy()
    batch = offer_batch(task, split, step, options.batch_size, options.seed, options.hints, mine)
    M_max = M_max_at(step, options, run.config.M_max)
    rng = np.random.default_rng([options.seed, step, 2])
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    M_min = draw_M_min(options.batch_size, M_max, run.config.exploration, generator)
    tensors = to_tensors(batch, run.processes.device, M_min[mine])
    return list(zip(*[tensor.chunk(options.accumulate) for tensor in tensors]))


def offers(run, task, split):
    """What every step from run.step on offers, made in a thread while the step before is computed."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(offer, run, task, split, run.step)
        for step in range(run.step + 1, run.options.steps + 1):
            ready = coming.result()
            coming = thread.submit(offer, run, task, split, step)
            yield ready


def train_step(run, micro_batches):
    """Deep supervision: one segment for every slot, one update of the weights."""
    options = run.options
    puzzle_ids = []
    puzzle_grads = []
    for i, (*batch, M_min) in enumerate(micro_batches):
        before = run.slots[i]
        slots, loss, metrics, puzzle_vectors = act_step(run.model, before, batch, run.M_max, M_min)
        (loss / options.batch_size).backward()
        run.slots[i] = slots
        puzzle_ids.append(slots.puzzle_ids)
        puzzle_grads.append(puzzle_vectors.grad)
        for name, value in metrics.items():
            run.sums[name] = run.sums.get(name, 0) + value

    run.processes.sum_([p.grad for p in run.model.parameters()])
    scale = lr_scale(run.step, options)
    for optimizer, lr in run.optimizers:
        optimizer.param_groups[0]["lr"] = lr * scale
        optimizer.step()
        optimizer.zero_grad()
    if run.config.puzzle_positions:
        ids = run.processes.gather(torch.cat(puzzle_ids))
        grads = run.processes.gather(torch.cat(puzzle_grads))
        sign_sgd_(run.model.puzzle_emb, ids, grads, options.puzzle_lr * scale, options.weight_decay)

    run.step += 1
    if options.ema:
        average_(run.averaged, run.model, options.ema, run.step)


def train(run, task, splits, out, log):
    """The loop, from run.step to the last one; False if it was asked to stop before."""
    micro_batches = offers(run, task, splits["train"])
    compile_at = first_compiled(run)
    try:
        while True:
            due = run.evaluation_is_due
            if due:
                validate(run, task, splits["val"], out, log)
            if run.sums and (due or run.step % LOG_EVERY == 0):
                log.write_row()
            if due:
                run.save(out / "last.pt", run.checkpoint())
            if run.step == run.options.steps or stopped(run, log.stop):
                break
            offered = next(micro_batches)
            if run.step == compile_at and wants_compiling(run):
                with log.doing("compiling"):
                    compile_model(run, offered)
            train_step(run, offered)
    except Interrupted:  # while evaluating or compiling, of which nothing is in the checkpoint
        pass
    finally:
        micro_batches.close()
    finished = run.step == run.options.steps and not run.evaluation_is_due
    if not finished:
        run.save(out / "last.pt", run.checkpoint())
    return finished


def stopped(run, stop):
    """Asked to stop? Many processes must agree, which takes time, so they do it now and then."""
    if run.processes.world == 1:
        return stop.is_set()
    return run.step % LOG_EVERY == 0 and run.processes.any(stop.is_set())


def first_compiled(run):
    """The step before which a run is compiled: at once on a GPU, where eager steps need more memory."""
    return run.step if run.processes.on_gpu else max(run.step, EAGER_STEPS)


def wants_compiling(run):
    """torch.compile takes 15 to 60 s first; a CPU's step is then 1.1 to 1.3 times as fast."""
    if run.options.compile is None:
        return run.processes.on_gpu or run.options.steps >= 2000
    return run.options.compile


def compile_model(run, micro_batches):
    """A long run compiles the whole segment, which takes most of a minute. In a short one only the blocks,
    which share their code, pay: a few seconds, for a gain a few per cent smaller. A step that is thrown away
    shows whether there is a compiler that works; if not, the run goes on without."""
    # Without this tag, PyTorch's cache gives one CPU the kernels of another, which compute nan.
    torch.compiler.config.cache_key_tag = torch.backends.cpu.get_cpu_capability()
    blocks = [module for module in run.model.modules() if isinstance(module, Block)]
    modules = blocks if run.options.steps < 10_000 else [run.model]
    for module in modules:
        module.compile()
    *batch, M_min = micro_batches[0]
    try:
        _, loss, *_ = act_step(run.model, run.slots[0], batch, run.M_max, M_min)
        loss.backward()
        if loss.isnan():
            raise ArithmeticError("it computes nan")
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        for module in modules:
            module._compiled_call_impl = None
        lines = [*str(error).splitlines(), type(error).__name__]
        reason = next((line for line in lines if "error: " in line), lines[0])
        tqdm.write(f"torch.compile does not work here, the run goes on without it: {reason[:200]}")
    run.model.zero_grad()


def validate(run, task, split, out, log):
    """Evaluate the averaged weights with the M_max of this step, show the first answers, keep the best."""
    run.check_finite()
    if not len(split):
        run.evaluated = run.step
        return
    models = [run.averaged]
    few = split[:4]
    limits = {"max_segments": run.M_max, "confidence": run.options.confidence}
    with log.doing("evaluating"), torch.compiler.set_stance("force_eager"):  # batches of many sizes
        result = evaluate(models, task, split, processes=run.processes, **limits)
        solution = answer(models, task, few, **limits)
    log.validated(result, boards_side_by_side(task, few, solution.predictions.numpy()))
    run.evaluated = run.step
    standard_error = math.sqrt(result["exact"] * (1 - result["exact"]) / result["n"])
    if result["exact"] + standard_error >= run.best:  # of those that are as good, the latest saw most puzzles
        run.save(out / "best.pt", run.weights())
    run.best = max(run.best, result["exact"])


# ------------------------------------------------------------------------------------------------ evaluation
def answer(models, task, split, votes=1, max_segments=None, confidence=1.0):
    """The answers to the puzzles of a split -> Solution on the CPU."""
    if len(models) > 1 or votes > 1:
        vote = importlib.import_module("extras.vote").vote  # read only when asked for
        return vote(models, task, split.inputs, split.puzzle_ids, votes, max_segments, confidence)
    inputs, _, puzzle_ids = to_tensors(split, next(models[0].parameters()).device)
    solution = solve(models[0], inputs, puzzle_ids, max_segments, confidence)
    for name, tensor in vars(solution).items():
        setattr(solution, name, tensor.cpu())
    return solution


def evaluate(
    models,
    task,
    split,
    votes=1,
    max_segments=None,
    confidence=1.0,
    processes=None,
    progress=False,
    found=None,
):
    """Solve the n puzzles of a split with a list of models, which vote if they are several -> dict of "n", of
    means over them: METRICS (hrm.py) and "valid" (right by the rules of the task: a maze may have several
    shortest paths), and "puzzles_per_s". `processes` share the work. `found`: a list that gets the Solutions,
    of this process's puzzles."""
    start = time.time()
    device = next(models[0].parameters()).device
    batch = 125 if device.type == "cpu" else 500  # a CPU is a quarter faster when the states fit its cache
    mine = np.arange(len(split))
    if processes:
        mine = np.array_split(mine, processes.world)[processes.rank]
    sums = torch.zeros(2 + len(METRICS))
    starts = range(0, len(mine), batch)
    for i in tqdm(starts, "evaluating", disable=not progress, leave=False):
        part = split[mine[i : i + batch]]
        solution = answer(models, task, part, votes, max_segments, confidence)
        _, labels, _ = to_tensors(part, torch.device("cpu"))
        measured = measure(solution.predictions, labels, solution.segments, solution.q_halt)
        answers = solution.predictions.numpy().astype(np.uint8)
        valid = task.is_right(part.inputs, part.labels, answers)
        if found is not None:
            found.append(solution)
        sums[0] += len(part)
        sums[1:-1] += measured.sum(-1)
        sums[-1] += valid.sum()
    if processes:
        sums = sums.to(device)
        processes.sum_([sums])
    n, *totals = sums.tolist()
    result = {"n": int(n)}
    for name, total in zip((*METRICS, "valid"), totals):
        result[name] = total / n
    result["puzzles_per_s"] = n / (time.time() - start)
    return result


def report(models, task, split, out, processes, path, options):
    """Evaluate on the test puzzles; print, write eval.json, and draw solved.png."""
    models = [model.to(processes.device) for model in models]
    progress = processes.is_first and not options.quiet
    asked = {
        "votes": options.votes,
        "max_segments": options.max_segments,
        "confidence": options.confidence,
    }
    if task.votes_over_variants:
        arc_vote = importlib.import_module("extras.arc_vote")
        return arc_vote.report(models, task, split, out, processes, path, progress, **asked)
    vote = importlib.import_module("extras.vote")
    asked["votes"] = vote.check_votes(task, options.votes)
    asked["max_segments"] = options.max_segments or models[0].config.M_max
    found = []
    result = evaluate(models, task, split, processes=processes, progress=progress, found=found, **asked)
    if options.eval and options.data and processes.world == 1:
        write_answers(out / "answers.csv", task, split.inputs, found)
        print(f"written: {out / 'answers.csv'}")
    if not processes.is_first or not split.labels.any():
        return
    upto = "up to" if options.confidence < 1 else "always"
    votes = asked["votes"] * len(models)
    print(f"{path} on {len(split)} test puzzles, {upto} {asked['max_segments']} segments each, "
          f"{votes} vote{'s' * (votes > 1)}:")
    print_table(result)
    content = {"checkpoint": str(path), **asked, **result}
    write_text(out / "eval.json", json.dumps(content, indent=2))
    few = split[:8]
    solution = answer(models, task, few, **asked)
    titles = [f"in {n} segment{'s' * (n > 1)}" for n in solution.segments.tolist()]
    answers = solution.predictions.numpy().astype(np.uint8)
    picture = draw_boards(task, few, titles, answers)
    save_figure(out / "solved.png", picture, dpi=100)
    print(f"written: {out / 'eval.json'}, {out / 'solved.png'}")


# -------------------------------------------------------------------------------------------------- commands
def train_command(given, processes):
    """Begin a run, or go on with one, and evaluate what it found -> exit status."""
    checkpoint = None
    if "resume" in given:
        out, checkpoint, options, task = to_resume(given)
        sizes = checkpoint["config"]
    else:
        options, sizes = with_preset(given)
        out = Path(options.out or f"runs/{options.task}")
        if (out / "last.pt").exists():
            raise UserError(f"{out} already holds a run; go on with it: --resume {shlex.quote(str(out))}, "
                            f"or begin another: --out FOLDER")
        about = parse_options(options.task_options)
        task = load_task(options.task, options.data, size=options.size, **about)
    run, splits = begin(options, sizes, task, processes)
    if checkpoint:
        if (checkpoint["puzzles"], checkpoint["identity"]) != (run.puzzles, run.identity):
            raise UserError(f"the training puzzles are not those that {out} began with; "
                            f"restore {options.data or 'the code that made them'}")
        run.restore(checkpoint)
        del checkpoint  # gigabytes, for ARC
    elif options.init:
        run.initialise(options.init)
    if options.init:
        known = run.fingerprints[len(splits["train"]):]  # to its first weights
        for name in ("val", "test"):
            splits[name] = unseen(options.init, task, splits[name], known)
    with lock(out, processes.rank), signals() as stop:
        if processes.is_first:
            announce(run, task, splits, out)
        log = Log(run, out, stop)
        with log.bar:
            finished = train(run, task, splits, out, log)
    processes.wait()  # for the first, which writes the checkpoints
    own = "" if task.name in BUILT_IN else f" --task {task.name}"
    if not finished:
        if processes.is_first:
            print(f"stopped and saved after step {run.step} of {options.steps}; "
                  f"go on with: python train.py --resume {shlex.quote(str(out))}{own}")
        return 130
    best = out / ("best.pt" if run.best >= 0 else "last.pt")
    model, _, _ = load_model(best, task.name)
    report([model], task, splits["test"], out, processes, best, options)
    if processes.is_first:
        draw_curves(out / "metrics.csv", out / "curves.png")
        print(f"the curves: {out / 'curves.png'}")
        if not task.votes_over_variants:
            print(f"watch it think: python analyze.py steps --checkpoint {shlex.quote(str(best))}{own}")
    return 0


def begin(options, sizes, task, processes):
    """Options and model sizes -> a Run that has done nothing yet, and its puzzles."""
    parts = processes.world * options.accumulate
    if options.batch_size % parts:
        raise UserError(f"--batch-size {options.batch_size} is no multiple of {parts}, the number of "
                        f"processes times --accumulate")
    if options.hints and task.votes_over_variants:
        raise UserError(f"--hints {options.hints}: an input of {task.name} has not the shape of its output")
    sizes = {**sizes, "vocab_size": task.vocab_size, "seq_len": task.seq_len}
    build(HRMConfig, **sizes)  # refused before the puzzles are made
    wanted = split_options(options)
    if not processes.is_first:
        processes.wait()  # until the first one has made the puzzles: it keeps them in a file
    try:
        splits = load_splits(task, **wanted, progress=processes.is_first and not options.quiet)
    finally:
        if processes.is_first:
            processes.wait()
    if not len(splits["train"]):
        raise UserError(f"no training puzzles in {options.data or 'this size'}; pass a train.csv or --size")
    sizes["num_puzzles"] = max(split.num_puzzles for split in splits.values())
    config = HRMConfig(**sizes)
    run = Run(options, config, task, splits["train"], processes)
    if options.data is None and not task.shipped:
        test = splits["test"]
        run.test = {"wanted": wanted, "inputs": torch.from_numpy(test.inputs),
                    "labels": torch.from_numpy(test.labels)}
    return run, splits


def announce(run, task, splits, out):
    """One line of what begins, and config.json."""
    parameters = sum(p.numel() for p in run.model.parameters())
    content = {
        "task": run.task,
        "options": asdict(run.options),
        "model": asdict(run.config),
        "parameters": parameters,
    }
    write_text(out / "config.json", json.dumps(content, indent=2))
    counts = ", ".join(f"{len(split)} {name}" for name, split in splits.items())
    rows, columns = task.grid
    print(f"{task.name} {rows}x{columns}, {counts} puzzles; {run.options.model}, {parameters:,} parameters, "
          f"{run.options.steps} steps of batch {run.options.batch_size}; results in {out}", flush=True)
    if not len(splits["val"]) and not task.votes_over_variants:
        print("no puzzle is left for validation: no curve of it and no best.pt, last.pt is evaluated; "
              "a smaller --train-size leaves some")


def evaluate_command(given, processes):
    """Measure checkpoints on test puzzles that none of them was trained on, into a folder of its own."""
    paths = given["eval"]
    asked = {name: value for name, value in given.items() if name in OPTIONS}
    sizes = {name: value for name, value in given.items() if name in SIZES}
    if "model" in given:
        sizes["model"] = given["model"]
    about = {"size": given.get("size"), **parse_options(given.get("task_options", ""))}
    models, task, options = load_models(paths, given.get("task"), about, asked, **sizes)
    test = held_out(paths, task, options)
    path = Path(paths[0])
    out = Path(options.out or "runs/eval/" + "-".join(path.resolve().with_suffix("").parts[-2:]))
    report(models, task, test, out, processes, " ".join(paths), options)
    return 0


def main(argv=None):
    def command():
        given = parse(argv, __doc__)
        processes = Processes()
        status = evaluate_command(given, processes) if "eval" in given else train_command(given, processes)
        processes.close()
        return status

    return exit_status(command)


if __name__ == "__main__":
    sys.exit(main())

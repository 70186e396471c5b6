"""ARC's evaluation: predict all variants of a test grid, undo them, vote, and give two answers."""

import json
from itertools import zip_longest
from operator import itemgetter

import numpy as np
import torch
from tqdm import tqdm

from hrm import solve
from puzzles.arc_grids import NO_GRID, decode, encode, from_variant, look, to_variant
from puzzles.boards import save_figure
from puzzles.errors import UserError
from puzzles.files import write_text
from training.checkpoints import read_checkpoint


# ---- voting
def by_votes(grids, probability):
    """The different answers among n predictions, best first: dicts of "grid", "votes" and "confidence".

    grids: n predicted grids; a malformed one, without cells, has no vote. probability: (n,), σ(q_halt).
    More votes come first, and at equal votes a higher confidence, the sum of the probabilities; then what was
    predicted first."""
    found = {}
    for grid, p in zip(grids, probability):
        if grid.size:
            new = {"grid": grid, "votes": 0, "confidence": 0.0}
            answer = found.setdefault(look([grid]), new)
            answer["votes"] += 1
            answer["confidence"] += p
    return sorted(found.values(), key=itemgetter("votes", "confidence"), reverse=True)


def pass_at(K, truths, answers, tasks):
    """Mean score of the tasks, if K answers may be given for each of n test grids: a task's score is the
    fraction of its test grids that are solved. tasks (n,): whose grids they are."""
    score = 0
    for truth, best, task in zip(truths, answers, tasks):
        if any(np.array_equal(answer["grid"], truth) for answer in best[:K]):
            score += 1 / tasks.count(task)
    return score / len(set(tasks))


def submission(tasks, answers):
    """Names (n,) of the tasks of n test grids, and their answers -> the dict of an ARC Prize submission.json.

    A second attempt that is missing repeats the first; where there is no answer at all, both are [[0]]."""
    content = {}
    for task, best in zip(tasks, answers):
        grids = [answer["grid"].tolist() for answer in best[:2]] or [[[0]]]
        attempts = {"attempt_1": grids[0], "attempt_2": grids[-1]}
        content.setdefault(task, []).append(attempts)
    return content


# ---- predicting
def predict(model, task, split, row, votes, processes, max_segments=None, confidence=0.5):
    """Solve the first `votes` variants (None: all) of one test input, the processes sharing the work.

    Every process gets the whole: grids (list, in the original's colours and orientation, without cells where
    they are malformed), σ(q_halt) (n,), segments (n,)."""
    puzzle, given, _ = split.pairs[row]
    variants = puzzle.variants[:votes]
    n = len(variants)
    mine = processes.mine(torch.arange(n + -n % processes.world) % n)  # as many each: some are done twice
    boards = [encode(to_variant(given, variants[k]), task.size) for k in mine]
    inputs = torch.from_numpy(np.stack(boards)).long().to(processes.device)
    ids = (puzzle.first_id + mine).to(processes.device)
    solution = solve(model, inputs, ids, max_segments, confidence)
    parts = solution.predictions, solution.q_halt.sigmoid(), solution.segments
    predictions, probability, segments = [processes.gather(part)[:n].cpu().numpy() for part in parts]
    grids = map(from_variant, decode(predictions, task.size), variants)
    return list(grids), probability, segments


def check_ids(task, split, path):
    """Refuse a checkpoint whose puzzle ids meant other tasks, or that does not say what they meant."""
    trained = read_checkpoint(path).get("identity", [])
    now = task.identity(split)
    for before, after in zip_longest(trained, now, fillvalue="no task"):
        if before != after:
            raise UserError(f"{path} was trained on {before} where there is {after} now; pass the --data and "
                            f"--task-options it was trained with")


def report(models, task, split, out, processes, path, progress, **asked):
    """Vote on all test grids; print the scores, write eval.json, submission.json and attempts.png. If the
    output of a test pair is not known, there are no scores. asked: votes, max_segments, confidence."""
    if len(models) > 1:
        raise UserError(f"{task.name} votes over its variants, with one checkpoint; leave out the others")
    check_ids(task, split, path)
    asked["max_segments"] = asked["max_segments"] or models[0].config.M_max
    answers = []  # for each test grid, best first
    malformed = []  # for each prediction
    segments = []
    for row in tqdm(range(len(split)), "voting", leave=False, disable=not progress):
        grids, probability, used = predict(models[0], task, split, row, processes=processes, **asked)
        answers.append(by_votes(grids, probability)[:100])
        malformed += [not grid.size for grid in grids]
        segments += used.tolist()
    if not processes.is_first:
        return

    puzzles, _, truths = zip(*split.pairs)
    tasks = [puzzle.name for puzzle in puzzles]
    result = {
        "tasks": len(set(tasks)),
        "n": len(split),
        "predictions": len(segments),
        "malformed": np.mean(malformed),
        "segments": np.mean(segments),
    }
    if all(truth.size for truth in truths):
        for K in (1, 2, 10, 100):
            result[f"pass@{K}"] = pass_at(K, truths, answers, tasks)
        result["solved_in_two"] = pass_at(2, truths, answers, range(len(split)))
    print(f"{path} on the test grids of {task.name}:")
    for name, value in result.items():
        print(f"  {name:<16} {value:.4g}")
    content = {"checkpoint": str(path), **asked, **result}
    write_text(out / "eval.json", json.dumps(content, indent=2))
    write_text(out / "submission.json", json.dumps(submission(tasks, answers)))
    save_figure(out / "attempts.png", draw_attempts(task, split, answers), dpi=50)
    print(f"written: eval.json, submission.json and attempts.png in {out}")


def draw_attempts(task, split, answers):
    """A figure of up to 10 test grids, spread evenly: input, truth, and two attempts."""
    titles = []
    grids = []
    for row in range(0, len(split), len(split) // 10 + 1):
        puzzle, *pair = split.pairs[row]
        attempts = [answer["grid"] for answer in answers[row]]
        titles += [puzzle.name, "truth", "attempt 1", "attempt 2"]
        grids += [*pair, *attempts, NO_GRID, NO_GRID][:4]
    return task.draw_grids(titles, grids)

"""ARC's evaluation: predict all variants of a test grid, undo them, vote, and give two answers."""

import json
import time

import numpy as np
import torch
from tqdm import tqdm

from hrm import solve
from puzzles.arc_grids import decode, draw_table, encode
from training.files import UserError, write_text

KEPT = 100  # answers kept for each test grid
PASS_AT = (1, 2, 10, KEPT)


# ---- voting
def by_votes(grids, q_halt):
    """The different answers among n predictions, best first: dicts of "grid", "votes", "share", "confidence".

    grids: n predicted grids, None for a malformed one, which has no vote. q_halt: (n,), before the sigmoid.
    More votes come first, and at equal votes a higher mean of σ(q_halt); then what was predicted first."""
    voters = {}  # of each answer: the numbers of the predictions
    for i, grid in enumerate(grids):
        if grid is not None:
            voters.setdefault((grid.shape, grid.tobytes()), []).append(i)
    probability = 1 / (1 + np.exp(-np.asarray(q_halt, float)))
    answers = [{"grid": grids[rows[0]], "votes": len(rows), "share": len(rows) / len(grids),
                "confidence": sum(probability[rows]) / len(rows)} for rows in voters.values()]
    return sorted(answers, key=lambda answer: (answer["votes"], answer["confidence"]), reverse=True)


def place_of(truth, answers):
    """Place of the right grid among the answers, from 1; infinity if it is not there."""
    right = [np.array_equal(answer["grid"], truth) for answer in answers]
    return right.index(True) + 1 if any(right) else np.inf


def pass_at(places, K):
    """Mean score of the tasks, if K answers may be given for each test grid.

    places: {task: [place of the right answer for each of its test grids]}. A task's score is the fraction of
    its test grids that are solved."""
    return float(np.mean([np.mean(np.array(of_task) <= K) for of_task in places.values()]))


def submission(answers):
    """{task: [answers for each of its test grids]} -> the dict of an ARC Prize submission.json.

    A second attempt that is missing repeats the first; where there is no answer at all, both are [[0]]."""
    content = {task: [] for task in answers}
    for task, tests in answers.items():
        for best in tests:
            grids = [answer["grid"].tolist() for answer in best[:2]] or [[[0]]]
            content[task].append({"attempt_1": grids[0], "attempt_2": grids[-1]})
    return content


# ---- predicting
def predict(model, task, split, row, count, processes, **thinking):
    """Solve the first `count` variants (None: all) of one test input, the processes sharing the work.

    Every process gets the whole: grids (list, in the original's colours and orientation, None if malformed),
    q_halt (n,), segments (n,)."""
    puzzle, (given, _) = split.owner[row], split.pairs[row]
    variants = split.variants[puzzle]
    n = min(count or len(variants), len(variants))
    ks = np.arange(n + -n % processes.world) % n  # as many for every process: some are done twice
    boards = np.stack([encode(variants.apply(given, k), task.size) for k in ks]).astype(np.int64)
    inputs = processes.mine(torch.from_numpy(boards))
    ids = processes.mine(torch.from_numpy(split.first_id[puzzle] + ks))
    parts = []
    for few_inputs, few_ids in zip(inputs.split(500), ids.split(500)):
        few = solve(model, few_inputs.to(processes.device), few_ids.to(processes.device), **thinking)
        parts.append((few.predictions, few.q_halt, few.segments))
    predictions, *rest = (processes.gather(torch.cat(part))[:n].cpu().numpy() for part in zip(*parts))
    grids = decode(predictions, task.size)
    return [None if grid is None else variants.undo(grid, k) for k, grid in enumerate(grids)], *rest


def report(models, task, split, out, processes, path, progress, votes, max_segments, halt, confidence,
           **others):
    """Vote on all test grids; print the scores, write eval.json, submission.json and attempts.png."""
    start, [model] = time.time(), models
    if model.config.num_puzzles != split.num_puzzles:
        raise UserError(f"{path} was trained with {model.config.num_puzzles} puzzle ids, but these tasks "
                        f"have {split.num_puzzles}; pass the --data it was trained with")
    thinking = {"max_segments": max_segments or model.config.M_max, "halt": halt, "confidence": confidence}
    attempts = []  # for each test grid, the answers, best first
    by_task, places = {}, {}  # for each task, the same and the place of the right answer, of its test grids
    predictions = malformed = segments = 0
    for row in tqdm(range(len(split)), "voting", leave=False, disable=not progress):
        grids, q_halt, segments_of = predict(model, task, split, row, votes, processes, **thinking)
        attempts.append(by_votes(grids, q_halt)[:KEPT])
        name, (_, truth) = split.puzzles[split.owner[row]].name, split.pairs[row]
        by_task.setdefault(name, []).append(attempts[-1])
        places.setdefault(name, []).append(place_of(truth, attempts[-1]))
        predictions += len(grids)
        malformed += sum(grid is None for grid in grids)
        segments += segments_of.sum().item()
    if processes.rank > 0:
        return
    solved = [[name, i] for name in places for i, place in enumerate(places[name]) if place <= 2]
    result = {"tasks": len(places), "n": len(split), **{f"pass@{K}": pass_at(places, K) for K in PASS_AT},
              "solved_in_two": solved, "predictions": predictions, "malformed": malformed / predictions,
              "segments": segments / predictions}
    print(f"{path} on {len(split)} test grids of {len(places)} {task.name} evaluation tasks, "
          f"{'up to' if halt else 'always'} {thinking['max_segments']} segments each, "
          f"{predictions / len(split):.0f} variants of a grid on average, {time.time() - start:.0f} s:")
    for name, value in result.items():
        shown = f"{len(value)} of {len(split)} test grids" if name == "solved_in_two" else round(value, 4)
        print(f"  {name:<16} {shown}")
    content = {"checkpoint": str(path), "votes": votes, **thinking, **result}
    write_text(out / "eval.json", json.dumps(content, indent=2))
    write_text(out / "submission.json", json.dumps(submission(by_task)))
    draw_attempts(split, attempts, out / "attempts.png")
    print(f"written: eval.json, submission.json and attempts.png in {out}")


def draw_attempts(split, attempts, path):
    """Up to 10 test grids, spread evenly: the input, the truth, and the two attempts with their votes."""
    rows = []
    for row in np.unique(np.linspace(0, len(split) - 1, 10).round().astype(int)):
        given, truth = split.pairs[row]
        rows.append([(split.puzzles[split.owner[row]].name, given), ("truth", truth)])
        for i, answer in enumerate(attempts[row][:2], start=1):
            right = "right" if np.array_equal(answer["grid"], truth) else "wrong"
            rows[-1].append((f"attempt {i}: {answer['share']:.0%} ({right})", answer["grid"], truth))
    draw_table(rows, path)

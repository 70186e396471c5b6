"""ARC's evaluation: predict all variants of a test grid, undo them, vote, and give the two answers that ARC allows.

    python train.py --eval runs/arc1                 # pass@1, pass@2, ...; writes eval.json, submission.json, pictures
    python train.py --eval runs/arc1 --votes 100     # from the first 100 variants of each task only

The votes for each test grid are appended to votes.jsonl as soon as they are counted. An evaluation that was killed
takes from there what it has, if the weights, the thinking and the tasks are still the same.
"""
import hashlib
import json
import time

import numpy as np
import torch
from tqdm import tqdm

from arc import decode, draw_grid, encode
from evaluate import UserError, figure, write, writing
from hrm import solve

KEPT = 100  # answers kept for each test grid
PASS_AT = (1, 2, 10, KEPT)


# ---- Voting -------------------------------------------------------------------------------------------------

def rank(grids, q_halt):
    """The different answers among the n predictions, best first -> list of {"grid", "votes", "confidence"}.

    grids: n predicted grids, None for a malformed one, which has no vote. q_halt: (n,), before the sigmoid.
    More votes come first, and at equal votes a higher mean of σ(q_halt); then what was predicted first.
    """
    answers = {}
    for grid, confidence in zip(grids, 1 / (1 + np.exp(-np.asarray(q_halt, float)))):
        if grid is not None:
            answer = answers.setdefault((grid.shape, grid.tobytes()), {"grid": grid, "votes": 0, "confidence": 0.0})
            answer["votes"] += 1
            answer["confidence"] += confidence
    for answer in answers.values():
        answer["confidence"] /= answer["votes"]
    return sorted(answers.values(), key=lambda answer: (answer["votes"], answer["confidence"]), reverse=True)


def place_of(truth, answers):
    """Place of the right grid among the answers, from 1; infinity if it is not there."""
    return next((i for i, answer in enumerate(answers, 1) if np.array_equal(answer["grid"], truth)), np.inf)


def pass_at(places, K):
    """{task: [place of the right answer for each of its test grids]} -> mean score of the tasks, if K answers may be
    given for each test grid. A task's score is the fraction of its test grids that are solved."""
    return float(np.mean([np.mean(np.array(of_task) <= K) for of_task in places.values()]))


def submission(answers):
    """{task: [answers for each of its test grids]} -> the dict of an ARC Prize submission.json. A second attempt that
    is missing repeats the first; where there is no answer at all, both are [[0]]."""
    def attempts(ranked):
        grids = [answer["grid"].tolist() for answer in ranked[:2]] or [[[0]]]
        return {"attempt_1": grids[0], "attempt_2": grids[-1]}

    return {task: [attempts(ranked) for ranked in tests] for task, tests in answers.items()}


# ---- Predicting ---------------------------------------------------------------------------------------------

def predict(model, task, split, row, count, processes, **thinking):
    """Solve the first `count` variants of one test input -> grids (list, in the original's colours and orientation,
    None if malformed), q_halt (n,), segments (n,). The processes share the work; every one returns the whole."""
    puzzle, (given, _) = split.owner[row], split.pairs[row]
    variants = split.variants[puzzle]
    n = min(count or len(variants), len(variants))
    ks = np.arange(n + -n % processes.world) % n  # as many for every process: some are done twice
    inputs = np.stack([encode(variants.apply(given, k), task.size) for k in ks]).astype(np.int64)
    inputs, ids = (processes.mine(torch.from_numpy(array)) for array in (inputs, split.first_id[puzzle] + ks))
    parts = []
    for few_inputs, few_ids in zip(inputs.split(500), ids.split(500)):
        few = solve(model, few_inputs.to(processes.device), few_ids.to(processes.device), **thinking)
        parts.append((few.predictions, few.q_halt, few.segments))
    predictions, q_halt, segments = (processes.gather(torch.cat(part))[:n].cpu().numpy() for part in zip(*parts))
    grids = [None if grid is None else variants.undo(grid, k) for k, grid in enumerate(decode(predictions, task.size))]
    return grids, q_halt, segments


def identity(model, task, split, count, thinking):
    """A hash of all that the votes depend on."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().numpy().data)
    for part in (split.inputs, split.puzzle_ids, split.first_id):
        digest.update(np.ascontiguousarray(part).data)
    for variants in split.variants:
        digest.update(variants.symmetries.data)
        digest.update(variants.colours.data)
    digest.update(json.dumps([task.name, task.options, count, thinking], sort_keys=True).encode())
    return digest.hexdigest()


def earlier_votes(path, key):
    """The lines of votes.jsonl that an evaluation with the same identity has left."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:  # killed while it was being written
            break
    return found[1:] if found and found[0] == {"identity": key} else []


def count_votes(model, task, split, path, count, processes, thinking):
    """For each test grid: {"answers": ranked, "predictions", "malformed", "segments" (mean)}, in the split's order."""
    key = identity(model, task, split, count, thinking)
    lines = earlier_votes(path, key)
    processes.wait()  # until all have read the file
    if processes.rank == 0:
        write(path, lambda temporary: temporary.write_text(
            "".join(json.dumps(line) + "\n" for line in [{"identity": key}, *lines])))
        if lines:
            print(f"{len(lines)} of {len(split)} test grids were voted on before: {path}")
    bar = tqdm(range(len(lines), len(split)), "voting", len(split), initial=len(lines), leave=False,
               disable=processes.rank > 0)
    for row in bar:
        grids, q_halt, segments = predict(model, task, split, row, count, processes, **thinking)
        answers = [{**answer, "grid": answer["grid"].tolist()} for answer in rank(grids, q_halt)[:KEPT]]
        lines.append({"answers": answers, "predictions": len(grids), "malformed": sum(grid is None for grid in grids),
                      "segments": float(segments.mean())})
        if processes.rank == 0:
            with writing(path), open(path, "a") as file:
                file.write(json.dumps(lines[-1]) + "\n")
    for line in lines:
        for answer in line["answers"]:
            answer["grid"] = np.array(answer["grid"], np.uint8)
    return lines


def report(models, task, split, out, processes, path, votes, max_segments, halt, confidence, **others):
    """Vote on all test grids; print the scores, write eval.json, submission.json, and draw attempts.png, steps.png."""
    start, model = time.time(), models[0]
    if len(models) > 1 or others["noise"] or not others["views"]:
        raise UserError(f"{task.name} votes over its own variants, with one checkpoint; leave out --noise, --no-views and "
                        f"further checkpoints")
    if model.config.num_puzzles != split.num_puzzles:
        raise UserError(f"{path} was trained with {model.config.num_puzzles} puzzle ids, but these tasks have "
                        f"{split.num_puzzles}; pass the --data it was trained with")
    thinking = {"max_segments": max_segments or model.config.M_max, "halt": halt, "confidence": confidence}
    counted = count_votes(model, task, split, out / "votes.jsonl", votes, processes, thinking)
    if processes.rank > 0:
        return
    places, answers, solved = {}, {}, []
    for puzzle, pair, line in zip(split.owner, split.pairs, counted):
        name = split.puzzles[puzzle].name
        answers.setdefault(name, []).append(line["answers"])
        places.setdefault(name, []).append(place_of(pair[1], line["answers"]))
        if places[name][-1] <= 2:
            solved.append([name, len(places[name]) - 1])
    predictions = sum(line["predictions"] for line in counted)
    result = {"tasks": len(places), "n": len(split), **{f"pass@{K}": pass_at(places, K) for K in PASS_AT},
              "solved_in_two": solved, "predictions": predictions,
              "malformed": sum(line["malformed"] for line in counted) / predictions,
              "segments": sum(line["segments"] * line["predictions"] for line in counted) / predictions}
    print(f"{path} on {len(split)} test grids of {len(places)} {task.name} evaluation tasks, "
          f"{'up to' if thinking['halt'] else 'always'} {thinking['max_segments']} segments each, "
          f"{predictions / len(split):.0f} variants of a grid on average, {time.time() - start:.0f} s:")
    for name, value in result.items():
        print(f"  {name:<16} {f'{len(value)} of {len(split)} test grids' if isinstance(value, list) else round(value, 4)}")
    write(out / "eval.json", lambda temporary: temporary.write_text(json.dumps(
        {"checkpoint": str(path), "votes": votes, **thinking, **result}, indent=2)))
    write(out / "submission.json", lambda temporary: temporary.write_text(json.dumps(submission(answers))))
    draw_attempts(split, counted, out / "attempts.png")
    draw_steps(model, task, split, out / "steps.png", processes.device)
    print(f"written: eval.json, submission.json, votes.jsonl, attempts.png and steps.png in {out}")


# ---- Pictures -----------------------------------------------------------------------------------------------

def draw_attempts(split, counted, path):
    """Up to 10 test grids, spread evenly over the split: input, truth, and the two attempts with their votes."""
    chosen = np.unique(np.linspace(0, len(split) - 1, 10).round().astype(int))
    sheet, axes = figure(-(-len(chosen) // 2), 8, 13, 1.75 * -(-len(chosen) // 2))
    for ax in axes.flat:
        ax.axis("off")
    for row, places in zip(chosen, axes.reshape(-1, 4)):
        (given, truth), answers = split.pairs[row], counted[row]["answers"]
        for ax, grid, title in zip(places, (given, truth), (f"{split.puzzles[split.owner[row]].name}: test input", "truth")):
            draw_grid(ax, grid)
            ax.set_title(title, fontsize=8)
        for i, (ax, answer) in enumerate(zip(places[2:], answers), 1):
            right = np.array_equal(answer["grid"], truth)
            draw_grid(ax, answer["grid"], truth)
            share = answer["votes"] / counted[row]["predictions"]
            ax.set_title(f"attempt {i}: {share:.0%} {'(right)' if right else '(wrong)'}", fontsize=8)
    sheet.tight_layout()
    write(path, lambda temporary: sheet.savefig(temporary, dpi=110, format="png"))


def draw_steps(model, task, split, path, device):
    """How the answer to the first few test grids changes from segment to segment, without halting."""
    rows = np.arange(min(4, len(split)))
    inputs = torch.from_numpy(split.inputs[rows].astype(np.int64)).to(device)
    ids = torch.from_numpy(split.puzzle_ids[rows].astype(np.int64)).to(device)
    segments = sorted({1, 2, 3, 4, *range(6, model.config.M_max + 1, 2)} & set(range(1, model.config.M_max + 1)))
    answers = [solve(model, inputs, ids, segment, halt=False).predictions.cpu().numpy() for segment in segments]
    draw_changes(task, split[rows], answers, [f"segment {segment}" for segment in segments], path)


def draw_changes(task, split, answers, titles, path):
    """Each puzzle of the split as a row: the input, a list of predictions (n, S) one after the other, the truth."""
    boards = [split.inputs, *answers, split.labels]
    sheet, axes = figure(len(split), len(boards), 1.5 * len(boards), 1.7 * len(split))
    for column, (board, title) in enumerate(zip(boards, ["input", *titles, "truth"])):
        for row, ax in enumerate(axes[:, column]):
            task.draw(ax, split.inputs[row], board[row], split.labels[row] if 0 < column < len(boards) - 1 else None)
            ax.set_title(title, fontsize=8)
    sheet.tight_layout()
    write(path, lambda temporary: sheet.savefig(temporary, dpi=110, format="png"))

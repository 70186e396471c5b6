"""arc.py and arc_vote.py: every grid of ARC-AGI-1 and -2 through the frame and the augmentations, no leak, votes counted by
hand, evaluations that are killed, and whole tiny runs.

With the environment variable CONCEPTARC (its folder), the tests of all puzzles include ConceptARC's.
"""

import hashlib
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import arc
import data
import train
import arc_vote
from arc import Arc1, Arc2, decode, draw_variants, encode, epoch_plan, turn, turn_back
from data import UserError, load_splits, load_task
from options import Options, choose
from test_train import differences, fork_server, here, load, metrics  # noqa: F401

CONCEPT = os.environ.get("CONCEPTARC", "")
SETS = {"arc1": ("arcagi", None, CONCEPT), "arc2": ("arcagi2", None, None)}


@pytest.fixture(scope="module")
def corpora():
    """All puzzles of both sets."""
    return {name: arc.read_puzzles(*where) for name, where in SETS.items()}


@pytest.fixture(scope="module")
def splits():
    """Both sets as they are trained on, with few variants, to save time."""
    return {task.name: task.load(None, None, False)
            for task in (Arc1(augmentations=5, concept=CONCEPT), Arc2(augmentations=5))}


def grids_of(puzzle):
    return [grid for pair in puzzle.pairs for grid in pair]


# -------------------------------------------------------------------------------------------------- all puzzles


def test_the_published_counts(corpora):
    assert sum(not puzzle.held_out for puzzle in corpora["arc1"]) == 400 + 160 * bool(CONCEPT)
    assert sum(puzzle.held_out for puzzle in corpora["arc1"]) == 400
    assert sum(not puzzle.held_out for puzzle in corpora["arc2"]) == 1000
    assert sum(puzzle.held_out for puzzle in corpora["arc2"]) == 120
    for name, tests in (("arc1", 419), ("arc2", 167)):
        assert sum(len(puzzle.tests) for puzzle in corpora[name] if puzzle.held_out) == tests


@pytest.mark.parametrize("name", SETS)
def test_every_grid_comes_back_from_the_frame(corpora, name):
    grids = [grid for puzzle in corpora[name] for grid in grids_of(puzzle)]
    tokens = np.stack([encode(grid, 30) for grid in grids])
    for grid, back in zip(grids, decode(tokens, 30), strict=True):
        assert np.array_equal(grid, back) and back.dtype == np.uint8


@pytest.mark.parametrize("name", SETS)
def test_every_augmentation_is_undone(corpora, name):
    """50 random ones for each puzzle; those with the same symmetry are done at once. What they do is compared with
    `Variants.apply` and with the definition, cell by cell, below."""
    rng = np.random.default_rng(0)
    for puzzle in corpora[name]:
        colours = np.pad(1 + rng.random((50, 9)).argsort(axis=1), ((0, 0), (1, 0))).astype(np.uint8)
        back, cuts = np.argsort(colours, axis=1), np.sort(rng.integers(51, size=7))
        for grid in grids_of(puzzle):
            recoloured = colours[:, grid]
            for symmetry, part in enumerate(np.split(np.arange(50), cuts)):
                turned = turn(recoloured[part], symmetry)
                undone = turn_back(turned, symmetry).reshape(len(part), grid.size)
                assert (np.take_along_axis(back[part], undone, axis=1) == grid.ravel()).all()


def test_variants_are_the_symmetries_and_permutations(corpora):
    for puzzle in corpora["arc1"][::80]:
        variants = draw_variants(puzzle, 30)
        assert np.array_equal(variants.colours[0], np.arange(10)) and variants.symmetries[0] == 0
        assert (np.sort(variants.colours, axis=1) == np.arange(10)).all() and (variants.colours[:, 0] == 0).all()
        for grid in grids_of(puzzle):
            for k in range(len(variants)):
                changed = variants.apply(grid, k)
                assert np.array_equal(variants.undo(changed, k), grid)
                assert np.array_equal(changed, variants.colours[k][turn(grid, variants.symmetries[k])])
    square = np.arange(4).reshape(2, 2)
    assert len({turn(square, symmetry).tobytes() for symmetry in range(8)}) == 8
    assert np.array_equal(turn(np.array([[1, 2, 3]]), 1), [[3, 2, 1]])
    assert np.array_equal(turn(np.array([[1, 2, 3]]), 6), [[3], [2], [1]])


def everything(puzzle, symmetry, colours):
    """The bytes of a variant, all grids whole, but for the answers that must not be looked at."""
    grids = grids_of(puzzle) if not puzzle.held_out else [
        *(grid for pair in puzzle.demonstrations for grid in pair), *(given for given, _ in puzzle.tests)]
    changed = [colours[turn(grid, symmetry)] for grid in grids]
    return tuple((grid.shape, grid.tobytes()) for grid in changed)


def test_variants_are_distinct(corpora):
    for puzzle in [*corpora["arc1"][::40], *corpora["arc2"][::90]]:
        variants = draw_variants(puzzle, 200)
        different = {everything(puzzle, *variant) for variant in zip(variants.symmetries, variants.colours)}
        assert len(different) == len(variants)
        again = draw_variants(puzzle, 200)
        assert np.array_equal(again.colours, variants.colours) and np.array_equal(again.symmetries, variants.symmetries)


def test_a_puzzle_with_few_variants_gets_them_all():
    """Black and one colour, and all grids symmetric under every turn: 9 variants, one for each colour. With a grid
    that has no symmetry: 9 * 8."""
    plain = np.array([[3, 0, 3], [0, 3, 0], [3, 0, 3]], np.uint8)
    skew = np.array([[3, 0, 0], [3, 3, 0], [0, 3, 3]], np.uint8)[:2]
    for pair, count in (((plain, plain), 9), ((plain, skew), 72)):
        puzzle = arc.Puzzle("few", [pair], [(plain, plain)], held_out=True)
        variants = draw_variants(puzzle, 1000)
        assert len(variants) == count and variants.rejected == 5001 - count
    # The colour of the answer must not show in how many variants there are.
    secret = [arc.Puzzle("secret", [(plain, plain)], [(plain, answer)], held_out=True) for answer in (plain, 2 * skew)]
    assert [len(draw_variants(puzzle, 100)) for puzzle in secret] == [9, 9]
    known = arc.Puzzle("known", [(plain, plain)], [(plain, 2 * skew)], held_out=False)
    assert len(draw_variants(known, 1000)) == 72 * 8


# ----------------------------------------------------------------------------------------------------- the frame


def test_the_frame_cell_by_cell():
    tokens = encode(np.array([[0, 9], [4, 1], [2, 2]], np.uint8), 5, top=1, left=1).reshape(5, 5)
    assert tokens.tolist() == [[0, 0, 0, 0, 0], [0, 2, 11, 1, 0], [0, 6, 3, 1, 0], [0, 4, 4, 1, 0], [0, 1, 1, 0, 0]]
    full = encode(np.full((3, 3), 7, np.uint8), 3)
    assert full.tolist() == [9] * 9  # no room for EOS
    wide = encode(np.full((1, 3), 7, np.uint8), 3).reshape(3, 3)
    assert wide.tolist() == [[9, 9, 9], [1, 1, 1], [0, 0, 0]]


@pytest.mark.parametrize("frame, grid", [
    ([[2, 3, 1], [4, 5, 1], [1, 1, 0]], [[0, 1], [2, 3]]),
    ([[2, 3, 3], [4, 1, 3], [2, 1, 0]], [[0, 1, 1]]),  # 1 x 3 and 3 x 1 are as large: the one with fewer rows
    ([[1, 3, 3], [4, 4, 3], [2, 2, 2]], None),
    ([[0, 0, 0], [0, 0, 0], [0, 0, 0]], None),
    ([[2, 2, 2], [2, 2, 2], [2, 2, 2]], [[0, 0, 0]] * 3),
    ([[3, 3, 3], [3, 3, 1], [3, 0, 3]], [[1, 1], [1, 1]]),
])
def test_crop(frame, grid):
    cut = decode(np.array(frame, np.uint8).reshape(1, 9), 3)[0]
    assert (cut is None and grid is None) or cut.tolist() == grid


# ------------------------------------------------------------------------------------------------------ no leak


def digest(given, answer):
    return hashlib.sha256(repr((given.tolist(), answer.tolist())).encode()).hexdigest()


@pytest.mark.parametrize("name", SETS)
def test_no_test_pair_reaches_training(corpora, splits, name):
    """Hashes of the pairs as they stand in the training arrays, read back from their tokens, against those of the
    evaluation puzzles' test pairs."""
    train_split, test_split = splits[name]["train"], splits[name]["test"]
    secret = {digest(*pair) for puzzle in corpora[name] if puzzle.held_out for pair in puzzle.tests}
    given, answers = decode(train_split.inputs, 30), decode(train_split.labels, 30)
    hashes = [digest(*pair) for pair in zip(given, answers)]
    assert not secret & set(hashes)
    assert {digest(*pair) for pair in zip(decode(test_split.inputs, 30), decode(test_split.labels, 30))} == secret
    total = sum(len(puzzle.demonstrations if puzzle.held_out else puzzle.pairs) for puzzle in corpora[name])
    assert len(hashes) == total - (name == "arc1")  # 070dd51e's test pair is a training puzzle's pair, and left out
    assert len(splits[name]["val"]) == 0


def test_no_step_offers_a_test_pair(splits):
    """The same for what steps offer: every pair, its variant undone, is one of the training pairs of its puzzle."""
    split = splits["arc1"]["train"]
    task = Arc1(augmentations=5, concept=CONCEPT)
    allowed = [set() for _ in split.puzzles]
    for owner, pair in zip(split.owner, split.pairs):
        allowed[owner].add(digest(*pair))
    options = SimpleNamespace(batch_size=300, seed=4, augment=True)
    for step in (0, 3, 1000):
        offer = task.offer(split, step, options, None)
        owner = np.searchsorted(split.first_id, offer.puzzle_ids, side="right") - 1
        for p, given, answer, puzzle_id in zip(owner, offer.inputs, offer.labels, offer.puzzle_ids):
            pair = []
            for tokens in (given, answer):
                frame = tokens.reshape(30, 30)
                rows, columns = np.nonzero(frame >= 2)
                grid = frame[rows.min():rows.max() + 1, columns.min():columns.max() + 1] - 2
                pair.append(split.variants[p].undo(grid, puzzle_id - split.first_id[p]))
            assert digest(*pair) in allowed[p]


# ---------------------------------------------------------------------------------------------- what a step offers


@pytest.fixture(scope="module")
def small():
    """Real puzzles with grids of at most 5 x 5 in a frame of 6 x 6."""
    task = Arc1(size=6, max_grid=5, augmentations=20)
    return task, task.load(None, None, False)


def test_an_epoch_visits_every_puzzle_once(small):
    task, splits = small
    split = splits["train"]
    order, variant, moved = epoch_plan(split, 3, 0)
    assert sorted(order) == list(range(len(split)))
    visited = split.owner[order]
    assert (np.diff(visited) != 0).sum() + 1 == len(split.puzzles)  # the pairs of a puzzle stand together
    still = (moved == 0).all(axis=1)
    assert (np.bincount(split.owner[still], minlength=len(split.puzzles)) == 1).all()
    options = SimpleNamespace(batch_size=len(split), seed=0, augment=True)
    offer = task.offer(split, 3, options, None)
    ids = offer.puzzle_ids - split.first_id[split.owner[order]]
    assert (ids == variant[split.owner[order]]).all() and len(set(variant)) > 5
    assert (np.bincount(np.unique(offer.puzzle_ids)) <= 1).all() and offer.puzzle_ids.min() >= 1
    for row, tokens, place in zip(order, zip(offer.inputs, offer.labels), range(len(split))):
        pair = [split.variants[split.owner[row]].apply(grid, ids[place]) for grid in split.pairs[row]]
        corner = [np.argwhere(board.reshape(6, 6) >= 2).min(axis=0) for board in tokens]
        assert (corner[0] == corner[1]).all()  # input and output are moved together
        assert not still[row] or (corner[0] == 0).all()
        for board, grid in zip(tokens, pair):
            assert np.array_equal(encode(grid, 6, *corner[0]), board)
    variants = [epoch_plan(split, epoch, 0)[1] for epoch in range(200)]
    for p in range(len(split.puzzles)):  # all variants are drawn, about equally often
        counts = np.bincount([chosen[p] for chosen in variants], minlength=len(split.variants[p]))
        assert len(counts) == len(split.variants[p]) and (counts > 0).mean() > 0.95
    corners = np.concatenate([epoch_plan(split, epoch, 0)[2] for epoch in range(5)])
    assert corners.max() < 1 and 0.3 < corners.mean() < 0.5


def test_offers_depend_on_seed_and_step_alone(small):
    task, splits = small
    options = SimpleNamespace(batch_size=17, seed=0, augment=True)
    first = [task.offer(splits["train"], step, options, None) for step in range(30)]
    arc.epoch_plan.cache_clear()
    again = task.load(None, None, False)["train"]
    for step in (29, 7):
        other = task.offer(again, step, options, np.random.default_rng(step))
        for field in ("inputs", "labels", "puzzle_ids"):
            assert np.array_equal(getattr(first[step], field), getattr(other, field))
    options.seed = 1
    assert not np.array_equal(task.offer(again, 7, options, None).inputs, first[7].inputs)
    options.augment = False
    plain = task.offer(again, 7, options, None)
    known = {(given.tobytes(), answer.tobytes()) for given, answer in zip(again.inputs, again.labels)}
    assert all((given.tobytes(), answer.tobytes()) in known for given, answer in zip(plain.inputs, plain.labels))


def test_the_smallest_tasks_are_chosen():
    split = Arc1(size=6, tasks=4, augmentations=2).load(None, None, False)["test"]
    everyone = [puzzle for puzzle in arc.read_puzzles("arcagi") if puzzle.fits(6)]
    for held_out in (False, True):
        sizes = sorted(max(grid.size for grid in grids_of(p)) for p in everyone if p.held_out == held_out)
        chosen = sorted(max(grid.size for grid in grids_of(p)) for p in split.puzzles if p.held_out == held_out)
        assert chosen == sizes[:4]


# -------------------------------------------------------------------------------------------------------- voting


def grid(*rows):
    return np.array(rows, np.uint8)


def sigma(x):
    return 1 / (1 + np.exp(-x))


def test_rank_by_hand():
    a, b, c, d = grid([1, 2]), grid([1], [2]), grid([5]), grid([6])  # a and b have the same bytes, not the same shape
    grids = [c, a, None, b, a, b, None, d]
    q_halt = [9.0, 0.0, 9.0, -1.0, 2.0, 2.0, 9.0, 9.0]
    ranked = arc_vote.rank(grids, q_halt)
    # a and b: two votes each, means of σ: a (0.5 + 0.881) / 2 = 0.690, b (0.269 + 0.881) / 2 = 0.575. c and d: one vote,
    # equal confidence, c was predicted first.
    assert [answer["grid"].tolist() for answer in ranked] == [[[1, 2]], [[1], [2]], [[5]], [[6]]]
    assert [answer["votes"] for answer in ranked] == [2, 2, 1, 1]
    assert ranked[0]["confidence"] == pytest.approx((0.5 + sigma(2.0)) / 2)
    assert ranked[1]["confidence"] == pytest.approx((sigma(-1.0) + sigma(2.0)) / 2)
    assert arc_vote.rank([None, None], [0.0, 1.0]) == [] and arc_vote.rank([], []) == []


def test_pass_at_K_by_hand():
    right, other, third = grid([1]), grid([2]), grid([3])
    ranked = arc_vote.rank([other, right, third, other, right, other], np.zeros(6))  # other 3, right 2, third 1
    assert [arc_vote.place_of(truth, ranked) for truth in (other, right, third, grid([4]))] == [1, 2, 3, np.inf]
    places = {"one": [1], "two": [2, 3], "none": [np.inf, 1, np.inf, np.inf]}
    assert arc_vote.pass_at(places, 1) == pytest.approx((1 + 0 + 1 / 4) / 3)
    assert arc_vote.pass_at(places, 2) == pytest.approx((1 + 1 / 2 + 1 / 4) / 3)
    assert arc_vote.pass_at(places, 3) == pytest.approx((1 + 1 + 1 / 4) / 3)
    assert arc_vote.pass_at(places, 100) == pytest.approx((1 + 1 + 1 / 4) / 3)


def check_submission(text, tests):
    """The format as ARC Prize defines it: an object of task ids; for each, a list with one object per test input, with
    the keys attempt_1 and attempt_2; each a grid: 1 to 30 rows, equally long, of 1 to 30 integers 0..9."""
    content = json.loads(text)
    assert type(content) is dict and set(content) == set(tests)
    for task, count in tests.items():
        assert type(content[task]) is list and len(content[task]) == count
        for entry in content[task]:
            assert type(entry) is dict and set(entry) == {"attempt_1", "attempt_2"}
            for attempt in entry.values():
                assert type(attempt) is list and 1 <= len(attempt) <= 30
                for row in attempt:
                    assert type(row) is list and len(row) == len(attempt[0]) and 1 <= len(row) <= 30
                    assert all(type(cell) is int and 0 <= cell <= 9 for cell in row)
    return content


def test_submission_format():
    two = arc_vote.rank([grid([1, 2]), grid([3])], [1.0, 0.0])
    one = arc_vote.rank([grid([0] * 30)] * 3, np.zeros(3))
    text = json.dumps(arc_vote.submission({"00576224": [two, one], "ffffffff": [[]]}))
    content = check_submission(text, {"00576224": 2, "ffffffff": 1})
    assert content["00576224"][0] == {"attempt_1": [[1, 2]], "attempt_2": [[3]]}
    assert content["00576224"][1] == {"attempt_1": [[0] * 30], "attempt_2": [[0] * 30]}
    assert content["ffffffff"] == [{"attempt_1": [[0]], "attempt_2": [[0]]}]


# ---------------------------------------------------------------------------------- evaluation of a known model


def write_task(folder, name, demonstrations, tests):
    def pairs(grids):
        return [{"input": given, "output": answer} for given, answer in grids]

    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"train": pairs(demonstrations), "test": pairs(tests)}))


ONE, TWO, THREE, FOUR = [[1, 2, 0], [0, 1, 1]], [[3, 0], [0, 4], [4, 4]], [[5, 0, 6]], [[8], [8], [9]]


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A folder in the official layout; the pictures are left out, to save time.

    The answer is the input, but for one test grid of "half" and all of "hard".
    """
    monkeypatch.setattr(arc_vote, "draw_attempts", lambda *_: None)
    monkeypatch.setattr(arc_vote, "draw_steps", lambda *_: None)
    write_task(tmp_path / "arc/training", "known", [(ONE, ONE), (TWO, TWO)], [(ONE, ONE)])
    write_task(tmp_path / "arc/evaluation", "easy", [(TWO, TWO), (ONE, ONE)], [(THREE, THREE)])
    write_task(tmp_path / "arc/evaluation", "half", [(TWO, TWO)], [(FOUR, FOUR), (THREE, TWO)])
    write_task(tmp_path / "arc/evaluation", "hard", [(ONE, TWO), (TWO, ONE)], [(FOUR, [[7]])])
    return tmp_path / "arc"


class Copycat(torch.nn.Module):
    """Answers with the input."""

    def __init__(self, num_puzzles):
        super().__init__()
        self.config = SimpleNamespace(M_max=2, num_puzzles=num_puzzles)
        self.seed = torch.nn.Parameter(torch.zeros(1))
        self.asked = []

    def puzzle_vectors(self, puzzle_ids):
        self.asked += puzzle_ids.tolist()

    def initial_state(self, B):
        return torch.zeros(B), torch.zeros(B)

    def forward(self, z, inputs, puzzle_vectors):
        logits = torch.nn.functional.one_hot(inputs, 12).float()
        return z, logits, torch.zeros(len(inputs)), torch.zeros(len(inputs))

    def wants_to_halt(self, q_halt, q_continue, confidence):
        return q_halt >= 0


ALONE = SimpleNamespace(rank=0, world=1, device=torch.device("cpu"), mine=lambda rows: rows, gather=lambda rows: rows,
                        wait=lambda: None)
THINKING = {"max_segments": None, "halt": True, "confidence": 0.5, "noise": 0.0, "views": True}


def evaluated(folder, tiny, model=None, votes=None):
    task = Arc1(size=4, augmentations=30)
    split = task.load(str(tiny), None, False)["test"]
    model = model or Copycat(split.num_puzzles)
    arc_vote.report([model], task, split, Path(folder), ALONE, "checkpoint", votes, **THINKING)
    return json.loads((Path(folder) / "eval.json").read_text()), model


def test_evaluation_of_a_copycat(tiny, capsys):
    result, model = evaluated("out", tiny)
    assert result["tasks"] == 3 and result["n"] == 4 and result["malformed"] == 0 and result["segments"] == 1
    assert result["pass@1"] == result["pass@2"] == result["pass@100"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert result["solved_in_two"] == [["easy", 0], ["half", 0]]
    assert result["predictions"] == 31 * 4 == len(set(model.asked)) + 31  # half: two test grids, the same ids
    content = check_submission(Path("out/submission.json").read_text(), {"easy": 1, "half": 2, "hard": 1})
    assert content["easy"][0]["attempt_1"] == THREE and content["hard"][0]["attempt_2"] == FOUR
    assert "2 of 4 test grids" in capsys.readouterr().out
    assert evaluated("out", tiny, votes=7)[0]["predictions"] == 7 * 4
    with pytest.raises(UserError, match="puzzle ids"):
        evaluated("out", tiny, Copycat(17))


def test_pictures(tmp_path):
    """Also of an answer that is no grid."""
    write_task(tmp_path / "arc/training", "known", [(ONE, ONE)], [(TWO, TWO)])
    write_task(tmp_path / "arc/evaluation", "easy", [(TWO, TWO), (ONE, ONE)], [(THREE, THREE)])
    task = Arc1(size=3, augmentations=3)
    split = task.load(str(tmp_path / "arc"), None, False)["test"]
    arc_vote.draw_attempts(split, [{"answers": arc_vote.rank([grid([5, 5, 5])], [0.0]), "predictions": 4}], Path("attempts.png"))
    arc_vote.draw_changes(task, split, [split.inputs * 0, split.inputs], ["segment 1", "segment 2"], Path("steps.png"))
    arc_vote.draw_steps(Copycat(split.num_puzzles), task, split, Path("more.png"), torch.device("cpu"))
    for picture in ("attempts.png", "steps.png", "more.png"):
        assert Path(picture).read_bytes().startswith(b"\x89PNG")


def test_a_model_that_never_draws_a_grid(tiny, monkeypatch):
    monkeypatch.setattr(Copycat, "forward", lambda self, z, inputs, vectors: (
        z, torch.eye(12)[torch.ones_like(inputs)], torch.zeros(len(inputs)), torch.zeros(len(inputs))))
    result, _ = evaluated("out", tiny)
    assert result["malformed"] == 1 and result["pass@100"] == 0
    check_submission(Path("out/submission.json").read_text(), {"easy": 1, "half": 2, "hard": 1})


def test_a_killed_evaluation_goes_on(tiny, monkeypatch, capsys):
    whole, _ = evaluated("whole", tiny)
    lines = Path("whole/votes.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 4
    predict, calls = arc_vote.predict, []

    def die_in_the_third(*arguments, **thinking):
        calls.append(arguments[3])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return predict(*arguments, **thinking)

    with monkeypatch.context() as patched:
        patched.setattr(arc_vote, "predict", die_in_the_third)
        with pytest.raises(KeyboardInterrupt):
            evaluated("killed", tiny)
    path = Path("killed/votes.jsonl")
    assert path.read_text().splitlines() == lines[:3]
    path.write_text(path.read_text() + lines[3][:40])  # and killed again while it wrote the next line
    again, model = evaluated("killed", tiny)
    assert again == whole and path.read_text().splitlines() == lines
    assert "2 of 4 test grids were voted on before" in capsys.readouterr().out
    assert evaluated("killed", tiny, model)[0] == whole  # all were voted on before: no question is asked again
    with torch.no_grad():
        model.seed += 1  # other weights: none of the votes counts
    model.asked.clear()
    evaluated("killed", tiny, model)
    assert len(set(model.asked)) == 3 * 31
    assert path.read_text().splitlines()[0] != lines[0] and path.read_text().splitlines()[1:] == lines[1:]


# ------------------------------------------------------------------------------------------------------ bad input


def spoil(tiny, case):
    """-> arguments that point to bad input, and what the message must say."""
    broken = tiny / "evaluation/easy.json"
    content = json.loads(broken.read_text())
    if case == "no folder":
        return ["--data", "nowhere"], "nowhere"
    if case == "no such pair":
        del content["train"][0]["output"]
    elif case == "too large":
        content["train"][0]["input"] = [[0] * 31]
    elif case == "colour":
        content["test"][0]["output"] = [[10]]
    elif case == "negative":
        content["test"][0]["output"] = [[-1]]
    elif case == "ragged":
        content["train"][1]["input"] = [[1, 2], [3]]
    elif case == "fraction":
        content["train"][1]["input"] = [[1.5]]
    elif case == "no tests":
        content["test"] = []
    elif case == "no list":
        content = [1, 2]
    if case == "broken JSON":
        broken.write_text(broken.read_text()[:50])
    else:
        broken.write_text(json.dumps(content))
    return ["--data", str(tiny)], {"no such pair": "output", "too large": "1 x 31", "colour": "colour 10", "negative": "colour -1",
                                   "no tests": "no test pairs", "broken JSON": "JSON"}.get(case, "easy.json")


@pytest.mark.parametrize("case", ["no folder", "broken JSON", "too large", "colour", "negative", "ragged", "fraction", "no tests",
                                  "no list", "no such pair"])
def test_bad_files_are_one_line(tiny, case, capsys):
    arguments, says = spoil(tiny, case)
    assert train.main(["--task", "arc1", "--preset", "cpu", *arguments, "--out", "run"]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and "\n" not in error and says in error
    assert case == "no folder" or "easy.json" in error


@pytest.mark.parametrize("options, says", [
    ("--size 31", "size 31"), ("--task-options max_grid=0", "max_grid 0"), ("--task-options augmentations=-1", "-1"),
    ("--task-options tasks=few", "few"), ("--size 1", "1 x 1"), ("--task-options concept=nowhere", "nowhere"), ("--votes 0", "votes"),
])
def test_bad_options_are_one_line(options, says, capsys):
    assert train.main(["--task", "arc1", "--preset", "cpu", *options.split(), "--out", "run"]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and "\n" not in error and says in error


def test_layouts(tiny):
    """A clone of the official repository has a folder data; ConceptARC has corpus/CONCEPT/NAME.json."""
    clone = tiny.parent / "clone"
    clone.mkdir()
    tiny.rename(clone / "data")
    write_task(tiny.parent / "concept/corpus/Above", "Above2", [(ONE, ONE)], [(TWO, TWO), (TWO, ONE)])
    write_task(tiny.parent / "concept/corpus/Below", "Below1", [(ONE, ONE)], [(TWO, TWO)])
    concept = tiny.parent / "concept"
    both = arc.read_puzzles("arcagi", clone, concept)
    assert [(p.name, p.held_out) for p in both] == [("known", False), ("easy", True), ("half", True), ("hard", True),
                                                    ("Above2", False), ("Below1", False)]
    alone = arc.read_puzzles("arcagi", concept)
    assert [(p.name, p.held_out, len(p.tests)) for p in alone] == [("Above2", True, 2), ("Below1", True, 1)]
    task = load_task("arc1", str(clone), augmentations=3, concept=str(concept))
    splits = load_splits(task, str(clone), progress=False)
    assert task.size == 30 and [len(splits[name]) for name in ("train", "val", "test")] == [3 + 5 + 5, 0, 4]
    assert len(load_splits(task, str(clone), test_size=2, progress=False)["test"]) == 3  # of the first two tasks


# ------------------------------------------------------------------------------------------------------ whole runs

TINY = """--task arc1 --preset cpu --device cpu --size 5 --task-options augmentations=6 --hidden-size 16 --num-heads 2
    --H-layers 1 --L-layers 1 --inner-multiple 16 --puzzle-emb-ndim 20 --M-max 3 --grow-M-max 0.25 --exploration 0.5
    --halting q --ema 0.9 --dtype float64 --lr 3e-3 --warmup 5 --batch-size 8 --steps 12 --save-every 4 --log-every 2""".split()


def test_two_processes_compute_what_one_does(tiny, tmp_path, fork_server):  # noqa: F811
    """Training, the puzzle embedding and the votes. For the bounds, see the same test of Sudoku in test_train.py."""
    options = [*TINY, "--data", str(tiny)]
    assert train.main([*options, "--out", "run"]) == 0
    (tmp_path / "two").mkdir()
    status, output = fork_server(tmp_path / "two", [*options, "--out", "run"], processes=2)
    assert status == 0, output
    one, two = load("run/last.pt"), load("two/run/last.pt")
    assert len(one["model"]["puzzle_emb"]) == one["config"]["num_puzzles"] > 15
    assert one["model"]["puzzle_emb"].any(dim=1).sum() > 8 and not one["model"]["puzzle_emb"][0].any()
    for kind in ("model", "averaged"):
        for key, weights in one[kind].items():
            unit = one["options"]["puzzle_lr"] if key == "puzzle_emb" else 3e-3
            updates = (weights - two[kind][key]).abs() / unit
            assert (updates > 1e-3).double().mean() < 1e-3, (kind, key)
    inputs, labels, puzzle_ids, z_H, z_L, steps, halted = range(7)
    for part in (inputs, labels, puzzle_ids, steps, halted):
        assert torch.equal(one["slots"][part], two["slots"][part])
    own, other = (json.loads(Path(folder, "eval.json").read_text()) for folder in ("run", "two/run"))
    assert own["predictions"] == other["predictions"] and own["pass@100"] == other["pass@100"]
    votes = [[json.loads(line) for line in Path(folder, "votes.jsonl").read_text().splitlines()] for folder in ("run", "two/run")]
    assert len(votes[0]) == len(votes[1]) == 5
    for line, same in zip(votes[0][1:], votes[1][1:]):
        assert [a["grid"] for a in line["answers"]] == [a["grid"] for a in same["answers"]]
        assert [a["votes"] for a in line["answers"]] == [a["votes"] for a in same["answers"]]


def test_a_resumed_run_and_its_evaluation(tiny, capsys, monkeypatch):
    options = [*TINY, "--data", str(tiny)]
    assert train.main([*options, "--out", "whole"]) == 0
    write_row = train.Log.write_row

    def write_and_interrupt(log):
        write_row(log)
        if log.run.step == 6:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(train.Log, "write_row", write_and_interrupt)
        assert train.main([*options, "--out", "run"]) == 130
    assert train.main(["--resume", "run"]) == 0
    a, b = load("whole/last.pt"), load("run/last.pt")
    assert set(differences(a, b)) <= {"/seconds", "/options/out", "/options/resume"}
    assert metrics(Path("whole")) == metrics(Path("run"))
    own = json.loads(Path("run/eval.json").read_text())
    assert train.main(["--eval", "run", "--votes", "2", "--max-segments", "5", "--no-halt", "--out", "few"]) == 0
    few = json.loads(Path("few/eval.json").read_text())
    assert few["predictions"] == 2 * 4 and few["segments"] == few["max_segments"] == 5 and not few["halt"]
    assert own["predictions"] == 7 * 4 and own["halt"] and "voted on before" not in capsys.readouterr().out


def test_the_puzzle_embedding_is_held_and_saved_once(tiny):
    """It has a million rows in the paper's setting: the average of the weights shares it, a checkpoint holds it once."""
    from hrm import HRMConfig
    config = HRMConfig(vocab_size=12, seq_len=16, hidden_size=16, num_heads=2, H_layers=1, L_layers=1, inner_multiple=16,
                       num_puzzles=50_000, puzzle_emb_ndim=16, dtype="float32")
    task = Arc1(size=4, augmentations=3)
    split = task.load(str(tiny), None, False)["train"]
    processes = train.Processes(torch.device("cpu"))
    run = train.Run(Options(task="arc1", ema=0.9, batch_size=4), config, task, split, processes)
    table = run.model.puzzle_emb
    assert run.averaged.puzzle_emb.data_ptr() == table.data_ptr()
    assert run.averaged.head.weight.data_ptr() != run.model.head.weight.data_ptr()
    train.save(Path("last.pt"), run.checkpoint(), processes)
    assert Path("last.pt").stat().st_size < 1.5 * table.nbytes


def test_the_paper_preset():
    cpu = SimpleNamespace(rank=1, world=1, device=torch.device("cpu"))
    for name in ("arc1", "arc2"):
        options, sizes = choose({"preset": "paper", "task": name}, cpu)
        expected = dict(size=30, task_options="", lr=1e-4, weight_decay=0.1, puzzle_lr=1e-2, puzzle_weight_decay=0.1,
                        batch_size=768, epochs=100_000, warmup=2000, ema=0, halt=False)
        assert {key: getattr(options, key) for key in expected} == expected and not sizes
        task = load_task(name, **train.task_keywords(options))
        assert (task.seq_len, task.vocab_size, task.augmentations, task.concept) == (900, 12, 1000, "")
        assert train.check(options, 3079, cpu) == 100_000 * 3079 // 768


def test_drawing_tasks(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", "data.py --task arc1 --show 2 --size 6 --out tasks.png".split())
    assert data.main() == 0
    assert Path("tasks.png").read_bytes().startswith(b"\x89PNG") and "2 arc1 tasks" in capsys.readouterr().out

"""puzzles/arc_grids.py and arc.py: every grid of ARC-AGI-1 and -2 through the frame and the variants, no
leak, what a step offers, and bad input.

With the environment variable CONCEPTARC (its folder), the tests of all puzzles include ConceptARC's.
"""

import functools
import hashlib
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import data
import train
from data import load_splits, load_task
from puzzles import arc, arc_vote
from puzzles.arc import Arc1, Arc2, epoch_plan
from puzzles.arc_grids import INVERSE, Puzzle, decode, draw_variants, encode, read_puzzles, turn
from training.files import UserError

pytestmark = pytest.mark.usefixtures("here")

CONCEPT = os.environ.get("CONCEPTARC", "")
SETS = {"arc1": ("arcagi", None, CONCEPT), "arc2": ("arcagi2", None, "")}


@pytest.fixture(scope="session", autouse=True)
def read_once():
    """The package's tasks are read once for all tests, which takes a second for each set."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(arc, "read_puzzles", functools.cache(read_puzzles))
        yield


@pytest.fixture(scope="session")
def corpora(read_once):
    """All puzzles of both sets."""
    return {name: arc.read_puzzles(*where) for name, where in SETS.items()}


@pytest.fixture(scope="session")
def splits(read_once):
    """Both sets as they are trained on, with few variants, to save time."""
    tasks = Arc1(augmentations=5, concept=CONCEPT), Arc2(augmentations=5)
    return {task.name: task.load(None, None) for task in tasks}


def grids_of(puzzle):
    return [grid for pair in puzzle.pairs for grid in pair]


# ---- all puzzles


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
def test_every_variant_is_undone(corpora, name):
    """Every grid under all 8 symmetries, with 4 random orders of the colours each, which are done at once."""
    rng = np.random.default_rng(0)
    for puzzle in corpora[name]:
        colours = np.pad(1 + rng.random((4, 9)).argsort(axis=1), ((0, 0), (1, 0))).astype(np.uint8)
        back = np.argsort(colours, axis=1)
        for grid in grids_of(puzzle):
            recoloured = colours[:, grid]
            for symmetry in range(8):
                undone = turn(turn(recoloured, symmetry), INVERSE[symmetry])
                assert (np.take_along_axis(back, undone.reshape(4, grid.size), axis=1) == grid.ravel()).all()


def test_variants_are_the_symmetries_and_permutations(corpora):
    for puzzle in corpora["arc1"][::80]:
        variants = draw_variants(puzzle, 30)
        assert np.array_equal(variants.colours[0], np.arange(10)) and variants.symmetries[0] == 0
        assert (np.sort(variants.colours, axis=1) == np.arange(10)).all()
        assert (variants.colours[:, 0] == 0).all()
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
    grids = [grid for pair in puzzle.demonstrations for grid in pair]
    for given, answer in puzzle.tests:
        grids += [given] if puzzle.held_out else [given, answer]
    changed = [colours[turn(grid, symmetry)] for grid in grids]
    return tuple((grid.shape, grid.tobytes()) for grid in changed)


def test_variants_are_distinct(corpora):
    for puzzle in [*corpora["arc1"][::40], *corpora["arc2"][::90]]:
        variants = draw_variants(puzzle, 200)
        drawn = zip(variants.symmetries, variants.colours)
        assert len({everything(puzzle, *variant) for variant in drawn}) == len(variants)
        again = draw_variants(puzzle, 200)
        assert np.array_equal(again.colours, variants.colours)
        assert np.array_equal(again.symmetries, variants.symmetries)


def test_a_puzzle_with_few_variants_gets_them_all():
    """Black and one colour, and all grids symmetric under every turn: 9 variants, one for each colour. With a
    grid that has no symmetry: 9 * 8."""
    plain = np.array([[3, 0, 3], [0, 3, 0], [3, 0, 3]], np.uint8)
    skew = np.array([[3, 0, 0], [3, 3, 0]], np.uint8)
    for pair, count in (((plain, plain), 9), ((plain, skew), 72)):
        variants = draw_variants(Puzzle("few", [pair], [(plain, plain)], held_out=True), 1000)
        assert len(variants) == count
    # The colour of the answer must not show in how many variants there are.
    for answer in (plain, 2 * skew):
        secret = Puzzle("secret", [(plain, plain)], [(plain, answer)], held_out=True)
        assert len(draw_variants(secret, 100)) == 9
    known = Puzzle("known", [(plain, plain)], [(plain, 2 * skew)], held_out=False)
    assert len(draw_variants(known, 1000)) == 72 * 8


# ---- the frame


def test_the_frame_cell_by_cell():
    tokens = encode(np.array([[0, 9], [4, 1], [2, 2]], np.uint8), 5, top=1, left=1).reshape(5, 5)
    assert tokens.tolist() == [
        [0, 0, 0, 0, 0],
        [0, 2, 11, 1, 0],
        [0, 6, 3, 1, 0],
        [0, 4, 4, 1, 0],
        [0, 1, 1, 0, 0],
    ]
    full = encode(np.full((3, 3), 7, np.uint8), 3)
    assert full.tolist() == [9] * 9  # no room for EOS
    wide = encode(np.full((1, 3), 7, np.uint8), 3).reshape(3, 3)
    assert wide.tolist() == [[9, 9, 9], [1, 1, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    "frame, grid",
    [
        ([[2, 3, 1], [4, 5, 1], [1, 1, 0]], [[0, 1], [2, 3]]),
        (
            [[2, 3, 3], [4, 1, 3], [2, 1, 0]],
            [[0, 1, 1]],
        ),  # 1 x 3 and 3 x 1 are as large: the one with fewer rows
        ([[1, 3, 3], [4, 4, 3], [2, 2, 2]], None),
        ([[0, 0, 0], [0, 0, 0], [0, 0, 0]], None),
        ([[2, 2, 2], [2, 2, 2], [2, 2, 2]], [[0, 0, 0]] * 3),
        ([[3, 3, 3], [3, 3, 1], [3, 0, 3]], [[1, 1], [1, 1]]),
    ],
)
def test_crop(frame, grid):
    cut = decode(np.array(frame, np.uint8).reshape(1, 9), 3)[0]
    assert (cut is None and grid is None) or cut.tolist() == grid


# ---- no leak


def digest(given, answer):
    return hashlib.sha256(repr((given.tolist(), answer.tolist())).encode()).hexdigest()


@pytest.mark.parametrize("name", SETS)
def test_no_test_pair_reaches_training(corpora, splits, name):
    """Hashes of the pairs as they stand in the training arrays, read back from their tokens, against those of
    the evaluation puzzles' test pairs."""
    train_split, test_split = splits[name]["train"], splits[name]["test"]
    secret = {digest(*pair) for puzzle in corpora[name] if puzzle.held_out for pair in puzzle.tests}
    known, asked = (
        [digest(*pair) for pair in zip(decode(split.inputs, 30), decode(split.labels, 30))]
        for split in (train_split, test_split)
    )
    assert not secret & set(known) and set(asked) == secret
    total = sum(len(puzzle.demonstrations if puzzle.held_out else puzzle.pairs) for puzzle in corpora[name])
    leaks = name == "arc1"  # 070dd51e's test pair is a training puzzle's pair, and left out
    assert len(known) == total - leaks and len(splits[name]["val"]) == 0


def test_no_step_offers_a_test_pair(splits):
    """The same for what steps offer: every pair, its variant undone, is a training pair of its puzzle."""
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
                grid = frame[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] - 2
                pair.append(split.variants[p].undo(grid, puzzle_id - split.first_id[p]))
            assert digest(*pair) in allowed[p]


# ---- what a step offers


@pytest.fixture(scope="session")
def small(read_once):
    """Real puzzles, all those that fit into a frame of 6 x 6."""
    task = Arc1(size=6, augmentations=20)
    return task, task.load(None, None)


def test_the_size_chooses_the_puzzles(small, corpora):
    fitting = [
        puzzle
        for puzzle in arc.read_puzzles("arcagi", None, "")
        if max(max(grid.shape) for grid in grids_of(puzzle)) <= 6
    ]
    assert [puzzle.name for puzzle in small[1]["test"].puzzles] == [puzzle.name for puzzle in fitting]
    alone = Arc1(size=6, augmentations=0, training=False).load(None, None)["train"]
    assert [puzzle.name for puzzle in alone.puzzles] == [puzzle.name for puzzle in fitting if puzzle.held_out]


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
    for row, k, *boards in zip(order, ids, offer.inputs, offer.labels):
        pair = [split.variants[split.owner[row]].apply(grid, k) for grid in split.pairs[row]]
        corner = [np.argwhere(board.reshape(6, 6) >= 2).min(axis=0) for board in boards]
        assert (corner[0] == corner[1]).all()  # input and output are moved together
        assert not still[row] or (corner[0] == 0).all()
        for board, grid in zip(boards, pair):
            assert np.array_equal(encode(grid, 6, *corner[0]), board)


def test_all_variants_and_places_are_drawn(small):
    """About equally often."""
    split = small[1]["train"]
    plans = [epoch_plan(split, epoch, 0) for epoch in range(200)]
    for p, variants in enumerate(split.variants):
        counts = np.bincount([variant[p] for _, variant, _ in plans], minlength=len(variants))
        assert len(counts) == len(variants) and (counts > 0).mean() > 0.95
    corners = np.concatenate([moved for *_, moved in plans[:5]])
    assert corners.max() < 1 and 0.3 < corners.mean() < 0.5


def test_offers_depend_on_seed_and_step_alone(small):
    task, splits = small
    options = SimpleNamespace(batch_size=17, seed=0, augment=True)
    first = [task.offer(splits["train"], step, options, None) for step in range(30)]
    epoch_plan.cache_clear()
    again = task.load(None, None)["train"]
    for step in (29, 7):
        other = task.offer(again, step, options, np.random.default_rng(step))
        for field in ("inputs", "labels", "puzzle_ids"):
            assert np.array_equal(getattr(first[step], field), getattr(other, field))
    options.seed = 1
    assert not np.array_equal(task.offer(again, 7, options, None).inputs, first[7].inputs)
    options.augment = False
    plain = task.offer(again, 7, options, None)
    known = {pair.tobytes() for pair in np.concatenate([again.inputs, again.labels], axis=1)}
    assert {pair.tobytes() for pair in np.concatenate([plain.inputs, plain.labels], axis=1)} <= known


# ---- files and options


def write_task(folder, name, demonstrations, tests):
    def pairs(grids):
        return [{"input": given, "output": answer} for given, answer in grids]

    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"train": pairs(demonstrations), "test": pairs(tests)}))


ONE, TWO, THREE, FOUR = [[1, 2, 0], [0, 1, 1]], [[3, 0], [0, 4], [4, 4]], [[5, 0, 6]], [[8], [8], [9]]


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A folder in the official layout; the pictures of the answers are left out, to save time.

    The answer is the input, but for one test grid of "half" and all of "hard".
    """
    monkeypatch.setattr(arc_vote, "draw_attempts", lambda *_: None)
    write_task(tmp_path / "arc/training", "known", [(ONE, ONE), (TWO, TWO)], [(ONE, ONE)])
    write_task(tmp_path / "arc/evaluation", "easy", [(TWO, TWO), (ONE, ONE)], [(THREE, THREE)])
    write_task(tmp_path / "arc/evaluation", "half", [(TWO, TWO)], [(FOUR, FOUR), (THREE, TWO)])
    write_task(tmp_path / "arc/evaluation", "hard", [(ONE, TWO), (TWO, ONE)], [(FOUR, [[7]])])
    return tmp_path / "arc"


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
    text = json.dumps(content)
    broken.write_text(text[:50] if case == "broken JSON" else text)
    says = {
        "no such pair": "output",
        "too large": "[[0, 0, 0",
        "colour": "[[10]] is no grid",
        "negative": "[[-1]] is no grid",
        "no tests": "a test pair",
        "broken JSON": "JSONDecodeError",
    }
    return ["--data", str(tiny)], says.get(case, "easy.json")


@pytest.mark.parametrize(
    "case",
    [
        "no folder",
        "broken JSON",
        "too large",
        "colour",
        "negative",
        "ragged",
        "fraction",
        "no tests",
        "no list",
        "no such pair",
    ],
)
def test_bad_files_are_one_line(tiny, case, capsys):
    arguments, says = spoil(tiny, case)
    assert train.main(["--task", "arc1", "--preset", "small", *arguments, "--out", "run"]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and "\n" not in error and says in error
    assert case == "no folder" or "easy.json" in error


@pytest.mark.parametrize(
    "options, says",
    [
        ("--size 31", "size 31"),
        ("--size 1", "1 x 1"),
        ("--task-options max_grid=5", "max_grid"),
        ("--task-options augmentations=-1", "-1"),
        ("--task-options augmentations=few", "few"),
        ("--task-options concept=nowhere", "nowhere"),
        ("--votes 0", "votes"),
        ("--votes 2 --noise 0.5", "--noise"),
        ("--no-views", "--no-views"),
    ],
)
def test_bad_options_are_one_line(options, says, capsys):
    """Before anything is trained."""
    assert train.main(["--task", "arc1", "--preset", "small", *options.split(), "--out", "run"]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and "\n" not in error and says in error
    assert not Path("run").exists()


def test_only_one_checkpoint_votes():
    assert Arc1().check_votes({}, 1, None, 0.0, True) is None  # all variants
    with pytest.raises(UserError, match="one checkpoint"):
        Arc1().check_votes({}, 2, None, 0.0, True)


def test_layouts(tiny):
    """The official repositories hold data/training and data/evaluation, ConceptARC corpus/CONCEPT."""
    concept = tiny.parent / "concept/corpus"
    write_task(concept / "Above", "Above2", [(ONE, ONE)], [(TWO, TWO), (TWO, ONE)])
    write_task(concept / "Below", "Below1", [(ONE, ONE)], [(TWO, TWO)])
    both = read_puzzles("arcagi", tiny, concept)
    expected = {"known": False, "easy": True, "half": True, "hard": True, "Above2": False, "Below1": False}
    assert {puzzle.name: puzzle.held_out for puzzle in both} == expected
    assert [puzzle.name for puzzle in both] == list(expected)
    task = load_task("arc1", str(tiny), augmentations=3, concept=str(concept))
    sizes = {name: len(split) for name, split in load_splits(task, str(tiny), progress=False).items()}
    assert task.size == 30 and sizes == {"train": 3 + 5 + 5, "val": 0, "test": 4}
    assert len(load_splits(task, str(tiny), test_size=2, progress=False)["test"]) == 3  # of the first two


def test_drawing_tasks(capsys):
    data.main("--task arc1 --show 2 --size 6 --out tasks.png".split())
    counts, picture = capsys.readouterr().out.splitlines()
    assert Path("tasks.png").read_bytes().startswith(b"\x89PNG")
    assert picture.startswith("2 arc1 tasks") and "tasks, " in counts and "variants" in counts

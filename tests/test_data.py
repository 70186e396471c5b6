"""data.py, maze.py and published.py against plain, slow Python: brute-force search, eightfold comparison, CSV files
written by hand."""
import shlex
import sys
from collections import deque

import numpy as np
import pytest

import data
import maze as mazes
from data import UserError, load_splits, load_task
from maze import GOAL, OPEN, PATH, START, WALL

SUDOKU_4 = "1234341221434321"


def neighbours(cell, side):
    row, column = divmod(cell, side)
    for r, c in [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]:
        if 0 <= r < side and 0 <= c < side:
            yield r * side + c


def search(maze, side):
    """Breadth-first search from S: {cell: (steps, number of shortest paths)}, the obvious way."""
    start = list(maze).index(START)
    found, queue = {start: (0, 1)}, deque([start])
    while queue:
        cell = queue.popleft()
        steps, ways = found[cell]
        for other in neighbours(cell, side):
            if maze[other] == WALL:
                continue
            if other not in found:
                found[other] = (steps + 1, 0)
                queue.append(other)
            if found[other][0] == steps + 1:
                found[other] = (steps + 1, found[other][1] + ways)
    return found


def follow(label, side):
    """Steps of the path of 'o' from S to G, walked cell by cell; every 'o' must be on it."""
    left = {int(cell) for cell in np.flatnonzero(label == PATH)}
    cell, goal, steps = list(label).index(START), list(label).index(GOAL), 0
    while goal not in neighbours(cell, side) or left:
        cell = next(other for other in neighbours(cell, side) if other in left)
        left.remove(cell)
        steps += 1
    return steps + 1


def turned(row, side):
    """The 8 rotations and reflections of one row."""
    grid = row.reshape(side, side)
    return [np.rot90(g, k).ravel() for g in (grid, grid.T) for k in range(4)]


MAZES = [dict(size=5), dict(size=9), dict(size=11, min_path=12), dict(kind="random", size=2),
         dict(kind="random", size=9), dict(kind="random", size=8, min_path=10, unique=True),
         dict(kind="random", size=33, min_path=40), dict(kind="random", size=30, min_path=110)]


@pytest.mark.parametrize("options", MAZES, ids=str)
def test_mazes_against_brute_force(options):
    task = load_task("maze", **options)
    n = 8 if task.size >= 30 else 100
    inputs, labels = task.generate(n, np.random.default_rng(1))
    assert inputs.shape == labels.shape == (n, task.seq_len) and inputs.dtype == labels.dtype == np.uint8
    for maze, label in zip(inputs, labels):
        found = search(maze, task.size)
        steps, ways = found[list(maze).index(GOAL)]
        assert (np.where(label == PATH, OPEN, label) == maze).all()
        assert follow(label, task.size) == steps > task.min_path
        if task.kind == "perfect" or task.unique:
            assert ways == 1
        if task.kind == "perfect":
            passages = [(a, b) for a in found for b in neighbours(a, task.size) if a < b and b in found]
            assert len(found) == (maze != WALL).sum() == len(passages) + 1  # connected, no cycle: a tree
            rooms = maze.reshape(task.grid)[1::2, 1::2]
            assert (rooms != WALL).all() and START in rooms and GOAL in rooms
    assert (task.rating(inputs, labels) == [follow(label, task.size) for label in labels]).all()
    assert task.check(inputs, labels).all() and task.keeps_rules(inputs, labels).all()
    assert task.problem(inputs) == task.problem(inputs, labels) == [None] * n


def test_random_mazes_draw_the_pair_uniformly():
    """Within one maze all ordered pairs far enough apart are equally likely: here 4 pairs."""
    maze = np.pad(np.ones((2, 3), bool), ((0, 1), (0, 0)))  # an open 2 x 3 room: 3 steps across
    rng = np.random.default_rng(0)
    pairs = [tuple(map(int, mazes.distant_pair(maze, 2, rng))) for _ in range(800)]
    assert set(pairs) == {(0, 5), (5, 0), (2, 3), (3, 2)}
    assert all(150 < pairs.count(pair) < 250 for pair in set(pairs))


def test_ties_are_broken_at_random():
    steps = mazes.distances(np.ones((400, 3, 3), bool), mazes.one_hot(np.zeros(400, int), 3))
    paths = mazes.walk_back(steps, np.full(400, 8), np.random.default_rng(0)).reshape(400, 9)
    assert len(np.unique(paths, axis=0)) == 6  # all the ways from corner to corner of an empty 3 x 3 board


def test_impossible_mazes_are_refused():
    for options, message in [(dict(kind="random", size=5, min_path=30), "none of .* size 5 .* over 30"),
                             (dict(size=10), "odd size"), (dict(size=3), "odd size")]:
        with pytest.raises(UserError, match=message):
            load_task("maze", **options).generate(1, np.random.default_rng(0))
    for options, message in [(dict(size=65), "2 to 64"), (dict(kind="round"), "perfect or random"),
                             (dict(size=-3), "-3"), (dict(min_path=-1), "-1"),
                             (dict(size="big"), "'big' is not of type int"),
                             (dict(colour=1), "no option 'colour'; it has size, kind")]:
        with pytest.raises(UserError, match=message):
            load_task("maze", **options)


def test_maze_check_judges_by_the_rules():
    task = load_task("maze", kind="random", size=4)
    maze = "S   " " ## " " ## " "G   "
    right, detour = "S   " "o## " "o## " "G   ", "Sooo" " ##o" " ##o" "Gooo"
    wrong = ["S   " "o## " " ## " "G   ",  # a gap
             "So  " "o## " "o## " "G   ",  # a cell to spare
             "S   " "oo# " "o## " "G   ",  # through a wall
             "o   " "o## " "o## " "G   ",  # S overwritten
             maze]
    inputs = task.encode([maze] * (2 + len(wrong)))
    answers = task.encode([right, detour, *wrong])
    assert task.check(inputs, answers).tolist() == [True, False] + [False] * len(wrong)
    assert task.keeps_rules(inputs, answers).tolist() == [True, True] + [False] * len(wrong)
    tie = task.encode(["S   " "    " "  G " "####"] * 2)
    both = task.encode(["Soo " "  o " "  G " "####", "S   " "ooo " "  G " "####"])
    assert task.check(tie, both).all()  # any shortest path will do


@pytest.mark.parametrize("name, size", [("maze", 7), ("sudoku", 4), ("sudoku", 6), ("sudoku", 9)])
def test_augmented_puzzles_keep_their_answer(name, size):
    task, rng = load_task(name, size=size), np.random.default_rng(2)
    inputs, labels = (np.repeat(rows, 100, axis=0) for rows in task.generate(3, rng))
    before = inputs.copy()
    new_inputs, new_labels = task.augment(inputs, labels, rng)
    assert (inputs == before).all() and new_inputs.dtype == new_labels.dtype == np.uint8
    assert task.check(new_inputs, new_labels).all()
    assert (task.fingerprint(new_inputs) == task.fingerprint(inputs)).all()
    assert len(np.unique(task.fingerprint(inputs))) == 3
    distinct = len(np.unique(new_inputs, axis=0))
    if name == "maze":
        assert distinct == 3 * 8
        for old, new, label, new_label in zip(inputs, new_inputs, labels, new_labels):
            undone = [k for k, row in enumerate(turned(new, 7)) if (row == old).all()]
            assert any((turned(new_label, 7)[k] == label).all() for k in undone)
    else:
        assert distinct > 150  # of 300: hardly any symmetry comes twice


def test_generated_splits_are_disjoint_up_to_symmetry():
    task = load_task("maze", kind="random", size=3)  # so small that many mazes are equal up to symmetry
    splits = load_splits(task, train_size=60, val_size=15, test_size=15, cache=None, progress=False)
    assert {name: len(split) for name, split in splits.items()} == {"train": 60, "val": 15, "test": 15}
    seen = set()
    for split in splits.values():
        assert split.puzzle_ids.dtype == np.int32 and split.rating.dtype == np.float32
        for row in split.inputs:
            assert not any(image.tobytes() in seen for image in turned(row, 3))
            seen.add(row.tobytes())


def test_too_few_different_puzzles_are_an_error_with_numbers():
    with pytest.raises(UserError, match=r"only about 6 different maze puzzles of size 5, 2500 are needed"):
        load_splits(load_task("maze", size=5), train_size=2000, cache=None, val_size=100, test_size=400)


@pytest.mark.parametrize("name, options", [("sudoku", dict(size=4)), ("sudoku", dict(size=4, extra=0)),
                                           ("maze", dict(size=5)), ("maze", dict(kind="random", size=3))], ids=str)
def test_defaults_shrink_where_there_are_few_puzzles(name, options):
    task = load_task(name, **options)
    splits = load_splits(task, cache=None, progress=False)
    sizes = [len(splits[part]) for part in ("train", "val", "test")]
    assert sizes[0] > sum(sizes) / 2 and min(sizes) >= 1
    prints = np.concatenate([task.fingerprint(split.inputs) for split in splits.values()])
    assert len(np.unique(prints)) == sum(sizes)


def test_shipped_sudoku_is_the_default_of_9x9():
    task = load_task("sudoku")
    splits = load_splits(task, cache=None)
    assert {name: len(split) for name, split in splits.items()} == {"train": 900, "val": 100, "test": 1000}
    assert task.check(splits["test"].inputs, splits["test"].labels).all()
    assert splits["train"].rating.mean() > 3  # guesses: these are the hard ones
    prints = np.concatenate([task.fingerprint(split.inputs) for split in splits.values()])
    assert len(np.unique(prints)) == 2000
    assert load_task("sudoku", extra=3).shipped is None


def test_edited_code_gets_no_old_puzzles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sources = {name: tmp_path / f"{name}_copy.py" for name in ("data", "tasks", "maze", "sudoku")}
    for name, copy in sources.items():
        copy.write_text(open(sys.modules[name].__file__).read())
        monkeypatch.setattr(sys.modules[name], "__file__", str(copy))
    task, paths = load_task("maze", size=7), set()
    paths.add(data.cache_path("cache", task, 10, 0))
    for copy in sources.values():
        copy.write_text(copy.read_text() + "# edited")
        paths.add(data.cache_path("cache", task, 10, 0))
    assert len(paths) == 5
    monkeypatch.setattr(type(task), "__module__", "builtins")  # as if typed into a notebook
    assert data.cache_path("cache", task, 10, 0) is None


def test_cache_and_seed(tmp_path, capsys):
    task = load_task("maze", size=7)
    arguments = dict(train_size=30, val_size=5, test_size=10, cache=tmp_path / "cache", progress=False)
    first = load_splits(task, seed=1, **arguments)
    [file] = (tmp_path / "cache").iterdir()
    written = file.stat().st_mtime_ns
    again = load_splits(load_task(task.name, **task.options), seed=1, **arguments)
    assert file.stat().st_mtime_ns == written
    other = load_splits(task, seed=2, **arguments)
    file.write_bytes(file.read_bytes()[:100])  # damaged: made again, and the same
    repaired = load_splits(task, seed=1, **arguments)
    for name in ("train", "val", "test"):
        for same in (again, repaired):
            assert (first[name].inputs == same[name].inputs).all()
            assert (first[name].labels == same[name].labels).all()
    assert (first["train"].inputs != other["train"].inputs).any()
    (tmp_path / "file").touch()
    load_splits(task, **{**arguments, "cache": tmp_path / "file"})  # cannot write there: said, but no error
    assert "not kept" in capsys.readouterr().err


def write_csv(path, rows, header="source,question,answer,rating", end="\n"):
    path.write_bytes(end.join([header, *rows, ""]).encode())
    return path


def make_files(folder, n=40, seed=0):
    """train.csv with n and test.csv with n/2 4x4 puzzles; returns the task."""
    task = load_task("sudoku", size=4)
    inputs, labels = task.generate(n + n // 2, np.random.default_rng(seed))
    rows = [f"us,{q},{a},{i}" for i, (q, a) in enumerate(zip(task.decode(inputs), task.decode(labels)))]
    write_csv(folder / "train.csv", rows[:n])
    write_csv(folder / "test.csv", rows[n:])
    return task, inputs, labels


def test_published_files(tmp_path, capsys):
    task, inputs, labels = make_files(tmp_path)
    assert load_task("sudoku", data=tmp_path).size == 4
    default = load_splits(task, data=tmp_path, test_size=None)
    assert [len(default[name]) for name in ("train", "val", "test")] == [36, 4, 20]  # a tenth is held out
    everything = load_splits(task, data=tmp_path, val_size=0, test_size=None)
    assert [len(everything[name]) for name in ("train", "val", "test")] == [40, 0, 20]
    assert (everything["train"].inputs == inputs[:40]).all()
    assert (everything["test"].labels == labels[40:]).all()
    assert everything["test"].rating.tolist() == list(range(40, 60))
    some = load_splits(task, data=str(tmp_path), train_size=25, val_size=100, test_size=5, seed=3)
    assert [len(some[name]) for name in ("train", "val", "test")] == [25, 15, 5]
    assert set(some["train"].rating) | set(some["val"].rating) == set(range(40))  # no row in both
    same, other = (load_splits(task, data=tmp_path, train_size=25, seed=seed)["train"] for seed in (3, 4))
    assert (some["train"].rating == same.rating).all() and (some["train"].rating != other.rating).any()
    bare = load_splits(task, data=tmp_path / "test.csv")
    assert [len(bare[name]) for name in ("train", "val", "test")] == [0, 0, 20]
    capsys.readouterr()
    load_splits(task, data=tmp_path, train_size=1000)
    assert "train.csv holds 40 puzzles: all are taken, 1000 were asked for" in capsys.readouterr().out
    write_csv(tmp_path / "test.csv", (tmp_path / "train.csv").read_text().splitlines()[1:4])
    load_splits(task, data=tmp_path)
    assert "3 of 3 test puzzles are training puzzles too" in capsys.readouterr().out


@pytest.mark.parametrize("text", [
    f"source,question,answer,rating\nus,{SUDOKU_4[:-1]}.,{SUDOKU_4},7\n",
    f"source,question,answer,rating\r\nus,{SUDOKU_4[:-1]}0,{SUDOKU_4},7\r\n",
    f"source,question,answer,rating\r\nus,{SUDOKU_4[:-1]}0,{SUDOKU_4},7",
    f"\ufeffquestion,answer\n{SUDOKU_4[:-1]}.,{SUDOKU_4}\n\n",
    f"rating,answer,question\r\n,{SUDOKU_4},{SUDOKU_4[:-1]}.\r\n"])
def test_every_way_to_write_the_file(tmp_path, text):
    (tmp_path / "a.csv").write_bytes(text.encode())
    task = load_task("sudoku", data=tmp_path / "a.csv")
    split = load_splits(task, data=tmp_path / "a.csv")["test"]
    assert task.decode(split.inputs) == [SUDOKU_4[:-1] + "."] and task.decode(split.labels) == [SUDOKU_4]
    assert split.rating[0] == 7 or (np.isnan(split.rating[0]) and "7" not in text)


def test_maze_files_keep_their_spaces(tmp_path):
    path = write_csv(tmp_path / "a.csv", ["us,S G      ,SoG      ,2"], end="\r\n")
    split = load_splits(load_task("maze", data=path), data=path)["test"]
    assert load_task("maze", data=path).decode(split.labels) == ["SoG      "]


GOOD = f"us,{SUDOKU_4[:-1]}.,{SUDOKU_4},7"
BAD_ROWS = [
    ("sudoku", f"us,{SUDOKU_4},{SUDOKU_4}1,7", "line 3: answer of 17 characters, but sudoku .* has 16"),
    ("sudoku", f"us,{SUDOKU_4[:-1]}x,{SUDOKU_4},7", "line 3: unknown symbol 'x' in question; use '.1234'"),
    ("sudoku", f"us,{SUDOKU_4[:-1]}5,{SUDOKU_4},7", "line 3: unknown symbol '5' in question"),
    ("sudoku", f"us,{SUDOKU_4[:-1]}.,{SUDOKU_4},hard", "line 3: rating: 'hard' is not of type float"),
    ("sudoku", f"us,{SUDOKU_4[:-1]}.,{SUDOKU_4}", "line 3: 3 columns, but the header has 4"),
    ("sudoku", f"us,2{'.' * 15},{SUDOKU_4},7", "line 3: the answer changes a given"),
    ("sudoku", f"us,11{'.' * 14},{SUDOKU_4},7", "line 3: the same digit twice .* question"),
    ("sudoku", f"us,{'.' * 16},{SUDOKU_4[:-1]}2,7", "line 3: the same digit twice .* answer"),
    ("sudoku", f"us,{'.' * 16},{SUDOKU_4[:-1]}.,7", "line 3: the answer has blanks"),
    ("maze", "us,  G      ,SoG      ,7", "line 3: no S$"),
    ("maze", "us,S G  G   ,SoG  G   ,7", "line 3: more than one G"),
    ("maze", "us,SoG      ,SoG      ,7", "line 3: path cells 'o' in the question"),
    ("maze", "us,S#G###   ,S#G###   ,7", "line 3: no path from S to G"),
    ("maze", "us,S G      ,S G      ,7", "line 3: the answer is not a path from S to G"),
    ("maze", "us,S G   #  ,SoG      ,7", "line 3: the answer changes the maze")]


@pytest.mark.parametrize("name, row, message", BAD_ROWS, ids=[message for _, _, message in BAD_ROWS])
def test_bad_rows_are_named(tmp_path, name, row, message):
    path = write_csv(tmp_path / "a.csv", [GOOD if name == "sudoku" else "us,S G      ,SoG      ,2", row])
    with pytest.raises(UserError, match=message) as error:
        load_splits(load_task(name, data=path), data=path)
    assert str(error.value).startswith(f"{path}, ") and "\n" not in str(error.value)


def test_bad_files_are_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as if it were not installed
    for text, message in [("", "is empty"), ("question,answer\n", "holds no puzzles"),
                          ("\n\n", "line 1: no column 'question'"),
                          ("question,rating\n1,2\n", "line 1: no column 'answer'"),
                          (f"question,answer\n{SUDOKU_4}5,{SUDOKU_4}5\n", "line 2: .* 17 .* no square")]:
        (tmp_path / "a.csv").write_text(text)
        with pytest.raises(UserError, match=message):
            load_task("sudoku", data=tmp_path / "a.csv")
    for source, message in [(tmp_path, "train.csv cannot be read: No such file"),
                            ("a/b/c", "no file or folder a/b/c"), ("missing.csv", "no file or folder"),
                            ("someone/puzzles", "pip install huggingface_hub")]:
        with pytest.raises(UserError, match=message):
            load_task("sudoku", data=source)
    with pytest.raises(UserError, match="Sudoku size 5 is unknown"):
        load_task("sudoku", data=write_csv(tmp_path / "a.csv", [f"us,{'.' * 25},{'1' * 25},0"]))
    task, _, _ = make_files(tmp_path)
    with pytest.raises(UserError, match="line 2: question of 16 characters, but sudoku of size 9 has 81"):
        load_splits(load_task("sudoku", size=9), data=tmp_path)
    with pytest.raises(UserError, match="train_size 0"):
        load_splits(task, data=tmp_path, train_size=0)


def test_sudoku_problems_and_check():
    task = load_task("sudoku", size=4)
    rows = [SUDOKU_4, SUDOKU_4[:-1] + ".", "." * 16, "11" + "." * 14,
            "123." "...4" "...." "...."]  # the blank in row 1 can only be 4, which its box has
    solved, good, several, contradiction, none = task.problem(task.encode(rows))
    assert solved is None and good is None and "twice" in contradiction
    assert several == "the puzzle has more than one solution" and none == "the puzzle has no solution"
    answers = task.encode([SUDOKU_4, SUDOKU_4[:-1] + ".", "2134341221434321"])
    inputs = task.encode([SUDOKU_4[:-1] + "."] * 3)
    assert task.check(inputs, answers).tolist() == [True, False, False]
    other_solution = task.encode(["2143431212343421"])
    assert not task.check(inputs[:1], other_solution)[0]  # solved, but not this puzzle
    assert not task.check(inputs[:1], np.zeros((1, 16), np.uint8))[0]


def test_encode_and_decode():
    task = load_task("sudoku", size=4)
    assert task.decode(task.encode(["12..\n0000\n....\n...1\n"])) == ["12.." "...." "...." "...1"]
    for text, message in [("12", "2 characters, but sudoku of size 4 has 16"), ("_" * 16, "'_' is no symbol"),
                          ("é" * 16, "'é' is no symbol"), ("→" * 16, "'→' is no symbol")]:
        with pytest.raises(UserError, match=message):
            task.encode([text])


STUDENT = '''
import numpy as np
from data import Task

class Echo(Task):
    """The answer is the input."""
    name = "echo"
    symbols = "_ab"
    default_size = 3

    def generate(self, n, rng):
        rows = rng.integers(1, 3, size=(n, self.seq_len)).astype(np.uint8)
        return rows, rows
'''


def test_a_students_task(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "echo.py").write_text(STUDENT)
    (tmp_path / "empty.py").write_text("")
    task = load_task("echo")
    assert (task.size, task.seq_len, task.vocab_size, task.options) == (3, 9, 3, {"size": 3})
    splits = load_splits(task, train_size=50, val_size=5, test_size=5, progress=False)
    assert len(splits["train"]) == 50 and (tmp_path / "data/cache").exists()
    assert task.check(splits["test"].inputs, splits["test"].labels) is None
    for name in ("empty", "queens", "../data"):
        with pytest.raises(UserError, match=f"unknown task '{name}'; there are .*maze, sudoku"):
            load_task(name)


@pytest.mark.parametrize("options", ["--task maze --size 5", "--task sudoku --size 4", "--task echo",
                                     "--task maze --task-options 'kind=random min_path=4' --seed 3"])
def test_command_line_draws(tmp_path, monkeypatch, capsys, options):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "echo.py").write_text(STUDENT)
    monkeypatch.setattr("sys.argv", ["data.py", *shlex.split(options), "--show", "2", "--out", "two.png"])
    assert data.main() == 0 and "two.png" in capsys.readouterr().out
    assert (tmp_path / "two.png").read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize("options", ["--task chess", "--size 10", "--show 0", "--data nowhere",
                                     "--task-options kind", "--task-options kind=round", "--out no/such/folder.png"])
def test_command_line_errors(tmp_path, monkeypatch, capsys, options):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["data.py", "--size", "5", "--show", "1", *options.split()])
    assert data.main() == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "making" not in line]
    assert len(errors) == 1 and options.split()[-1].split("=")[-1] in errors[0]


@pytest.mark.parametrize("name, size", [("maze", 5), ("sudoku", 4)])
def test_draw_marks_errors(name, size):
    """Drawing works for every kind of answer: none, right, wrong, and tokens that make no sense."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    task = load_task(name, size=size)
    [inputs], [label] = task.generate(1, np.random.default_rng(0))
    nonsense = np.random.default_rng(1).integers(task.vocab_size, size=task.seq_len).astype(np.uint8)
    figure, ax = plt.subplots()
    for answer in (None, label, inputs, nonsense):
        task.draw(ax, inputs, answer, label)
    figure.canvas.draw()
    assert not task.wrong_cells(inputs, label, label).any()
    assert task.wrong_cells(inputs, nonsense, label).any()
    plt.close(figure)

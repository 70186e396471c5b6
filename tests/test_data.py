"""From a task's name to its splits: disjoint up to symmetry, kept in a cache, drawn by a command."""

import shlex

import numpy as np
import pytest

import data
from data import load_splits, load_task
from puzzles import maze
from tests.puzzles.test_task import turned
from training.files import UserError
from training.options import exit_status


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


@pytest.mark.parametrize(
    "name, options",
    [
        ("sudoku", dict(size=4)),
        ("sudoku", dict(size=4, extra=0)),
        ("maze", dict(size=5)),
        ("maze", dict(kind="random", size=3)),
    ],
    ids=str,
)
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
    copy = tmp_path / "maze_copy.py"
    copy.write_text(open(maze.__file__).read())
    monkeypatch.setattr(maze, "__file__", str(copy))
    task = load_task("maze", size=7)
    before = data.cache_path("cache", task, 10, 0)
    copy.write_text(copy.read_text() + "# edited")
    assert data.cache_path("cache", task, 10, 0) != before != data.cache_path("cache", task, 10, 1)
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


STUDENT = '''
import numpy as np
from puzzles.task import Task

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
        with pytest.raises(UserError, match=f"unknown task '{name}'; there are .*maze, .*sudoku"):
            load_task(name)


@pytest.mark.parametrize(
    "options",
    [
        "--task maze --size 5",
        "--task sudoku --size 4",
        "--task echo",
        "--task maze --task-options 'kind=random min_path=4' --seed 3",
    ],
)
def test_command_line_draws(tmp_path, monkeypatch, capsys, options):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "echo.py").write_text(STUDENT)
    monkeypatch.setattr("sys.argv", ["data.py", *shlex.split(options), "--show", "2", "--out", "two.png"])
    assert exit_status(data.main) == 0 and "two.png" in capsys.readouterr().out
    assert (tmp_path / "two.png").read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize(
    "options",
    [
        "--task chess",
        "--size 10",
        "--show 0",
        "--data nowhere",
        "--task-options kind",
        "--task-options kind=round",
        "--out /dev/null/x.png",
    ],
)
def test_command_line_errors(tmp_path, monkeypatch, capsys, options):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["data.py", "--size", "5", "--show", "1", *options.split()])
    assert exit_status(data.main) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "making" not in line]
    assert len(errors) == 1 and options.split()[-1].split("=")[-1] in errors[0]

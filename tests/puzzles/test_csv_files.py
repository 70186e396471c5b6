"""puzzles/csv_files.py: files written by hand, and every way in which one can be wrong."""

import sys

import numpy as np
import pytest

from data import load_splits, load_task
from training.files import UserError

SUDOKU_4 = "1234341221434321"


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
    assert "3 of 3 test puzzles are training puzzles" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        f"source,question,answer,rating\nus,{SUDOKU_4[:-1]}.,{SUDOKU_4},7\n",
        f"source,question,answer,rating\r\nus,{SUDOKU_4[:-1]}0,{SUDOKU_4},7\r\n",
        f"source,question,answer,rating\r\nus,{SUDOKU_4[:-1]}0,{SUDOKU_4},7",
        f"\ufeffquestion,answer\n{SUDOKU_4[:-1]}.,{SUDOKU_4}\n\n",
        f"rating,answer,question\r\n,{SUDOKU_4},{SUDOKU_4[:-1]}.\r\n",
        f'"source","question","answer","rating"\n"a, b","{SUDOKU_4[:-1]}.",{SUDOKU_4}, 7\n\n',
    ],
)
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
    ("sudoku", f"us,{SUDOKU_4},{SUDOKU_4}1,7", "line 3: 17 characters, not 16; sudoku of size 4"),
    ("sudoku", f"us,{SUDOKU_4[:-1]}x,{SUDOKU_4},7", "line 3: 'x', no symbol of sudoku; use '.1234'"),
    ("sudoku", f"us,{SUDOKU_4[:-1]}5,{SUDOKU_4},7", "line 3: '5', no symbol of sudoku"),
    ("sudoku", f"us,{SUDOKU_4[:-1]}.,{SUDOKU_4},hard", "line 3: .* 'hard'; .* the rating is a number"),
    ("sudoku", f"us,{SUDOKU_4[:-1]}.,{SUDOKU_4}", "line 3: not the 4 columns that the header has"),
    ("sudoku", f"us,2{'.' * 15},{SUDOKU_4},7", "line 3: the answer changes a given"),
    ("sudoku", f"us,11{'.' * 14},{SUDOKU_4},7", "line 3: the same digit twice .* question"),
    ("sudoku", f"us,{'.' * 16},{SUDOKU_4[:-1]}2,7", "line 3: the same digit twice .* answer"),
    ("sudoku", f"us,{'.' * 16},{SUDOKU_4[:-1]}.,7", "line 3: the answer has blanks"),
    ("maze", "us,  G      ,SoG      ,7", "line 3: no S$"),
    ("maze", "us,S G  G   ,SoG  G   ,7", "line 3: more than one G"),
    ("maze", "us,SoG      ,SoG      ,7", "line 3: path cells 'o' in the question"),
    ("maze", "us,S#G###   ,S#G###   ,7", "line 3: no path from S to G"),
    ("maze", "us,S G      ,S G      ,7", "line 3: the answer is not a path from S to G"),
    ("maze", "us,S G   #  ,SoG      ,7", "line 3: the answer changes the maze"),
]


@pytest.mark.parametrize("name, row, message", BAD_ROWS, ids=[message for _, _, message in BAD_ROWS])
def test_bad_rows_are_named(tmp_path, name, row, message):
    path = write_csv(tmp_path / "a.csv", [GOOD if name == "sudoku" else "us,S G      ,SoG      ,2", row])
    with pytest.raises(UserError, match=message) as error:
        load_splits(load_task(name, data=path), data=path)
    assert str(error.value).startswith(f"{path}, ") and "\n" not in str(error.value)


def test_bad_files_are_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as if it were not installed
    for text, message in [
        ("", "line 1: no column 'question'"),
        ("question,answer\n", "a question of 0 characters"),
        ("\n\n", "line 1: no column 'question'"),
        ("question,rating\n1,2\n", "line 1: no column 'answer'"),
        (f"question,answer\n{SUDOKU_4}5,{SUDOKU_4}5\n", "line 2: .* 17 .* no square"),
    ]:
        (tmp_path / "a.csv").write_text(text)
        with pytest.raises(UserError, match=message):
            load_task("sudoku", data=tmp_path / "a.csv")
    (tmp_path / "empty").mkdir()
    for source, message in [
        (tmp_path / "empty", "holds no test.csv"),
        ("a/b/c", "no file or folder a/b/c"),
        ("missing.csv", "no file or folder"),
        ("someone/puzzles", "pip install huggingface_hub"),
    ]:
        with pytest.raises(UserError, match=message):
            load_task("sudoku", data=source)
    with pytest.raises(UserError, match="sudoku size 5 does not exist; use 4, 6, 9"):
        load_task("sudoku", data=write_csv(tmp_path / "a.csv", [f"us,{'.' * 25},{'1' * 25},0"]))
    task, _, _ = make_files(tmp_path)
    with pytest.raises(UserError, match="line 2: 16 characters, not 81; sudoku of size 9"):
        load_splits(load_task("sudoku", size=9), data=tmp_path)

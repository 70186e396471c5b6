"""Files are written whole or not at all; a CSV file's puzzles are read, and what is wrong in one is named."""

import numpy as np
import pytest

from data import load_splits, load_task
from puzzles import files
from puzzles.errors import UserError
from puzzles.files import write, write_text

ANSWER = "1234341221434321"
QUESTION = ANSWER[:-1] + "."


# ---------------------------------------------------------------------------------------------------- writing
@pytest.mark.parametrize("error, seen", [(RuntimeError, UserError), (KeyboardInterrupt, KeyboardInterrupt)])
def test_a_failed_write_leaves_what_was_there(tmp_path, error, seen):
    path = tmp_path / "new" / "file"
    write_text(path, "before")

    def half(temporary):
        temporary.write_text("aft")
        raise error  # RuntimeError: how PyTorch tells of a full disk

    with pytest.raises(seen):
        write(path, half)
    [file] = path.parent.iterdir()  # no half file is left behind
    assert file.read_text() == "before"


# ---------------------------------------------------------------------------------------------------- reading
def write_csv(path, *rows):
    path.write_text("\n".join(["source,question,answer,rating", *rows, ""]))
    return path


def make_files(folder):
    """train.csv with 40 and test.csv with 20 puzzles, 4x4; returns the task and the puzzles (2, 60, 16)."""
    task = load_task("sudoku", size=4)
    boards = task.generate(60, np.random.default_rng(0))
    texts = zip(*map(task.decode, boards))
    rows = [f"us,{question},{answer},{i}" for i, (question, answer) in enumerate(texts)]
    write_csv(folder / "train.csv", *rows[:40])
    write_csv(folder / "test.csv", *rows[40:])
    return task, np.array(boards)


def test_published_files(tmp_path):
    task, (inputs, labels) = make_files(tmp_path)
    splits = load_splits(task, data=tmp_path)
    assert [len(split) for split in splits.values()] == [36, 4, 20]  # a tenth is held out
    assert (splits["test"].inputs == inputs[40:]).all() and (splits["test"].labels == labels[40:]).all()
    alone = load_splits(task, data=tmp_path / "test.csv")
    assert [len(split) for split in alone.values()] == [0, 0, 20]


def test_seeded_subsamples_of_published_files(tmp_path):
    task, _ = make_files(tmp_path)
    some, same, other = (load_splits(task, tmp_path, 25, 100, 5, seed) for seed in (3, 3, 4))
    assert [len(split) for split in some.values()] == [25, 15, 5]
    rows = np.concatenate([some["train"].inputs, some["val"].inputs])
    assert len(np.unique(rows, axis=0)) == 40  # no row in both
    assert (some["train"].inputs == same["train"].inputs).all()
    assert (some["train"].inputs != other["train"].inputs).any()


def test_a_large_file_is_read_once(tmp_path, monkeypatch):
    task, _ = make_files(tmp_path)
    wanted = {"task": task, "data": tmp_path, "cache": tmp_path / "cache"}
    load_splits(**wanted)
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(files, "LARGE", 0)
    read = load_splits(**wanted)["train"]
    with monkeypatch.context() as patched:
        patched.setattr(files, "rows", None)
        kept = load_splits(**wanted)["train"]
        assert len(load_splits(**wanted, train_size=7)["train"]) == 7
    for field, array in vars(read).items():
        assert np.array_equal(array, vars(kept)[field])
    write_csv(tmp_path / "train.csv", "us,x,y,1")  # another file
    with pytest.raises(UserError, match="train.csv, line 2: 1 characters"):
        load_splits(**wanted)


def test_training_puzzles_in_the_test_are_said(tmp_path, capsys):
    task, boards = make_files(tmp_path)
    turned = boards[:, 0].reshape(2, 4, 4).swapaxes(1, 2).reshape(2, 16)
    write_csv(tmp_path / "test.csv", f"us,{','.join(task.decode(turned))},0")
    load_splits(task, data=tmp_path, val_size=0)
    assert f"1 of 1 test puzzles are in {tmp_path}/train.csv too" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name, text, answer",
    [
        ("sudoku", f"source,question,answer,rating\r\nus,{ANSWER[:-1]}0,{ANSWER},7", ANSWER),
        ("sudoku", f"\ufeffquestion,answer,rating\n{QUESTION},{ANSWER},7\n\n", ANSWER),
        ("sudoku", f'"rating","source","answer","question"\n 7,"a, b","{ANSWER}",{QUESTION}\n', ANSWER),
        ("maze", "question,answer,rating\nS G      ,SoG      ,7\n", "SoG      "),
    ],
)
def test_every_way_to_write_the_file(tmp_path, name, text, answer):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    task = load_task(name, data=path)
    split = load_splits(task, data=path)["test"]
    assert task.decode(split.labels) == [answer] and task.is_right(split.inputs, split.labels, split.labels)


HEADER = "question,answer,rating\n"
GOOD = f"{HEADER}{QUESTION},{ANSWER},7\n"


@pytest.mark.parametrize("text, message", [
    (f"{GOOD}{ANSWER[:-1]}x,{ANSWER},7", ", line 3: 'x', no symbol of sudoku; use '.1234'"),
    (f"{GOOD}{QUESTION},{ANSWER}", ", line 3: not the 3 columns that the header has"),
    (f"{GOOD}2{'.' * 15},{ANSWER},7", ", line 3: the answer changes a given"),
    ("", ", line 1: no column 'question'"),
    (HEADER, " holds no puzzles, only a header"),
    (f"{HEADER}{ANSWER}5,{ANSWER}5,7", ", line 2: 17 characters, not 81"),
])
def test_bad_files_are_named(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=f"^{path}{message}"):
        load_splits(load_task("sudoku", data=path), data=path)

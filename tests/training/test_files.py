"""A file is written whole or not at all."""

import pytest

from training.files import UserError, write, write_text


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "new" / "file"
    write_text(path, "before")

    def half(temporary):
        temporary.write_text("aft")
        raise RuntimeError("PytorchStreamWriter failed writing file")  # how PyTorch tells of a full disk

    with pytest.raises(UserError, match=f"cannot write {path}: the disk may be full; .* another --out"):
        write(path, half)
    assert path.read_text() == "before"
    assert [other.name for other in path.parent.iterdir()] == ["file"]  # no half file is left behind


def test_a_write_that_is_interrupted_leaves_nothing(tmp_path):
    def interrupted(temporary):
        temporary.write_text("aft")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "file", interrupted)
    assert not list(tmp_path.iterdir())


def test_no_folder_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write .*file/a: (Not a directory|File exists)"):
        write_text(tmp_path / "file" / "a", "text")

"""Files that are written whole or not at all; output that may be closed; the error that is a single line."""

import os
from contextlib import contextmanager


class UserError(Exception):
    """Wrong input: one line that names the value and the remedy. The scripts print it and exit with 2."""


class Shown:
    """stdout or stderr. What cannot be shown is dropped, as when nobody reads on: no run ends by that."""

    def __init__(self, stream):
        self.stream = stream or open(os.devnull, "w")  # None: the stream was closed from the start

    def write(self, text):
        letters = self.stream.encoding or "utf-8"
        try:
            self.stream.write(text.encode(letters, "replace").decode(letters))
            self.stream.flush()
        except OSError:  # from now on, all goes to nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())

    def __getattr__(self, name):
        return getattr(self.stream, name)


@contextmanager
def writing(path):
    """Makes the folder; a write that fails becomes one line for the user."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, RuntimeError) as error:  # PyTorch reports a full disk as a RuntimeError
        reason = getattr(error, "strerror", None) or "the disk may be full"
        raise UserError(f"cannot write {path}: {reason}; what was saved before is untouched, "
                        f"make room or choose another --out") from None


def write(path, save):
    """Write a file whole or not at all, also in a power cut: save(temporary path), then rename."""
    temporary = path.with_name(f".{os.getpid()}.{path.name}")  # of two programs, each has its own
    with writing(path):
        try:
            save(temporary)
            with open(temporary, "r+b") as file:
                os.fsync(file.fileno())  # the bytes are on the disk before the name is
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path, text):
    write(path, lambda temporary: temporary.write_text(text))

"""Files that are written whole or not at all, and the one kind of error that a user sees as a single line."""

import os
from contextlib import contextmanager


class UserError(Exception):
    """Wrong input: one line that names the value and the remedy. The scripts print it and exit with 2."""


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
    """Write a file whole or not at all: save(temporary path), then rename."""
    temporary = path.with_name(f".{os.getpid()}.{path.name}")  # of two programs, each has its own
    with writing(path):
        try:
            save(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path, text):
    write(path, lambda temporary: temporary.write_text(text))

"""What a user can mend: the one error class, and how it is shown."""

import os
import sys
from contextlib import redirect_stderr, redirect_stdout


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


OUT_OF_MEMORY = "lower --batch-size or a size, or split a step with --accumulate"


def exit_status(command, *arguments):
    """Run a command -> its exit status: 2 after a UserError, 130 after Ctrl-C. Mistakes in the code, of ours
    or of somebody who edits it, keep their traceback."""
    with redirect_stdout(Shown(sys.stdout)), redirect_stderr(Shown(sys.stderr)):
        try:
            return command(*arguments) or 0
        except KeyboardInterrupt:
            print("stopped; what was saved before is untouched", file=sys.stderr)
            return 130
        except UserError as error:
            reason = error
        except Exception as error:
            if not out_of_memory(error):
                raise
            reason = f"out of memory; {OUT_OF_MEMORY} ({' '.join(str(error).split())})"
        if os.environ.get("LOCAL_RANK", "0") == "0":  # one line, not one of each process
            print(f"error: {reason}", file=sys.stderr)
        return 2


def out_of_memory(error):
    """NumPy's and Python's MemoryError, PyTorch's on a GPU, and what its CPU allocator says."""
    return (isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
            or "DefaultCPUAllocator: can't allocate memory" in str(error))

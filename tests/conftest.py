"""One thread a process: pytest-xdist runs two processes, and on tiny tensors threads wait more than they
work."""

import contextlib
import os
import signal

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before NumPy and PyTorch are imported; every program inherits it
os.environ.setdefault("MPLBACKEND", "Agg")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are deaf to Ctrl-C

import pytest
import torch

import train
from tests.runs import TINY


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items):
    """One process runs all tests of a module, or of a notebook: they share what they make."""
    for item in items:
        call = getattr(item, "callspec", None)
        notebook = call.params.get("notebook") if call else None
        item.add_marker(pytest.mark.xdist_group(f"{item.module.__name__} {notebook}"))


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """The folder of a run of TINY (tests/runs.py) that was never interrupted."""
    folder = tmp_path_factory.mktemp("reference")
    with contextlib.chdir(folder):
        assert train.main([*TINY, "--out", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The test works in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def precision():
    """Sets PyTorch's default dtype, and sets it back."""
    before = torch.get_default_dtype()
    yield torch.set_default_dtype
    torch.set_default_dtype(before)


@pytest.fixture
def double(precision):
    """All that the test makes is float64."""
    precision(torch.float64)


@pytest.fixture
def no_pictures(monkeypatch):
    """Saves the time that pictures take."""
    for name in ("draw_boards", "draw_curves", "save_figure"):
        monkeypatch.setattr(train, name, lambda *arguments, **options: None)

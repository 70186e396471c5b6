"""The house stays as it is: four scripts at the top, arrows one way, lines and files that can be read."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TRACKED = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, check=True, capture_output=True, text=True)
FILES = [ROOT / name for name in TRACKED.stdout.split() if not name.startswith(("tests/", "notebooks/"))]
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in FILES}
# What only adds is looked up by its name when it is asked for.
LATER = {
    "data": {"puzzles.arc", "puzzles.flood", "puzzles.maze", "puzzles.sudoku"},
    "extras.reproduce": {"analyze"},
    "train": {"extras.vote"},
    "training.checkpoints": {"extras.baselines"},
}
MOST_LINES = 4884


def imported(name, anywhere):
    """Our files that one of them imports: at its top level, or `anywhere`, also inside of functions and by
    the name in a string, such as "puzzles.maze"."""
    tree, found = ast.parse(MODULES[name].read_text()), set()
    for node in ast.walk(tree) if anywhere else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            assert isinstance(node.args[0], ast.Constant) or name == "data", f"{name}: no name"
            found.add(getattr(node.args[0], "value", None))
        elif isinstance(node, ast.Constant) and "." in str(node.value):
            found.add(node.value)
    return found & MODULES.keys()


def test_four_scripts_at_the_top():
    at_the_top = {path.name for path in FILES if path.parent == ROOT}
    assert at_the_top == {"hrm.py", "data.py", "train.py", "analyze.py"}


def test_arrows_point_one_way():
    """No circle at any distance, and at most 7 floors; hrm.py stands on the ground."""
    everywhere = {name: imported(name, True) for name in MODULES}
    assert not everywhere["hrm"]
    later = {name: everywhere[name] - imported(name, False) for name in MODULES}
    assert {name: found for name, found in later.items() if found} == LATER
    for start in MODULES:
        reached, new = set(), everywhere[start]
        while new:
            reached |= new
            new = set().union(*(everywhere[name] for name in new)) - reached
        assert start not in reached, f"{start} imports, at some distance, itself"

    @functools.cache
    def floor(name):
        return 1 + max(map(floor, imported(name, False)), default=0)

    assert max(map(floor, MODULES)) <= 7


@pytest.mark.parametrize(
    "path",
    [*FILES, *ROOT.glob("tests/**/*.py"), *ROOT.glob("notebooks/*.py")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_lines_and_files_can_be_read(path):
    lines = path.read_text().splitlines()
    assert max(map(len, lines), default=0) <= 110
    assert len(lines) <= 450


def test_it_stays_small():
    lines = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert sum(lines.values()) <= MOST_LINES
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, train; print(*sys.modules)"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert sum(lines[name] for name in loaded if name in lines) <= 2400


def test_ruff():
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout

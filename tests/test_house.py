"""The house stays as it is: four scripts at the top, arrows one way, code that is small and can be read."""

import ast
import graphlib
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

from training.options import OPTIONS, SIZES

ROOT = Path(__file__).resolve().parents[1]
NAMES = subprocess.check_output(["git", "ls-files", "*.py"], cwd=ROOT, text=True).split()
TESTS = [name for name in NAMES if name.startswith("tests/")]
PRODUCT = [name for name in NAMES if not name.startswith(("tests/", "notebooks/"))]
MODULES = {name.removesuffix(".py").replace("/", "."): name for name in PRODUCT}
# Who stands on whom: each imports only from itself and from those before it.
FLOORS = ["hrm", "puzzles", "data", "training", "train", "extras", "analysis", "analyze"]
# What is not always wanted is looked up by its name when it is asked for.
BY_NAME = {
    "data": {"puzzles.arc", "puzzles.flood", "puzzles.maze", "puzzles.sudoku"},
    "training.checkpoints": {"extras.baselines", "extras.published"},
    "train": {"extras.vote", "extras.arc_vote"},
}
SILENT = "COMMENT NL NEWLINE INDENT DEDENT ENCODING ENDMARKER".split()


def nodes(name, kind):
    """All of one kind in the syntax tree of a file."""
    tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, kind)]


def imported(module):
    """Our modules that one of them imports, also inside of functions."""
    found = set()
    for node in nodes(MODULES[module], (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            start = getattr(node, "module", alias.name)
            found |= {start, f"{start}.{alias.name}"}
    return found & MODULES.keys()


def floor(module):
    return FLOORS.index(module.partition(".")[0])


def test_four_scripts_at_the_top():
    assert {name for name in PRODUCT if "/" not in name} == {"hrm.py", "data.py", "train.py", "analyze.py"}


@pytest.mark.parametrize("module", MODULES)
def test_each_folder_imports_only_those_beneath_it(module):
    assert not [other for other in imported(module) if floor(other) > floor(module)]
    texts = {node.value for node in nodes(MODULES[module], ast.Constant)}
    named = {text for text in texts & MODULES.keys() if "." in text}  # as `import_module` wants it
    assert named == BY_NAME.get(module, set())


def test_no_circle_between_files():
    graphlib.TopologicalSorter({module: imported(module) for module in MODULES}).prepare()


def count(names):
    """Tokens without comments and docstrings, and the lines that hold them."""
    found = []
    for name in names:
        docstrings = set()  # their lines
        for node in nodes(name, ast.Expr):
            if isinstance(node.value, ast.Constant):
                docstrings.update(range(node.lineno, node.end_lineno + 1))
        inside = 0  # of so many f-strings, which Python 3.12 cuts into many tokens
        with open(ROOT / name, "rb") as file:
            for token in tokenize.tokenize(file.readline):
                line = token.start[0]
                kind = tokenize.tok_name[token.type]
                inside -= kind == "FSTRING_END"
                if not inside and kind not in (*SILENT, "FSTRING_END") and line not in docstrings:
                    found.append((name, line))
                inside += kind == "FSTRING_START"
    return len(found), len(set(found))


def test_it_stays_small():
    tokens, lines = count(PRODUCT)
    assert tokens <= 37_500
    assert tokens / lines <= 10.5
    assert count(TESTS)[0] <= 48_000
    assert len(OPTIONS) + len(SIZES) <= 45  # of `train.py --help`


def test_a_line_says_one_thing():
    """a, b = x, y is two."""
    packed = []
    for name in PRODUCT:
        for node in nodes(name, ast.Assign):
            if isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
                packed.append(f"{name}:{node.lineno}")
    assert len(packed) <= 25, packed


@pytest.mark.parametrize("name", NAMES)
def test_lines_and_files_can_be_read(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    assert max(map(len, lines), default=0) <= 110
    assert len(lines) <= 450


def test_ruff():
    command = [sys.executable, "-m", "ruff", "check", "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout

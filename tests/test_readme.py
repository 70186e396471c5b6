"""The README keeps its promises: its example task works as printed, and its commands name options that exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import options
import train

ROOT = Path(train.__file__).resolve().parent
README = (ROOT / "README.md").read_text()
TINY = ("--preset cpu --steps 4 --train-size 40 --val-size 8 --test-size 8 --hidden-size 16 --puzzle-emb-ndim 16 "
        "--H-layers 1 --L-layers 1 --batch-size 4 --device cpu")


def test_the_example_of_an_own_task_runs_end_to_end(tmp_path):
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    assert 20 <= len(code.splitlines()) <= 40  # "about 30 lines"
    (tmp_path / "flood.py").write_text(code)

    def run(arguments):
        return subprocess.run([sys.executable, ROOT / "train.py", *shlex.split(arguments)], cwd=tmp_path,
                              capture_output=True, text=True, timeout=300)

    trained = run(f"--task flood {TINY}")
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "runs/flood/solved.png").stat().st_size > 10_000
    evaluated = run("--eval runs/flood/best.pt --max-segments 2")
    assert evaluated.returncode == 0 and "exact" in evaluated.stdout, evaluated.stderr


COMMANDS = set(re.findall(r"train\.py ([^`#\n|]*--[^`#\n|]*)", README)) - {"--help"}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_commands_in_the_readme_are_accepted(command):
    given = options.parse(shlex.split(command.replace("…", "")), "")
    assert given.keys() <= options.OPTIONS.keys() | options.SIZES.keys()


def test_links_and_pictures_in_the_readme_exist():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("https://arxiv.org/") or (ROOT / target).exists(), target

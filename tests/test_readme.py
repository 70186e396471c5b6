"""The README and the other pages keep their promises: their commands have options that exist, their links and
pictures are there, their figures are those of the runs, and the README is short enough for a first visit."""

import argparse
import importlib
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

import analyze
from training.options import OPTIONS, SIZES

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = "docs/*.md", "results/*.md", "checkpoints/*.md", "notebooks/README.md"
PAGES = {"README.md": (ROOT / "README.md").read_text(encoding="utf-8")}
for pattern in FOLDERS:
    for path in sorted(ROOT.glob(pattern)):
        PAGES[path.relative_to(ROOT).as_posix()] = path.read_text(encoding="utf-8")
README = PAGES["README.md"]
SET_UP = "python3 -m venv .venv && .venv/bin/pip install -q -r requirements.txt && .venv/bin/python"
TODAY = [page for page in PAGES if page != "docs/log.md"]  # which tells of options and files that are gone


def code(text):
    """All that stands between backticks, and all lines of code blocks."""
    fenced = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = "".join(fenced).splitlines() + re.findall(r"^    (.*)", rest, re.MULTILINE)
    return lines + re.findall(r"`([^`]+)`", rest)


def commands(text):
    """(script, the words after it) of every command that runs one of ours."""
    for line in code(text):
        line = line.partition("#")[0]
        if "…" in line:
            continue
        if found := re.search(r"(?:python|torchrun [^.]*) ((?:extras/)?\w+\.py)(.*)", line):
            if (ROOT / found[1]).exists():
                yield found[1], found[2].strip()
        elif line.partition(" ")[0] in analyze.COMMANDS and "--" in line:  # in tables
            yield "analyze.py", line


COMMANDS = set()
for page in TODAY:
    COMMANDS.update(commands(PAGES[page]))


class Accepted(Exception):
    pass


@pytest.mark.parametrize("script, words", sorted(COMMANDS))
def test_commands_are_accepted(script, words, monkeypatch):
    parse_args = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser, *args):
        parse_args(parser, *args)
        raise Accepted

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    monkeypatch.setattr(sys, "argv", [script, *shlex.split(words)])
    main = importlib.import_module(script.removesuffix(".py").replace("/", ".")).main
    if words == "--help":
        return  # the parser itself would end the test
    with pytest.raises(Accepted):
        main()


@pytest.mark.parametrize("snippet", re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
def test_use_from_python(snippet, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    exec(snippet, {})
    assert capsys.readouterr().out


@pytest.mark.parametrize("page", TODAY)
def test_options_that_are_named_alone_exist(page):
    known = set()
    for script in (ROOT / "analyze.py", ROOT / "data.py", *ROOT.glob("extras/*.py")):
        known |= set(re.findall(r'"(--[a-z-]+)"', script.read_text(encoding="utf-8")))
    for name, field in (OPTIONS | SIZES).items():
        known.add(f"--{name.replace('_', '-')}")
        if field.type is bool:
            known.add(f"--no-{name}")
    for span in code(PAGES[page]):
        if span.startswith("--"):
            assert set(re.findall(r"(?<!\S)--[A-Za-z][\w-]*", span)) <= known, span


def headings(text):
    """The anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_exist(page):
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        path, _, anchor = target.partition("#")
        if target.startswith("https://"):
            assert target.startswith("https://arxiv.org/"), target
        elif anchor:
            linked = (ROOT / page).parent / path if path else ROOT / page
            assert anchor in headings(linked.read_text(encoding="utf-8")), target
        else:
            assert ((ROOT / page).parent / path).exists(), target


@pytest.mark.parametrize("page", TODAY)
def test_files_that_are_named_exist(page):
    files = [path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*"), *ROOT.glob("[a-z]*/*"))]
    of_a_run = {"best.pt", "last.pt", "train.csv", "test.csv", "metrics.csv"}
    for span in code(PAGES[page]):
        if re.fullmatch(r"[\w/-]+\.(py|npz|pt|md|csv)|[\w-]+/", span) and "NAME" not in span:
            name = span.rstrip("/")
            assert name in of_a_run or any(f"/{file}".endswith(f"/{name}") for file in files), span


def test_no_table_stands_twice():
    rows = []
    for text in PAGES.values():
        rows += re.findall(r"^\|.*[0-9].*\|.*$", text, re.MULTILINE)
    assert len(rows) > 50
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("task", ["maze", "sudoku"])
@pytest.mark.parametrize("size", ["4x4", "6x6", "9x9", "11x11"])
def test_solved_shares_are_those_of_the_runs(task, size):
    runs = f"{task}-{size}"
    evals = sorted((ROOT / "results" / runs).glob("seed*/eval.json"))
    if not evals:
        return
    solved = [f"{json.loads(file.read_text())['exact']:.3f}" for file in evals]
    row = re.search(rf"^\| {size} {task}s \|.*", README, re.MULTILINE | re.IGNORECASE)[0]
    assert f"| {' / '.join(solved)} |" in row
    details = re.search(rf"^\| \[{runs}\]\({runs}\).*", PAGES["results/README.md"], re.MULTILINE)[0]
    assert all(share in details for share in solved)


def test_pages_are_short():
    assert len(README.splitlines()) <= 160
    assert len(README) <= 13_000
    assert len(PAGES["results/README.md"].splitlines()) <= 250
    for line in README.splitlines():
        table_or_link = line.startswith("|") or "](" in line or "https://" in line
        assert len(line) <= 110 or table_or_link or "--puzzle" in line, line


def test_the_two_commands_do_their_own_set_up():
    workflow = (ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8")
    assert f"\n{SET_UP} train.py --task maze\n" in README and f"\n{SET_UP} -m pytest\n" in README
    assert f"{SET_UP} -m pytest\n" in workflow

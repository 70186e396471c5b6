"""Student notebooks: derived from the solved ones, and failing at the unsolved exercises and nowhere else.

test_course.py runs the solved notebooks. A student copy holds the same cells, so that what is no exercise and
no check runs as it does there, if it needs nothing of these two.
"""

import ast
import os
import re
import shutil
import subprocess
import symtable

import nbformat
import pytest

from notebooks import make
from puzzles.errors import UserError

SOLUTIONS = make.solutions()
each_notebook = pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)


@each_notebook
def test_the_student_copy_is_the_one_derived_from_the_solution(path):
    student = make.read(make.FOLDER / path.name)
    derived = make.derive(make.read(path), path.stem)
    assert student == derived, f"run python notebooks/make.py {path.name[:2]}"


@each_notebook
def test_exercises_and_committed_outputs(path):
    solution = make.read(path)
    tags = [tag for cell in solution.cells for tag in make.tags(cell)]
    assert tags.count("exercise") >= 4 and "solution-notes" in tags
    code = [cell for cell in solution.cells if cell.cell_type == "code"]
    for i, cell in enumerate(code, start=1):
        assert cell.execution_count == i, "run make.py: outputs missing"
    text = str(solution)
    assert "image/png" in text
    assert not re.search("/home/|/tmp/|'output_type': 'error'", text)  # of the machine that ran it
    assert path.stat().st_size < 1.25e6
    assert max(len(line) for cell in code for line in cell.source.splitlines()) <= 110


def symbols(source):
    """The global names that a piece of code gives a value to, and those that it reads."""
    top = symtable.symtable(source, "cell", "exec")
    made = set()
    for symbol in top.get_symbols():
        if symbol.is_assigned() or symbol.is_imported():
            made.add(symbol.get_name())
    read = set()
    tables = [top]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (table is top or symbol.is_global()):
                read.add(symbol.get_name())
    return made, read


def names(source):
    """The names that a cell gives a value to, and those that it reads before it has made them."""
    made = set()
    used = set()
    for statement in ast.parse(source).body:
        its_own, read = symbols(ast.unparse(statement))
        if isinstance(statement, (ast.For, ast.With, ast.FunctionDef, ast.ClassDef)):
            read -= its_own
        used |= read - made
        made |= its_own
    return made, used


@pytest.mark.parametrize("path", SOLUTIONS[1:], ids=lambda path: path.stem)
def test_no_other_cell_needs_an_exercise_or_a_check(path):
    """So the student copy fails at its checks alone, as the solved notebook runs through."""
    uncertain = set()
    for cell in make.read(path).cells:
        if cell.cell_type != "code":
            continue
        made, used = names(re.sub(r"^%.*$", "", cell.source, flags=re.MULTILINE))
        if {"exercise", "check"} & set(make.tags(cell)):
            uncertain |= made
        else:
            assert not uncertain & used, cell.source
            uncertain -= made


def test_the_first_notebook_unsolved():
    """Where later cells do need the exercises, it is run: no check passes, and nothing else fails."""
    path = SOLUTIONS[0]
    student = make.derive(make.read(path), path.stem)
    make.execute(student, make.FOLDER)
    make.refuse_other_failures(student, path.name)


def test_no_notebook_is_left_over_and_the_readme_names_all():
    found = {path.name for path in SOLUTIONS}
    assert found == {path.name for path in make.FOLDER.glob("*.ipynb")}
    readme = (make.FOLDER / "README.md").read_text()
    assert all(f"({name})" in readme and f"(solutions/{name})" in readme for name in found)


EXERCISE = '''# Exercise 1
def half(x):
    """Half of x."""
    # --- solution
    return x / 2
    # --- end
'''
CHECK = "assert half(2) == 1"


def notebook(*cells):
    """Of code cells (source, tag)."""
    made = []
    for source, tag in cells:
        made.append(nbformat.v4.new_code_cell(source, metadata={"tags": [tag] if tag else []}))
    return nbformat.v4.new_notebook(cells=made)


def test_deriving(tmp_path):
    solved = notebook(("y = 3", None), (EXERCISE, "exercise"), (CHECK, "check"), ("y", None))
    solved.cells.append(nbformat.v4.new_markdown_cell("Mistakes.", metadata={"tags": ["solution-notes"]}))
    student = make.derive(solved)
    assert [cell.source for cell in student.cells] == [
        "y = 3",
        '# Exercise 1\ndef half(x):\n    """Half of x."""\n'
        '    raise NotImplementedError("exercise 1: write half")',
        CHECK,
        "y",
    ]
    make.execute(student, tmp_path)
    make.execute(solved, tmp_path)
    make.refuse_other_failures(student, "this")
    with pytest.raises(UserError, match="cell 'assert half.*: no failure"):
        make.refuse_other_failures(solved, "this")
    assert student.cells[3].outputs[0].data["text/plain"] == "3"  # it went on after the failed check
    with pytest.raises(UserError, match="boom failed: (.|\n)*division by zero"):
        make.execute(notebook(("1 / 0", None)), tmp_path, "boom")


def test_figures_for_slides(tmp_path):
    nbformat.write(notebook(("from pylab import *; plot([1])", None)), tmp_path / "07_two.ipynb")
    make.draw(tmp_path / "07_two.ipynb", tmp_path)
    assert (tmp_path / "07-07_two-1.svg").exists()


def test_a_copy_for_a_workshop(tmp_path):
    make.workshop(SOLUTIONS[0], {6, 7}, tmp_path)
    copy = (tmp_path / SOLUTIONS[0].name).read_text()
    assert re.findall(r"Error\(.*exercise (\d+)", copy) == ["6", "7"]


def test_first_cell_badges_and_hints():
    solved = notebook(("y = 3", None), (EXERCISE, "exercise"), (CHECK, "check"))
    for _ in range(2):  # once more changes nothing
        make.label(solved, "00_build_hrm")
        assert [make.tags(cell) for cell in solved.cells] == [[], ["difficulty"], ["exercise"], ["check"]]
    plain = make.derive(solved, "00_build_hrm", "")
    assert plain.cells[0].id == "first" and plain.cells[2].source.startswith("● · about")
    badges, first, *_ = make.derive(solved, "00_build_hrm", "https://github.com/OWNER/NAME").cells
    assert "github/OWNER/NAME/blob/main/notebooks/00_build_hrm.ipynb" in badges.source
    assert "gh/OWNER/NAME/main?labpath=notebooks/00_build_hrm.ipynb" in badges.source
    assert '"https://github.com/OWNER/NAME"' in first.source
    with pytest.raises(UserError, match="hints.md has no section '## 99 exercise 1"):
        make.label(solved, "99_unknown")
    with pytest.raises(UserError, match="'00 exercise 1: hard' is not of the form"):
        make.hints("## 00 exercise 1: hard\n")


@each_notebook
def test_every_exercise_has_a_difficulty_and_the_harder_ones_a_hint(path):
    solved = make.read(path)
    before = list(solved.cells)
    make.label(solved, path.stem)
    assert solved.cells == before, f"run python notebooks/make.py --no-run {path.name[:2]}"
    each = []
    minutes = 0
    for line in make.hints()[path.name[:2]].values():
        assert ("<details>" in line) == line.startswith("●●")
        difficulty, about = re.match(r"(●+) · about (\d+)", line).groups()
        each.append(f"{difficulty} {about}")
        minutes += int(about)
    row = f"| {path.name[:2]} | {', '.join(each)} | {minutes} |"
    assert row in (make.FOLDER / "TEACHING.md").read_text()


def test_the_first_cell_fetches_the_repository_where_it_is_not(tmp_path, monkeypatch):
    """A clone of a folder with hrm.py stands for the public one; in it, the cell does nothing more."""
    source = tmp_path / "public"
    (source / "notebooks").mkdir(parents=True)
    (source / "hrm.py").touch()
    (source / "notebooks/README.md").touch()
    for command in ("init -q", "add .", "-c user.name=a -c user.email=a@b commit -q -m all"):
        subprocess.run(["git", *command.split()], cwd=source, check=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="hrm.py is not here"):
        exec(make.first_cell(""), {})
    for address in (source.as_uri(), "nowhere"):
        exec(make.first_cell(address), {})
        assert os.getcwd() == str(tmp_path / "course/notebooks")


def test_the_address_is_set_everywhere_and_taken_away_again(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    before = {}
    for name in ("notebooks/make.py", "notebooks/README.md", "README.md", "CITATION.cff"):
        before[name] = (make.FOLDER.parent / name).read_text()
        shutil.copy(make.FOLDER.parent / name, tmp_path / name)
    monkeypatch.setattr(make, "FOLDER", tmp_path / "notebooks")
    monkeypatch.setattr(make, "REPOSITORY", "")
    make.set_repository("https://github.com/OWNER/NAME/")
    for name in before:
        assert "https://github.com/OWNER/NAME" in (tmp_path / name).read_text()
    assert "\nrepository-code: https://github.com/OWNER/NAME\n" in (tmp_path / "CITATION.cff").read_text()
    make.set_repository("")
    assert {name: (tmp_path / name).read_text() for name in before} == before
    with pytest.raises(UserError, match="--repository ftp://x is not of the form"):
        make.set_repository("ftp://x")


@pytest.mark.parametrize("exercise, after, message", [
    (EXERCISE, None, "exercise 1 is not followed by a cell with the tag check"),
    (EXERCISE.replace("1", "2"), "check", "exercise 2 comes where 1 should"),
    (EXERCISE.replace("# --- end", ""), "check", "exercise 1 has no solution between"),
    (EXERCISE.replace("def half(x):", "if True:"), "check", "out of place"),
])
def test_mistakes_in_a_source_are_named(exercise, after, message):
    with pytest.raises(UserError, match=message):
        make.derive(notebook((exercise, "exercise"), ("1", after)))


@pytest.mark.parametrize("text", ["x", '{"cells": 3, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}'])
def test_a_file_that_is_no_notebook(tmp_path, text):
    (tmp_path / "a.ipynb").write_text(text)
    with pytest.raises(UserError, match="cannot read .*a.ipynb: .*; restore it"):
        make.read(tmp_path / "a.ipynb")
    with pytest.raises(UserError, match="no notebook starts with 99"):
        make.main(["99"])

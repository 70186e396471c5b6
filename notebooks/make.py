"""Student notebooks from solved ones. The source of a notebook is solutions/NN_name.ipynb, with every
exercise solved.

    python notebooks/make.py           # all notebooks
    python notebooks/make.py 02 05     # those whose names start so
    python notebooks/make.py --no-run  # derive the student copies without outputs, for a quick look

A notebook is made in three steps: run the solved one, derive the student copy NN_name.ipynb from it, run that
too. Both keep their outputs, so that they can be read without running anything.

Tags of cells (in JupyterLab: the gear in the right sidebar) say what happens to a cell in the student copy:

  exercise        Starts with the line "# Exercise 3". The lines between "# --- solution" and "# --- end"
                  become `raise NotImplementedError("exercise 3: write NAME")`, NAME being the function they
                  stand in.
  check           The code cell right after an exercise. In the student copy it may fail, and the notebook
                  goes on.
  solution-notes  Prose on the common mistakes: left out.
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

from training.files import UserError, write

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
    number, lines, name, inside, found = exercise_number(cell), [], None, False, 0
    for line in cell.source.splitlines():
        definition = re.match(r"\s*def (\w+)", line)
        if line.strip() == BEGIN and name and not inside:
            indent = line[: line.index("#")]
            lines.append(f'{indent}raise NotImplementedError("exercise {number}: write {name}")')
            inside, found = True, found + 1
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


def clear(notebook):
    """Take the outputs away, in place."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None


def derive(solution):
    """A solved notebook -> the student copy, without outputs. The same source always gives the same copy."""
    cells, exercises = [], 0
    for cell, following in zip(solution.cells, [*solution.cells[1:], None]):
        new = nbformat.from_dict({**cell, "metadata": {"tags": list(tags(cell))} if tags(cell) else {}})
        if "exercise" in tags(cell):
            exercises += 1
            if exercise_number(cell) != exercises:
                raise UserError(
                    f"exercise {exercise_number(cell)} comes where {exercises} should; number them in order"
                )
            if following is None or "check" not in tags(following):
                raise UserError(f"exercise {exercises} is not followed by a cell with the tag check")
            new.source = unsolved(cell)
        elif "check" in tags(cell):
            new.metadata["tags"] = [*tags(cell), "raises-exception"]
        if "solution-notes" not in tags(cell):
            cells.append(new)
    copy = nbformat.v4.new_notebook(cells=cells, metadata=METADATA)
    clear(copy)
    return copy


def execute(notebook, folder, name=""):
    """Run all cells in place, in the folder, with this Python. An error stops it unless the cell may fail."""
    clear(notebook)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=600,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise UserError(f"{name} failed: {error}") from None


def tidy(notebook):
    """Take away, in place, what changes from run to run without meaning: times, kernel, progress bars."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({"tags": tags(cell)} if tags(cell) else {})
        if cell.cell_type == "code":
            cell.outputs = [
                output
                for output in cell.outputs
                if not (output.get("name") == "stderr" and "\r" in output.text)
            ]  # tqdm's bars


def save(notebook, path):
    nbformat.validate(notebook)
    write(path, lambda temporary: nbformat.write(notebook, temporary))
    print(f"written: {path.relative_to(FOLDER.parent)}")


def make(path, run=True):
    """One solved notebook: run it, derive its student copy, run that, save both."""
    solution, student_path = read(path), FOLDER / path.name
    student = derive(solution)
    if run:
        execute(solution, path.parent, path.name)
        tidy(solution)
        save(solution, path)
        execute(student, FOLDER, f"the student copy of {path.name}")
        tidy(student)
    save(student, student_path)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "prefixes", nargs="*", metavar="NN", help="first characters of notebooks' names; none: all"
    )
    parser.add_argument(
        "--no-run", action="store_true", help="only derive the student copies, without outputs"
    )
    args = parser.parse_args()
    try:
        paths = solutions(args.prefixes)
        if not paths:
            raise UserError(
                f"no notebook starts with {' or '.join(args.prefixes)}; they are in {FOLDER / 'solutions'}"
            )
        for path in paths:
            make(path, run=not args.no_run)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

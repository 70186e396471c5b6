"""Points for notebooks that students hand in.

    python notebooks/grade.py FOLDER                # every notebook in it, at any depth -> FOLDER/points.csv
    python notebooks/grade.py FOLDER --limit 30 --seed 1

A notebook is recognised by its functions, whatever its file is called. Each exercise is taken alone: the
student's cell, among the solved notebook's other cells. A mistake in one costs nothing in the next.
What it computes is compared with what the solved one computes, on numbers drawn anew (probes.py). ● gives 1
point, ●● 2, ●●● 3.

Every notebook runs in a process of its own, in which this repository cannot be imported. An exercise that
takes longer than the limit, or ends the process, gets 0; the others go on in another one. This is no sandbox:
what students wrote runs with your rights. Grade the work of strangers in a container.
"""

import argparse
import csv
import json
import queue
import re
import secrets
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import nbformat

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
sys.path[:0] = [str(ROOT), str(FOLDER)]

import make
from judge import functions
from puzzles.errors import UserError, exit_status

START = 300  # seconds in which a process must be ready: PyTorch takes its time on a busy machine


# --------------------------------------------------------------------------------------- reading a notebook
def exercises(notebook):
    """{number: source} of the exercises: cells that begin with "# Exercise NUMBER"."""
    found = {}
    for cell in notebook.cells:
        number = re.match(r"\s*#\s*Exercise\s+(\d+)", cell.source)
        if cell.cell_type == "code" and number:
            found[int(number[1])] = cell.source
    return found


def recognise(notebook, solved):
    """The name of the solved notebook that has the most exercises in common with this one."""
    names = functions(cell.source for cell in notebook.cells if cell.cell_type == "code")
    common = {name: len(names & functions(exercises(each).values())) for name, each in solved.items()}
    best = max(common, key=common.get)
    if not common[best]:
        raise UserError("no function of any exercise is in it")
    return best


def read(path):
    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:
        raise UserError(f"it cannot be read: {str(error)[:60]}") from None


# --------------------------------------------------------------------------------------------- all notebooks
def lines(process):
    """A queue of the lines that a process writes; None at its end."""
    found = queue.Queue()

    def listen():
        for line in process.stdout:
            found.put(line)
        found.put(None)

    threading.Thread(target=listen, daemon=True).start()
    return found


def sources(notebook):
    """The sources of the code cells that are no checks."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code" and "check" not in make.tags(cell):
            found.append(cell.source)
    return found


def grade(notebook, name, solved, limit, seed):
    """{number: None or what is wrong} for one notebook. An exercise never takes longer than the limit."""
    right = exercises(solved)
    handed_in = exercises(notebook)
    others = [source for source in sources(notebook) if source not in handed_in.values()]
    work = {"name": name, "seed": seed, "solved": sources(solved), "right": right, "others": others,
            "handed_in": handed_in}
    results = {}
    waiting = sorted(right)
    while waiting:
        with tempfile.TemporaryDirectory() as folder:
            process = subprocess.Popen(
                [sys.executable, FOLDER / "judge.py"], cwd=folder, text=True, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )
            written = lines(process)
            try:
                process.stdin.write(json.dumps({**work, "first": waiting[0]}))
                process.stdin.close()
                ready = written.get(timeout=START)
                while waiting and ready:
                    line = written.get(timeout=limit)
                    if line is None:
                        break
                    number, why = json.loads(line)
                    results[number] = why
                    waiting.remove(number)
                stopped = "it ended the process"
            except queue.Empty:
                stopped = f"not done after {limit:g} s"
            finally:
                process.kill()
                process.wait()
        if waiting:
            results[waiting.pop(0)] = stopped
    return results


def worth(name):
    """{number: points}: one for each ●."""
    return {number: line.count("●") for number, line in make.hints()[name[:2]].items()}


def grade_folder(folder, limit, seed):
    """Rows of the table: a dict for every notebook below the folder."""
    paths = [path for path in sorted(folder.rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts]
    if not paths:
        raise UserError(f"no notebook is in {folder}; pass the folder that holds what students handed in")
    solved = {path.stem: make.read(path) for path in make.solutions()}
    rows = []
    for path in paths:
        row = {"submission": str(path.relative_to(folder)), "points": 0}
        rows.append(row)
        try:
            notebook = read(path)
            name = recognise(notebook, solved)
        except UserError as error:
            row["remarks"] = str(error)
            continue
        points = worth(name)
        results = grade(notebook, name, solved[name], limit, seed)
        remarks = []
        for number, possible in points.items():
            row[f"exercise {number}"] = 0 if results[number] else possible
            row["points"] += row[f"exercise {number}"]
            if results[number]:
                remarks.append(f"{number}: {results[number]}")
        row |= {"notebook": name, "of": sum(points.values()), "remarks": "; ".join(remarks)}
        print(f"{row['submission']}: {row['points']} of {row['of']}", flush=True)
    return rows


def save(rows, path):
    numbers = {int(key.split()[1]) for row in rows for key in row if key.startswith("exercise")}
    exercises = [f"exercise {number}" for number in sorted(numbers)]
    columns = ["submission", "notebook", "points", "of", *exercises, "remarks"]
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        table.writerows(rows)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="what students handed in")
    parser.add_argument("--out", type=Path, help="the table (default: points.csv in the folder)")
    parser.add_argument("--limit", type=float, default=30, help="seconds for an exercise (default: 30)")
    parser.add_argument("--seed", type=int, help="of the numbers (default: random)")
    args = parser.parse_args(argv)
    seed = secrets.randbits(32) if args.seed is None else args.seed
    out = args.out or args.folder / "points.csv"
    save(grade_folder(args.folder, args.limit, seed), out)
    print(f"written: {out}")


if __name__ == "__main__":
    sys.exit(exit_status(main))

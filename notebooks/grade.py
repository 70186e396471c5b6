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
import ast
import csv
import json
import os
import queue
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import types
from pathlib import Path

import nbformat
import numpy as np
import torch

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
sys.path[:0] = [str(ROOT), str(FOLDER)]

import make
from probes import GIVEN, PROBES
from training.files import UserError

OURS = {path.stem for folder in (ROOT, FOLDER) for path in folder.glob("*.py")} | {
    path.parent.name for path in ROOT.glob("*/*.py")
}
START = 300  # seconds in which a process must be ready: PyTorch takes its time on a busy machine
TRIALS = 2  # times that a probe is run, each with other numbers


# --------------------------------------------------------------------------------------- reading a notebook
def exercises(notebook):
    """{number: source} of the exercises: cells that begin with "# Exercise NUMBER"."""
    found = {}
    for cell in notebook.cells:
        number = re.match(r"\s*#\s*Exercise\s+(\d+)", cell.source)
        if cell.cell_type == "code" and number:
            found[int(number[1])] = cell.source
    return found


def functions(sources):
    """The names of all functions and classes at the left margin, read without parsing."""
    return set(re.findall(r"^(?:def|class) (\w+)", "\n".join(sources), flags=re.M))


def recognise(notebook, solved):
    """The name of the solved notebook that has the most exercises in common with this one."""
    names = functions(cell.source for cell in notebook.cells if cell.cell_type == "code")
    common = {name: len(names & functions(exercises(each).values())) for name, each in solved.items()}
    best = max(common, key=common.get)
    if not common[best]:
        raise UserError("no function of any exercise is in it")
    return best


def definitions(source):
    """What defines something: functions, classes, imports, and constants. The rest of a cell is left out: it
    prints, draws or loads. Nothing of this repository is imported."""
    source = "\n".join(line for line in source.splitlines() if not line.lstrip().startswith(("%", "!")))
    kept = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            node.names = [each for each in node.names if each.name.split(".")[0] not in OURS]
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) or isinstance(node, ast.Import) and node.names:
            kept.append(node)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] not in OURS:
            kept.append(node)
        elif isinstance(node, ast.Assign) and is_constant(node.value):
            kept.append(node)
    return ast.Module(kept, [])


def is_constant(node):
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True


def define(source, names):
    """Add to the dict `names` what a cell defines; a cell that is broken adds nothing."""
    try:
        exec(compile(definitions(source), "cell", "exec"), names)
    except Exception:
        pass


# --------------------------------------------------------------------------------------------- one exercise
class Names(types.SimpleNamespace):
    """What probes get: f.rms_norm is the function rms_norm."""

    def __getattr__(self, name):
        raise NameError(f"{name} is not defined")


def given(solved, name):
    """The names that an exercise may use: all that the solved notebook defines, its exercises included."""
    names = dict(GIVEN.get(name[:2], {}))
    for cell in solved.cells:
        if cell.cell_type == "code" and "check" not in make.tags(cell):
            define(cell.source, names)
    return names


def differ(result, expected):
    """What is different, in words; None if nothing is. Numbers may differ by rounding."""
    if isinstance(expected, (list, tuple)):
        if not isinstance(result, (list, tuple)) or len(result) != len(expected):
            return f"{len(expected)} results are expected"
        return next((why for pair in zip(result, expected) if (why := differ(*pair))), None)
    if isinstance(expected, (str, type(None))):
        return None if result == expected else f"{str(result)[:40]!r} and not {expected!r}"
    try:
        mine, right = (torch.as_tensor(each).detach().double() for each in (result, expected))
    except (TypeError, ValueError, RuntimeError):
        return f"{type(result).__name__}, where numbers are expected"
    if mine.shape != right.shape:
        return f"shape {tuple(mine.shape)} and not {tuple(right.shape)}"
    if not torch.allclose(mine, right, rtol=1e-4, atol=1e-5, equal_nan=True):
        return "other numbers"
    return None


def judge(source, others, probe, solved, seed):
    """Compare what the probe finds in the student's source and in `solved` -> None, or what is wrong."""
    names = dict(others)
    try:
        code = compile(definitions(source), "cell", "exec")
        exec(code, names)
    except SyntaxError as error:
        return f"SyntaxError in line {error.lineno}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    for trial in range(TRIALS):
        torch.manual_seed(0)
        expected = probe(solved, np.random.default_rng([seed, trial]))
        try:
            torch.manual_seed(0)
            result = probe(Names(**names), np.random.default_rng([seed, trial]))
        except BaseException as error:  # sys.exit() too
            return f"{type(error).__name__}: {str(error)[:80]}"
        if why := differ(result, expected):
            return why
    return None


def lock_the_library():
    """From here on, `import hrm` fails, as does every other import from this repository."""
    for name in [*sys.modules, *OURS]:
        if name.split(".")[0] in OURS:
            sys.modules[name] = None
    sys.path[:] = [path for path in sys.path if Path(path).resolve() not in (ROOT, FOLDER)]


def grade_here(path, name, first, seed):
    """Judge the exercises from `first` on -> yields (number, None or what is wrong)."""
    notebook, solved = read(path), make.read(FOLDER / "solutions" / f"{name}.ipynb")
    right, handed_in = exercises(solved), exercises(notebook)
    names = given(solved, name)
    own = {}  # helpers that the student wrote in other cells
    lock_the_library()
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source not in handed_in.values():
            define(cell.source, own)
    names = {**own, **names}
    for number in sorted(right):
        if number >= first:
            others = {key: value for key, value in names.items() if key not in functions([right[number]])}
            source = handed_in.get(number, "")
            probe = PROBES[name[:2], number]
            yield number, judge(source, others, probe, types.SimpleNamespace(**names), seed)


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


def grade(path, name, numbers, limit, seed):
    """{number: None or what is wrong} for one notebook. It never takes longer than the limit an exercise."""
    results, waiting = {}, sorted(numbers)
    while waiting:
        command = [sys.executable, __file__, str(path.resolve()), "--one", name, "--first", str(waiting[0])]
        with tempfile.TemporaryDirectory() as folder:
            process = subprocess.Popen([*command, "--seed", str(seed)], cwd=folder, text=True,
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            written = lines(process)
            try:
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
    solved, rows = {path.stem: make.read(path) for path in make.solutions()}, []
    for path in paths:
        row = {"submission": str(path.relative_to(folder)), "points": 0}
        rows.append(row)
        try:
            row["notebook"] = name = recognise(read(path), solved)
        except UserError as error:
            row["remarks"] = str(error)
            continue
        points = worth(name)
        results = grade(path, name, points, limit, seed)
        row |= {f"exercise {n}": 0 if results[n] else points[n] for n in points}
        row["points"], row["of"] = sum(row[f"exercise {n}"] for n in points), sum(points.values())
        row["remarks"] = "; ".join(f"{n}: {results[n]}" for n in points if results[n])
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


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="what students handed in")
    parser.add_argument("--out", type=Path, help="the table (default: points.csv in the folder)")
    parser.add_argument("--limit", type=float, default=30, help="seconds for an exercise (default: 30)")
    parser.add_argument("--seed", type=int, help="of the numbers (default: random)")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # the process of one notebook: its name
    parser.add_argument("--first", type=int, default=1, help=argparse.SUPPRESS)
    args = parser.parse_args()
    seed = secrets.randbits(32) if args.seed is None else args.seed
    if args.one:
        out, sys.stdout = sys.stdout, open(os.devnull, "w")  # what a student prints is no result
        torch.set_num_threads(1)
        print("ready", file=out, flush=True)
        for result in grade_here(args.folder, args.one, args.first, seed):
            print(json.dumps(result), file=out, flush=True)
        return 0
    try:
        out = args.out or args.folder / "points.csv"
        rows = grade_folder(args.folder, args.limit, seed)
        save(rows, out)
        print(f"written: {out}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

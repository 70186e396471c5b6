"""Is what a student wrote right? grade.py runs this file as a process of its own, one for each submission.

What the student's function computes is compared with what the solved notebook's computes, on numbers that are
drawn anew (probes.py). Only definitions are run, and nothing of this repository can be imported by them.
"""

import ast
import json
import os
import re
import sys
import types
from pathlib import Path

import torch

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
sys.path[:0] = [str(ROOT), str(FOLDER)]

from draws import Draw
from probes import GIVEN, probe_of

OURS = {path.stem for path in [*ROOT.glob("*.py"), *FOLDER.glob("*.py")]}
OURS |= {path.parent.name for path in ROOT.glob("*/*.py")}
TRIALS = 2  # times that a probe is run, each with other numbers


def functions(sources):
    """The names of all functions and classes at the left margin, read without parsing."""
    return set(re.findall(r"^(?:def|class) (\w+)", "\n".join(sources), flags=re.M))


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


def given(name, cells):
    """The names that an exercise may use: all that the solved notebook's cells (sources) define."""
    names = dict(GIVEN.get(name[:2], {}))
    for source in cells:
        define(source, names)
    return names


def differ(result, expected):
    """What is different, in words; None if nothing is. Numbers may differ by rounding, whole ones not."""
    if isinstance(expected, (list, tuple)):
        if not isinstance(result, (list, tuple)) or len(result) != len(expected):
            return f"{len(expected)} results are expected"
        for mine, right in zip(result, expected):
            why = differ(mine, right)
            if why:
                return why
        return None
    if isinstance(expected, (str, type(None))):
        return None if result == expected else f"{str(result)[:40]!r} and not {expected!r}"
    try:
        mine = torch.as_tensor(result).detach().double()
    except (TypeError, ValueError, RuntimeError):
        return f"{type(result).__name__}, where numbers are expected"
    right = torch.as_tensor(expected).detach().double()
    if mine.shape != right.shape:
        return f"shape {tuple(mine.shape)} and not {tuple(right.shape)}"
    rounding = 0 if isinstance(expected, int) else 1
    if not torch.allclose(mine, right, rtol=1e-4 * rounding, atol=1e-5 * rounding, equal_nan=True):
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
        expected = probe(solved, Draw(seed, trial))
        try:
            torch.manual_seed(0)
            result = probe(Names(**names), Draw(seed, trial))
        except BaseException as error:  # sys.exit() too
            return f"{type(error).__name__}: {str(error)[:80]}"
        why = differ(result, expected)
        if why:
            return why
    return None


def lock_the_library():
    """From here on, `import hrm` fails, as does every other import from this repository."""
    for name in [*sys.modules, *OURS]:
        if name.split(".")[0] in OURS:
            sys.modules[name] = None
    sys.path[:] = [path for path in sys.path if Path(path).resolve() not in (ROOT, FOLDER)]


def judge_all(name, first, seed, solved, right, others, handed_in):
    """Judge the exercises from `first` on -> yields (number, None or what is wrong).

    solved: sources of the solved notebook's cells, `right` {number: source} of its exercises; others and
    handed_in: the same of the student's, where `others` may define helpers."""
    expected = given(name, solved)
    lock_the_library()
    names = {}
    for source in others:
        define(source, names)
    names |= expected
    for number in sorted(right, key=int):
        if int(number) < first:
            continue
        rest = dict(names)
        for asked in functions([right[number]]):
            del rest[asked]
        why = judge(handed_in.get(number, ""), rest, probe_of(name[:2], number), Names(**names), seed)
        yield int(number), why


def main():
    """A process of grade.py: work comes in as JSON, a line goes out for every exercise, at once."""
    work = json.load(sys.stdin)
    out = sys.stdout
    sys.stdout = open(os.devnull, "w")  # what a student prints is no result
    torch.set_num_threads(1)
    print("ready", file=out, flush=True)
    for result in judge_all(**work):
        print(json.dumps(result), file=out, flush=True)


if __name__ == "__main__":
    main()

"""grade.py gives each submission the points it deserves; and the checks of notebook 00 reject plausible
mistakes, as the hidden numbers do."""

import copy
import csv
import sys
import types

import nbformat
import pytest
import torch

from notebooks import grade, judge, make
from notebooks.probes import PROBES
from training.files import UserError

SOLVED = {path.stem: make.read(path) for path in make.solutions()}
FIRST = SOLVED["00_build_hrm"]
NAMES = {name: judge.given(name, grade.sources(notebook)) for name, notebook in SOLVED.items()}
EXERCISES = [(name, number) for name, notebook in SOLVED.items() for number in grade.exercises(notebook)]


def judged(name, number, source):
    names = NAMES[name]
    own = judge.functions([grade.exercises(SOLVED[name])[number]])
    others = {key: value for key, value in names.items() if key not in own}
    return judge.judge(source, others, PROBES[name[:2], number], types.SimpleNamespace(**names), 5)


@pytest.mark.parametrize("name, number", EXERCISES, ids=lambda part: str(part)[:2])
def test_the_solution_is_right_and_the_empty_exercise_is_not(name, number):
    source = grade.exercises(SOLVED[name])[number]
    assert judged(name, number, source) is None
    empty = make.unsolved(nbformat.v4.new_code_cell(source))
    assert judged(name, number, empty).startswith(f"NotImplementedError: exercise {number}:")
    assert judged(name, number, "") is not None


# Exercise of notebook 00, what stands in the solution, what a student writes in its place, and words of the
# message that the check gives for it.
MISTAKES = [
    (1, "math.sqrt(E.shape[1] / 2) * (rows + positions)", "rows + positions", "scale .* is missing"),
    (1, "E.shape[1] / 2", "E.shape[1]", "division by √2 is missing"),
    (1, "puzzle.expand(len(tokens), 1, -1), E[tokens]", "E[tokens], puzzle.expand(len(tokens), 1, -1)",
     "comes first"),
    (1, "(rows + positions)", "torch.cat([rows[:, :1], (rows + positions)[:, 1:]], 1)", "puzzle vector too"),
    (2, "mean(-1, keepdim=True)", "mean()", "for each vector"),
    (2, "return x /", "x = x - x.mean(-1, keepdim=True)\n    return x /", "subtract the mean"),
    (2, "mean(-1", "sum(-1", "mean"),
    (2, " + eps).sqrt()", ").sqrt() + eps", "ε belongs under the root"),
    (2, "+ eps", "+ 1e-5", "argument eps"),
    (3, "cos - second * sin, second * cos +", "cos + second * sin, second * cos -", "by a quarter"),
    (3, "x.chunk(2, dim=-1)", "(x[..., ::2], x[..., 1::2])", "pairs are"),
    (3, "second * cos + first * sin", "second * cos", "is .0, 1., not|counts in both"),
    (4, "math.sqrt(q.shape[-1])", "math.sqrt(x.shape[-1])", "two heads: d = 2"),
    (4, " / math.sqrt(q.shape[-1])", "", "√d = 2"),
    (4, "softmax(-1)", "softmax(-2)", "over the .keys"),
    (4, "k = rotate(q, angles), rotate(k, angles)", "k, v = (rotate(t, angles) for t in (q, k, v))",
     "v is not"),
    (4, "(three h d)", "(h three d)", "two heads|mean of the values|√d"),
    (5, "F.silu(gate) * up", "F.silu(up) * gate", "you switched the second"),
    (5, "F.silu(gate)", "F.relu(gate)", r"silu"),
    (5, "F.silu(gate)", "gate.sigmoid()", "silu"),
    (6, "rms_norm(h + attend(h))", "h + attend(h)", "two norms"),
    (6, "h = rms_norm(h + attend(h))", "h = rms_norm(attend(h))", "h itself|normalised"),
    (6, "h = rms_norm(h + attend(h))\n    return rms_norm(h + mlp(h))",
     "h = h + attend(rms_norm(h))\n    return h + mlp(rms_norm(h))", "normalised"),
    (7, "layer(h)", "layer(h + injection)", "added once"),
    (7, "in blocks", "in reversed(blocks)", "the order"),
    (7, "h = layer(h)", "h = layer(z)", "the one before"),
    (8, "with torch.no_grad():", "if True:", "only the last L and the last H"),
    (8, "if i % T == 0:", "if True:", "not LLLHLLLH"),
    (8, "z_H = f_H(z_H, z_L)\n    return", "z_H = f_H(z_H, z_L + x)\n    return", "z_L = 4.1|z_H"),
    (8, "z_H = f_H(z_H, z_L)\n    return", "z_H = f_H(z_H, z_L.detach())\n    return", "dz_H/dw"),
    (8, "z_L = f_L(z_L, z_H + x)\n    z_H", "z_L = f_L(z_L, x)\n    z_H", "z_L"),
    (9, "logits.clamp(max=0)", "logits", "clamp"),
    (9, "torch.where(logits < 0, 1 / (1 - logits.clamp(max=0)), logits + 1)", "logits.exp()",
     "this is softmax"),
    (9, " * known", "", "IGNORE"),
    (9, "(chosen / s.sum(-1))", "chosen", "−log"),
    (10, "torch.where(last, next_halt, best)", "best", "only halting"),
    (10, ".sigmoid()", "", "a target is a probability"),
    (10, "maximum", "minimum", "better"),
    (10, "exact.float()", "exact", "floats"),
    (11, "0.5 * (halt + go_on)", "halt + go_on", "½"),
    (11, "/ (labels != IGNORE).sum(-1)", "/ labels.shape[1]", "labelled"),
    (11, '.sum(-1)).sum()', '.sum(-1)).mean()', "no mean over them"),
    (11, "q_halt, halt_target", "q_halt, continue_target", "own target"),
    (12, "slots.count + 1", "slots.count", "one segment more"),
    (12, "& (count >= M_min)", "", "M_min is 4"),
    (12, "_, _, next_halt", "z, _, next_halt", "not after the look ahead"),
    (12, "with torch.no_grad():", "if True:", "without for the look ahead"),
    (12, "slots.labels), slots.labels, q", "batch[1]), batch[1], q", "labels those of the slots"),
    (12, "last | ((q_halt", "((q_halt", "M_max"),
    (12, "last = count >= M_max", "last = count > M_max", "M_max"),
    (13, "        optimizer.zero_grad()\n", "", "zero_grad"),
    (13, "    slots, loss = step", "    _, loss = step", "new slots"),
    (13, "loss / len(slots.count)", "loss", "divided"),
    (13, '        optimizer.param_groups[0]["lr"] = lr(number)\n', "", "learning rate"),
    (14, "answers[thinking] = logits.argmax(-1)[thinking]", "answers = logits.argmax(-1)",
     "keeps the answer"),
    (14, "thinking & (q_halt", "(q_halt", "halt at segments|keeps"),
    (14, "z, logits, q_halt", "_, logits, q_halt", "z must go on"),
    (14, "q_halt <= q_continue", "q_halt > q_continue", "halt|stops"),
]


def check_of(number):
    """The source of the check right after this exercise of notebook 00."""
    cells = FIRST.cells
    place = next(i for i, cell in enumerate(cells) if cell.source.startswith(f"# Exercise {number}\n"))
    return cells[place + 1].source


@pytest.mark.parametrize("number, right, wrong, message", MISTAKES)
def test_a_plausible_mistake_is_rejected(number, right, wrong, message):
    source = grade.exercises(FIRST)[number]
    assert source.count(right) == 1
    source = source.replace(right, wrong)
    names = dict(NAMES["00_build_hrm"])
    exec(source, names)
    with pytest.raises(AssertionError, match=message):
        exec(check_of(number), names)
    if (number, wrong) != (10, "exact"):  # True in place of 1.0: the hidden numbers let it pass
        assert judged("00_build_hrm", number, source) is not None


def test_every_exercise_of_the_first_notebook_has_two_mistakes_and_its_check_passes():
    numbers = [number for number, *_ in MISTAKES]
    assert all(numbers.count(number) >= 2 for number in grade.exercises(FIRST))
    for number, source in grade.exercises(FIRST).items():
        names = dict(NAMES["00_build_hrm"])
        exec(source, names)
        exec(check_of(number), names)


def handed_in(changes):
    """The solved notebook 00 as a student might hand it in: {number: source} in place of exercises."""
    notebook = make.derive(FIRST)
    for cell in notebook.cells:
        if "exercise" in make.tags(cell):
            number = make.exercise_number(cell)
            cell.source = changes.get(number, grade.exercises(FIRST)[number])
    return notebook


def body(number, lines):
    """The exercise with these lines in the place of the solution."""
    source = make.unsolved(nbformat.v4.new_code_cell(grade.exercises(FIRST)[number]))
    return "\n".join([*source.split("\n")[:-1], *lines])


def test_five_submissions(tmp_path, monkeypatch, capsys):
    solved, empty = grade.exercises(FIRST), {}
    for number, source in solved.items():
        empty[number] = make.unsolved(nbformat.v4.new_code_cell(source))
    submissions = {
        "anna/homework": {},
        "ben/homework": {number: empty[number] for number in range(8, 15)},
        "cleo/homework": {
            **{number: empty[number] for number in range(3, 15)},
            1: body(1, ["    return torch.tensor([[22.0, 8, 8], [22, 6, 8]])[..., None].expand(2, 3, 8)"]),
            2: body(2, ["    import hrm", "    return hrm.rms_norm(x, eps)"]),
            3: body(3, ["    import importlib", '    return importlib.import_module("hrm").rotate(x)']),
        },
        "dora/homework": {3: body(3, ["    while True:", "        pass"])},
        "emil/homework": {4: solved[4].replace("return", "retrun", 1), 5: body(5, ["    raise SystemExit"])},
    }
    for name, changes in submissions.items():
        (tmp_path / name).parent.mkdir()
        nbformat.write(handed_in(changes), tmp_path / f"{name}.ipynb")
    (tmp_path / "broken.ipynb").write_text("{")
    monkeypatch.setattr(sys, "argv", ["grade.py", str(tmp_path), "--limit", "8", "--seed", "3"])
    assert grade.main() == 0 and "anna/homework.ipynb: 25 of 25" in capsys.readouterr().out
    with open(tmp_path / "points.csv", encoding="utf-8") as file:
        rows = {row["submission"].split("/")[0]: row for row in csv.DictReader(file)}
    assert {name: row["points"] for name, row in rows.items()} == {
        "anna": "25", "ben": "9", "cleo": "0", "dora": "23", "emil": "22", "broken.ipynb": "0",
    }
    each = {name: [row[f"exercise {number}"] for number in solved] for name, row in rows.items()}
    assert each["anna"] == ["1", "1", "2", "2", "1", "1", "1", "3", "2", "2", "2", "3", "2", "2"]
    assert each["ben"] == [*each["anna"][:7], *"0000000"]
    assert each["dora"] == [*each["anna"][:2], "0", *each["anna"][3:]]
    assert rows["anna"]["remarks"] == "" and rows["anna"]["notebook"] == "00_build_hrm"
    assert "2: ModuleNotFoundError" in rows["cleo"]["remarks"] and "3: Module" in rows["cleo"]["remarks"]
    assert rows["dora"]["remarks"] == "3: not done after 8 s"
    assert "4: SyntaxError" in rows["emil"]["remarks"] and "5: SystemExit" in rows["emil"]["remarks"]
    assert rows["broken.ipynb"]["remarks"].startswith("it cannot be read")


def test_what_counts_as_the_same():
    assert judge.differ((torch.ones(2), 3), [torch.ones(2) + 1e-7, 3.0]) is None
    assert judge.differ(torch.ones(2), torch.ones(2, 1)) == "shape (2,) and not (2, 1)"
    assert judge.differ(torch.ones(2), torch.zeros(2)) == "other numbers"
    assert judge.differ(None, torch.zeros(2)) == "NoneType, where numbers are expected"
    assert judge.differ([1], [1, 2]) == "2 results are expected"
    assert judge.differ("a", "b") == "'a' and not 'b'"


def test_definitions_leave_out_what_runs_and_what_is_ours():
    cell = "%time\nimport math, hrm\nfrom data import x\nN = 3\nM = load()\nprint(N)\ndef f():\n    return N"
    names = {}
    judge.define(cell, names)
    assert names["f"]() == 3 and "math" in names and not {"hrm", "x", "M"} & names.keys()
    judge.define("def g(:", names)
    assert "g" not in names


def test_an_unknown_notebook_and_an_empty_folder_say_so(tmp_path):
    with pytest.raises(UserError, match="no function of any exercise is in it"):
        grade.recognise(nbformat.v4.new_notebook(), SOLVED)
    with pytest.raises(UserError, match="no notebook is in"):
        grade.grade_folder(tmp_path, 1, 0)
    shuffled = copy.deepcopy(SOLVED["03_deep_supervision_and_act"])
    assert grade.recognise(shuffled, SOLVED) == "03_deep_supervision_and_act"

"""The checks of the notebooks' exercises accept the solution and reject plausible mistakes.

Each mistake is the solved exercise with one piece of it replaced. A check must reject it with a sentence: an
AssertionError of its own. Before an exercise only those cells run whose names it needs, found by walking back
from the names that it and its check use.
"""

import ast
import contextlib
import functools
import re
import symtable

import matplotlib
import pytest

from notebooks import make

matplotlib.use("agg")
ROOT = make.FOLDER.parent

# (notebook, exercise): [(the mistake, what the solution says, what the student wrote), ...]
MISTAKES = {
    ("01", 1): [
        ("T counts a whole segment", "N * T * config.L_layers", "T * config.L_layers"),
        ("H as often as L", "N * config.H_layers", "N * T * config.H_layers"),
        ("all modules of one size", "N * T * config.L_layers", "N * T * config.H_layers"),
        ("one segment", "segments * (", "("),
    ],
    ("01", 2): [
        ("one mean for all", "mean(-1, keepdim=True)", "mean()"),
        ("LayerNorm", "return x /", "x = x - x.mean(-1, keepdim=True)\n    return x /"),
        ("no ε", " + eps)", ")"),
        ("length 1", "mean(-1", "sum(-1"),
    ],
    ("01", 3): [
        ("neighbours are pairs", "x[:, : d // 2], x[:, d // 2 :]", "x[:, ::2], x[:, 1::2]"),
        ("d in place of d/2", "/ (d // 2))", "/ d)"),
        ("the wrong way round", "angle = torch", "angle = -torch"),
        ("positions from 1", "torch.arange(S)", "torch.arange(1, S + 1)"),
    ],
    ("01", 4): [
        ("H after every update of L", "\n        z_H = model.H", "\n            z_H = model.H"),
        ("H sees the puzzle", "model.H(z_H, z_L,", "model.H(z_H, z_L + x,"),
        ("P is 1", "[:, config.puzzle_positions :]", "[:, 1:]"),
        ("values swapped", "q_halt, q_continue = model", "q_continue, q_halt = model"),
        ("mean over the board", "z_H[:, 0]", "z_H.mean(1)"),
    ],
    ("01", 5): [
        ("two matrices in SwiGLU", "D * 2 * inner + inner * D", "2 * D * inner"),
        ("no rounding", "hrm.swiglu_size(D, config.expansion, config.inner_multiple)", "round(8 * D / 3)"),
        ("no bias", "(D * 2 + 2)", "D * 2"),
        ("one table for both", "return V * D +", "return"),
    ],
    ("01", 6): [
        ("order twice", "[:, order.argsort()]", "[:, order]"),
        ("positions lost", "x, rope, 1)", "x, None, 1)"),
        ("nothing shuffled", "logits(inputs[:, order])[:, order.argsort()]", "logits(inputs)"),
    ],
    ("02", 1): [
        ("one step", "df_dtheta / (1 - df_dz)", "df_dtheta"),
        ("sign", "1 - df_dz", "1 + df_dz"),
        ("always larger", "1 - df_dz", "1 + abs(df_dz)"),
    ],
    ("02", 2): [
        ("starts at Jv", "term, total, sums = v", "term, total, sums = J @ v"),
        ("terms, not sums", "total = total + term", "total = term"),
        ("from the wrong side", "J @ term", "term @ J"),
    ],
    ("02", 3): [
        ("off by one", "i > steps - k", "i >= steps - k"),
        ("chain cut", "z = f(z, theta)", "z = f(z.detach(), theta)"),
        ("through all updates", "i > steps - k", "i > 0"),
    ],
    ("02", 4): [
        ("rounded down", "math.ceil(k / T)", "k // T"),
        ("no cap", "k = min(k, N * T)", "pass"),
        ("H as often as L", "math.ceil(k / T)", "k"),
    ],
    ("02", 5): [
        ("terms doubled", "v = g + back", "v = v + back"),
        ("one term too many", "terms - 1", "terms"),
        ("last term only", "v = g + back", "v = back"),
    ],
    ("02", 6): [
        ("g not damped", "damping * (g + back)", "g + damping * back"),
        ("all sizes below 1", "eigenvalues.real < 1", "eigenvalues.abs() < 1"),
        ("always", "(eigenvalues.real < 1).all()", "True"),
        ("one is enough", ".all()", ".any()"),
    ],
    ("03", 1): [
        ("no sigmoid", "better).sigmoid()", "better)"),
        ("last segment forgotten", "torch.where(last, next_halt, better)", "better"),
        ("worse choice", "torch.maximum", "torch.minimum"),
    ],
    ("03", 2): [
        ("equal is enough", "q_halt > q_continue", "q_halt >= q_continue"),
        ("no M_min", " & (segments >= M_min)", ""),
        ("no M_max", "(segments >= M_max) | ", ""),
        ("off by one", "segments >= M_min", "segments > M_min"),
    ],
    ("03", 3): [
        ("old thoughts kept", "torch.where(state, z_L, slots.z_L)", "slots.z_L"),
        ("count kept", "torch.where(slots.halted, 0, slots.segments)", "slots.segments"),
        ("old labels", "torch.where(row, labels, slots.labels)", "slots.labels"),
        ("columns", "torch.where(row, inputs,", "torch.where(slots.halted, inputs,"),
    ],
    ("03", 4): [
        ("no ½", "0.5 * halt", "halt"),
        ("a mean", "(token + 0.5 * halt).sum()", "(token + 0.5 * halt).mean()"),
        ("σ that underflows", "F.softplus(q_halt) - target * q_halt",
         "-target * q_halt.sigmoid().log() - (1 - target) * (1 - q_halt.sigmoid()).log()"),
        ("IGNORE is never right", "== labels) | ~labelled)", "== labels))"),
    ],
    ("03", 5): [
        ("last answer", "q_halt > best[rows]", "q_halt > -torch.inf"),
        ("rows of the small batch", "predictions[rows[better]], ", "predictions[better.nonzero()[:, 0]], "),
        ("no sigmoid", "q_halt.sigmoid() <=", "q_halt <="),
        ("state of others", "(z[0][on], z[1][on])", "(z[0][: on.sum()], z[1][: on.sum()])"),
    ],
    ("04", 1): [
        ("first update lost", "before = torch.cat([initial[None], z[:-1]])", "z, before = z[1:], z[:-1]"),
        ("mean before norm", ".norm(dim=-1).mean(-1)", ".mean(-2).norm(dim=-1)"),
        ("one norm", ".norm(dim=-1).mean(-1)", ".flatten(2).norm(dim=-1)"),
        ("squares", ".norm(dim=-1)", ".square().sum(-1)"),
    ],
    ("04", 2): [
        ("within a cycle", "last[:-1]", "last[1:]"),
        ("upside down", "first[1:] / last[:-1]", "last[:-1] / first[1:]"),
    ],
    ("04", 3): [
        ("ties forgotten", " + 0.5 * (up == down).float()", ""),
        ("ties count whole", "0.5 * (up", "(up"),
        ("the wrong way round", "up > down", "up < down"),
    ],
    ("04", 4): [
        ("not centred", "X - X.mean(0)", "X"),
        ("not squared", "singular[:k] ** 2 / (singular**2).sum()", "singular[:k] / singular.sum()"),
        ("share of those kept", "(singular**2).sum()", "(singular[:k] ** 2).sum()"),
    ],
    ("04", 5): [
        ("ties do not count", ">= observed - 1e-12", "> observed + 1e-12"),
        ("p can be 0", "(1 + k) / (1 + permutations)", "k / permutations"),
        ("two-sided", "difference(rng.permutation(label)) >= observed",
         "abs(difference(rng.permutation(label))) >= abs(observed)"),
    ],
    ("05", 1): [
        ("upside down", "eigenvalues.sum() ** 2 / (eigenvalues**2).sum()",
         "(eigenvalues**2).sum() / eigenvalues.sum() ** 2"),
        ("not squared", "eigenvalues.sum() ** 2", "eigenvalues.sum()"),
        ("all above 0", "(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())", "(eigenvalues > 0).sum()"),
    ],
    ("05", 2): [
        ("square of the sum", "1 - r**2", "(1 - r) ** 2"),
        ("sum", "(1 - r**2) / (1 - r) ** 2", "1 / (1 - r)"),
        ("inverse of the sum", "(pr - 1) / (pr + 1)", "1 - 1 / pr"),
    ],
    ("05", 3): [
        ("not centred", "X - X.mean(0)", "X"),
        ("sum of the matrix product", "(covariance**2).sum()", "(covariance @ covariance).sum()"),
        ("variances only", "(covariance**2).sum()", "covariance.diag().square().sum()"),
    ],
    ("05", 4): [
        ("n", "v = n - 1", "v = n"),
        ("a term lost", "(1 + 1 / v) / (", "1 / ("),
    ],
    ("05", 5): [
        ("without replacement", "rng.integers(0, B, B)", "rng.permutation(B)"),
        ("90 %", "(0.025, 0.975)", "(0.05, 0.95)"),
        ("half a sample", "rng.integers(0, B, B)", "rng.integers(0, B, B // 2)"),
    ],
    ("05", 6): [
        ("update and puzzle swapped", '(1, 2), "puzzle": (0, 2)', '(0, 2), "puzzle": (1, 2)'),
        ("one mean for all", "z.mean(others, keepdim=True)", "z.mean((0, 1, 2))"),
        ("dimensions to keep", '"position": (0, 1)', '"position": (2,)'),
        ("share around 0", "(z - z.mean((0, 1, 2)))", "z"),
    ],
    ("06", 1): [
        ("H as often as L", "N * T * config.L_layers + N * config.H_layers", "N * T * both"),
        ("gradient everywhere", "return N * T * both, both", "return N * T * both, N * T * both"),
        ("updates, not layers", "N * T * config.L_layers + N * config.H_layers", "N * T + N"),
    ],
    ("06", 2): [
        ("per cent", '"HRM": 0.94', '"HRM": 94'),
        ("one forgotten", '"Transformer": 0.5, ', ""),
        ("all equal", "return {", 'return dict.fromkeys(["HRM", "Transformer in the loop", "Recurrent", '
         '"Transformer", "HRM, M_max 1"], 0.5) or {'),
    ],
    ("06", 3): [
        ("always from the start", "z, logits, _, _ = model(z, inputs)",
         "_, logits, _, _ = model(z, inputs)"),
        ("logits", "logits.argmax(-1)", "logits"),
        ("one answer", "return torch.stack(answers)", "return answers[-1]"),
    ],
    ("06", 4): [
        ("H keeps its old state", "self.L(z_H, x, rope), 0", "z_H, self.L(z_H, x, rope)"),
        ("L keeps its old state", "self.L(z_H, x, rope)", "self.L(z_L, z_H + x, rope)"),
        ("x twice", ", 0, rope)", ", x, rope)"),
        ("z_L changed", "rope), z_L", "rope), self.L(z_H, x, rope)"),
        ("no gradient", "return self.H", "with torch.no_grad():\n            return self.H"),
    ],
    ("06", 5): [
        ("a copy", "self.H = self.L", "self.H = __import__('copy').deepcopy(self.L)"),
        ("one step", "config.L_cycles", "1"),
        ("whole segment", "config.L_cycles", "config.L_cycles * config.H_cycles"),
        ("that of H", "self.H = self.L", "self.L = self.H"),
    ],
}


@functools.cache
def cells_of(number):
    [path] = make.solutions([number])
    cells = [cell for cell in make.read(path).cells if cell.cell_type == "code"]
    for cell in cells:
        cell.source = re.sub(r"^%.*$", "", cell.source, flags=re.MULTILINE)  # IPython's own commands
    return cells


def symbols(source):
    """The global names that a piece of code gives a value to, and those that it reads."""
    top = symtable.symtable(source, "cell", "exec")
    made = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    tables, read = [top], set()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        read |= {s.get_name() for s in table.get_symbols()
                 if s.is_referenced() and (table is top or s.is_global())}
    return made, read


@functools.cache
def names(source):
    """The names that a cell gives a value to, and those that it reads before it has made them."""
    made, used = set(), set()
    for statement in ast.parse(source).body:
        its_own, read = symbols(ast.unparse(statement))
        loop = isinstance(statement, (ast.For, ast.With, ast.FunctionDef, ast.ClassDef))
        used |= read - made - (its_own if loop else set())
        made |= its_own
    return made, used


def needed(number, cells_read, given=()):
    """The cells that must run before these (the first of them and those right after it), in order. Names that
    are given need none."""
    cells = cells_of(number)
    wanted = {(name, cells_read[0]) for i in cells_read for name in names(cells[i].source)[1]}
    found = set()
    while wanted:
        name, before = wanted.pop()
        for i in range(before - 1, -1, -1):
            if name in given:
                break
            if not {"exercise", "check"} & set(make.tags(cells[i])) and name in names(cells[i].source)[0]:
                if i not in found:
                    found.add(i)
                    wanted |= {(other, i) for other in names(cells[i].source)[1]}
                break
    return tuple(sorted(found))


@functools.cache
def prepared(number, numbers):
    """What the names mean after these cells have run."""
    if not numbers:
        return {"__name__": "exercise"}
    values = dict(prepared(number, numbers[:-1]))
    exec(cells_of(number)[numbers[-1]].source, values)
    return values


def check(number, exercise, old="", new=""):
    """Run an exercise, with one piece of its solution replaced, and its check."""
    cells = cells_of(number)
    [at] = [i for i, cell in enumerate(cells) if cell.source.startswith(f"# Exercise {exercise}\n")]
    solved = cells[at].source
    begin = solved.index(make.BEGIN)
    assert old in solved[begin:], f"the solution does not say {old!r}"
    with contextlib.chdir(ROOT):
        values = dict(prepared(number, needed(number, (at, at + 1))))
        exec(solved[:begin] + solved[begin:].replace(old, new) if old else solved, values)
        exec(cells[at + 1].source, values)


def every_exercise():
    for path in make.solutions():
        for cell in make.read(path).cells:
            if "exercise" in make.tags(cell):
                yield path.name[:2], make.exercise_number(cell)


def test_every_exercise_has_two_mistakes():
    exercises = [key for key in every_exercise() if key[0] != "00"]  # 00 builds on itself
    assert {key for key, mistakes in MISTAKES.items() if len(mistakes) >= 2} == set(exercises)


@pytest.mark.parametrize("number, exercise", MISTAKES, ids=lambda part: str(part))
def test_the_check_accepts_the_solution_and_rejects_mistakes(number, exercise):
    check(number, exercise)
    for mistake, old, new in MISTAKES[number, exercise]:
        with pytest.raises(AssertionError) as caught:
            check(number, exercise, old, new)
            raise RuntimeError(f"accepted: {mistake}")
        assert str(caught.value) and "does not say" not in str(caught.value), mistake

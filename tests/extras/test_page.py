"""docs/play.html: it is what extras/page.py makes, computes what PyTorch computes, and works in a browser."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from puzzles.split import transform, undo
from extras import page
from extras.vote import best_of
from hrm import HRM, HRMConfig, solve
from puzzles.errors import exit_status
from puzzles.maze import Maze
from tests.extras.browser import CHROMIUM, DRIVER, Browser
from tests.runs import ROOT
from training.checkpoints import load_model
from training.options import SIZES

PLAY = ROOT / "docs/play.html"
CHECKPOINTS = [str(ROOT / path) for path in re.findall(r"\S+\.pt", page.__doc__)]
PUZZLES = 6  # of each model, but one of the large mazes
NODE = shutil.which("node")
in_node = pytest.mark.skipif(not NODE, reason="on Debian: apt-get install nodejs")
in_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER),
                                reason="on Debian: apt-get install chromium chromium-driver")


# --------------------------------------------------------------------------------------------- how it is made
def test_the_committed_page_is_what_its_sources_make():
    same = page.build(CHECKPOINTS) == PLAY.read_text(encoding="utf-8")
    assert same, "docs/play.html is not up to date; the command stands in extras/page.py"
    assert PLAY.stat().st_size <= 3e6


def test_the_page_names_no_address_but_the_paper_and_notebooks_that_exist():
    text = PLAY.read_text(encoding="utf-8")
    addresses = set(re.findall(r"""https?://[^"'<\s]+""", text))
    assert addresses == {"https://arxiv.org/abs/2506.21734", "http://www.w3.org/2000/svg"}
    for link in re.findall(r'href="(\.\.[^"]+)"', text):
        assert (PLAY.parent / link).exists(), link


@pytest.mark.parametrize("checkpoint, says", [
    ("sudoku-6x6-recurrent.pt", "the page knows HRM"),
    ("sudoku-9x9.pt", "a second model for sudoku-9x9"),
])
def test_a_checkpoint_that_does_not_fit_is_named(checkpoint, says, here, capsys):
    path = ROOT / "checkpoints" / checkpoint
    assert exit_status(page.main, ["--checkpoint", CHECKPOINTS[3], str(path), "--out", "play.html"]) == 2
    error = capsys.readouterr().err
    assert checkpoint in error and says in error and not Path("play.html").exists()


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrast_is_enough_to_read(scheme):
    """WCAG AA: 4.5 for text, 3 for the controls' frames."""
    blocks = re.findall(r":root \{(.*?)\}", PLAY.read_text(encoding="utf-8"), re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", blocks[scheme]), white="#ffffff")

    def luminance(name):
        part = np.array([int(colours[name][i : i + 2], 16) / 255 for i in (1, 3, 5)])
        return part**2.2 @ [0.2126, 0.7152, 0.0722]

    pairs = """ink/ground soft/ground link/ground wrong/ground right/ground z_H/ground z_L/ground ink/panel
        ink/open answer/open white/end answer/changed ink/changed wrong/wrong-ground ground/ink ground/link
        ground/wrong control/ground focus/ground""".split()
    for pair in pairs:
        low, high = sorted(map(luminance, pair.split("/")))
        assert (high + 0.05) / (low + 0.05) >= (3 if pair.startswith(("control", "focus")) else 4.5), pair


# ------------------------------------------------------------------------------------------ what it computes
def javascript(function, given):
    """function(models, given), where the code of hrm.js and puzzles.js is known -> its result, computed in
    node."""
    text = PLAY.read_text(encoding="utf-8")
    parts = {name: re.search(rf'<script id="{name}"[^>]*>\n(.*?)</script>', text, re.DOTALL)[1]
             for name in ("models", "hrm.js", "puzzles.js")}
    given = json.dumps(given, default=lambda array: array.tolist())
    program = f"""{parts["hrm.js"]}
        {parts["puzzles.js"]}
        const make = m => new HRM(m.config, Object.fromEntries(
            Object.entries(m.weights).map(([name, text]) => [name, unpack(text)])));
        console.log(JSON.stringify(({function})({parts["models"]}, {given})));"""
    return json.loads(subprocess.check_output([NODE], input=program, encoding="utf-8"))


def of_halves(model, dtype):
    """An HRM that computes in this dtype, rotary tables and all, with weights as the page has them."""
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        made = HRM(replace(model.config, dtype=dtype))
    finally:
        torch.set_default_dtype(torch.float32)
    made.load_state_dict({name: tensor.half() for name, tensor in model.state_dict().items()})
    return made


@pytest.fixture(scope="module")
def shipped():
    """Of each of the page's models: itself in float32 and in float64, its task, and puzzles new to it."""
    found = []
    for path in CHECKPOINTS:
        model, task, options = load_model(path)
        n = PUZZLES
        if task.size == 30:  # Maze-Hard comes from a file
            n = 1
            task = Maze(30, kind="random", min_path=110)
        found.append(SimpleNamespace(
            float32=of_halves(model, "float32"),
            float64=of_halves(model, "float64"),
            task=task,
            inputs=task.generate(n, np.random.default_rng(17))[0],
            confidence=options["confidence"],
        ))
    return found


SEGMENTS = """
    const z = model.initial_state(), x = model.input_network(inputs);
    return range(n).map(() => model.forward(z, x)).map(out => [...out.logits, out.q_halt, out.q_continue]);
"""


@torch.no_grad()
def segments(model, inputs, n):
    """Logits, q_halt and q_continue after each of n segments on a puzzle (S,), in one row each."""
    inputs = torch.tensor(inputs)[None].long()
    z = model.initial_state(1)
    rows = []
    for _ in range(n):
        z, *out = model(z, inputs, model.puzzle_vectors(inputs[:, 0] * 0))
        rows.append(torch.cat([part.flatten() for part in out]))
    return torch.stack(rows).numpy()


@in_node
def test_logits_and_q_are_those_of_pytorch(shipped):
    """Doubles on both sides: their roundings, 1e-16, do not come near to 1e-9 in 8 segments (2 of 30x30)."""
    result = javascript(f"""(models, given) => models.map((m, i) => {{
        const model = make(m), n = m.config.seq_len > 400 ? 2 : 8;
        return given[i].map(inputs => {{ {SEGMENTS} }});
    }})""", [each.inputs[:2] for each in shipped])
    for each, rows in zip(shipped, result):
        expected = [segments(each.float64, inputs, len(rows[0])) for inputs in each.inputs[:2]]
        np.testing.assert_allclose(rows, expected, rtol=1e-9, atol=1e-9)


@in_node
@pytest.mark.parametrize("positions", SIZES["positions"].metadata["choices"])
def test_hrm_js_knows_other_sizes(positions):
    """Three layers in L, N = 3 and T = 1, a puzzle embedding of one and a half positions, or none. Weights
    drawn at random make a rounding grow a thousandfold."""
    torch.manual_seed(0)
    config = HRMConfig(seq_len=9, hidden_size=32, num_heads=2, H_layers=1, L_layers=3, H_cycles=3, L_cycles=1,
                       inner_multiple=8, rope_base=100.0, positions=positions,
                       puzzle_emb_ndim=0 if positions == "rope" else 48)
    model = HRM(config)
    for tensor in model.state_dict().values():
        tensor += 0.1 * torch.randn_like(tensor)
    model = of_halves(model, "float64")
    weights = {name: tensor.flatten() for name, tensor in model.state_dict().items()}
    inputs = [0, 3, 1, 10, 2, 2, 5, 4, 0]
    result = javascript(f"""(_, [config, weights, inputs]) => {{
        for (const name in weights) weights[name] = Float64Array.from(weights[name]);
        const model = new HRM(config, weights), n = 2;
        {SEGMENTS}
    }}""", [vars(config), weights, inputs])
    np.testing.assert_allclose(result, segments(model, inputs, 2), rtol=1e-9, atol=1e-9)


@in_node
def test_answers_and_segments_are_those_of_pytorch(shipped):
    """For puzzles whose answer no rounding decides: PyTorch has the same one in float32 and float64."""
    results = javascript("""(models, given) => models.map((m, i) => {
        const model = make(m);
        return given[i].map(inputs => {
            const {predictions, segments} = solve(model, inputs, {confidence: m.confidence});
            return [...predictions, segments];
        });
    })""", [each.inputs for each in shipped])
    for each, result in zip(shipped, results):
        answers = []
        for model in (each.float32, each.float64):
            solution = solve(model, torch.from_numpy(each.inputs).long(), confidence=each.confidence)
            answers.append(torch.cat([solution.predictions, solution.segments[:, None]], dim=1).numpy())
        sure = (answers[0] == answers[1]).all(axis=1)
        assert sure.mean() > 0.8 and answers[0][:, -1].max() > 1
        assert (answers[0] == result)[sure].all()


@in_node
def test_rules_views_and_new_puzzles_are_those_of_python(shipped):
    rng = np.random.default_rng(0)
    inputs = []
    answers = []
    for each in shipped:
        puzzles, solutions = np.repeat(each.task.generate(6, rng), 3, axis=1)
        inputs.append(puzzles)
        answers.append(solutions)
        for k, answer in enumerate(answers[-1]):  # in a third one cell is changed, in another many
            cells = rng.choice(len(answer), (0, 1, 12)[k % 3], replace=False)
            answer[cells] = rng.integers(1, each.task.vocab_size, len(cells))
    results = javascript("""(models, [inputs, answers]) => models.map((m, i) => {
        const task = make_task(m), views = range(8).map(k => task.view(k)), first = answers[i][0];
        const checks = answers[i].map((answer, k) => {
            const asked = [inputs[i][k], answer];
            return [task.check(...asked), task.keeps_rules(...asked), task.problem(...asked) === ""];
        });
        return {
            checks, cell: views.map(view => [...view.cell]), token: views.map(view => [...view.token]),
            there: views.map(view => [...transform(first, view)]),
            back: views.map(view => [...undo(first, view)]),
            best: best_of(answers[i].map((answer, k) => ({answer, q_halt: k % 4, valid: checks[k][1]}))),
            made: range(4).map(k => [...task.generate(random_numbers(k), k < 2)]),
            notes: range(4).map(k => task.note(task.generate(random_numbers(k)))).join(""),
        };
    })""", [inputs, answers])
    for each, puzzles, boards, result in zip(shipped, inputs, answers, results):
        right = each.task.check(puzzles, boards)
        keeps = each.task.keeps_rules(puzzles, boards)
        assert (np.stack([right, keeps, right], axis=1) == result["checks"]).all() and 5 < right.sum() < 12
        cell = np.array(result["cell"])
        token = np.array(result["token"], np.uint8)
        there = transform(boards[[0] * 8], cell, token)
        assert len(np.unique(cell, axis=0)) == 8 and (there[0] == boards[0]).all()
        assert (there == result["there"]).all()
        assert (undo(boards[[0] * 8], cell, token) == result["back"]).all()
        assert each.task.check(transform(puzzles[[0] * 8], cell, token), there).all()
        assert result["best"] == best_of(boards[:, None], np.arange(18)[:, None] % 4, keeps[:, None])[0]
        made = np.array(result["made"], np.uint8)
        assert each.task.problem(made) == [None] * 4 and len(np.unique(made, axis=0)) == 4
        assert result["notes"] == ""  # such as of a path that is shorter than those that it learned from


# ----------------------------------------------------------------------------------------------- in a browser
MAZE = ("#########" "#S..#...#" "#.#.#.#.#" "#.#...#.#" "#.#####.#"
        "#.#.....#" "#.#.#####" "#.#....G#" "#########")
SUDOKU = "1....." "..3..." "......" "4..1.." "......" "......"


@pytest.fixture(scope="module")
def browser():
    with Browser() as opened:
        opened.open(PLAY)
        opened.run("document.getElementById('speed').value = 16")
        yield opened


def cell(row, column, side=9):
    return f'#board [data-cell="{(row - 1) * side + column - 1}"]'


def board(browser):
    """What stands on the board, as its cells' labels say it."""
    labels = browser.run("return [...document.querySelectorAll('#board .cell')].map(c => c.ariaLabel)")
    return [label.split(": ")[1] for label in labels]


def enter(browser, text):
    browser.run("document.getElementById('text').value = ''")
    browser.type("#text", text + "\n")
    return browser.text("#message")


def verdict(browser):
    return browser.wait(lambda: re.search("(Solved|Wrong) after .*", browser.text("#message")))[0]


@in_browser
def test_draw_a_maze_think_and_go_back(browser, shipped):
    browser.click("#clear")
    browser.drag(cell(3, 2), cell(4, 2), cell(5, 2))
    browser.drag(cell(8, 8), cell(7, 7), cell(8, 6))  # carries G over a pillar
    drawn = board(browser)
    assert [drawn[i] for i in (19, 28, 37, 60, 68, 70)] == ["wall", "wall", "wall", "wall", "G", "open"]
    browser.drag(cell(2, 3), cell(3, 2))
    browser.click("#think")
    assert browser.text("#message") == "There is no way from S to G: open a wall."
    browser.type(cell(2, 2), "\ue017")  # the delete key
    assert browser.text("#message").startswith("There is no S: ")
    assert enter(browser, MAZE) == "Ready."
    browser.click("#think")
    maze = shipped[0]
    inputs = maze.task.encode([MAZE])
    solution = solve(maze.float32, torch.from_numpy(inputs).long(), confidence=maze.confidence)
    n = solution.segments.item()
    assert f"after {n} segment" in verdict(browser)
    names = ["", "wall", "open", "S", "G", "path"]
    answer = [name.removesuffix(", wrong") for name in board(browser)]
    assert answer == [names[token] for token in solution.predictions[0]]

    browser.type("#slider", "\ue012")  # arrow left: from the answer to the last update
    assert browser.text("#where") == f"segment {n}, update 4"
    browser.type("#slider", "\ue011")  # home
    assert browser.text("#where") == "the question"
    assert board(browser) == [names[token] for token in inputs[0]]
    browser.click("#forward")
    assert browser.text("#where") == "segment 1, update 1"
    odds = browser.run("return [...document.querySelectorAll('#odds i')].map(i => parseFloat(i.style.width))")
    assert 99 < sum(odds) < 100.1 and len(odds) == 5  # PAD, the sixth symbol, has no bar


@in_browser
def test_sudoku_typed_pasted_and_voted_on(browser):
    browser.click("[value='sudoku-6x6'] + span")
    browser.run("""const clipboardData = new DataTransfer();
        clipboardData.setData("text", arguments[0]);
        document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData, bubbles: true}))""", SUDOKU)
    assert browser.text("#message") == "This Sudoku has more than one solution."
    browser.type(cell(1, 4, 6), "1")
    browser.click("#think")
    assert browser.text("#message") == "The digit 1 stands twice in row 1."
    assert [i for i, name in enumerate(board(browser)) if "wrong" in name] == [0, 3, 21]
    browser.type(cell(1, 4, 6), "\ue003")  # backspace
    browser.type(cell(2, 1, 6), "\ue014\ue0155")  # arrows right and down, 5
    assert [i for i, name in enumerate(board(browser)) if name == "5, given"] == [2 * 6 + 1]
    assert enter(browser, "12345") == "That has 5 characters; this board has 36 cells."
    assert enter(browser, "x" * 36) == "“x” is no symbol here; use .123456 only."

    browser.click("#easy")
    browser.click("#vote")
    said = browser.wait(lambda: re.search(".*of 8 views.*", browser.text("#verdict")))[0]
    marks = browser.run("return [...document.querySelectorAll('#eight b')].map(mark => mark.textContent)")
    assert len(marks) == 8 and set(marks) <= {"✓ right", "✗ wrong"}
    assert said.startswith("✓ Solved" if "✓ right" in marks else "✗ Wrong")
    browser.click("#think")
    verdict(browser)
    assert "ms on your machine" in browser.text("#timing")


@in_browser
def test_a_large_maze_is_thought_about_while_the_page_listens(browser):
    browser.click("[value='maze-30x30'] + span")
    assert browser.run("return document.querySelectorAll('#board [tabindex=\"0\"]').length") == 1
    browser.click("#another")
    assert browser.text("#message") == "Ready."
    browser.click("#think")
    browser.wait(lambda: browser.text("#where") == "segment 1, update 2")
    browser.click("#clear")
    assert "30 to 50 % walls" in browser.text("#message")


@in_browser
def test_no_sideways_scrolling_no_error_and_nothing_fetched(browser):
    for width in (360, 768, 1920):
        browser.devtools("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1,
                         mobile=width < 768)
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), width
    unnamed = browser.run("""return [...document.querySelectorAll("button, input, select")]
        .filter(c => !c.labels?.length && !c.ariaLabel && !c.textContent.trim()).map(c => c.outerHTML)""")
    assert unnamed == browser.log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    fetched = {event["params"]["request"]["url"].partition(":")[0] for event in events
               if event["method"] == "Network.requestWillBeSent"}
    assert "file" in fetched and fetched <= {"file", "blob", "data"}

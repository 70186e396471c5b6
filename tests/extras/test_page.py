"""docs/play.html: it is what extras/page.py makes, computes what PyTorch computes, and works in a browser.

PAGE_PUZZLES=200 compares as many puzzles a model as the issue of this page asked for, and takes minutes.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from extras import page
from extras.vote import best_of
from hrm import CHOICES, HRM, HRMConfig, Thinking, solve
from puzzles.task import transform, undo
from tests.extras.browser import CHROMIUM, DRIVER, Browser
from training.checkpoints import load_model
from training.options import exit_status

ROOT = Path(__file__).resolve().parents[2]
PLAY, SOURCES = ROOT / "docs/play.html", ROOT / "extras/page"
NAMES = "maze-9x9", "sudoku-6x6", "sudoku-9x9"
CHECKPOINTS = [str(ROOT / f"checkpoints/{name}.pt") for name in NAMES]
PUZZLES = int(os.environ.get("PAGE_PUZZLES", 10))
NODE = shutil.which("node")
MISSING = [name for name, found in (("chromium", CHROMIUM), ("chromedriver", DRIVER)) if not found]
INSTALL = "on Debian: apt-get install chromium chromium-driver"
in_browser = pytest.mark.skipif(bool(MISSING), reason=f"no {' and no '.join(MISSING)} here; {INSTALL}")
in_node = pytest.mark.skipif(not NODE and bool(MISSING),
                             reason="no node and no Chromium here; on Debian: apt-get install nodejs")


# --------------------------------------------------------------------------------------------- how it is made
def test_the_committed_page_is_what_its_sources_make():
    command = "python extras/page.py --checkpoint " + " ".join(f"checkpoints/{name}.pt" for name in NAMES)
    same = page.build(CHECKPOINTS, "../notebooks") == PLAY.read_text(encoding="utf-8")
    assert same, f"docs/play.html is not up to date; run: {command}"
    assert PLAY.stat().st_size <= 2.5e6


def test_the_page_names_no_address_but_the_paper_and_notebooks_that_exist():
    text = PLAY.read_text(encoding="utf-8")
    addresses = set(re.findall(r"""https?://[^"'<\s]+""", text))
    assert addresses == {"https://arxiv.org/abs/2506.21734", "http://www.w3.org/2000/svg"}
    for link in re.findall(r'href="(\.\.[^"]+)"', text):
        assert (PLAY.parent / link).exists(), link


def test_weights_are_those_of_the_checkpoint_in_float16():
    state = load_model(CHECKPOINTS[0])[0].state_dict()
    packed = page.pack(CHECKPOINTS[0])["weights"]
    assert packed.keys() == state.keys()
    for name, text in packed.items():
        halves = np.frombuffer(base64.b64decode(text), np.float16)
        assert np.abs(halves - state[name].numpy().ravel()).max() <= 2**-11 * state[name].abs().max().item()


@pytest.mark.parametrize("checkpoint, says", [
    ("checkpoints/sudoku-6x6-recurrent.pt", "the page knows HRM"),
    ("checkpoints/sudoku-9x9.pt", "a second model for sudoku-9x9"),
    ("checkpoints/none.pt", "no checkpoint at"),
])
def test_a_checkpoint_that_does_not_fit_is_named_in_one_line(checkpoint, says, here, capsys):
    arguments = ["--checkpoint", CHECKPOINTS[2], str(ROOT / checkpoint), "--out", "play.html"]
    assert exit_status(page.main, arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and checkpoint in lines[0] and says in lines[0]
    assert not Path("play.html").exists()


def test_sources_have_lines_that_can_be_read():
    for path in SOURCES.iterdir():
        lines = path.read_text(encoding="utf-8").splitlines()
        assert max(map(len, lines)) <= 110 and len(lines) <= 450, path


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrast_is_enough_to_read(scheme):
    """WCAG AA: 4.5 for text, 3 for the controls' frames."""
    blocks = re.findall(r":root \{(.*?)\}", (SOURCES / "style.css").read_text(encoding="utf-8"), re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", blocks[scheme]), white="#ffffff")

    def luminance(name):
        part = np.array([int(colours[name][i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    text = {"ground": "ink soft link wrong right z_H z_L", "panel": "ink", "open": "ink answer",
            "end": "white", "changed": "answer ink", "wrong-ground": "wrong",
            **dict.fromkeys(("ink", "link", "wrong"), "ground")}
    pairs = [(name, ground, 4.5) for ground, names in text.items() for name in names.split()]
    for name, ground, least in [*pairs, ("control", "ground", 3), ("focus", "ground", 3)]:
        low, high = sorted((luminance(name), luminance(ground)))
        assert (high + 0.05) / (low + 0.05) >= least, (name, ground)


# ------------------------------------------------------------------------------------------ what it computes
def javascript(function, given):
    """function(models, given), where the code of hrm.js and puzzles.js is known -> its result. Run in node,
    or in Chromium where there is none."""
    text = PLAY.read_text(encoding="utf-8")
    parts = {name: re.search(rf'<script id="{name}"[^>]*>\n(.*?)</script>', text, re.DOTALL)[1]
             for name in ("models", "hrm.js", "puzzles.js")}
    program = f"""{parts["hrm.js"]}
        {parts["puzzles.js"]}
        return JSON.stringify(({function})({parts["models"]}, JSON.parse(given)));"""
    if not NODE:
        with Browser() as opened:
            return json.loads(opened.run("const given = arguments[0];" + program, json.dumps(given)))
    with tempfile.TemporaryDirectory() as folder:
        all_of_it = f"console.log((given => {{{program}}})(require('fs').readFileSync(0)));"
        Path(folder, "program.js").write_text(all_of_it, encoding="utf-8")
        command = [NODE, Path(folder, "program.js")]
        done = subprocess.run(command, input=json.dumps(given), check=True, text=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


MODEL = """const state = Object.entries(m.weights).map(([name, text]) => [name, unpack(text)]);
    const model = new HRM(m.config, Object.fromEntries(state));"""


@pytest.fixture(scope="module")
def both():
    """For each of the page's models: the model with weights of float16, its task, puzzles it has not seen."""
    found = []
    for path in CHECKPOINTS:
        model, task, _ = load_model(path)
        model.load_state_dict({name: tensor.half().float() for name, tensor in model.state_dict().items()})
        found.append((model, task, task.generate(PUZZLES, np.random.default_rng(17))[0]))
    return found


@in_node
def test_logits_and_q_are_those_of_pytorch(both):
    """After segments 1, 2 and 8, within 1e-3 of the largest value; it is 3e-5."""
    few = min(20, max(2, PUZZLES // 5))
    given = [inputs[:few].tolist() for _, _, inputs in both]
    results = javascript("""(models, given) => models.map((m, i) => {
        """ + MODEL + """
        return given[i].map(inputs => {
            const z = model.initial_state(), x = model.input_network(inputs);
            return range(8).map(() => model.forward(z, x)).filter((_, s) => [0, 1, 7].includes(s))
                .map(({logits, q_halt, q_continue}) => [[...logits], [q_halt, q_continue]]);
        });
    })""", given)
    for (model, _, inputs), result in zip(both, results):
        thinking = Thinking(model, torch.from_numpy(inputs[:few].astype(np.int64)))
        outputs = [thinking.segment() for _ in range(8)]
        for at, segment in enumerate((0, 1, 7)):
            logits, *q = (tensor.numpy() for tensor in outputs[segment])
            of_page = np.array([puzzle[at][0] for puzzle in result]).reshape(logits.shape)
            assert np.abs(of_page - logits).max() <= 1e-3 * np.abs(logits).max()
            q, q_of_page = np.stack(q, axis=1), np.array([puzzle[at][1] for puzzle in result])
            assert np.abs(q_of_page - q).max() <= 1e-3 * np.abs(q).max()


@in_node
def test_answers_and_segments_are_those_of_pytorch(both):
    results = javascript("""(models, given) => models.map((m, i) => {
        """ + MODEL + """
        return given[i].map(inputs => {
            const {predictions, segments} = solve(model, inputs, {confidence: m.confidence});
            return [[...predictions], segments];
        });
    })""", [inputs.tolist() for _, _, inputs in both])
    for (model, _, inputs), result in zip(both, results):
        solution = solve(model, torch.from_numpy(inputs.astype(np.int64)), confidence=0.95)
        answers, segments = map(np.array, zip(*result))
        assert (answers == solution.predictions.numpy()).all()
        assert (segments == solution.segments.numpy()).all() and segments.max() > 1


@in_node
@pytest.mark.parametrize("positions", CHOICES["positions"])
def test_hrm_js_knows_other_sizes(positions):
    """Three layers in L, N = 3 and T = 1, a puzzle embedding of one and a half positions, or none."""
    torch.manual_seed(0)
    config = HRMConfig(vocab_size=7, seq_len=9, hidden_size=32, num_heads=2, H_layers=1, L_layers=3,
                       H_cycles=3, L_cycles=1, inner_multiple=8, rope_base=100.0, num_puzzles=2,
                       dtype="float32", positions=positions, puzzle_emb_ndim=0 if positions == "rope" else 48)
    model, inputs = HRM(config), torch.randint(0, 7, (1, 9))
    halves = {name: (tensor + 0.1 * torch.randn_like(tensor)).half()
              for name, tensor in model.state_dict().items()}
    model.load_state_dict(halves)
    weights = {name: base64.b64encode(tensor.numpy().tobytes()).decode() for name, tensor in halves.items()}
    result = javascript("(_, {m, inputs}) => {" + MODEL + """
        const z = model.initial_state(), x = model.input_network(inputs);
        const {logits, q_halt, q_continue} = [model.forward(z, x), model.forward(z, x)][1];
        return [[...logits], q_halt, q_continue, model.wants_to_halt(q_halt, q_continue)];
    }""", {"m": {"config": vars(config), "weights": weights}, "inputs": inputs[0].tolist()})
    thinking = Thinking(model, inputs)
    logits, q_halt, q_continue = [thinking.segment(), thinking.segment()][1]
    assert np.allclose(result[0], logits.numpy().ravel(), atol=1e-4)
    assert np.allclose(result[1:3], [q_halt.item(), q_continue.item()], atol=1e-4)
    assert result[3] == model.wants_to_halt(q_halt, q_continue).item()


@in_node
def test_rules_views_and_new_puzzles_are_those_of_python(both):
    rng, given = np.random.default_rng(0), []
    for _, task, _ in both:
        inputs, labels = task.generate(6, rng)
        answers = np.repeat(labels, 3, axis=0)
        for k, answer in enumerate(answers):  # a third is right, a third has one cell changed, a third many
            cells = rng.choice(len(answer), (0, 1, 12)[k % 3], replace=False)
            answer[cells] = rng.integers(1, task.vocab_size, len(cells))
        given.append({"inputs": np.repeat(inputs, 3, axis=0).tolist(), "answers": answers.tolist()})
    results = javascript("""(models, given) => models.map((m, i) => {
        const task = make_task(m), views = range(8).map(k => task.view(k)), {inputs, answers} = given[i];
        const q_halt = answers.map((_, k) => Math.sin(k));
        return {
            checks: answers.map((answer, k) =>
                [task.check(inputs[k], answer), task.keeps_rules(inputs[k], answer)]),
            problems: answers.map((answer, k) => task.problem(inputs[k], answer) === ""),
            views, there: views.map(view => [...transform(answers[0], view)]),
            back: views.map(view => [...undo(transform(answers[1], view), view)]),
            best: best_of(answers.slice(0, 9).map((answer, k) =>
                ({answer, q_halt: q_halt[k], valid: task.keeps_rules(inputs[0], answer)}))),
            q_halt: q_halt.slice(0, 9),
            made: range(4).map(k => [...task.generate(random_numbers(k), k < 2)]),
        };
    })""", given)
    for (_, task, _), asked, result in zip(both, given, results):
        inputs, answers = np.array(asked["inputs"], np.uint8), np.array(asked["answers"], np.uint8)
        checks = np.stack([task.check(inputs, answers), task.keeps_rules(inputs, answers)], axis=1)
        assert (np.array(result["checks"]) == checks).all() and 0 < checks[:, 0].sum() < len(checks)
        assert result["problems"] == checks[:, 0].tolist()
        cell, token = (np.array([view[part] for view in result["views"]]) for part in ("cell", "token"))
        seen = transform(np.repeat(answers[:1], 8, axis=0), cell, token.astype(np.uint8))
        assert (seen == result["there"]).all()
        assert task.check(transform(inputs[[0] * 8], cell, token), seen).all()
        assert len(np.unique(cell, axis=0)) == 8 and (cell[0] == np.arange(task.seq_len)).all()
        assert (np.array(result["back"]) == answers[1]).all()
        assert (undo(seen, cell, token) == answers[0]).all()
        valid = task.keeps_rules(np.repeat(inputs[:1], 9, axis=0), answers[:9])
        q_halt = np.array(result["q_halt"], np.float32)
        assert result["best"] == best_of(answers[:9, None], q_halt[:, None], valid[:, None])[0]
        made = np.array(result["made"], np.uint8)
        assert task.problem(made) == [None] * 4 and len(np.unique(made, axis=0)) == 4
        if task.name == "sudoku":
            givens = (made > 1).sum(axis=1)
            assert givens[:2].min() > givens[2:].max(), "the easy ones have more givens"


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


def paste(browser, text):
    browser.run("""const clipboardData = new DataTransfer();
        clipboardData.setData("text", arguments[0]);
        document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData, bubbles: true}))""", text)
    return browser.text("#message")


def verdict(browser):
    return browser.wait(lambda: re.search("(Solved|Wrong) after .*", browser.text("#message")))[0]


@in_browser
def test_draw_a_maze_think_and_go_back(browser):
    browser.click("#clear")
    browser.drag(cell(3, 2), cell(4, 2), cell(5, 2))
    browser.drag(cell(8, 8), cell(7, 7), cell(8, 6))  # carries G over a pillar
    drawn = board(browser)
    assert [drawn[i] for i in (19, 28, 37, 60, 68, 70)] == ["wall", "wall", "wall", "wall", "G", "open"]
    assert "without loops; this one has 7" in browser.text("#message")
    browser.drag(cell(2, 3), cell(3, 2))
    assert browser.text("#message") == "There is no way from S to G: open a wall."
    browser.click("#think")
    assert browser.text("#message") == "There is no way from S to G: open a wall."
    assert browser.text("#where") == "the question"

    browser.type(cell(2, 2), "\ue017")  # the delete key
    assert browser.text("#message").startswith("There is no S: ")
    browser.click("#think")
    assert browser.text("#message").startswith("There is no S: ")
    assert "There is no S: " in enter(browser, MAZE.replace("S", "."))

    assert enter(browser, MAZE) == "Ready."
    browser.click("#think")
    model, task, options = load_model(CHECKPOINTS[0])
    model.load_state_dict({name: tensor.half().float() for name, tensor in model.state_dict().items()})
    inputs = task.encode([MAZE.replace(".", " ")])
    solution = solve(model, torch.from_numpy(inputs.astype(np.int64)), confidence=options["confidence"])
    right = task.check(inputs, solution.predictions.numpy().astype(np.uint8))[0]
    n = solution.segments.item()
    assert verdict(browser).startswith(f"{'Solved' if right else 'Wrong'} after {n} segment")
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
    bars = browser.run("return [...document.querySelectorAll('#odds i')].map(bar => bar.style.width)")
    odds = [float(width.removesuffix("%")) for width in bars]
    assert 99 < sum(odds) < 100.1 and len(odds) == 5  # PAD, the sixth symbol, has no bar


@in_browser
def test_sudoku_typed_pasted_and_voted_on(browser):
    browser.click("[value='sudoku-6x6'] + span")
    assert paste(browser, SUDOKU) == "This Sudoku has more than one solution."
    browser.type(cell(1, 4, 6), "1")
    assert browser.text("#message") == "The digit 1 stands twice in row 1."
    assert [i for i, name in enumerate(board(browser)) if "wrong" in name] == [0, 3, 21]
    browser.click("#think")
    assert browser.text("#message") == "The digit 1 stands twice in row 1."
    browser.type(cell(1, 4, 6), "\ue003")  # backspace
    browser.type(cell(2, 1, 6), "\ue014\ue0155")  # arrows right and down, 5
    before = board(browser)
    assert [i for i, name in enumerate(before) if name == "5, given"] == [2 * 6 + 1]
    assert paste(browser, "12345") == "That has 5 characters; this board has 36 cells."
    assert enter(browser, "x" * 36) == "“x” is no symbol here; use .123456 only."
    assert board(browser) == before

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
def test_no_sideways_scrolling_no_error_and_nothing_fetched(browser):
    for width in (360, 768, 1920):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 768}
        browser.devtools("Emulation.setDeviceMetricsOverride", **size)
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), width
    unnamed = browser.run("""return [...document.querySelectorAll("button, input, select")]
        .filter(c => !c.labels?.length && !c.ariaLabel && !c.textContent.trim()).map(c => c.outerHTML)""")
    assert unnamed == []
    assert browser.log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    fetched = {event["params"]["request"]["url"].partition(":")[0] for event in events
               if event["method"] == "Network.requestWillBeSent"}
    assert "file" in fetched and fetched <= {"file", "blob", "data"}

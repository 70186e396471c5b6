r"""Models that think in the browser: one self-contained page, made of the sources in extras/page/.

    python extras/page.py --checkpoint checkpoints/maze-9x9.pt checkpoints/maze-30x30.pt \
        checkpoints/sudoku-6x6.pt checkpoints/sudoku-9x9-extreme.pt --out docs/play.html

The page asks no server for anything and works from file://. The weights are float16 in base64, in a JSON
text; what the browser does with them is written in extras/page/hrm.js.
"""

import base64
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder above

from puzzles.errors import UserError, exit_status
from puzzles.files import write_text
from training.checkpoints import load_model
from training.options import Parser

SOURCES = Path(__file__).resolve().parent / "page"


def pack(path):
    """A checkpoint -> all that the page needs to know of its model, as JSON can hold it."""
    model, task, options = load_model(path)
    if options.get("model") not in ("hrm", "bptt") or task.name not in ("maze", "sudoku"):
        raise UserError(f"{path} is a {options.get('model')} for {task.name}; "
                        f"the page knows HRM, and mazes and Sudokus")
    weights = {}
    for name, tensor in model.state_dict().items():
        weights[name] = base64.b64encode(tensor.half().numpy().tobytes()).decode()
    return {
        "name": f"{task.name}-{task.size}x{task.size}",
        "task": task.name,
        "size": task.size,
        "box": getattr(task, "box", None),
        "random": bool(options["data"]) or task.options.get("kind") == "random",  # files hold such mazes
        "confidence": options["confidence"],
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "config": vars(model.config),
        "weights": weights,
    }


def build(paths):
    """Checkpoints -> the page: index.html with a file for each [[name]] in it."""
    models = {}
    for path in paths:
        packed = pack(path)
        if packed["name"] in models:
            raise UserError(f"{path} is a second model for {packed['name']}; give one a board")
        models[packed["name"]] = packed
    page = (SOURCES / "index.html").read_text(encoding="utf-8")
    for file in SOURCES.iterdir():
        page = page.replace(f"[[{file.name}]]", file.read_text(encoding="utf-8").strip())
    return page.replace("[[models.json]]", json.dumps([*models.values()], indent=0))


def main(argv=None):
    parser = Parser("extras/page.py", __doc__)
    parser.add_argument("--checkpoint", nargs="+", required=True, help="of an HRM for mazes or Sudokus")
    parser.add_argument("--out", type=Path, default="docs/play.html")
    args = parser.parse_args(argv)
    page = build(args.checkpoint)
    write_text(args.out, page)
    print(f"{args.out}: {len(args.checkpoint)} models, {len(page) / 1e6:.2f} MB; open it in a browser")


if __name__ == "__main__":
    sys.exit(exit_status(main))

r"""Models that think in the browser: one self-contained page, made of the sources in extras/page/.

    python extras/page.py --checkpoint checkpoints/maze-9x9.pt checkpoints/sudoku-6x6.pt \
        checkpoints/sudoku-9x9.pt --out docs/play.html

The page asks no server for anything and works from file://. The weights are float16 in base64, in a JSON
text; what the browser does with them is written in extras/page/hrm.js.
"""

import base64
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder above

from training.checkpoints import load_model
from training.files import UserError, write
from training.options import Parser, exit_status

SOURCES = Path(__file__).resolve().parent / "page"
NEEDED = ("vocab_size", "seq_len", "hidden_size", "num_heads", "H_layers", "L_layers", "H_cycles", "L_cycles",
          "positions", "rope_base", "norm_eps", "puzzle_emb_ndim", "M_max", "halting")  # of HRMConfig


def pack(path):
    """A checkpoint -> all that the page needs to know of its model, as JSON can hold it."""
    model, task, options = load_model(path)
    if model.config.model != "hrm" or task.name not in ("maze", "sudoku"):
        raise UserError(f"{path} is a {model.config.model} for {task.name}; "
                        f"the page knows HRM (--model hrm), and mazes and Sudokus")
    if getattr(task, "kind", "perfect") != "perfect":
        raise UserError(f"{path} was trained on {task.kind} mazes; the page makes perfect ones only")
    weights = {name: base64.b64encode(tensor.half().numpy().tobytes()).decode()
               for name, tensor in model.state_dict().items()}
    return {"name": f"{task.name}-{task.size}x{task.size}", "task": task.name, "size": task.size,
            "box": getattr(task, "box", None), "confidence": options.get("confidence", 0.5),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "config": {name: getattr(model.config, name) for name in NEEDED},
            "weights": weights}


def build(paths, notebooks):
    """Checkpoints -> the page: index.html with a file for each [[name]] in it. `notebooks`: their address."""
    parts = {file.name: file.read_text(encoding="utf-8").strip() for file in SOURCES.iterdir()}
    models = {}
    for path in paths:
        packed = pack(path)
        if packed["name"] in models:
            raise UserError(f"{path} is a second model for {packed['name']}; give one a board")
        models[packed["name"]] = packed
    parts |= {"models.json": json.dumps([*models.values()], indent=0), "notebooks": notebooks}
    return re.sub(r"\[\[(.+?)\]\]", lambda found: parts[found[1]], parts["index.html"]) + "\n"


def main(argv=None):
    parser = Parser("extras/page.py", __doc__)
    parser.add_argument("--checkpoint", nargs="+", required=True, help="of an HRM for mazes or Sudokus")
    parser.add_argument("--notebooks", default="../notebooks", help="where its links look for them")
    parser.add_argument("--out", type=Path, default="docs/play.html")
    args = parser.parse_args(argv)
    page = build(args.checkpoint, args.notebooks)
    write(args.out, lambda temporary: temporary.write_text(page, encoding="utf-8", newline="\n"))
    megabytes = len(page.encode()) / 1e6
    print(f"{args.out}: {len(args.checkpoint)} models, {megabytes:.2f} MB; open it in a browser")


if __name__ == "__main__":
    sys.exit(exit_status(main))

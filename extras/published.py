"""The checkpoints that the authors released.

    model = from_published(torch.load("checkpoint", weights_only=True))                  # Sudoku-Extreme
    model = from_published(torch.load("checkpoint", weights_only=True), seq_len=900)     # Maze-Hard, ARC-AGI
    torch.save(to_published(model), "checkpoint")                                        # and back

`load_model` (training/checkpoints.py), and so `train.py --eval` and analyze.py, read them too.
"""

import math

from hrm import HRMConfig, swiglu_size
from training.checkpoints import make_model

PUBLISHED_NAMES = {
    "tokens.weight": "embed_tokens.embedding_weight", "positions.weight": "embed_pos.embedding_weight",
    "puzzle_emb": "puzzle_emb.weights", ".blocks": "_level.layers", "attention.qkv": "self_attn.qkv_proj",
    "attention.out": "self_attn.o_proj", "mlp.gate_up": "mlp.gate_up_proj", "mlp.down": "mlp.down_proj",
}
WRAPPINGS = "module.", "_orig_mod.", "model.", "inner."  # what may stand in front of a name, in this order


def published_name(name):
    """What the authors' released checkpoints call our parameter or buffer `name`."""
    for ours, theirs in PUBLISHED_NAMES.items():
        name = name.replace(ours, theirs)
    return "model.inner." + ("lm_head.weight" if name == "head.weight" else name)


def to_published(model):
    """The weights under the names of the authors' checkpoints; `from_published` reads them back. ValueError:
    their format has no word for this model's positions."""
    config = model.config
    if "2d" in config.positions or config.rope_base != 10000:
        raise ValueError(f"the authors' code knows rope with base 10000, or learned positions, not "
                         f"{config.positions} with base {config.rope_base:g}")
    return {published_name(name): tensor for name, tensor in model.state_dict().items() if tensor.numel()}


def from_published(state_dict, model="hrm", **config):
    """Build an HRM from the authors' checkpoint (name → tensor), also as DistributedDataParallel or
    torch.compile wrap it, or TRM's (model="trm").

    Shapes tell vocab_size, hidden_size, the layers, the expansion, the puzzle embedding and, with learned
    positions, seq_len. Give the rest as keywords where it differs from HRMConfig's defaults (num_heads,
    seq_len, the cycles, M_max, …). ValueError: what is asked for, or the weights, do not fit."""
    weights = {}
    for name, tensor in state_dict.get("model_state_dict", state_dict).items():
        for wrapping in WRAPPINGS:
            name = name.removeprefix(wrapping)
        weights[name] = tensor
    if "L_level.layers.0.mlp.down_proj.weight" not in weights:
        raise ValueError(f"no checkpoint of the authors' HRM or TRM: first comes {next(iter(weights), '')}")
    found = published_sizes(weights)
    if model == "trm":
        found["H_layers"] = found["L_layers"]
    elif not found["H_layers"]:
        raise ValueError("no H-module in it, as in the official TRM's checkpoints: pass --model trm")
    if found["hidden_size"] != HRMConfig.hidden_size and "num_heads" not in config:
        raise ValueError("the weights do not tell how many heads they have: pass --num-heads")
    for name in config.keys() & found.keys():
        if config[name] != found[name]:
            raise ValueError(f"{name}={config[name]} was asked for, but the shapes say {found[name]}")
    others = {name: size for name, size in found.items() if name not in config}
    made = make_model(model, HRMConfig(**config, **others))
    theirs = {published_name(name).removeprefix("model.inner."): name for name in made.state_dict()}
    renamed = {theirs.get(name, name): tensor for name, tensor in weights.items()}
    if model == "trm":  # one network in both roles
        renamed |= {
            name.replace("L.", "H.", 1): tensor
            for name, tensor in renamed.items()
            if name.startswith("L.")
        }
    if not made.config.puzzle_emb_ndim:
        renamed["puzzle_emb"] = made.puzzle_emb
    try:
        made.load_state_dict(renamed)
    except RuntimeError as error:
        raise ValueError(" ".join(str(error).split())) from None
    return made


def published_sizes(weights):
    """What the shapes of the authors' weights tell of an HRMConfig."""
    layers = {"H": set(), "L": set()}
    for name in weights:
        module, _, rest = name.partition("_level.layers.")
        if rest:
            layers[module].add(rest.split(".")[0])
    vocab_size, D = weights["embed_tokens.embedding_weight"].shape
    inner = weights["L_level.layers.0.mlp.down_proj.weight"].shape[-1]
    found = {"vocab_size": vocab_size, "hidden_size": D, "H_layers": len(layers["H"]),
             "L_layers": len(layers["L"]), "num_puzzles": 1, "puzzle_emb_ndim": 0, "positions": "rope"}
    if "puzzle_emb.weights" in weights:
        found["num_puzzles"], found["puzzle_emb_ndim"] = weights["puzzle_emb.weights"].shape
    if "embed_pos.embedding_weight" in weights:
        places = len(weights["embed_pos.embedding_weight"])
        found |= {"positions": "learned", "seq_len": places - math.ceil(found["puzzle_emb_ndim"] / D)}
    if swiglu_size(D, HRMConfig.expansion, HRMConfig.inner_multiple) != inner:
        found |= {"expansion": 1.5 * inner / D, "inner_multiple": 1}
    return found

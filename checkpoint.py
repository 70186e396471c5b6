"""The authors' released checkpoints: what their entries are called, and what their shapes say about the model.

    model = HRM.from_published(torch.load("checkpoint", weights_only=True))          # Sudoku-Extreme
    model = HRM.from_published(torch.load("checkpoint", weights_only=True), seq_len=900)  # Maze-Hard, ARC-AGI
    torch.save(model.to_published(), "checkpoint")                                   # and back
"""

import math

import hrm


def published_name(name):
    """What the authors' released checkpoints call our parameter or buffer `name`."""
    for ours, theirs in (
        ("tokens.weight", "embed_tokens.embedding_weight"),
        ("positions.weight", "embed_pos.embedding_weight"),
        ("puzzle_emb", "puzzle_emb.weights"),
        (".blocks", "_level.layers"),
        ("attention.qkv", "self_attn.qkv_proj"),
        ("attention.out", "self_attn.o_proj"),
        ("mlp.gate_up", "mlp.gate_up_proj"),
        ("mlp.down", "mlp.down_proj"),
    ):
        name = name.replace(ours, theirs)
    return "model.inner." + ("lm_head.weight" if name == "head.weight" else name)


def from_published(state_dict, **config):
    """Build an HRM from the authors' checkpoint (name → tensor), with or without `_orig_mod.` in front.

    Shapes tell vocab_size, hidden_size, the layers, the expansion, the puzzle embedding and, with learned
    positions, seq_len. Give the rest as keywords where it differs from HRMConfig's defaults (num_heads,
    seq_len, the cycles, M_max, …). ValueError names every missing, surplus or misshapen entry.
    """
    weights = {name.removeprefix("_orig_mod.").removeprefix("model.inner."): state_dict[name] for name in state_dict}

    def size(name, axis):
        return weights[name].shape[axis] if name in weights else 0

    def layers(module):
        return len({name.split(".")[2] for name in weights if name.startswith(f"{module}_level.layers.")})

    D, inner = size("embed_tokens.embedding_weight", -1), size("L_level.layers.0.mlp.down_proj.weight", -1)
    if not (D and inner and layers("H")):
        raise ValueError(f"no embed_tokens.embedding_weight, H_level or L_level among the checkpoint's "
                         f"{len(weights)} entries; is it one of the published HRM's?")
    found = {"vocab_size": size("embed_tokens.embedding_weight", 0), "hidden_size": D, "H_layers": layers("H"),
             "L_layers": layers("L"), "num_puzzles": size("puzzle_emb.weights", 0) or 1,
             "puzzle_emb_ndim": size("puzzle_emb.weights", -1), "positions": "rope"}
    if "embed_pos.embedding_weight" in weights:
        puzzle_positions = math.ceil(found["puzzle_emb_ndim"] / D)
        found.update(positions="learned", seq_len=size("embed_pos.embedding_weight", 0) - puzzle_positions)
    if hrm.swiglu_size(D, config.get("expansion", 4.0), 256) != inner:
        found["expansion"] = 1.5 * inner / D
    for name in config.keys() & found.keys():
        if config[name] != found[name]:
            raise ValueError(f"{name}={config[name]} was asked for, but the checkpoint's shapes say {found[name]}")
    model = hrm.HRM(hrm.HRMConfig(**{**config, **found}))
    ours = {published_name(name).removeprefix("model.inner."): tensor for name, tensor in model.state_dict().items()}
    problems = [f"missing {name}" for name in ours.keys() - weights.keys()]
    problems += [f"surplus {name}" for name in weights.keys() - ours.keys()]
    problems += [f"{name} is {tuple(weights[name].shape)}, not {tuple(ours[name].shape)}"
                 for name in ours.keys() & weights.keys() if weights[name].shape != ours[name].shape]
    if problems:
        raise ValueError(f"the checkpoint does not fit: {'; '.join(sorted(problems))}")
    for name, tensor in ours.items():
        tensor.copy_(weights[name])  # a state dict shares its memory with the model
    return model

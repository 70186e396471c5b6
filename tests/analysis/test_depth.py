"""The figure on depth: the layers counted, and the runs in their places."""

import json
from pathlib import Path

import pytest

from analysis import depth
from hrm import HRMConfig
from training.options import parse, with_preset


def test_the_runs_become_a_figure(tmp_path):
    def train(words):
        """What train.py would leave behind, without training."""
        options, sizes = with_preset(parse(words, ""))
        config = HRMConfig(seq_len=options.size**2, **sizes)
        H = config.H_layers
        L = config.L_layers
        updates = config.H_cycles * config.L_cycles
        layers = {"transformer": H + L, "recurrent": updates * (H + L)}
        layers["hrm"] = updates * L + config.H_cycles * H
        computed[options.out] = layers[options.model] * config.M_max
        Path(options.out).mkdir()
        found = {"n": 100, "valid": config.hidden_size / 256}
        Path(options.out, "eval.json").write_text(json.dumps(found))
        return 0

    computed = {}
    runs = depth.depth(train, tmp_path)["runs"]
    assert len(runs) == 7 + 4 + 4
    for run in runs:
        assert run["computed"] == computed[str(tmp_path / run["name"])]
    wide, deep = depth.plot_depth({"runs": runs}).axes
    assert len(deep.lines) == 3
    (line,) = wide.lines
    assert list(line.get_xdata()) == [16, 32, 64, 128]
    assert line.get_ydata() == pytest.approx([1 / 16, 1 / 8, 1 / 4, 1 / 2])

"""The figure on depth: the layers counted, and the runs in their places."""

import json

import pytest

from analysis import depth
from hrm import HRMConfig
from training.options import parse, with_preset


def test_every_run_has_options_that_fit():
    for options in depth.grid().values():
        chosen, sizes = with_preset(parse(options.split(), ""))
        HRMConfig(seq_len=chosen.size**2, **sizes)


def test_layers_by_hand():
    sizes = {"H_cycles": 2, "L_cycles": 3, "H_layers": 1, "L_layers": 4, "M_max": 5}
    assert depth.computed_layers({**sizes, "model": "hrm"}) == 5 * 2 * (3 * 4 + 1)
    assert depth.computed_layers({**sizes, "model": "recurrent"}) == 5 * 2 * 3 * (4 + 1)
    assert depth.computed_layers({**sizes, "model": "transformer", "M_max": 1}) == 5


def test_the_runs_become_a_figure(tmp_path, monkeypatch):
    def finish(_, out, options):
        """What train.py would leave behind, without training."""
        chosen, sizes = with_preset(parse(options.split(), ""))
        out.mkdir(parents=True)
        config = {"options": {"steps": chosen.steps}, "model": {"H_cycles": 2, "L_cycles": 2, **sizes}}
        (out / "config.json").write_text(json.dumps(config))
        return {"n": 100, "exact": sizes["hidden_size"] / 256}

    monkeypatch.setattr(depth, "finish", finish)
    numbers = depth.depth(None, tmp_path)
    assert len(numbers["runs"]) == 4 + 4 - 1 + 4 + 4  # one Transformer stands in both panels
    widths = [run["width"] for run in numbers["runs"] if run["model"] == "transformer" and run["layers"] == 4]
    assert sorted(widths) == [16, 32, 64, 128]
    wide, deep = depth.plot_depth(numbers).axes
    assert len(wide.containers) == 1 and len(deep.containers) == 3
    line = wide.containers[0].lines[0]
    assert list(line.get_xdata()) == [16, 32, 64, 128]
    assert line.get_ydata() == pytest.approx([1 / 16, 1 / 8, 1 / 4, 1 / 2])

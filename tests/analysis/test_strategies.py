"""Every row of the table of strategies is what the same options of --eval would give."""

import pytest

from analysis.strategies import plot_strategies, strategies
from extras.vote import vote


def test_the_table_of_strategies_is_what_vote_gives(puzzles):
    task, split, model = puzzles
    model.config.halting = "bce"
    split = split[:20]
    table = strategies(model, task, split, 0.6, votes=4)
    found = {(row["strategy"], row["votes"]): (row["exact"], row["segments"]) for row in table}
    for strategy, K, how in (
        ("views", 1, {}),
        ("views", 4, {"votes": 4}),
        ("noise 1", 2, {"votes": 2, "views": False, "noise": 1.0}),
        ("always M", 1, {"max_segments": 12, "halt": False}),
    ):
        solution = vote([model], task, split.inputs, **{"halt": True, "confidence": 0.6, **how})
        exact = (solution.predictions.numpy() == split.labels).all(axis=1).mean()
        assert found[strategy, K] == pytest.approx((exact, solution.segments.float().mean().item())), strategy
    assert all(row["puzzles"] == 20 for row in table)
    lines = plot_strategies(table).axes[0].lines
    assert len(lines) == len({row["strategy"] for row in table}) + 1  # the floor

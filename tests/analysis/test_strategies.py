"""Every row of the table of strategies is what the same options of --eval would give."""

import pytest
import torch

from analysis.strategies import plot_strategies, strategies
from extras.vote import vote


def test_the_table_of_strategies_is_what_vote_gives(make, puzzles):
    task, split, one = puzzles
    two = make("recurrent", vocab_size=6, seq_len=16, halting="bce")
    one.config.halting = "bce"
    torch.nn.init.normal_(two.q_head.weight, generator=torch.Generator().manual_seed(2))
    split = split[:20]
    table = strategies([one, two], task, split, 0.6, votes=4, noises=(2.0,))
    found = {(row["strategy"], row["votes"]): (row["exact"], row["segments"]) for row in table}
    for strategy, K, models, how in (
        ("views", 1, [one], {}),
        ("views", 4, [one], {"votes": 4}),
        ("noise 2", 2, [one], {"votes": 2, "views": False, "noise": 2.0}),
        ("2 models", 2, [one, two], {}),
        ("2 models", 4, [one, two], {"votes": 2}),
        ("always M", 1, [one], {"max_segments": 12, "halt": False}),
    ):
        solution = vote(models, task, split.inputs, **{"halt": True, "confidence": 0.6, **how})
        exact = (solution.predictions.numpy() == split.labels).all(axis=1).mean()
        assert found[strategy, K] == pytest.approx((exact, solution.segments.float().mean().item())), strategy
    assert all(row["puzzles"] == 20 for row in table)
    lines = plot_strategies(table).axes[0].lines
    assert len(lines) == len({row["strategy"] for row in table}) + 1  # the floor

"""`--init`: a run begins with the weights of another, of another size of board too. Are all copies equal?"""

import numpy as np
import pytest
import torch

from data import load_task
from puzzles.errors import UserError
from puzzles.split import Split
from tests.models import make
from training.options import Options
from training.processes import Processes
from training.run import Run


def begin(size, seed, positions):
    task = load_task("maze", size=size)
    inputs = np.ones((4, task.seq_len), np.uint8)
    split = Split(inputs, inputs, np.zeros(4))
    config = make(vocab_size=task.vocab_size, seq_len=task.seq_len, positions=positions).config
    return Run(Options(seed=seed, batch_size=4, ema=0.9), config, task, split, Processes())


@pytest.mark.parametrize("positions, left", [("rope2d", "none"), ("rope2d+learned", "positions.weight")])
def test_init_takes_the_weights_that_fit_another_size(tmp_path, capsys, positions, left):
    path = tmp_path / "best.pt"
    small = begin(5, 0, positions)
    small.save(path, small.weights())
    large = begin(9, 1, positions)
    wanted = {**small.model.state_dict()}
    if left in wanted:
        wanted[left] = large.model.state_dict()[left].clone()
    large.initialise(path)
    for model in (large.model, large.averaged):
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, wanted[name]), name
    assert f"{path}: 15 tensors are taken from it; not taken: {left}\n" == capsys.readouterr().out
    large.identity = "00576224"
    with pytest.raises(UserError, match="other ARC tasks"):
        large.initialise(path)


def test_copies_that_parted_are_seen():
    sums = []

    def gather(rows):
        sums.append(rows)
        return torch.cat(sums)

    for _ in range(2):
        copy = begin(5, 0, "rope2d")
        copy.processes.gather = gather
        copy.check_replicas()
    copy.model.head.weight.data[0, 0] += 1e-6
    with pytest.raises(UserError, match="after step 0 the processes hold different weights"):
        copy.checkpoint()

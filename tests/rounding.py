"""How far rounding carries a result. Another CPU sums in another order and so rounds otherwise, and a
recurrence enlarges that; how much, the tests measure where they compare."""

import copy

import torch


def difference(results, others):
    """The largest between two rows of tensors, as a share of the largest number in its tensor."""
    found = []
    for a, b in zip(results, others, strict=True):
        assert a.shape == b.shape
        a = a.detach().double()
        b = b.detach().double()
        off = (a - b).abs().max() / b.abs().max().clamp(min=1e-30)
        found.append(off.item())
    return max(found)


def nudge_(model, dtype, seed):
    """Move every number in a model by at most one rounding of the dtype."""
    generator = torch.Generator().manual_seed(seed)
    eps = torch.finfo(dtype).eps
    with torch.no_grad():
        for tensor in model.state_dict().values():
            noise = torch.rand(tensor.shape, generator=generator)
            tensor *= 1 + eps * (2 * noise - 1)
    return model


def tolerance(compute, model, dtype=torch.float64):
    """Ten times the `difference` that such a move makes in the tensors compute(model): it comes but once,
    and real rounding with every sum."""
    exact = list(compute(model))
    found = []
    for seed in range(3):
        moved = nudge_(copy.deepcopy(model), dtype, seed)
        found.append(difference(compute(moved), exact))
    assert max(found) < 0.1, "chaos: there is nothing to compare"
    return 10 * max(found)

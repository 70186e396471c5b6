"""What a training step costs, and what of it a GPU delivers."""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.benchmark import timer
from torch.utils.flop_counter import FlopCounterMode

from hrm import Slots, act_step
from training.checkpoints import make_model


def slot_flops(name, config):
    """FLOPs of the matrix products that a training step takes for one slot, forward and backward: 2mkn for
    (m, k) @ (k, n), counted on tensors without content. Attention counts as products, as PyTorch's counter
    does not know the CPU's kernel; what kernels compute again in backward does not count."""
    with torch.device("meta"), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model = make_model(name, config)
        tokens = torch.zeros(1, config.seq_len, dtype=torch.long)
        batch = tokens, tokens, tokens[:, 0]
        _, loss, _, _ = act_step(model, Slots.empty(model, *batch), batch, config.M_max)
        loss.backward()
    return counter.get_total_flops()


def timed(work):
    """Seconds that work() takes."""
    start = timer()  # PyTorch's own waits for a GPU, which computes on while Python goes ahead
    work()
    return timer() - start


def on_gpus(run, slots_per_s, n=8192):
    """A line for the log: the cards, their speed beside that of a product of (n, n), the memory of one."""
    world = run.processes.world
    matrix = run.slots[0].z_H.new_ones(n, n)
    matrix @ matrix  # the first one chooses a kernel
    rate = world * 2 * n**3 / timed(lambda: matrix @ matrix)
    share = slots_per_s * slot_flops(run.options.model, run.config) / rate
    memory = torch.cuda.max_memory_reserved() / 2**30
    return (f"{world} x {torch.cuda.get_device_name()}: {slots_per_s:.0f} slots/s, {share:.0%} of the rate "
            f"of a large product, {memory:.1f} GiB in use")

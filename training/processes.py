"""One process or many: the device, and what the processes that `torchrun` started tell each other."""

import os

import torch
import torch.distributed as dist


def choose_device():
    """This process's GPU, or the CPU. (CUDA_VISIBLE_DEVICES= in front of a command hides the GPUs.)"""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cpu")


class Processes:
    """The processes that `torchrun` started (or this one alone), each with an equal share of the slots."""

    def __init__(self):
        self.rank = int(os.environ.get("RANK", 0))
        self.world = int(os.environ.get("WORLD_SIZE", 1))
        self.is_first = self.rank == 0  # the one that prints and writes
        self.device = choose_device()
        self.on_gpu = self.device.type == "cuda"
        if self.on_gpu:
            torch.cuda.set_device(self.device)
        if self.world > 1:
            dist.init_process_group("nccl" if self.on_gpu else "gloo")

    def mine(self, rows):
        """This process's part of a tensor (B, ...)."""
        return rows.chunk(self.world)[self.rank]

    def gather(self, rows):
        """The tensor (B, ...) of which every process holds a part."""
        if self.world == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.world)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def sum_(self, tensors):
        """Replace tensors by their sum over the processes, in one message."""
        if self.world == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors])):
            tensor.copy_(total.view_as(tensor))

    def copy_first_(self, tensors):
        """Replace tensors by those of the first process."""
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def any(self, flag):
        """Is it true in one of them?"""
        flags = torch.tensor([float(flag)], device=self.device)
        self.sum_([flags])
        return flags.item() > 0

    def wait(self):
        if self.world > 1:
            dist.barrier()

    def close(self):
        if self.world > 1:
            dist.destroy_process_group()

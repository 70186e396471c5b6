"""One process or many: the device, and what the processes that `torchrun` started tell each other."""

import os
from contextlib import contextmanager

import torch
import torch.distributed as dist

from training.files import UserError, writing

try:
    import fcntl
except ImportError:  # Windows: there, nobody watches over a run's folder
    fcntl = None


def choose_device(name):
    """"auto" is CUDA or the CPU: Apple's GPUs are untested, and used only when asked for."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = "cuda" if there["cuda"] else "cpu"
    if not there[name]:
        raise UserError(f"no {name} device here; leave --device out")
    return torch.device(name)


class Processes:
    """The processes that `torchrun` started (or this one alone), each with an equal share of the slots."""

    def __init__(self, device):
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.device = device
        if device.type == "cuda":
            self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
            torch.cuda.set_device(self.device)
        if self.world > 1:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")

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

    @contextmanager
    def alone_in(self, folder):
        """Refuse the folder of a run that is at work. The lock on it ends with this program, in any way."""
        busy, lock = torch.zeros(1, device=self.device), None
        try:
            if self.rank == 0 and fcntl:
                with writing(folder / "config.json"):
                    lock = os.open(folder, os.O_RDONLY)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    busy += isinstance(error, BlockingIOError)  # the others: a network drive without locks
            self.sum_([busy])  # all of the processes end, not only the one that asked
            if busy:
                raise UserError(f"another program trains in {folder}; wait for it, or pass another --out")
            yield
        finally:
            if lock is not None:
                os.close(lock)

    def close(self):
        if self.world > 1:
            dist.destroy_process_group()

    def wait(self):
        if self.world > 1:
            dist.barrier()

    def sum_(self, tensors):
        """Replace tensors by their sum over the processes, in one message."""
        if self.world > 1:
            flat = torch.cat([tensor.flatten() for tensor in tensors])
            dist.all_reduce(flat)
            for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors])):
                tensor.copy_(total.view_as(tensor))

"""The state of a training run: all that changes in it, and so all that a checkpoint holds."""

import copy
import zlib
from dataclasses import asdict

import numpy as np
import torch

from hrm import Slots
from puzzles.errors import UserError
from puzzles.files import write, writing
from training.checkpoints import VERSION, load_weights, make_model, read_ours
from training.optimisers import M_max_at, make_optimizers


class Run:
    """Everything that changes in training, and so all that a checkpoint holds."""

    def __init__(self, options, config, task, split, processes):
        torch.manual_seed(options.seed)
        self.options = options
        self.config = config
        self.processes = processes
        self.task = {"name": task.name, **task.options}
        self.puzzles = zlib.crc32(split.inputs.tobytes() + split.labels.tobytes())  # the same on --resume?
        self.fingerprints = torch.from_numpy(task.fingerprint(split.inputs).view(np.int64))
        self.identity = task.identity(split)  # what each puzzle id means
        self.test = None  # test puzzles that were made here: what is kept need not be made again
        self.model = make_model(options.model, config).to(processes.device)
        processes.copy_first_(self.model.state_dict().values())  # of the same seed, but who knows
        self.averaged = self.model  # what is evaluated
        if options.ema:
            self.averaged = copy.deepcopy(self.model)
            self.averaged.puzzle_emb = self.model.puzzle_emb  # seldom in a batch, a row would lag behind
        self.optimizers = make_optimizers(self.model, options)
        B = options.batch_size // processes.world // options.accumulate
        tokens = torch.zeros(B, task.seq_len, dtype=torch.long, device=processes.device)
        empty = Slots.empty(self.model, tokens, tokens, tokens[:, 0])
        self.slots = [empty] * options.accumulate  # one for each micro-batch
        self.step = 0
        self.evaluated = 0  # the step of the last evaluation
        self.best = -1.0  # of the validation puzzles, the largest share solved
        self.seconds = 0.0
        self.sums = {}  # of the metrics, since the last row of metrics.csv
        self.summed_from = 0

    def weights(self):
        """What evaluation needs."""
        return {
            "version": VERSION,
            "averaged": self.averaged.state_dict(),
            "step": self.step,
            "options": asdict(self.options),
            "config": asdict(self.config),
            "task": self.task,
            "puzzles": self.puzzles,
            "fingerprints": self.fingerprints,
            "identity": self.identity,
            "test": self.test,
        }

    def check_finite(self):
        """Weights that are not finite are worth nothing, and must not take the place of others."""
        if not all(weights.isfinite().all() for weights in self.model.parameters()):
            raise UserError(f"not all weights are finite after step {self.step}; lower --lr. What was saved "
                            f"before is untouched")

    def check_replicas(self):
        """All processes must hold the same weights, bit by bit."""
        checksum = sum(tensor.view(torch.int32).sum() for tensor in self.model.state_dict().values())
        if len(self.processes.gather(checksum[None]).unique()) > 1:
            raise UserError(f"after step {self.step} the processes hold different weights; --resume goes on "
                            f"from what was saved before, which is untouched")

    def checkpoint(self):
        """All of it."""
        self.check_finite()
        self.check_replicas()
        slots = {}
        for name in vars(self.slots[0]):
            slots[name] = self.processes.gather(torch.cat([getattr(part, name) for part in self.slots]))
        return {
            **self.weights(),
            "model": self.model.state_dict(),
            "slots": slots,
            "optimizers": [optimizer.state_dict() for optimizer, _ in self.optimizers],
            "evaluated": self.evaluated,
            "best": self.best,
            "seconds": self.seconds,
            "sums": self.sums,
            "summed_from": self.summed_from,
        }

    def restore(self, checkpoint):
        load_weights(self.model, checkpoint["model"], "the checkpoint")
        load_weights(self.averaged, checkpoint["averaged"], "the checkpoint")
        self.fingerprints = checkpoint["fingerprints"]  # with those of --init
        for (optimizer, _), state in zip(self.optimizers, checkpoint["optimizers"]):
            optimizer.load_state_dict(state)
        parts = {}
        for name, whole in checkpoint["slots"].items():
            parts[name] = self.processes.mine(whole).to(self.processes.device).chunk(len(self.slots))
        self.slots = [Slots(*fields) for fields in zip(*parts.values())]
        for name in ("step", "evaluated", "best", "seconds", "summed_from"):
            setattr(self, name, checkpoint[name])
        for name, total in checkpoint["sums"].items():  # one process saved them; now each has its share
            self.sums[name] = total.to(self.processes.device) / self.processes.world

    def initialise(self, path):
        """Begin with the weights of a checkpoint, of another size of board too: tensors that depend on it,
        such as learned positions, stay as they are."""
        own = self.model.state_dict()
        taken = {}
        content = read_ours(path)
        if self.identity:
            raise UserError(f"{path}: weights that know other ARC tasks may know answers that are asked "
                            f"here; leave out --init")
        self.fingerprints = torch.cat([self.fingerprints, content["fingerprints"]])  # it knows those too
        for name, tensor in content["averaged"].items():
            if name in own and own[name].shape == tensor.shape:
                taken[name] = tensor
        for model in (self.model, self.averaged):
            load_weights(model, own | taken, path)
        left = ", ".join(sorted(own.keys() - taken.keys())) or "none"
        if len(taken) < len(own) / 2:
            raise UserError(f"{path} holds another model: {left} do not fit; pass its sizes")
        print(f"{path}: {len(taken)} tensors are taken from it; not taken: {left}")

    def save(self, path, content):
        if self.processes.is_first:
            write(path, lambda temporary: torch.save(content, temporary))

    @property
    def M_max(self):
        """That of this step."""
        return M_max_at(self.step, self.options, self.config.M_max)

    @property
    def evaluation_is_due(self):
        here = self.step % self.options.eval_every == 0 or self.step == self.options.steps
        return here and self.step > self.evaluated


def lock(folder, rank):
    """Refuse the folder of a run that is at work -> an open file, whose lock ends with the program."""
    path = folder / f".lock{rank}"
    with writing(path):
        file = open(path, "w")
    try:
        import fcntl
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"another program trains in {folder}; wait for it, or pass another --out") from None
    except (ImportError, OSError):  # Windows, or a network drive without locks
        pass
    return file

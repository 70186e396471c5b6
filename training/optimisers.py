"""How the weights are changed: Adam-atan2 (the paper's), Muon (for short runs), sign-SGD for the puzzle
embedding, and the two schedules, learning rate and M_max."""

import math

import torch

from hrm import ReasoningModule


class AdamAtan2(torch.optim.Optimizer):
    """Adam with atan2 in place of the division (Everett et al. 2024): no ε, no update above lr·π/2.

    p ← p·(1 − lr·wd); p ← p − lr/(1−β₁ᵗ) · atan2(m, √(v/(1−β₂ᵗ))). [≠] The paper that proposed it corrects
    the bias of m inside atan2; the published HRM code does it outside, as here."""

    def __init__(self, params, lr, weight_decay, betas=(0.9, 0.95)):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "betas": betas, "t": 0})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            group["t"] += 1
            (beta1, beta2), lr, t = group["betas"], group["lr"], group["t"]
            params = [p for p in group["params"] if p.grad is not None]
            grads = [p.grad for p in params]
            for p in params:
                if p not in self.state:
                    self.state[p] = {"m": torch.zeros_like(p), "v": torch.zeros_like(p)}
            m, v = ([self.state[p][name] for p in params] for name in ("m", "v"))
            torch._foreach_lerp_(m, grads, 1 - beta1)
            torch._foreach_mul_(v, beta2)
            torch._foreach_addcmul_(v, grads, grads, 1 - beta2)
            root = torch._foreach_div(v, 1 - beta2**t)
            torch._foreach_sqrt_(root)
            torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
            update = [torch.atan2(a, b) for a, b in zip(m, root)]
            torch._foreach_add_(params, update, alpha=-lr / (1 - beta1**t))


def orthogonal(matrices):
    """Matrices (n, rows, columns) with all their singular values moved near 1 (0.7 to 1.2): five steps of a
    Newton-Schulz iteration, whose coefficients (Jordan et al. 2024) make small ones grow fast."""
    tall = matrices.shape[1] > matrices.shape[2]
    X = matrices.mT if tall else matrices
    X = X / X.norm(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    for _ in range(5):
        square = X @ X.mT
        X = 3.4445 * X + (-4.775 * square + 2.0315 * square @ square) @ X
    return X.mT if tall else X


class Muon(torch.optim.Optimizer):
    """For weight matrices (Jordan et al. 2024): the update is their momentum made orthogonal, so that the
    directions that gradients seldom point to are learned as fast as the others.

    The same as torch.optim.Muon, which takes one matrix at a time, in bfloat16: on a CPU without bfloat16
    instructions a step of the small preset then takes 60 ms, with this one 5."""

    def __init__(self, params, lr, weight_decay, momentum=0.95):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for shape in {p.shape for p in group["params"]}:  # matrices of one shape are computed together
                self.update([p for p in group["params"] if p.shape == shape], group)

    def update(self, params, group):
        for p in params:
            if p not in self.state:
                self.state[p] = {"m": torch.zeros_like(p)}
        grads, m = [p.grad for p in params], [self.state[p]["m"] for p in params]
        torch._foreach_lerp_(m, grads, 1 - group["momentum"])
        update = orthogonal(torch.stack(torch._foreach_lerp(grads, m, group["momentum"])))  # Nesterov's
        rows, columns = params[0].shape
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_sub_(params, list(update), alpha=group["lr"] * math.sqrt(max(1, rows / columns)))


def make_optimizers(model, options):
    """What trains the model's parameters: Adam-atan2 all of them, or with --optimizer muon all but the
    matrices of its modules, and Muon those."""
    modules = [module for module in model.modules() if isinstance(module, ReasoningModule)]
    matrices = [p for module in modules for p in module.parameters()] if options.optimizer == "muon" else []
    rest = [p for p in model.parameters() if all(p is not matrix for matrix in matrices)]
    optimizers = [AdamAtan2(rest, options.lr, options.weight_decay)]
    if matrices:
        optimizers.append(Muon(matrices, options.muon_lr, options.muon_weight_decay))
    return optimizers


@torch.no_grad()
def sign_sgd_(table, ids, grads, lr, weight_decay):
    """Update in place the rows `ids` (B,) of a puzzle embedding table with their gradients (B, ndim).
    Gradients of equal ids are summed first: a puzzle takes one step however often the batch holds it."""
    first = (ids[:, None] == ids).byte().argmax(1)  # where each id comes first; no GPU is waited for
    total = torch.zeros_like(grads).index_add_(0, first, grads)[first]
    table[ids] = table[ids] * (1 - lr * weight_decay) - lr * total.sign()


def lr_scale(step, steps, options):
    """Learning rate at this step (from 0), as a share of its peak: linear warm-up, then flat or a cosine."""
    progress = min(1.0, max(0, step - options.warmup) / max(1, steps - options.warmup))
    cosine = options.lr_end + (1 - options.lr_end) * 0.5 * (1 + math.cos(math.pi * progress))
    return min(1.0, (step + 1) / max(1, options.warmup)) * cosine


def M_max_at(step, steps, M_max, grow):
    """The M_max of this step: 1, 2, 4, … in equal parts of the first `grow` of the run, then the full value.
    A small model that may think for long from the start spends its first minutes copying the input, and sees
    few new puzzles meanwhile; one that must answer at once does not."""
    doublings = math.ceil(math.log2(M_max))
    if not grow or step >= grow * steps:
        return M_max
    return min(M_max, 2 ** int(step / (grow * steps) * doublings))

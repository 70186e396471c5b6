"""How the weights are changed: Adam-atan2 (the paper's), Muon (for short runs), sign-SGD for the puzzle
embedding; the average of weights; and the two schedules, learning rate and M_max."""

import math

import torch

from hrm import ReasoningModule

MUON_LR = 4 / 3  # Muon's learning rate, in units of Adam-atan2's
COOL_DOWN = 0.6  # of a run


class AdamAtan2(torch.optim.Optimizer):
    """Adam with atan2 in place of the division (Everett et al. 2024): no ε, no update above lr·π/2.

    p ← p·(1 − lr·wd); p ← p − lr/(1−β₁ᵗ) · atan2(m, √(v/(1−β₂ᵗ))). [≠] The paper that proposed it corrects
    the bias of m inside atan2; the published HRM code does it outside, as here."""

    def __init__(self, params, lr, weight_decay, betas=(0.9, 0.95)):
        defaults = {"lr": lr, "weight_decay": weight_decay, "betas": betas, "t": 0}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            group["t"] += 1
            t = group["t"]
            lr = group["lr"]
            beta1, beta2 = group["betas"]
            params = [p for p in group["params"] if p.grad is not None]
            grads = [p.grad for p in params]
            m = moments(self.state, params, "m")
            v = moments(self.state, params, "v")
            torch._foreach_lerp_(m, grads, 1 - beta1)
            torch._foreach_mul_(v, beta2)
            torch._foreach_addcmul_(v, grads, grads, 1 - beta2)
            root = torch._foreach_div(v, 1 - beta2**t)
            torch._foreach_sqrt_(root)
            update = list(map(torch.atan2, m, root))
            torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
            torch._foreach_add_(params, update, alpha=-lr / (1 - beta1**t))


def moments(state, params, name):
    """The running means of this name, zero at first."""
    return [state[p].setdefault(name, torch.zeros_like(p)) for p in params]


def orthogonal(matrices):
    """Matrices (n, rows, columns) with all their singular values moved near 1 (0.7 to 1.2): five steps of a
    Newton-Schulz iteration, whose coefficients (Jordan et al. 2024) make small ones grow fast."""
    tall = matrices.shape[1] > matrices.shape[2]
    X = matrices.mT if tall else matrices
    norm = X.norm(dim=(1, 2), keepdim=True)
    X = X / norm.clamp(min=1e-12)
    for _ in range(5):
        square = X @ X.mT
        higher = -4.775 * square + 2.0315 * square @ square
        X = 3.4445 * X + higher @ X
    return X.mT if tall else X


class Muon(torch.optim.Optimizer):
    """For weight matrices (Jordan et al. 2024): the update is their momentum made orthogonal, so that the
    directions that gradients seldom point to are learned as fast as the others.

    The same as torch.optim.Muon, which takes one matrix at a time, in bfloat16: on a CPU without bfloat16
    instructions a step of the small preset then takes 60 ms, with this one 5."""

    def __init__(self, params, lr, weight_decay=0.01, momentum=0.95):
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for shape in {p.shape for p in group["params"]}:
                alike = [p for p in group["params"] if p.shape == shape]
                self.update(alike, group)  # matrices of one shape are computed together

    def update(self, params, group):
        grads = [p.grad for p in params]
        m = moments(self.state, params, "m")
        torch._foreach_lerp_(m, grads, 1 - group["momentum"])
        nesterov = torch._foreach_lerp(grads, m, group["momentum"])
        together = torch.stack(nesterov)
        if together.is_cuda:
            together = together.bfloat16()  # as published: there, products of float32 are slow
        update = orthogonal(together).to(params[0].dtype)
        lr = group["lr"]
        rows, columns = params[0].shape
        size = math.sqrt(max(1, rows / columns))
        torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
        torch._foreach_sub_(params, list(update), alpha=lr * size)


def make_optimizers(model, options):
    """What trains the model's parameters: Adam-atan2 all of them, or with --optimizer muon all but the
    matrices of its modules, and Muon those. Beside each, the peak of its learning rate."""
    if options.optimizer == "adam_atan2":
        return [(AdamAtan2(model.parameters(), options.lr, options.weight_decay), options.lr)]
    matrices = {}
    for module in model.modules():
        if isinstance(module, ReasoningModule):
            matrices |= dict.fromkeys(module.parameters())
    rest = [p for p in model.parameters() if p not in matrices]
    muon_lr = MUON_LR * options.lr
    return [
        (AdamAtan2(rest, options.lr, options.weight_decay), options.lr),
        (Muon(matrices, muon_lr), muon_lr),
    ]


@torch.no_grad()
def sign_sgd_(table, ids, grads, lr, weight_decay):
    """Update in place the rows `ids` (B,) of a puzzle embedding table with their gradients (B, ndim).
    Gradients of equal ids are summed first: a puzzle takes one step however often the batch holds it."""
    same = (ids[:, None] == ids).to(grads.dtype)  # (B, B): its product has one order on every device
    total = same @ grads
    kept = table[ids] * (1 - lr * weight_decay)
    table[ids] = kept - lr * total.sign()


@torch.no_grad()
def average_(averaged, model, decay, step):
    """The exponential moving average of the weights after so many steps (from 1). Early on it looks back over
    a tenth of them only: else a short run would be evaluated with what it knew at its beginning."""
    weight = max(1 - decay, 10 / (9 + step))
    slow = list(averaged.parameters())
    torch._foreach_lerp_(slow, list(model.parameters()), weight)


def lr_scale(step, options):
    """Learning rate at this step (from 0), as a share of its peak: a linear warm-up, a flat part, and over
    the last COOL_DOWN of the run linearly down to lr_end."""
    warm = min(1.0, (step + 1) / max(1, options.warmup))
    left = 1 - step / options.steps
    high = min(1.0, left / COOL_DOWN)
    return warm * (options.lr_end + (1 - options.lr_end) * high)


def M_max_at(step, options, M_max):
    """The M_max of this step: 1, 2, 4, … in equal parts of the first `grow_M_max` of the run, then the full
    value. A small model that may think for long from the start spends its first minutes copying the input,
    and sees few new puzzles meanwhile; one that must answer at once does not."""
    growing = options.grow_M_max * options.steps
    if step >= growing:
        return M_max
    doublings = math.ceil(math.log2(M_max))
    return min(M_max, 2 ** int(step / growing * doublings))

"""AdamW over adapters and heads, and the learning rate as a function of the step."""

from __future__ import annotations

from torch import nn, optim

from equipoise.models import BehaviourModel

PRIOR_FACTOR = 25.0
"""The two scalars of the prior (log of the pseudo-weight, exponent) learn so much faster than the heads: in the 100 steps of a
small training they must be able to move by 1 or more, and AdamW moves a parameter by about its rate per step."""

_PRIOR_SCALARS = ("log_dirichlet", "sharpening")


def make_optimiser(model: BehaviourModel, *, learning_rate: float, head_learning_rate: float, weight_decay: float) -> optim.AdamW:
    """Adapters at `learning_rate`, heads at `head_learning_rate`, the prior's scalars faster and undecayed.

    Each group's rate stays in its `peak`; `set_rate` derives `lr` from it.
    """
    adapters: list[nn.Parameter] = []
    heads: list[nn.Parameter] = []
    scalars: list[nn.Parameter] = []
    for name, parameter in model.trainable():
        group = scalars if name.endswith(_PRIOR_SCALARS) else heads if name.startswith("heads.") else adapters
        group.append(parameter)
    groups = [
        {"params": adapters, "peak": learning_rate, "weight_decay": weight_decay},
        {"params": heads, "peak": head_learning_rate, "weight_decay": weight_decay},
        {"params": scalars, "peak": head_learning_rate * PRIOR_FACTOR, "weight_decay": 0.0},
    ]
    return optim.AdamW([g for g in groups if g["params"]], lr=learning_rate)


def set_rate(optimiser: optim.Optimizer, step: int, total_steps: int, warmup_share: float) -> None:
    """Sets every group's rate for 0-based `step`: its peak × `rate_factor`."""
    factor = rate_factor(step, total_steps, warmup_share)
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * factor


def rate_factor(step: int, total_steps: int, warmup_share: float) -> float:
    """Linear rise over the first steps, then linear fall that would reach 0 one step after the last."""
    warmup = int(total_steps * warmup_share)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return (total_steps - step) / (total_steps - warmup)

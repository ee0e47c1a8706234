"""AdamW over adapters or tower, and heads, and the learning rate as a function of the step."""

from __future__ import annotations

from torch import nn, optim

from equipoise.models import Model


def make_optimiser(model: Model, *, learning_rate: float, head_learning_rate: float, weight_decay: float) -> optim.AdamW:
    """Adapters, or the tower, at `learning_rate`, heads at `head_learning_rate`.

    Each group's rate stays in its `peak`; `set_rate` derives `lr` from it.
    """
    adapters: list[nn.Parameter] = []
    heads: list[nn.Parameter] = []
    for name, parameter in model.trainable():
        (heads if name.startswith("heads.") else adapters).append(parameter)
    groups = [
        {"params": adapters, "peak": learning_rate, "weight_decay": weight_decay},
        {"params": heads, "peak": head_learning_rate, "weight_decay": weight_decay},
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

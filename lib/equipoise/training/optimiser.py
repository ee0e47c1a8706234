"""The optimiser over the encoder's part, or the tower, and the heads, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from torch import nn, optim

from equipoise.models import Model

Algorithm = Literal["adamw", "adafactor", "sgd"]
Schedule = Literal["linear", "cosine", "constant"]


def make_optimiser(
    model: Model,
    *,
    learning_rate: float,
    head_learning_rate: float,
    weight_decay: float,
    algorithm: Algorithm = "adamw",
    momentum: float = 0.9,
    beside: Sequence[nn.Parameter] = (),
) -> optim.Optimizer:
    """The encoder's part, or the tower, at `learning_rate`, heads, and what is learnt `beside` the model, at
    `head_learning_rate`; matrices decay, biases and norms do not.

    adamw: Loshchilov and Hutter 2019 (arXiv 1711.05101). adafactor: Shazeer and Stern 2018 (arXiv 1804.04235), which keeps row
    and column means instead of a second moment per weight. sgd: with Nesterov's momentum, and decay added to the gradient.
    Each group's rate stays in its `peak`; `set_rate` derives `lr` from it.
    """
    parts: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in model.trainable():
        parts.setdefault((name.startswith("heads."), weight_decay if parameter.ndim > 1 else 0.0), []).append(parameter)
    peaks = {False: learning_rate, True: head_learning_rate}
    groups = [{"params": found, "peak": peaks[head], "weight_decay": decay} for (head, decay), found in parts.items()]
    if beside:
        groups.append({"params": list(beside), "peak": head_learning_rate, "weight_decay": 0.0})
    if algorithm == "adafactor":
        return optim.Adafactor(groups, lr=learning_rate)
    if algorithm == "sgd":
        more: dict[str, Any] = {"momentum": momentum, "nesterov": True} if momentum else {}
        return optim.SGD(groups, lr=learning_rate, **more)
    return optim.AdamW(groups, lr=learning_rate)


def set_rate(optimiser: optim.Optimizer, step: int, total_steps: int, warmup_share: float, schedule: Schedule = "linear") -> None:
    """Sets every group's rate for 0-based `step`: its peak × `rate_factor`."""
    factor = rate_factor(step, total_steps, warmup_share, schedule)
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * factor


def rate_factor(step: int, total_steps: int, warmup_share: float, schedule: Schedule = "linear") -> float:
    """Linear rise over the first steps, then no fall, a linear one, or half a cosine (Loshchilov and Hutter 2017, arXiv
    1608.03983); the two falls would reach 0 one step after the last."""
    warmup = int(total_steps * warmup_share)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if schedule == "constant":
        return 1.0
    left = (total_steps - step) / (total_steps - warmup)
    return left if schedule == "linear" else 0.5 * (1.0 - math.cos(math.pi * left))

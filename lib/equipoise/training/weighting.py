"""Weights of the task losses, given or learnt (Kendall, Gal and Cipolla 2018, arXiv 1705.07115)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from equipoise.models import Model, TowerModel
from equipoise.models.losses import LossWeights, ValueLoss

Weighting = Literal["fixed", "uncertainty"]

OF_SEQUENCE = ("next_item_weight", "behaviour_weight", "sequence_behaviour_weight")
NO_TASK = ("balance_weight",)
"""A wish about the answers, not a thing that is observed with noise: there is no variance to learn, and its weight stays."""

SQUARED_FACTOR = 0.5


class Uncertainty(nn.Module):
    """log σ² of each task, s, and the loss Σ w·f·exp(−s)·L + ½·s, of which it is learnt with the weights of the model.

    f is 1 for a cross-entropy, whose softmax is read at the temperature σ² (their eq. 10), and ½ for a squared error (eq. 5).
    w is the setting's weight: s begins at 0, so that the first step is that of the fixed weights (of a squared error half), and
    a task of weight 0 has no s. Where L stands still, s ends at log(2·f·w·L), whatever w was.
    """

    def __init__(self, names: Sequence[str], factors: Sequence[float]) -> None:
        """`names`: fields of LossWeights that have an s; `factors`: their f."""
        super().__init__()
        self.names = tuple(names)
        self._factors = dict(zip(names, factors, strict=True))
        self.log_variance = nn.Parameter(torch.zeros(len(names)))

    @classmethod
    def of(cls, model: Model, weights: LossWeights, value_loss: ValueLoss) -> Uncertainty:
        """For the tasks that this model has and that count."""
        there = [n for n, w in weights._asdict().items() if w and n not in NO_TASK]
        there = [n for n in there if isinstance(model, TowerModel) or n not in OF_SEQUENCE]
        squared = {"value_weight"} if value_loss == "squared" else set()
        return cls(there, [SQUARED_FACTOR if n in squared else 1.0 for n in there])

    def forward(self, means: Sequence[Tensor], weights: LossWeights, part: float) -> Tensor:
        """Nats; `means`: mean losses in the order of LossWeights; `part`: of the step's rows, those of this pass, so that ½·s
        is counted once a step."""
        places = {name: i for i, name in enumerate(self.names)}
        terms = []
        for (name, weight), mean in zip(weights._asdict().items(), means, strict=True):
            if name not in places:
                terms.append(weight * mean)
                continue
            s = self.log_variance[places[name]]
            terms.append(weight * self._factors[name] * (-s).exp() * mean + 0.5 * part * s)
        return torch.stack(terms).sum()

    def figures(self) -> dict[str, float]:
        """log σ² of each task, and what its loss weighs now beside its setting."""
        found = dict(zip(self.names, self.log_variance.detach().double().tolist(), strict=True))
        of = {name.removesuffix("_weight"): s for name, s in found.items()}
        factors = {name.removesuffix("_weight"): f for name, f in self._factors.items()}
        learnt = {f"{name}_learnt_factor": factors[name] * float(torch.tensor(-s).exp()) for name, s in of.items()}
        return {f"{name}_log_variance": s for name, s in of.items()} | learnt

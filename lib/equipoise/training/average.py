"""A running mean of the weights, which is what is judged and published (Polyak and Juditsky 1992, decayed exponentially)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from equipoise.models import Model
from equipoise.training.checkpoint import Weights, put_weights, weights_of


class Average:
    """mean ← d·mean + (1 − d)·weights after every step; d is at most (1 + t) / (10 + t), so that the start is soon forgotten."""

    def __init__(self, model: Model, decay: float) -> None:
        self._model, self._decay = model, decay
        self.mean: Weights = weights_of(model)

    def after(self, step: int) -> None:
        """Takes in the weights after `step` steps."""
        decay = min(self._decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, tensor in weights_of(self._model).items():
                self.mean[name].lerp_(tensor, 1.0 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The mean in place of the weights inside."""
        weights = weights_of(self._model)
        put_weights(self._model, self.mean)
        try:
            yield
        finally:
            put_weights(self._model, weights)

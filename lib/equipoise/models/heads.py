"""What is read off a user's vector: next window's categories and value class.

Letters: b users, d vector, C categories, F explicit features, r rank of the profile sketch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

VALUE_CLASSES = 3
SKETCH_RANK = 32
VALUE_HIDDEN = 64
VALUE_DROPOUT = 0.1
VECTOR_GAIN = 0.25
"""Vectors enter the heads times VECTOR_GAIN · √d. Length 1 makes components near 1/√d, too small beside standardised features for
one pass of training; of the gains tried on Complete Journey's validation cut (0.05, 0.2, 1) the middle was best."""


class Outputs(NamedTuple):
    """vector (b, d) of length 1; category_logits (b, C), softmax gives shares; value_logits (b, 3) for O, interest, buy."""

    vector: Tensor
    category_logits: Tensor
    value_logits: Tensor


def signed_log1p(x: Tensor) -> Tensor:
    """sign(x) · log(1 + |x|): counts, days and money on one scale, zero kept."""
    return x.sign() * x.abs().log1p()


class CategoryHead(nn.Module):
    """Next window's category shares: smoothed log prior + W·h.

    prior_c = (w_c + a·population_c) / Σ, raised to `sharpening`: exponential moving average with a Dirichlet prior. h is the
    vector, the standardised features, and a sketch (rank r) of the log ratio prior ÷ population. W starts at 0, so an untrained
    head *is* that baseline; a and the exponent are trainable too, from the settings' values.
    """

    population: Tensor

    def __init__(
        self,
        width: int,
        features: int,
        population: Sequence[float],
        *,
        dirichlet: float,
        sharpening: float,
        rank: int = SKETCH_RANK,
    ) -> None:
        super().__init__()
        shares = torch.tensor(population, dtype=torch.float64)
        if not bool((shares > 0).all()):
            raise ValueError("population shares must all be positive: a category without one could never be predicted")
        self.register_buffer("population", (shares / shares.sum()).float())
        self.log_dirichlet = nn.Parameter(torch.tensor(math.log(dirichlet)))
        self.sharpening = nn.Parameter(torch.tensor(float(sharpening)))
        self.sketch = nn.Linear(len(shares), rank, bias=False)
        self.out = nn.Linear(width + features + rank, len(shares))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def log_shares(self, weights: Tensor) -> Tensor:
        """Decayed weights (b, C) ≥ 0 → log of the smoothed shares (b, C), before the exponent."""
        smoothed = weights + self.log_dirichlet.exp() * self.population
        return smoothed.log() - smoothed.sum(dim=-1, keepdim=True).log()

    def forward(self, vector: Tensor, weights: Tensor, standardised: Tensor) -> Tensor:
        log_shares = self.log_shares(weights)
        log_prior = (self.sharpening * log_shares).log_softmax(dim=-1)
        sketch = nn.functional.gelu(self.sketch(log_shares - self.population.log()))  # (b, r)
        hidden = torch.cat([vector, standardised, sketch], dim=-1)
        added: Tensor = self.out(hidden)
        return log_prior + added


class ValueHead(nn.Module):
    """O, interest or buy: multinomial logit on the features + a small network on vector and features that starts at 0."""

    def __init__(self, width: int, features: int, hidden: int = VALUE_HIDDEN) -> None:
        super().__init__()
        self.logit = nn.Linear(features, VALUE_CLASSES)
        self.hidden = nn.Linear(width + features, hidden)
        self.dropout = nn.Dropout(VALUE_DROPOUT)
        self.out = nn.Linear(hidden, VALUE_CLASSES)
        for layer in (self.logit, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, vector: Tensor, standardised: Tensor) -> Tensor:
        hidden = self.dropout(nn.functional.gelu(self.hidden(torch.cat([vector, standardised], dim=-1))))
        scores: Tensor = self.logit(standardised) + self.out(hidden)
        return scores


class Heads(nn.Module):
    """Both heads, with the features' scaling as buffers. Any route that makes a user's vector can use them."""

    feature_mean: Tensor
    feature_std: Tensor

    def __init__(
        self,
        width: int,
        features: int,
        population: Sequence[float],
        *,
        dirichlet: float,
        sharpening: float,
        rank: int = SKETCH_RANK,
        hidden: int = VALUE_HIDDEN,
    ) -> None:
        super().__init__()
        self.gain = VECTOR_GAIN * math.sqrt(width)
        self.register_buffer("feature_mean", torch.zeros(features))
        self.register_buffer("feature_std", torch.ones(features))
        self.category = CategoryHead(width, features, population, dirichlet=dirichlet, sharpening=sharpening, rank=rank)
        self.value = ValueHead(width, features, hidden)

    def forward(self, vector: Tensor, prior: Tensor, features: Tensor) -> Outputs:
        """vector (b, d) of length 1, prior (b, C) raw decayed weights, features (b, F) raw units."""
        with torch.autocast(vector.device.type, enabled=False):
            standardised = (signed_log1p(features.float()) - self.feature_mean) / self.feature_std
            scaled = vector.float() * self.gain
            return Outputs(vector, self.category(scaled, prior.float(), standardised), self.value(scaled, standardised))


def heads_from_state(state: dict[str, Tensor]) -> Heads:
    """Heads with the sizes and values of a saved state.

    Raises:
        KeyError, RuntimeError: when it is not the state of `Heads`.
    """
    out, sketch = state["category.out.weight"], state["category.sketch.weight"]
    features = len(state["feature_mean"])
    width = out.shape[1] - features - sketch.shape[0]
    heads = Heads(
        width,
        features,
        state["category.population"].tolist(),
        dirichlet=1.0,
        sharpening=1.0,
        rank=sketch.shape[0],
        hidden=state["value.out.weight"].shape[1],
    )
    heads.load_state_dict(state)
    return heads

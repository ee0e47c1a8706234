"""What is read off a user's vector: next window's categories and value class.

Letters: b users, d vector, C categories, K values of a cell, T of a trend, F explicit features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from equipoise.models.pairs import PairNet

VALUE_CLASSES = 3
VALUE_HIDDEN = 64
VALUE_DROPOUT = 0.1
VECTOR_GAIN = 0.25
"""Vectors enter the heads times VECTOR_GAIN · √d. Length 1 makes components near 1/√d, too small beside standardised features for
one pass of training; of the gains tried on Complete Journey's validation cut (0.05, 0.2, 1) the middle was best."""


READS_VECTOR = ("out.", "adapter.")
"""Parts of the category head that read the vector; the others are fitted by counting, before there is one."""


class WholeSums(NamedTuple):
    """Sums over the sequences of a batch whose kind is known: cross-entropies in nats of BEHAVIOURS, the sequences, and how often
    a kind (row) was taken for another (column)."""

    loss: Tensor
    rows: Tensor
    confusion: Tensor


class SequenceSums(NamedTuple):
    """Sums over the events of a batch that follow another: cross-entropies in nats of the item and of BEHAVIOURS, the events each
    is over, and how often a behaviour (row) was taken for another (column); and those of the sequences, where their kind is
    learnt."""

    next_item: Tensor
    next_item_rows: Tensor
    behaviour: Tensor
    behaviour_rows: Tensor
    confusion: Tensor
    whole: WholeSums | None = None


class Outputs(NamedTuple):
    """vector (b, d) of length 1; category_logits (b, C), softmax gives shares; visit_logits (b, C), sigmoid gives the probability
    of an event in the category; value_logits (b, 3) for O, interest, buy; sequence of a route that reads events one by one."""

    vector: Tensor
    category_logits: Tensor
    visit_logits: Tensor
    value_logits: Tensor
    sequence: SequenceSums | None = None


def signed_log1p(x: Tensor) -> Tensor:
    """sign(x) · log(1 + |x|): counts, days and money on one scale, zero kept."""
    return x.sign() * x.abs().log1p()


class Adapter(nn.Module):
    """A task's own small correction of the vector in front of its head: x + U·gelu(D·x), a residual bottleneck (Houlsby et al.
    2019, arXiv 1902.00751) behind the encoder instead of inside it. U starts at 0, so that untrained it changes nothing."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, hidden)
        self.up = nn.Linear(hidden, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, vector: Tensor) -> Tensor:
        adapted: Tensor = vector + self.up(nn.functional.gelu(self.down(vector)))
        return adapted


class CategoryHead(nn.Module):
    """Next window's category shares, and the probability of a visit to each: what counting says + what the vector adds.

    shares: prior_c = (w_c + a·population_c) / Σ, raised to `sharpening` (exponential moving average with a Dirichlet prior); its
    log + the pair network's first number + W·h. visits: the pair network's second + V·h. h is the vector and the standardised
    features; W and V start at 0, so that before the first step the head says what `fit_pairs` found, and before that the prior.
    """

    population: Tensor

    def __init__(self, width: int, features: int, population: Sequence[float], *, dirichlet: float, sharpening: float) -> None:
        super().__init__()
        shares = torch.tensor(population, dtype=torch.float64)
        if not bool((shares > 0).all()):
            raise ValueError("population shares must all be positive: a category without one could never be predicted")
        self.register_buffer("population", (shares / shares.sum()).float())
        self.log_dirichlet = nn.Parameter(torch.tensor(math.log(dirichlet)))
        self.sharpening = nn.Parameter(torch.tensor(float(sharpening)))
        self.pairs = PairNet(len(shares), features)
        self.adapter: Adapter | None = None
        self.out = nn.Linear(width + features, 2 * len(shares))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def log_shares(self, weights: Tensor) -> Tensor:
        """Decayed weights (b, C) ≥ 0 → log of the smoothed shares (b, C), before the exponent."""
        smoothed = weights + self.log_dirichlet.exp() * self.population
        return smoothed.log() - smoothed.sum(dim=-1, keepdim=True).log()

    def counted(
        self, weights: Tensor, cells: Tensor, trends: Tensor, standardised: Tensor, follows: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Logits of shares and of visits, (b, C) each, without the vector; follows: as `PairNet.inputs`."""
        share, visit = self.pairs(cells, trends, standardised, follows).unbind(dim=-1)
        return (self.sharpening * self.log_shares(weights)).log_softmax(dim=-1) + share, visit

    def forward(
        self, vector: Tensor, weights: Tensor, cells: Tensor, trends: Tensor, standardised: Tensor
    ) -> tuple[Tensor, Tensor]:
        share, visit = self.counted(weights, cells, trends, standardised)
        vector = vector if self.adapter is None else self.adapter(vector)
        added = self.out(torch.cat([vector, standardised], dim=-1)).unflatten(-1, (2, -1))
        return share + added[:, 0], visit + added[:, 1]

    def hold(self) -> None:
        """Ends the training of all but what reads the vector."""
        self.requires_grad_(False)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name.startswith(READS_VECTOR))


class ValueHead(nn.Module):
    """O, interest or buy: multinomial logit on the features + a small network on vector and features that starts at 0."""

    def __init__(self, width: int, features: int, hidden: int = VALUE_HIDDEN) -> None:
        super().__init__()
        self.adapter: Adapter | None = None
        self.logit = nn.Linear(features, VALUE_CLASSES)
        self.hidden = nn.Linear(width + features, hidden)
        self.dropout = nn.Dropout(VALUE_DROPOUT)
        self.out = nn.Linear(hidden, VALUE_CLASSES)
        for layer in (self.logit, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, vector: Tensor, standardised: Tensor) -> Tensor:
        vector = vector if self.adapter is None else self.adapter(vector)
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
        hidden: int = VALUE_HIDDEN,
        adapter_width: int = 0,
    ) -> None:
        """`adapter_width`: units of each head's adapter; 0: none. The other weights start the same with and without."""
        super().__init__()
        self.gain = VECTOR_GAIN * math.sqrt(width)
        self.register_buffer("feature_mean", torch.zeros(features))
        self.register_buffer("feature_std", torch.ones(features))
        self.category = CategoryHead(width, features, population, dirichlet=dirichlet, sharpening=sharpening)
        self.value = ValueHead(width, features, hidden)
        if adapter_width:
            self.category.adapter, self.value.adapter = Adapter(width, adapter_width), Adapter(width, adapter_width)

    def standardised(self, features: Tensor) -> Tensor:
        """Explicit features (b, F) in raw units → on one scale."""
        return (signed_log1p(features.float()) - self.feature_mean) / self.feature_std

    def forward(self, vector: Tensor, prior: Tensor, cells: Tensor, trends: Tensor, features: Tensor) -> Outputs:
        """vector (b, d) of length 1, prior (b, C) decayed weights, cells (b, C, K), trends (b, C, T), features (b, F); raw."""
        with torch.autocast(vector.device.type, enabled=False):
            standardised = self.standardised(features)
            scaled = vector.float() * self.gain
            shares, visits = self.category(scaled, prior.float(), cells.float(), trends.float(), standardised)
            return Outputs(vector, shares, visits, self.value(scaled, standardised))


def heads_from_state(state: dict[str, Tensor]) -> Heads:
    """Heads with the sizes and values of a saved state.

    Raises:
        KeyError, RuntimeError: when it is not the state of `Heads`.
    """
    features, adapter = len(state["feature_mean"]), state.get("category.adapter.down.bias")
    heads = Heads(
        state["category.out.weight"].shape[1] - features,
        features,
        state["category.population"].tolist(),
        dirichlet=1.0,
        sharpening=1.0,
        hidden=state["value.out.weight"].shape[1],
        adapter_width=0 if adapter is None else len(adapter),
    )
    heads.load_state_dict(state)
    return heads

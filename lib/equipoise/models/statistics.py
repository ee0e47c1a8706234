"""What is fitted on the training sample before the first step: feature scaling, the value logit, spend per class, the prior."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from equipoise.errors import ModelError
from equipoise.models.heads import VALUE_CLASSES, Heads, signed_log1p

RIDGE = 1e-4
"""L2 weight per row mean. At 4,096 rows it equals scikit-learn's C = 1.2; it keeps a fit with an absent class finite."""

MOST_ROWS = 200_000
"""Rows read; means of 12 features do not move beyond that."""


PRIOR_ROWS = 20_000
"""Rows read for the prior's two numbers."""

PRIOR_PULL = 1e-4
"""Weight of the squared log ratio to the settings' values: decides only where the examples say nothing."""


class Prior(NamedTuple):
    """Pseudo-weight of the population and exponent of the smoothed history: where the category head starts."""

    dirichlet: float
    sharpening: float


@dataclass(frozen=True)
class Statistics:
    """Plain numbers, so that every rank starts from the same ones.

    feature_mean, feature_std (F): of signed log1p features. value_weight (3 × F), value_bias (3): multinomial logit on the
    standardised features. class_mean_spend, class_rows: per value class, money per label window and training rows.
    """

    rows: int
    feature_mean: list[float]
    feature_std: list[float]
    value_weight: list[list[float]]
    value_bias: list[float]
    class_mean_spend: list[float]
    class_rows: list[int]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def fit_statistics(batches: Iterable[dict[str, Tensor]]) -> Statistics:
    """Statistics of training batches with features (b, F), label_value (b,), label_spend (b,), from the first MOST_ROWS rows.

    Raises:
        ModelError: no rows, or a feature or spend that is not finite.
    """
    features, values, spends, rows = [], [], [], 0
    for batch in batches:
        features.append(signed_log1p(batch["features"].double()))
        values.append(batch["label_value"])
        spends.append(batch["label_spend"].double())
        rows += len(values[-1])
        if rows >= MOST_ROWS:
            break
    if not rows:
        raise ModelError("no training examples to fit the heads on; build the examples first")
    x, y, spend = torch.cat(features), torch.cat(values), torch.cat(spends)
    bad = int((~x.isfinite()).any(dim=1).sum() + (~spend.isfinite()).sum())
    if bad:
        raise ModelError(
            f"{bad} of {rows} training examples have a feature or spend that is not finite; build the examples again"
        )
    mean, std = x.mean(dim=0), x.std(dim=0, unbiased=False)
    std = torch.where(std > 1e-9, std, 1.0)  # a constant feature says nothing and must not be divided by 0
    weight, bias = fit_logit((x - mean) / std, y)
    class_rows = torch.bincount(y, minlength=VALUE_CLASSES)
    class_spend = torch.zeros(VALUE_CLASSES, dtype=torch.float64).index_add_(0, y, spend)
    return Statistics(
        rows=rows,
        feature_mean=mean.tolist(),
        feature_std=std.tolist(),
        value_weight=weight.tolist(),
        value_bias=bias.tolist(),
        class_mean_spend=(class_spend / class_rows.clamp(min=1)).tolist(),
        class_rows=class_rows.tolist(),
    )


def fit_prior(batches: Iterable[dict[str, Tensor]], population: Sequence[float], start: Prior) -> Prior:
    """The prior under which the label windows of training batches with prior (b, C) and label_counts (b, C) are likeliest.

    Minimises the mean cross-entropy of the shares in the window against ((w + a·population) ÷ Σ)^s ÷ Σ, over users with events in
    it, by L-BFGS in log a and log s: the Dirichlet pseudo-weight by maximum likelihood instead of a guess, so that training has
    to add to the strongest such prior. `start` comes back where no window has an event.
    """
    weights, shares, rows = [], [], 0
    for batch in batches:
        counts = batch["label_counts"].double()
        known = counts.sum(dim=1) > 0
        weights.append(batch["prior"][known].double())
        shares.append(counts[known] / counts[known].sum(dim=1, keepdim=True))
        rows += int(known.sum())
        if rows >= PRIOR_ROWS:
            break
    if not rows:
        return start
    w, p, base = torch.cat(weights), torch.cat(shares), torch.tensor(population, dtype=torch.float64)
    origin = torch.tensor(start, dtype=torch.float64).log()
    logs = origin.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([logs], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        smoothed = (w + logs[0].exp() * base).log()
        log_shares = (logs[1].exp() * smoothed).log_softmax(dim=1)
        loss: Tensor = -(p * log_shares).sum(dim=1).mean() + PRIOR_PULL * (logs - origin).square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    found = logs.detach()
    if not bool(found.isfinite().all()):
        raise ModelError(
            f"the prior's pseudo-weight and exponent came out as {found.exp().tolist()}; a history or label is not finite: "
            "build the examples again, or set training.fit_prior to false"
        )
    return Prior(float(found[0].exp()), float(found[1].exp()))


def fit_logit(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Multinomial logit of classes y (n,) on x (n, F) float64: weight (3, F) and bias (3,) at the ridge optimum."""
    layer = nn.Linear(x.shape[1], VALUE_CLASSES, dtype=torch.float64)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        penalty = RIDGE * (layer.weight.square().sum() + layer.bias.square().sum())
        loss: Tensor = nn.functional.cross_entropy(layer(x), y) + penalty
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return layer.weight.detach(), layer.bias.detach()


def start_heads(heads: Heads, statistics: Statistics) -> None:
    """Puts the fitted numbers into untrained heads: the value head now is the logit."""
    with torch.no_grad():
        heads.feature_mean.copy_(torch.tensor(statistics.feature_mean))
        heads.feature_std.copy_(torch.tensor(statistics.feature_std))
        heads.value.logit.weight.copy_(torch.tensor(statistics.value_weight))
        heads.value.logit.bias.copy_(torch.tensor(statistics.value_bias))

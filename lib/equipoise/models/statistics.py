"""What is fitted on the training sample before the first step: feature scaling, the value logit, spend per class."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.errors import ModelError
from equipoise.models.heads import VALUE_CLASSES, Heads, signed_log1p

RIDGE = 1e-4
"""L2 weight per row mean. At 4,096 rows it equals scikit-learn's C = 1.2; it keeps a fit with an absent class finite."""

MOST_ROWS = 200_000
"""Rows read; means of 12 features do not move beyond that."""


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

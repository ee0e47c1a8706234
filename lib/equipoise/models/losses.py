"""What training minimises and validation reports; sums over rows, so that ranks and batches add up exactly."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class LossSums(NamedTuple):
    """Sums over a batch: cross-entropies and label entropies in nats, and the rows each is over."""

    category: Tensor
    category_entropy: Tensor
    category_rows: Tensor
    value: Tensor
    value_rows: Tensor


def loss_sums(category_logits: Tensor, value_logits: Tensor, label_counts: Tensor, label_value: Tensor) -> LossSums:
    """category_logits, label_counts (b, C); value_logits (b, 3); label_value (b,) int64.

    Category: cross-entropy of the shares in the label window; a user whose window is empty has none and does not count.
    Value: cross-entropy of the class.
    """
    events = label_counts.sum(dim=-1, keepdim=True)
    known = (events > 0).squeeze(-1)
    shares = label_counts / events.clamp(min=1e-12)
    category = -(shares * category_logits.log_softmax(dim=-1)).sum(dim=-1)
    entropy = -torch.xlogy(shares, shares).sum(dim=-1)
    value = nn.functional.cross_entropy(value_logits, label_value, reduction="sum")
    rows = torch.tensor(float(len(label_value)), device=value.device)
    return LossSums(category[known].sum(), entropy[known].sum(), known.sum().to(value.dtype), value, rows)


def combined(sums: LossSums, category_weight: float, value_weight: float) -> Tensor:
    """Weighted sum of the mean losses, in nats; a part without rows adds 0."""
    category = sums.category / sums.category_rows.clamp(min=1.0)
    value = sums.value / sums.value_rows.clamp(min=1.0)
    return category_weight * category + value_weight * value

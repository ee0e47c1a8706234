"""What training minimises and validation reports; sums over rows, so that ranks and batches add up exactly."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from equipoise.models.heads import Outputs


class LossSums(NamedTuple):
    """Sums over a batch: cross-entropies and label entropies in nats, and the rows each is over."""

    category: Tensor
    category_entropy: Tensor
    category_rows: Tensor
    visit: Tensor
    value: Tensor
    value_rows: Tensor
    next_item: Tensor
    next_item_rows: Tensor
    behaviour: Tensor
    behaviour_rows: Tensor


class LossWeights(NamedTuple):
    """Of the mean losses in their sum; every field is a setting of the same name."""

    category_weight: float
    visit_weight: float
    value_weight: float
    next_item_weight: float
    behaviour_weight: float


class RowLosses(NamedTuple):
    """Losses of each row of a batch, nats, (b,) each; `known` (b,): the label window is not empty, so that category counts."""

    category: Tensor
    visit: Tensor
    value: Tensor
    known: Tensor


def row_losses(outputs: Outputs, label_counts: Tensor, label_value: Tensor) -> RowLosses:
    """label_counts (b, C) events in the label window; label_value (b,) int64.

    Category: cross-entropy of the shares in the label window; a user whose window is empty has none and does not count.
    Visit: log loss of whether there is an event in a category, summed over the categories. Value: cross-entropy of the class.
    """
    return RowLosses(
        share_loss(outputs.category_logits, window_shares(label_counts)),
        visit_loss(outputs.visit_logits, label_counts),
        nn.functional.cross_entropy(outputs.value_logits, label_value, reduction="none"),
        label_counts.sum(dim=-1) > 0,
    )


def loss_sums(outputs: Outputs, label_counts: Tensor, label_value: Tensor) -> LossSums:
    """The rows of `row_losses`, added up, and the events of the sequence, of which the text route has none."""
    rows, shares = row_losses(outputs, label_counts, label_value), window_shares(label_counts)
    entropy = -torch.xlogy(shares, shares).sum(dim=-1)
    number = torch.tensor(float(len(label_value)), device=rows.value.device)
    known = rows.known
    windows = known.sum().to(rows.value.dtype)
    users = rows.category[known].sum(), entropy[known].sum(), windows, rows.visit.sum(), rows.value.sum(), number
    events = outputs.sequence[:4] if outputs.sequence is not None else (torch.zeros_like(number),) * 4
    return LossSums(*users, *events)


def window_shares(label_counts: Tensor) -> Tensor:
    """Events in the label window (b, C) → shares of them; zeros where it is empty."""
    return label_counts / label_counts.sum(dim=-1, keepdim=True).clamp(min=1e-12)


def share_loss(category_logits: Tensor, shares: Tensor) -> Tensor:
    """(b,) cross-entropy in nats of the shares in the label window; 0 where it is empty."""
    return -(shares * category_logits.log_softmax(dim=-1)).sum(dim=-1)


def visit_loss(visit_logits: Tensor, label_counts: Tensor) -> Tensor:
    """(b,) log loss in nats of an event in each category, summed over the categories."""
    label = (label_counts > 0).to(visit_logits.dtype)
    return nn.functional.binary_cross_entropy_with_logits(visit_logits, label, reduction="none").sum(dim=-1)


def combined(sums: LossSums, weights: LossWeights) -> Tensor:
    """Weighted sum of the mean losses, in nats; a part without rows adds 0."""
    means = (
        sums.category / sums.category_rows.clamp(min=1.0),
        sums.visit / sums.value_rows.clamp(min=1.0),
        sums.value / sums.value_rows.clamp(min=1.0),
        sums.next_item / sums.next_item_rows.clamp(min=1.0),
        sums.behaviour / sums.behaviour_rows.clamp(min=1.0),
    )
    return torch.stack([weight * mean for weight, mean in zip(weights, means, strict=True)]).sum()

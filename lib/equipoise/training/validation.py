"""One pass over the validation examples, on all ranks together."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from equipoise.models import BehaviourModel
from equipoise.models.losses import LossSums, loss_sums
from equipoise.training.ranks import Ranks


def validate(
    model: BehaviourModel,
    batches: Iterable[dict[str, Tensor]],
    ranks: Ranks,
    *,
    category_weight: float,
    visit_weight: float,
    value_weight: float,
) -> dict[str, float]:
    """Mean losses over all ranks' examples, the same numbers on each rank.

    loss: weighted sum in nats. category_loss: cross-entropy, nats. category_kl_bits: KL(label shares ‖ prediction), bits.
    visit_loss: log loss of an event in a category, summed over categories, nats. value_loss: log loss, nats.
    rows, category_rows: examples, and those with a label window that is not empty.
    The ranks meet once, after their shards, so shards may be uneven or empty.
    """
    model.eval()
    total = torch.zeros(len(LossSums._fields), dtype=torch.float64)
    with torch.no_grad():
        for batch in batches:
            total += torch.stack([s.double().cpu() for s in forward_sums(model, model, batch, ranks)])
    sums = dict(zip(LossSums._fields, ranks.sum(total).tolist(), strict=True))
    category = _mean(sums["category"], sums["category_rows"])
    entropy = _mean(sums["category_entropy"], sums["category_rows"])
    visit, value = (_mean(sums[name], sums["value_rows"]) for name in ("visit", "value"))
    return {
        "loss": category_weight * category + visit_weight * visit + value_weight * value,
        "category_loss": category,
        "category_kl_bits": (category - entropy) / math.log(2),
        "visit_loss": visit,
        "value_loss": value,
        "rows": sums["value_rows"],
        "category_rows": sums["category_rows"],
    }


def forward_sums(net: nn.Module, model: BehaviourModel, batch: dict[str, Tensor], ranks: Ranks) -> LossSums:
    """Loss sums of a batch through `net`, which is `model` or wraps it."""
    moved = {name: tensor.to(ranks.device, non_blocking=True) for name, tensor in batch.items()}
    outputs = net(*(moved[name] for name in model.inputs))
    return loss_sums(outputs, moved["label_counts"], moved["label_value"])


def _mean(total: float, rows: float) -> float:
    return total / rows if rows else 0.0

"""One pass over the validation examples, on all ranks together."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from equipoise.models import Model, Outputs
from equipoise.models.losses import LossSums, LossWeights, ValueLoss, loss_sums
from equipoise.tables.vocabulary import BEHAVIOURS
from equipoise.training.ranks import Ranks


def validate(
    model: Model,
    batches: Iterable[dict[str, Tensor]],
    ranks: Ranks,
    weights: LossWeights,
    value_loss: ValueLoss = "cross_entropy",
) -> dict[str, float]:
    """Mean losses over all ranks' examples, the same numbers on each rank.

    loss: weighted sum in nats. category_loss: cross-entropy, nats. category_kl_bits: KL(label shares ‖ prediction), bits.
    visit_loss: log loss of an event in a category, summed over categories, nats. value_loss: log loss, nats. value_squared:
    squared error of the value's grade, which stands in the loss where value_loss is 'squared'.
    rows, category_rows: examples, and those with a label window that is not empty. Of a route that reads events one by one, over
    the events that follow another: next_item_loss, log loss among the distinct next items of a batch, nats; behaviour_loss, log
    loss of BEHAVIOURS, nats, and behaviour_base_loss, that of always saying their shares; behaviour_<name>_precision, _recall,
    _f1; next_item_rows, behaviour_rows. Of sequences whose kind is learnt, the same as sequence_behaviour_…. balance_kl:
    KL(observed shares ‖ prediction) over users with a history, nats, where it has a weight.
    The ranks meet once, after their shards, so shards may be uneven or empty.
    """
    model.eval()
    total = torch.zeros(len(LossSums._fields), dtype=torch.float64)
    confusion, kinds = (torch.zeros(len(BEHAVIOURS), len(BEHAVIOURS), dtype=torch.float64) for _ in range(2))
    with torch.no_grad():
        for batch in batches:
            outputs, sums_here = _forward(model, model, batch, ranks)
            total += torch.stack([s.double().cpu() for s in sums_here])
            if outputs.sequence is not None:
                confusion += outputs.sequence.confusion.double().cpu()
                kinds += outputs.sequence.whole.confusion.double().cpu() if outputs.sequence.whole else 0.0
    sums = dict(zip(LossSums._fields, ranks.sum(total).tolist(), strict=True))
    confusion, kinds = ranks.sum(confusion), ranks.sum(kinds)
    category = _mean(sums["category"], sums["category_rows"])
    entropy = _mean(sums["category_entropy"], sums["category_rows"])
    visit, value, squared = (_mean(sums[name], sums["value_rows"]) for name in ("visit", "value", "value_squared"))
    next_item, behaviour = (_mean(sums[name], sums[f"{name}_rows"]) for name in ("next_item", "behaviour"))
    followed = {"next_item_loss": next_item, "next_item_rows": sums["next_item_rows"]} if sums["next_item_rows"] else {}
    if sums["behaviour_rows"] and weights.behaviour_weight:  # of a source that shows one kind there is nothing to tell
        followed |= {"behaviour_loss": behaviour, "behaviour_rows": sums["behaviour_rows"], **_per_class(confusion, "behaviour")}
    sequence, balance = (_mean(sums[name], sums[f"{name}_rows"]) for name in ("sequence", "balance"))
    if sums["sequence_rows"]:
        name = "sequence_behaviour"
        followed |= {f"{name}_loss": sequence, f"{name}_rows": sums["sequence_rows"], **_per_class(kinds, name)}
    if weights.balance_weight:
        followed["balance_kl"] = balance
    parts = LossWeights(category, visit, squared if value_loss == "squared" else value, next_item, behaviour, balance, sequence)
    return {
        "loss": sum(weight * part for weight, part in zip(weights, parts, strict=True)),
        "category_loss": category,
        "category_kl_bits": (category - entropy) / math.log(2),
        "visit_loss": visit,
        "value_loss": value,
        "value_squared": squared,
        "rows": sums["value_rows"],
        "category_rows": sums["category_rows"],
        **followed,
    }


def forward_sums(net: nn.Module, model: Model, batch: dict[str, Tensor], ranks: Ranks, smoothing: float = 0.0) -> LossSums:
    """Loss sums of a batch through `net`, which is `model` or wraps it."""
    return _forward(net, model, batch, ranks, smoothing)[1]


def _forward(
    net: nn.Module, model: Model, batch: dict[str, Tensor], ranks: Ranks, smoothing: float = 0.0
) -> tuple[Outputs, LossSums]:
    moved = {name: tensor.to(ranks.device, non_blocking=True) for name, tensor in batch.items()}
    outputs = net(*(moved[name] for name in model.inputs))
    return outputs, loss_sums(outputs, moved["label_counts"], moved["label_value"], smoothing, moved["prior"])


def _per_class(confusion: Tensor, task: str) -> dict[str, float]:
    """Of counts (truth, answer): precision, recall and F1 of each of BEHAVIOURS, 0 where there is nothing to divide by, and the
    log loss in nats of always saying their shares."""
    shares = confusion.sum(dim=1) / confusion.sum()
    found = {f"{task}_base_loss": float(-torch.xlogy(shares, shares).sum())}
    for i, name in enumerate(BEHAVIOURS):
        right, answered, there = float(confusion[i, i]), float(confusion[:, i].sum()), float(confusion[i].sum())
        found[f"{task}_{name}_precision"] = _mean(right, answered)
        found[f"{task}_{name}_recall"] = _mean(right, there)
        found[f"{task}_{name}_f1"] = _mean(2.0 * right, answered + there)
    return found


def _mean(total: float, rows: float) -> float:
    return total / rows if rows else 0.0

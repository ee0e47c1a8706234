"""What training minimises and validation reports; sums over rows, so that ranks and batches add up exactly."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from equipoise.models.heads import Outputs

ValueLoss = Literal["cross_entropy", "squared"]


class LossSums(NamedTuple):
    """Sums over a batch: cross-entropies and label entropies in nats, squared errors of the value's grade, and the rows each is
    over. balance: KL divergences of `balance_loss`, nats; sequence: cross-entropies of the sequences' kinds."""

    category: Tensor
    category_entropy: Tensor
    category_rows: Tensor
    visit: Tensor
    value: Tensor
    value_squared: Tensor
    value_rows: Tensor
    next_item: Tensor
    next_item_rows: Tensor
    behaviour: Tensor
    behaviour_rows: Tensor
    balance: Tensor
    balance_rows: Tensor
    sequence: Tensor
    sequence_rows: Tensor


class LossWeights(NamedTuple):
    """Of the mean losses in their sum; every field is a setting of the same name."""

    category_weight: float
    visit_weight: float
    value_weight: float
    next_item_weight: float
    behaviour_weight: float
    balance_weight: float = 0.0
    sequence_behaviour_weight: float = 0.0


class RowLosses(NamedTuple):
    """Losses of each row of a batch, nats, (b,) each, and value_squared in grades; `known` (b,): the label window is not empty,
    so that category counts."""

    category: Tensor
    visit: Tensor
    value: Tensor
    value_squared: Tensor
    known: Tensor


def row_losses(outputs: Outputs, label_counts: Tensor, label_value: Tensor, smoothing: float = 0.0) -> RowLosses:
    """label_counts (b, C) events in the label window; label_value (b,) int64.

    Category: cross-entropy of the shares in the label window; a user whose window is empty has none and does not count.
    Visit: log loss of whether there is an event in a category, summed over the categories. Value: cross-entropy of the class.
    Value squared: (Σ_k k·p_k − class)², the class being a grade from 0. smoothing: so much of the shares and of the class is
    dealt out evenly (Szegedy et al. 2016, arXiv 1512.00567).
    """
    shares, known = window_shares(label_counts), label_counts.sum(dim=-1) > 0
    if smoothing:
        shares = torch.where(known.unsqueeze(-1), (1.0 - smoothing) * shares + smoothing / shares.shape[-1], shares)
    return RowLosses(
        share_loss(outputs.category_logits, shares),
        visit_loss(outputs.visit_logits, label_counts),
        nn.functional.cross_entropy(outputs.value_logits, label_value, reduction="none", label_smoothing=smoothing),
        squared_loss(outputs.value_logits, label_value),
        known,
    )


def loss_sums(
    outputs: Outputs, label_counts: Tensor, label_value: Tensor, smoothing: float = 0.0, prior: Tensor | None = None
) -> LossSums:
    """The rows of `row_losses`, added up; the events of the sequence, of which the text route has none; and the balance with the
    decayed weights `prior` (b, C), where they are given."""
    rows, shares = row_losses(outputs, label_counts, label_value, smoothing), window_shares(label_counts)
    entropy = -torch.xlogy(shares, shares).sum(dim=-1)
    number = torch.tensor(float(len(label_value)), device=rows.value.device)
    known = rows.known
    windows = known.sum().to(rows.value.dtype)
    categories = rows.category[known].sum(), entropy[known].sum(), windows
    users = rows.visit.sum(), rows.value.sum(), rows.value_squared.sum(), number
    nothing, found = torch.zeros_like(number), outputs.sequence
    events = (nothing,) * 4 if found is None else found[:4]
    whole = (nothing,) * 2 if found is None or found.whole is None else (found.whole.loss, found.whole.rows)
    balance = (nothing,) * 2 if prior is None else _balance(outputs, prior)
    return LossSums(*categories, *users, *events, *balance, *whole)


def _balance(outputs: Outputs, prior: Tensor) -> tuple[Tensor, Tensor]:
    return balance_loss(outputs.category_logits, prior).sum(), has_history(prior).sum().to(outputs.category_logits.dtype)


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


def squared_loss(value_logits: Tensor, label_value: Tensor) -> Tensor:
    """(b,) squared error of the expected grade, the classes being grades 0, 1, …: for labels that are steps of one thing."""
    grades = torch.arange(value_logits.shape[-1], dtype=value_logits.dtype, device=value_logits.device)
    return (value_logits.softmax(dim=-1) @ grades - label_value.to(value_logits.dtype)).square()


def has_history(prior: Tensor) -> Tensor:
    """(b,) whether a user's decayed weights (b, C) are of anything."""
    return prior.sum(dim=-1) > 0


def balance_loss(category_logits: Tensor, prior: Tensor) -> Tensor:
    """(b,) KL(observed ‖ predicted) in nats: the user's decayed shares, prior ÷ Σ prior, against the predicted ones; 0 for a user
    without a history. The calibration of Steck 2018 (eq. 5, without his smoothing, which a softmax does not need), put into the
    loss in place of a re-ranking behind it."""
    observed = window_shares(prior.to(category_logits.dtype))
    return (torch.xlogy(observed, observed) - observed * category_logits.log_softmax(dim=-1)).sum(dim=-1)


class Rows(NamedTuple):
    """What the sums of one forward pass are divided by, of the whole step: rows with a category, rows, rows with a history, and
    sequences whose kind is known. `part`: of this rank's rows of the step, those of this pass, for what is counted only while it
    is computed."""

    category: float
    all: float
    part: float = 1.0
    balance: float = 0.0
    sequence: float = 0.0


def combined(sums: LossSums, weights: LossWeights, rows: Rows | None = None, value_loss: ValueLoss = "cross_entropy") -> Tensor:
    """Weighted sum of the mean losses, in nats; a part without rows adds 0.

    With `rows` the answers of all passes of a step add up to what one pass over all of them would say.
    """
    return torch.stack([w * mean for w, mean in zip(weights, mean_losses(sums, rows, value_loss), strict=True)]).sum()


def mean_losses(sums: LossSums, rows: Rows | None = None, value_loss: ValueLoss = "cross_entropy") -> tuple[Tensor, ...]:
    """Mean losses in the order of LossWeights, nats; with `rows` this pass's part of the step's."""
    category, every = (sums.category_rows, sums.value_rows) if rows is None else (rows.category, rows.all)
    balance, sequence = (sums.balance_rows, sums.sequence_rows) if rows is None else (rows.balance, rows.sequence)
    part = 1.0 if rows is None else rows.part
    value = sums.value if value_loss == "cross_entropy" else sums.value_squared
    return (
        sums.category / _least_one(category),
        sums.visit / _least_one(every),
        value / _least_one(every),
        part * sums.next_item / _least_one(sums.next_item_rows),
        part * sums.behaviour / _least_one(sums.behaviour_rows),
        sums.balance / _least_one(balance),
        sums.sequence / _least_one(sequence),
    )


def _least_one(rows: Tensor | float) -> Tensor | float:
    return rows.clamp(min=1.0) if isinstance(rows, Tensor) else max(1.0, rows)

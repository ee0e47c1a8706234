"""Pairs of texts that are bought together, out of the events of training examples. Arrays only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from equipoise.models.tower import behaviour_codes
from equipoise.tables.vocabulary import BEHAVIOURS

MOST_PARTNERS = 16
"""Of one purchase; where more were bought with it, so many are drawn: a stocked-up basket would drown the others."""


class Bought(NamedTuple):
    """Purchases, one per user, day and text: numbers of users, days since 1970-01-01, places among the texts; (n,) int64 each."""

    users: NDArray[np.int64]
    days: NDArray[np.int64]
    texts: NDArray[np.int64]


class Together(NamedTuple):
    """pairs (p, 2) int64 places among the texts, the smaller first; counts (p,) int64: how often they were seen together.

    answers_from: only texts from this place on are held out and asked for; 0: any.
    """

    pairs: Tensor
    counts: Tensor
    answers_from: int = 0


def bought(batches: Iterable[dict[str, Tensor]], keys: NDArray[np.int64], texts: NDArray[np.int64]) -> Bought:
    """Purchases in the events of the examples; examples of one user at several cuts tell of the same ones, which count once.

    Args:
        batches: user_id (b, 16) uint8, cut_day (b,), items (b, e) keys, types (b, e), ages (b, e) days.
        keys: of the items, rising; texts: place of each one's text.
    """
    buys = torch.tensor(behaviour_codes()) == list(BEHAVIOURS).index("buy")
    found: list[NDArray[np.int64]] = []
    for batch in batches:
        row, place = torch.nonzero(buys[batch["types"]], as_tuple=True)
        users = batch["user_id"].contiguous().numpy().view("<i8").reshape(len(batch["user_id"]), -1)
        days = batch["cut_day"][row] - batch["ages"][row, place].long()
        columns = (*users[row.numpy()].T, days.numpy(), batch["items"][row, place].numpy())
        found.append(np.unique(np.stack(columns, axis=1), axis=0))
    if not found:
        return Bought(*(np.zeros(0, np.int64),) * 3)
    rows = np.unique(np.concatenate(found), axis=0)
    at = np.searchsorted(keys, rows[:, -1]).clip(max=max(0, len(keys) - 1))
    known = keys[at] == rows[:, -1] if len(keys) else np.zeros(len(rows), bool)
    _, users_of = np.unique(rows[known, :-2], axis=0, return_inverse=True)
    named = np.stack([users_of.reshape(-1), rows[known, -2], texts[at[known]]], axis=1)
    once = np.unique(named, axis=0)
    return Bought(*once.T.astype(np.int64))


def together(purchases: Bought, *, days: int, seed: int) -> Together:
    """Two texts that a user bought at most `days` days apart, 0 being the same day; a text is no pair with itself."""
    users, when, texts = purchases
    span = int(when.max(initial=0) - when.min(initial=0)) + 2 * days + 2
    moment = users * span + (when - when.min(initial=0))  # rises with users, then days
    order = np.argsort(moment, kind="stable")
    moment, texts = moment[order], texts[order]
    low = np.searchsorted(moment, moment - days, side="left")
    size = np.searchsorted(moment, moment + days, side="right") - low
    number = np.minimum(size, MOST_PARTNERS)
    anchor = np.repeat(np.arange(len(texts)), number)
    within = np.arange(len(anchor)) - np.repeat(np.cumsum(number) - number, number)
    drawn = np.random.default_rng(seed).integers(0, np.maximum(1, size[anchor]))
    partner = low[anchor] + np.where(size[anchor] <= MOST_PARTNERS, within, drawn)
    two = np.sort(np.stack([texts[anchor], texts[partner]], axis=1), axis=1)
    two = two[two[:, 0] != two[:, 1]]
    pairs, counts = np.unique(two, axis=0, return_counts=True)
    return Together(torch.from_numpy(pairs.reshape(-1, 2).astype(np.int64)), torch.from_numpy(counts.astype(np.int64)))

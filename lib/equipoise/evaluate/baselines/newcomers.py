"""A ranker of items that nobody had before, by what they are: learnt on items that were new at earlier cuts.

score(u, i) = Σ over attributes g of a_g · log share_u(g(i)) + b_g · log share_all(g(i)) + c_g · log prior(g(i)), where share_u is
the part of the user's decayed history with the item's value of the attribute, share_all everybody's, and the prior the mean
number of buyers of recently new items with that value. The weights are those of one logistic regression.

Letters: n users ranked for, m items ranked, k attributes, r training rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from equipoise.evaluate.arrays import Floats, Ints, counted, summed

HALF_LIFE_DAYS = 112.0
NOVELTY_DAYS = 56
"""How long an item is new: what training cuts look forward to, and what the prior looks back on."""

CUTS, CUT_DAYS = 4, 14
"""Training cuts, this many days apart; the last is NOVELTY_DAYS before the origin, so that every label lies before it."""

TRAINING_USERS, NEGATIVES = 800, 35
"""Per cut: users who took something new at most (a seeded sample), and other new items drawn for each."""

SHRINK_LINES, SHRINK_ITEMS = 2.0, 3.0
"""Pseudo-counts: of everybody's share in a user's, of the mean in a prior."""

RIDGE = 30.0
SHARE_FLOORS = (1e-5, 1e-6)
"""Added before the logs of own and common shares."""

Small = NDArray[np.float32]


@dataclass(frozen=True)
class Sales:
    """Trips before the origin by number, one row per line, and the users there are."""

    user: Ints
    item: Ints
    day: Ints
    users: int


@dataclass(frozen=True)
class Features:
    """own: per attribute (n, values) log shares, and which value each item has (m,). common: (m, 2k), the same for every user."""

    own: tuple[tuple[Small, Ints], ...]
    common: Small

    def pairs(self, user: Ints, item: Ints) -> Small:
        """(r, 3k) rows of pairs, users and items by place."""
        columns = [logs[user, value[item]] for logs, value in self.own]
        return np.column_stack([*columns, self.common[item]]).astype(np.float32)

    def score(self, weight: Floats) -> Floats:
        """(n, m) of every user × item."""
        k = len(self.own)
        out = np.tile(self.common.astype(np.float64) @ weight[k:], (len(self.own[0][0]), 1))
        for (logs, value), a in zip(self.own, weight[:k], strict=True):
            out += (logs.astype(np.float64) * a)[:, value]
        return out


def attributes(items: pd.DataFrame) -> dict[str, Ints]:
    """Attribute → (items,) value of each item by number, from category_1 … 3, brand and text of silver.items.

    Departments, categories, leaves, the last part of the text (the maker, where a source has one), and pairs of them.
    """
    of = {c: items[c].fillna("").astype(str) for c in ("category_1", "category_2", "category_3", "brand")}
    of["maker"] = items["text"].str.rsplit(", ", n=1).str[-1]
    single: list[tuple[str, ...]] = [("category_1",), ("category_2",), ("category_3",), ("maker",)]
    double: list[tuple[str, ...]] = [(c, other) for c in ("category_2", "category_3") for other in ("brand", "maker")]
    joined = {names: of[names[0]] if len(names) == 1 else of[names[0]] + "|" + of[names[1]] for names in single + double}
    return {" × ".join(names): pd.factorize(values)[0].astype(np.int64) for names, values in joined.items()}


def features(log: Sales, values: Mapping[str, Ints], cut: int, users: Ints, items: Ints) -> Features:
    """Of `users` (n,) and `items` (m,) by number, from what lies before `cut`; `values`: see `attributes`."""
    past = log.day < cut
    user, item, day = log.user[past], log.item[past], log.day[past]
    first = np.full(int(log.item.max(initial=0)) + 1, cut, dtype=np.int64)
    np.minimum.at(first, item, day)
    weight = 0.5 ** ((cut - day) / HALF_LIFE_DAYS)
    lines = summed(user, weight, log.users)[users][:, None]
    new = first[item] >= cut - NOVELTY_DAYS
    bought = np.unique(user[new] * len(first) + item[new]) % len(first)  # one per buyer × new item
    came = np.unique(bought)
    mean = len(bought) / max(len(came), 1)
    own, common = [], []
    for value in values.values():
        size = int(value.max(initial=0)) + 1
        present, place = np.unique(value[items], return_inverse=True)
        counts = csr_matrix((weight, (user, value[item])), shape=(log.users, size))
        share = np.asarray(counts.sum(axis=0)).ravel()[present] / max(float(weight.sum()), 1e-12)
        mine = counts[users][:, present].toarray()
        shrunk = (mine + SHRINK_LINES * share + SHARE_FLOORS[0]) / (lines + SHRINK_LINES)
        own.append((np.log(shrunk).astype(np.float32), place.astype(np.int64)))
        buyers, number = (counted(value[x], size)[present] for x in (bought, came))
        prior = np.log((buyers + SHRINK_ITEMS * mean + 1e-9) / (number + SHRINK_ITEMS))
        common += [np.log(share + SHARE_FLOORS[1])[place], prior[place]]
    return Features(tuple(own), np.column_stack(common).astype(np.float32))


def fitted(log: Sales, values: Mapping[str, Ints], origin: int, seed: int) -> Floats | None:
    """(3k,) weights, or None when no earlier cut has users who took something new."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(seed)
    cuts = [origin - NOVELTY_DAYS - j * CUT_DAYS for j in range(CUTS)]
    parts = [part for cut in cuts if (part := _rows(log, values, cut, rng)) is not None]
    if not parts:
        return None
    x, y, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    scale: Floats = x.std(axis=0, dtype=np.float64) + 1e-6
    model = LogisticRegression(C=1.0 / RIDGE, solver="newton-cholesky")
    model.fit((x - x.mean(axis=0, dtype=np.float64)) / scale, y, sample_weight=weight / weight.mean())
    out: Floats = model.coef_[0] / scale  # the intercept ranks nothing
    return out


def _rows(log: Sales, values: Mapping[str, Ints], cut: int, rng: np.random.Generator) -> tuple[Small, Floats, Floats] | None:
    """Features (r, 3k), taken or not (r,) and weights (r,) of users × items that were new in the NOVELTY_DAYS from `cut` on."""
    past, inside = log.day < cut, (log.day >= cut) & (log.day < cut + NOVELTY_DAYS)
    items = np.setdiff1d(log.item[inside], log.item[past])
    took = inside & np.isin(log.item, items)
    users = np.intersect1d(log.user[took], log.user[past])
    users = np.sort(rng.permutation(users)[:TRAINING_USERS])
    if not len(users) or len(items) < 2:
        return None
    mine = took & np.isin(log.user, users)
    key = np.unique(np.searchsorted(users, log.user[mine]) * len(items) + np.searchsorted(items, log.item[mine]))
    drawn = np.repeat(np.arange(len(users)), NEGATIVES) * len(items) + rng.integers(0, len(items), len(users) * NEGATIVES)
    drawn = drawn[~np.isin(drawn, key)]
    both = np.concatenate([key, drawn])
    user = both // len(items)
    size = np.sqrt(counted(user[: len(key)], len(users)))[user]
    label = np.arange(len(both)) < len(key)
    # A user who takes many new items counts more than one who takes one, but not as many times more.
    weight = np.where(label, 1.0 / size, size)
    return features(log, values, cut, users, items).pairs(user, both % len(items)), label.astype(np.float64), weight

"""Task new_items: who buys which item that nobody had before? Only what an item *is* can tell: here language has to pay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.evaluate.arrays import Floats, Ints, counted, summed
from equipoise.evaluate.behaviour import Behaviour, Catalogue
from equipoise.evaluate.bootstrap import Measure, per_user
from equipoise.evaluate.metrics import ranking
from equipoise.evaluate.table import Comparison, Method

BASELINE = "leaf_share"
HALF_LIFE_DAYS = 112.0
SHORT, LONG = 10, 50
"""Places that NDCG and recall look at."""

SHARPNESS = 20.0
"""Of the kernels: exp(SHARPNESS · (cosine − 1)), so that an item .1 less alike counts e² times less."""

FLOOR = 1e-30
"""Added before the log: kernels of cosine −1 are e⁻⁴⁰."""

MOST_USERS = 2_000
MOST_ITEMS = 20_000
"""Buyers and new items compared at most; beyond that a seeded sample."""

Similarity = Callable[[Ints, Ints], NDArray[np.floating[Any]]]
"""(rows of items, rows of items) → cosines (a, b)."""


@dataclass(frozen=True)
class Newcomers:
    """Items first seen from the origin on, and the known users who take one before the end.

    items: catalogue numbers of the new ones. users: numbers of the tested. truth: keys (place in users) · items + place in items.
    own_user (place in users, rising), own_item (catalogue number), own_weight: the users' decayed history, by item.
    """

    items: Ints
    users: Ints
    truth: Ints
    own_user: Ints
    own_item: Ints
    own_weight: Floats

    @property
    def needed(self) -> Ints:
        """Catalogue numbers of every item that a score looks at."""
        return np.union1d(self.items, self.own_item)

    @property
    def size(self) -> Ints:
        """(users,) new items in the truth of each."""
        return counted(self.truth // max(len(self.items), 1), len(self.users))


def newcomers(
    behaviour: Behaviour, catalogue: Catalogue, excluded: tuple[str, ...], start: int, end: int, seed: int
) -> Newcomers:
    """From the trips of the evaluated users, items of the `excluded` top levels and of unknown category left out."""
    trips = behaviour.where(behaviour.trips(start) & (behaviour.item >= 0) & (behaviour.day < end))
    log = trips.where(catalogue.countable(excluded)[trips.item])
    rng, past = np.random.default_rng(seed), log.day < start
    items = np.setdiff1d(log.item[~past], log.item[past])
    items = np.sort(rng.permutation(items)[:MOST_ITEMS])
    took = ~past & np.isin(log.item, items)
    users = np.intersect1d(log.user[took], log.user[past])
    users = np.sort(rng.permutation(users)[:MOST_USERS])
    counts = took & np.isin(log.user, users)
    truth = np.unique(np.searchsorted(users, log.user[counts]) * len(items) + np.searchsorted(items, log.item[counts]))
    mine = past & np.isin(log.user, users)
    weight = 0.5 ** ((start - log.day[mine]) / HALF_LIFE_DAYS)
    width = len(catalogue.items)
    keys, place = np.unique(np.searchsorted(users, log.user[mine]) * width + log.item[mine], return_inverse=True)
    return Newcomers(items, users, truth, keys // width, keys % width, summed(place, weight, len(keys)))


def leaf_scores(found: Newcomers, leaf: Ints) -> dict[str, Callable[[int], Floats]]:
    """Per user (items,): how much of everybody's, and of the user's own, history is of each new item's leaf category."""
    kinds = int(leaf.max(initial=0)) + 1
    everybody = summed(leaf[found.own_item], found.own_weight, kinds)[leaf[found.items]]

    def own(user: int) -> Floats:
        rows = _rows(found, user)
        out: Floats = summed(leaf[found.own_item[rows]], found.own_weight[rows], kinds)[leaf[found.items]]
        return out

    return {"popular_leaf": lambda user: everybody, BASELINE: own}


def kernel(found: Newcomers, similar: Similarity) -> Callable[[int], Floats]:
    """Per user (items,): log Σ over the history of weight · exp(SHARPNESS · (cosine − 1)), weights summing to 1."""

    def score(user: int) -> Floats:
        rows = _rows(found, user)
        weight = found.own_weight[rows] / found.own_weight[rows].sum()
        near = np.exp(SHARPNESS * (np.asarray(similar(found.own_item[rows], found.items), dtype=np.float32) - 1.0))
        out: Floats = np.log(weight.astype(np.float32) @ near + FLOOR).astype(np.float64)
        return out

    return score


def attributes(texts: NDArray[np.str_], numbers: Ints) -> Similarity:
    """TF-IDF cosines of the comma-separated parts of item texts; `numbers`: catalogue number of each text, rising."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    parts = TfidfVectorizer(tokenizer=_parts, token_pattern=None, lowercase=False).fit_transform(texts).tocsr()

    def similar(a: Ints, b: Ints) -> NDArray[np.floating[Any]]:
        products = parts[np.searchsorted(numbers, a)] @ parts[np.searchsorted(numbers, b)].T
        return np.asarray(products.toarray())

    return similar


def cosines(vectors: NDArray[np.float32], numbers: Ints) -> Similarity:
    """Cosines of unit vectors; `numbers`: catalogue number of each row, rising."""

    def similar(a: Ints, b: Ints) -> NDArray[np.floating[Any]]:
        out: NDArray[np.floating[Any]] = vectors[np.searchsorted(numbers, a)] @ vectors[np.searchsorted(numbers, b)].T
        return out

    return similar


def comparison(
    found: Newcomers, scores: Mapping[str, Callable[[int], Floats]], origin: date, groups: Mapping[str, Ints]
) -> Comparison:
    """Every method ranks all new items for every tested user; ties by item number."""
    lists = {name: np.full((len(found.users), LONG), ranking.EMPTY, dtype=np.int64) for name in scores}
    short = min(LONG, len(found.items))
    for user in range(len(found.users)):
        for name, score in scores.items():
            lists[name][user, :short] = np.argsort(-score(user), kind="stable")[:short]
    methods = [Method.fixed(name, _measures(found, shown)) for name, shown in lists.items()]
    return Comparison("new_items", origin.isoformat(), found.users, tuple(methods), BASELINE, groups=groups)


def _measures(found: Newcomers, lists: Ints) -> list[Measure]:
    hits = ranking.matches(lists, found.truth, len(found.items))
    return [
        per_user("ndcg", ranking.ndcg(hits[:, :SHORT], found.size), SHORT),
        per_user("recall", ranking.recall(hits, found.size), LONG),
    ]


def _rows(found: Newcomers, user: int) -> slice:
    start, stop = np.searchsorted(found.own_user, [user, user + 1])
    return slice(int(start), int(stop))


def _parts(text: str) -> list[str]:
    return text.split(", ")

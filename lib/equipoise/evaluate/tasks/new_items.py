"""Task new_items: who buys which item that nobody had before? Only what an item *is* can tell: here language has to pay."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse

from equipoise.evaluate.arrays import Floats, Ints, counted, summed
from equipoise.evaluate.behaviour import Behaviour, Catalogue, countable_trips
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

CHUNK = 512
"""New texts whose cosines to every text of a history are in memory at a time."""

Encoder = Callable[[NDArray[np.str_], Ints], Any]


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
    log = countable_trips(behaviour, catalogue, excluded, start, end)
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


def leaf_scores(found: Newcomers, leaf: Ints) -> dict[str, Floats]:
    """(users, items) each: how much of everybody's, and of the user's own, history is of each new item's leaf category."""
    kinds, users = int(leaf.max(initial=0)) + 1, len(found.users)
    cell = found.own_user * kinds + leaf[found.own_item]
    own = summed(cell, found.own_weight, users * kinds).reshape(users, kinds)
    everybody = np.broadcast_to(own.sum(0), own.shape)
    return {"popular_leaf": everybody[:, leaf[found.items]], BASELINE: own[:, leaf[found.items]]}


def kernel(found: Newcomers, texts: NDArray[np.str_], encode: Encoder) -> Floats:
    """(users, items): log Σ over the history of weight · exp(SHARPNESS · (cosine − 1)), weights summing to 1 per user.

    Args:
        texts: of `found.needed`, in its order; equal texts count as one.
        encode: distinct texts, and where in `texts` each stands first → rows of unit length, sparse or dense.
    """
    distinct, first, number = np.unique(texts, return_index=True, return_inverse=True)
    vectors, needed = encode(distinct, first), found.needed
    own, new = number[np.searchsorted(needed, found.own_item)], number[np.searchsorted(needed, found.items)]
    whole = summed(found.own_user, found.own_weight, len(found.users))[found.own_user]
    shape = (len(found.users), len(distinct))
    history = csr_matrix((found.own_weight / whole, (found.own_user, own)), shape=shape, dtype=np.float32)
    seen, asked = np.unique(own), np.unique(new)
    rows, history = vectors[seen], history[:, seen]
    near = np.empty((len(found.users), len(asked)), dtype=np.float32)
    for start in range(0, len(asked), CHUNK):
        cosines = rows @ vectors[asked[start : start + CHUNK]].T
        cosines = cosines.toarray() if issparse(cosines) else cosines
        near[:, start : start + CHUNK] = history @ np.exp(np.float32(SHARPNESS) * (cosines.astype(np.float32) - np.float32(1.0)))
    out: Floats = np.log(near + np.float32(FLOOR))[:, np.searchsorted(asked, new)].astype(np.float64)
    return out


def standard(scores: Floats) -> Floats:
    """Scores in standard deviations of all of them."""
    out: Floats = (scores - scores.mean()) / max(float(scores.std()), FLOOR)
    return out


def attributes(distinct: NDArray[np.str_], _: Ints) -> Any:
    """TF-IDF rows of the comma-separated parts of texts."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer=_parts).fit_transform(distinct).tocsr()


def comparison(
    found: Newcomers, scores: Mapping[str, Floats], modelled: Collection[str], origin: date, groups: Mapping[str, Ints]
) -> Comparison:
    """Every method's (users, items) scores rank all new items for every tested user; ties by item number.

    Args:
        modelled: the methods in which the trained model has a part.
    """
    methods = []
    for name, score in scores.items():
        lists = np.full((len(found.users), LONG), ranking.EMPTY, dtype=np.int64)
        short = min(LONG, len(found.items))
        lists[:, :short] = np.argsort(-score, axis=1, kind="stable")[:, :short]
        methods.append(Method(name, (tuple(_measures(found, lists)),), 1 if name in modelled else None))
    return Comparison("new_items", origin.isoformat(), found.users, tuple(methods), BASELINE, groups=groups)


def _measures(found: Newcomers, lists: Ints) -> list[Measure]:
    hits = ranking.matches(lists, found.truth, len(found.items))
    return [
        per_user("ndcg", ranking.ndcg(hits[:, :SHORT], found.size), SHORT),
        per_user("recall", ranking.recall(hits, found.size), LONG),
    ]


def _parts(text: str) -> list[str]:
    return text.split(", ")

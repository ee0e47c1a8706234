"""The candidates, interests and shelves of a block of users, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from equipoise.tables.vocabulary import UNKNOWN

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Strings = NDArray[np.object_]

CANDIDATE, INTEREST, SHELF = "candidate", "interest", "shelf"
SOURCES = ("history", "neighbour", "cosine", "popular")
HISTORY, NEIGHBOUR, COSINE, POPULAR = 1, 2, 3, 4
"""Places among SOURCES, from 1."""

COLUMNS = {
    "block": "int",
    "kind": "string",
    "user_id": "string",
    "item_id": "string",
    "category": "string",
    "brand": "string",
    "weight": "double",
    "share": "double",
    "popularity": "double",
    "visits": "bigint",
    "place": "int",
    "value": "double",
    "cosine": "double",
    "source": "string",
    "neighbour": "string",
    "similarity": "double",
    "known": "bigint",
    "bought": "bigint",
    "looked": "bigint",
    "target": "double",
    "predicted": "double",
    "observed": "double",
    "guess": "double",
    "shape": "double",
    "rate": "double",
    "slots": "int",
    "tilt": "double",
    "seen": "boolean",
}
"""Columns of a block's rows. Three kinds of rows share them; what a kind does not use is null.

candidate: user × item × category of the item: brand (null: none, or not asked for), weight, share (of the item in the
category's popularity), value, cosine (null where it was not computed), source (a name of SOURCES), neighbour (the
user's item that the same users have) and similarity of the two (null: not of that source), known, bought, looked.
interest: user × category: a row of gold.user_interests with target, predicted and observed share, guess of the response to
exploring it, shape and rate of the ratio it is corrected by, the user's budget of explore slots and tilt of λ (see
`weight.tilts`; both the same in each of the user's rows), and whether it is seen.
shelf: item × category: brand, weight, share, popularity and visits of the item, place on the category's shelf (null: not on it).
"""


@dataclass(frozen=True)
class Shelved:
    """An item on a shelf. categories: positions; weights: the categories' parts of it; shares: its parts of their popularity;
    brand: its number in the block, −1: none."""

    item_id: str
    brand: int
    popularity: float
    visits: int
    categories: Ints
    weights: Floats
    shares: Floats


@dataclass(frozen=True)
class Interests:
    """Per user × category (u, c): gold.user_interests as matrices, 0 or False where it has no row (`there`).

    guess, shape, rate: see `feedback.response`. slots (u,): the user's budget. tilt (u,): see `weight.tilts`.
    """

    there: Bools
    seen: Bools
    target: Floats
    predicted: Floats
    observed: Floats
    guess: Floats
    shape: Floats
    rate: Floats
    slots: Ints
    tilt: Floats


@dataclass(frozen=True)
class Candidates:
    """Per candidate (j): who, what, and the numbers behind it. Per candidate × category (r): `of_row` is the candidate.

    brand: its number in the block, −1: none."""

    user: Ints
    item_id: Strings
    brand: Ints
    value: Floats
    cosine: Floats
    source: Ints
    neighbour: Strings
    similarity: Floats
    known: Ints
    bought: Ints
    looked: Ints
    of_row: Ints
    category_of_row: Ints
    weight_of_row: Floats
    share_of_row: Floats


@dataclass(frozen=True)
class Block:
    """Everything that decides the lists of a block of users; independent of λ, slots and weights, so it serves every sweep.

    users, categories: sorted. shelves: per category, most popular first. unknown: position of category UNKNOWN, −1 when
    there is none; nothing is explored there.
    """

    users: list[str]
    categories: list[str]
    interests: Interests
    candidates: Candidates
    shelves: list[list[Shelved]]
    unknown: int


def parse(frame: pd.DataFrame) -> Block:
    """Arrays from rows with `COLUMNS`; users are those with interest rows. The order of the rows does not matter."""
    categories, brands = _sorted_values(frame["category"]), _sorted_values(frame["brand"].dropna())
    kinds = dict(list(frame.groupby("kind")))
    empty = frame.iloc[:0]
    interests = kinds.get(INTEREST, empty)
    users = _sorted_values(interests["user_id"])
    rows = kinds.get(CANDIDATE, empty)
    names = [str(c) for c in categories]
    return Block(
        users=[str(u) for u in users],
        categories=names,
        interests=_interests(interests, users, categories),
        candidates=_candidates(rows[rows["user_id"].isin(users)], users, categories, brands),
        shelves=_shelves(kinds.get(SHELF, empty), categories, brands),
        unknown=names.index(UNKNOWN) if UNKNOWN in names else -1,
    )


def _sorted_values(values: pd.Series[Any]) -> pd.Index[Any]:
    return pd.Index(np.sort(values.unique().astype(object)))


def _interests(rows: pd.DataFrame, users: pd.Index[Any], categories: pd.Index[Any]) -> Interests:
    at = users.get_indexer(rows["user_id"]), categories.get_indexer(rows["category"])
    shape = len(users), len(categories)

    def flags(values: Bools) -> Bools:
        out = np.zeros(shape, dtype=np.bool_)
        out[at] = values
        return out

    def shares(name: str) -> Floats:
        out = np.zeros(shape)
        out[at] = rows[name].to_numpy(np.float64)
        return out

    there, seen = flags(np.ones(len(rows), dtype=np.bool_)), flags(rows["seen"].to_numpy(np.bool_))
    slots = np.zeros(len(users), dtype=np.int64)
    slots[at[0]] = rows["slots"].to_numpy(np.float64)
    tilt = np.zeros(len(users))
    tilt[at[0]] = rows["tilt"].to_numpy(np.float64)
    target, predicted, observed, guess = (shares(n) for n in ("target", "predicted", "observed", "guess"))
    return Interests(there, seen, target, predicted, observed, guess, shares("shape"), shares("rate"), slots, tilt)


def _candidates(rows: pd.DataFrame, users: pd.Index[Any], categories: pd.Index[Any], brands: pd.Index[Any]) -> Candidates:
    names = _sorted_values(rows["item_id"])
    codes = [users.get_indexer(rows["user_id"]), names.get_indexer(rows["item_id"]), categories.get_indexer(rows["category"])]
    order = np.lexsort(codes[::-1])
    user, item, category = (c[order].astype(np.int64) for c in codes)
    first = np.ones(len(rows), dtype=np.bool_)
    first[1:] = (user[1:] != user[:-1]) | (item[1:] != item[:-1])

    def each(name: str) -> Floats:
        return np.asarray(rows[name].to_numpy(np.float64)[order])

    def whole(name: str) -> Ints:
        return each(name)[first].astype(np.int64)

    return Candidates(
        user=user[first],
        item_id=names.to_numpy(object)[item[first]],
        brand=brands.get_indexer(rows["brand"])[order][first].astype(np.int64),
        value=each("value")[first],
        cosine=each("cosine")[first],
        source=pd.Index(SOURCES).get_indexer(rows["source"])[order][first].astype(np.int64) + 1,
        neighbour=rows["neighbour"].to_numpy(object)[order][first],
        similarity=each("similarity")[first],
        known=whole("known"),
        bought=whole("bought"),
        looked=whole("looked"),
        of_row=np.cumsum(first) - 1,
        category_of_row=category,
        weight_of_row=each("weight"),
        share_of_row=each("share"),
    )


def _shelves(rows: pd.DataFrame, categories: pd.Index[Any], brands: pd.Index[Any]) -> list[list[Shelved]]:
    ordered = rows.sort_values(["item_id", "category"]).reset_index(drop=True)
    position = categories.get_indexer(ordered["category"]).astype(np.int64)
    weight, share = ordered["weight"].to_numpy(np.float64), ordered["share"].to_numpy(np.float64)
    brand = brands.get_indexer(ordered["brand"])
    popularity, visits = ordered["popularity"].to_numpy(np.float64), ordered["visits"].to_numpy(np.float64)
    items = {
        str(name): Shelved(
            str(name), int(brand[at[0]]), float(popularity[at[0]]), int(visits[at[0]]), position[at], weight[at], share[at]
        )
        for name, at in ordered.groupby("item_id").indices.items()
    }
    out: list[list[Shelved]] = [[] for _ in categories]
    standing = ordered.assign(position=position).dropna(subset="place").sort_values(["position", "place"])
    for where, name in zip(standing["position"], standing["item_id"], strict=True):
        out[int(where)].append(items[str(name)])
    return out

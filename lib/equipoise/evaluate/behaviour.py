"""The behaviour log of a capped sample of users as flat numpy arrays: what every comparison is counted from.

Ids become numbers in Spark, so that only narrow rows travel to the driver: about 30 bytes per event. Above MAX_USERS the
evaluation runs on a seeded sample of users, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.evaluate.arrays import Bools, Floats, Ints, counted
from equipoise.tables.vocabulary import EVENT_TYPES, KNOWING_EVENT_TYPES, UNKNOWN

MAX_USERS = 50_000
"""Users evaluated at most: their events and dense user × category matrices fit a driver of a few GiB."""

EPOCH = date(1970, 1, 1)
NO_ITEM = -1


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


@dataclass(frozen=True)
class Catalogue:
    """Items and categories by number. `links`: one row per item × category with its weight, ordered by item, then category.

    main: each item's category of highest weight (ties by name). top, leaf: names of its first and last level, per item.
    """

    items: NDArray[Any]
    categories: NDArray[Any]
    link_item: Ints
    link_category: Ints
    link_weight: Floats
    top: NDArray[Any]
    leaf: NDArray[Any]

    @cached_property
    def unknown_category(self) -> int:
        """Number of the category UNKNOWN."""
        return int(np.searchsorted(self.categories, UNKNOWN))

    @cached_property
    def main(self) -> Ints:
        order = np.lexsort((self.link_category, -self.link_weight, self.link_item))
        items, first = np.unique(self.link_item[order], return_index=True)
        out = np.full(len(self.items), self.unknown_category, dtype=np.int64)
        out[items] = self.link_category[order][first]
        return out

    @cached_property
    def _ends(self) -> Ints:
        """Where each item's links end."""
        return np.cumsum(counted(self.link_item, len(self.items)))

    def expand(self, item: Ints) -> tuple[Ints, Ints, Floats]:
        """(row, category, weight) for each row × category of its item; rows without an item give nothing."""
        ends = np.append(self._ends, 0)  # NO_ITEM, -1, finds the 0 at the end
        starts = np.where(item > 0, ends[np.maximum(item, 1) - 1], 0)
        sizes = ends[item] - np.where(item >= 0, starts, 0)
        row = np.repeat(np.arange(len(item)), sizes)
        link = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(starts, sizes)
        return row, self.link_category[link], self.link_weight[link]

    def category_numbers(self, names: Sequence[str] | NDArray[Any]) -> Ints:
        """Number of each category name."""
        return _numbers(self.categories, names)

    def item_numbers(self, ids: Sequence[str] | NDArray[Any]) -> Ints:
        """Number of each item id; NO_ITEM where the catalogue lacks it."""
        return _numbers(self.items, ids)

    def countable(self, excluded: Sequence[str]) -> Bools:
        """Items that count in ranking accuracy: known category, and top level not among the excluded."""
        out: Bools = (self.main != self.unknown_category) & ~np.isin(self.top, list(excluded))
        return out


@dataclass(frozen=True)
class Behaviour:
    """One row per event, ordered by user and day. Days are numbers since 1970-01-01: `day` local, `utc_day` of the instant."""

    users: NDArray[Any]
    user: Ints
    item: Ints
    day: Ints
    utc_day: Ints
    kind: Ints
    amount: Floats

    def where(self, kept: Bools) -> Behaviour:
        """The rows that are kept, on the same users."""
        columns = {c: getattr(self, c)[kept] for c in ("user", "item", "day", "utc_day", "kind", "amount")}
        return Behaviour(self.users, **columns)

    @cached_property
    def own(self) -> Bools:
        """Everything the user did: all events but exposures."""
        return ~self.of("expose")

    @cached_property
    def bought(self) -> Bools:
        return self.of("purchase")

    @cached_property
    def knowing(self) -> Bools:
        """Events of the types that make a category known."""
        return self.of(*KNOWING_EVENT_TYPES)

    def of(self, *event_types: str) -> Bools:
        """Rows of these event types."""
        return np.isin(self.kind, [EVENT_TYPES.index(t) for t in event_types])

    def trips(self, origin: int) -> Bools:
        """Rows that make a trip: purchases where anybody bought before the origin, else the knowing types."""
        return self.bought if bool((self.bought & (self.day < origin)).any()) else self.knowing

    def user_numbers(self, ids: Sequence[str] | NDArray[Any]) -> Ints:
        """Number of each user id; -1 for users outside the sample."""
        return _numbers(self.users, ids)


def countable_trips(behaviour: Behaviour, catalogue: Catalogue, excluded: Sequence[str], origin: int, end: int) -> Behaviour:
    """The rows before `end` that make a trip, by the rule at `origin`, with an item that counts (see `Catalogue.countable`)."""
    trips = behaviour.where(behaviour.trips(origin) & (behaviour.item >= 0) & (behaviour.day < end))
    return trips.where(catalogue.countable(excluded)[trips.item])


def log_end(events: DataFrame) -> date | None:
    """The day after the last one with an event (local dates), as if that one were whole; None: silver.events is empty."""
    last = events.agg(F.max("event_date")).collect()[0][0]
    return last + timedelta(days=1) if last else None


def sample_users(users: DataFrame, seed: int, most: int = MAX_USERS) -> tuple[NDArray[Any], int]:
    """Sorted ids of at most `most` users, drawn by a seeded hash, and how many there were.

    A smaller sample with the same seed is a part of a larger one.
    """
    total = users.count()
    order = (F.xxhash64("user_id", F.lit(seed)), F.col("user_id"))
    drawn = users.select("user_id").orderBy(*order).limit(most) if total > most else users.select("user_id")
    return np.sort(drawn.toPandas()["user_id"].to_numpy(dtype=str)), total


def collect_catalogue(items: DataFrame, item_categories: DataFrame, more_categories: Sequence[str]) -> Catalogue:
    """silver.items and silver.item_categories on the driver; `more_categories` are names that a model knows beside them."""
    listed = items.select("item_id", "category_1", "category_3").toPandas().sort_values("item_id", ignore_index=True)
    links = item_categories.select("item_id", "category", "weight").toPandas()
    ids = listed["item_id"].to_numpy(dtype=str)
    names = np.unique(np.concatenate([links["category"].to_numpy(dtype=str), np.asarray([*more_categories, UNKNOWN], dtype=str)]))
    item, category = _numbers(ids, links["item_id"].to_numpy(dtype=str)), _numbers(names, links["category"].to_numpy(dtype=str))
    order = np.lexsort((category, item))
    order = order[item[order] >= 0]
    weight = links["weight"].to_numpy(dtype=np.float64)
    levels = (listed[c].to_numpy(dtype=str) for c in ("category_1", "category_3"))
    return Catalogue(ids, names, item[order], category[order], weight[order], *levels)


def collect_behaviour(spark: SparkSession, events: DataFrame, users: NDArray[Any], items: NDArray[Any], until: date) -> Behaviour:
    """The users' events before `until` (local date); items as numbers in `items`, users as numbers in `users`."""
    user_numbers = spark.createDataFrame(pd.DataFrame({"user_id": users, "u": np.arange(len(users), dtype=np.int32)}))
    item_numbers = spark.createDataFrame(pd.DataFrame({"item_id": items, "i": np.arange(len(items), dtype=np.int32)}))
    kinds = F.array(*[F.lit(t) for t in EVENT_TYPES])
    narrow = (
        events.filter(F.col("event_date") < F.lit(until))
        .join(F.broadcast(user_numbers), "user_id")
        .join(F.broadcast(item_numbers), "item_id", "left")
        .select(
            "u",
            F.coalesce("i", F.lit(NO_ITEM)).alias("i"),
            F.unix_date("event_date").alias("day"),
            F.unix_date(F.to_date("event_ts")).alias("utc_day"),
            (F.array_position(kinds, F.col("event_type")) - 1).cast("int").alias("kind"),
            F.coalesce("amount", F.lit(0.0)).alias("amount"),
        )
    )
    rows = narrow.toPandas()
    # A fixed order of rows, so that sums of money come out the same in every run.
    order = np.lexsort([rows[c].to_numpy() for c in ("amount", "kind", "i", "utc_day", "day", "u")])
    number = {c: rows[c].to_numpy(dtype=np.int64)[order] for c in ("u", "i", "day", "utc_day", "kind")}
    amount = rows["amount"].to_numpy(dtype=np.float64)[order]
    return Behaviour(users, number["u"], number["i"], number["day"], number["utc_day"], number["kind"], amount)


def _numbers(known: NDArray[Any], names: Sequence[str] | NDArray[Any]) -> Ints:
    wanted = np.asarray(names, dtype=str)
    place = np.minimum(np.searchsorted(known, wanted), max(len(known) - 1, 0))
    found = known[place] == wanted if len(known) else np.zeros(len(wanted), dtype=bool)
    return np.where(found, place, -1).astype(np.int64)

"""What was together in a basket: the items of one user on one local day, by product type or by category."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.features.profile import trip_types
from equipoise.tables.vocabulary import UNKNOWN

DAY = ["user_id", "event_date"]


def product_types(items: DataFrame, excluded: Sequence[str]) -> DataFrame:
    """One row per item with a known category: item_id and name, its category on the deepest level that is known.

    Args:
        items: silver.items.
        excluded: first-level categories that are left out.
    """
    levels = [F.nullif(F.col(f"category_{n}"), F.lit(UNKNOWN)) for n in (3, 2, 1)]
    named = _kept(items, excluded).select("item_id", F.coalesce(*levels).alias("name"))
    return named.filter(F.col("name").isNotNull())


def categories(items: DataFrame, item_categories: DataFrame, excluded: Sequence[str]) -> DataFrame:
    """One row per item × known category of silver.item_categories: item_id and name."""
    known = item_categories.filter(F.col("category") != UNKNOWN).select("item_id", F.col("category").alias("name"))
    return known.join(_kept(items, excluded).select("item_id"), "item_id")


def _kept(items: DataFrame, excluded: Sequence[str]) -> DataFrame:
    return items.filter(~F.col("category_1").isin(*excluded)) if excluded else items


def first_purchase(events: DataFrame) -> date | None:
    """Day of the first purchase of anybody."""
    found: date | None = events.filter("event_type = 'purchase'").agg(F.min("event_date")).collect()[0][0]
    return found


def lines(events: DataFrame, named: DataFrame, *, as_of: date, days: int, bought: date | None) -> DataFrame:
    """One row per user × event_date × name: what was in the baskets of the last `days` days before `as_of`.

    Events of trips count: purchases, or the knowing types where nobody bought before `as_of`.

    Args:
        events: silver.events.
        named: item_id and name, from `product_types` or `categories`.
        bought: what `first_purchase` gives.
    """
    inside = (F.col("event_date") >= F.lit(as_of - timedelta(days=days))) & (F.col("event_date") < F.lit(as_of))
    counted = F.col("event_type").isin(*trip_types([as_of], bought)[as_of])
    return events.filter(inside & counted).select(*DAY, "item_id").join(named, "item_id").select(*DAY, "name").distinct()


def baskets(lines: DataFrame, names: DataFrame, *, most: int, seed: int) -> DataFrame:
    """One row per user × day with any of the names: items ARRAY<STRING> in no order, size INT before it was cut.

    A basket of more than `most` names keeps that many, drawn by a hash of seed, user, day and name: which ones are kept does not
    depend on how rows lie, and no name is favoured.

    Args:
        lines: the frame of `lines`.
        names: the names that are frequent enough, on one column `name`.
    """
    drawn = F.struct(F.xxhash64(F.lit(seed), *[F.col(c) for c in DAY], F.col("name")).alias("draw"), "name")
    kept = lines.join(F.broadcast(names), "name").groupBy(*DAY).agg(F.sort_array(F.collect_list(drawn)).alias("drawn"))
    first = F.transform(F.slice("drawn", 1, most), lambda d: d["name"])
    return kept.select(first.alias("items"), F.size("drawn").alias("size"))

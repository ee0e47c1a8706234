"""What each user did with each item, and the categories a user knows."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from equipoise.tables.vocabulary import KNOWING_EVENT_TYPES

EXACT = "DECIMAL(24,12)"
"""Sums are taken over this type: exact to 1e-12 in any order, so a rerun gives the same last bit and the same ties."""


def exact_sum(column: Column) -> Column:
    """Sum of a double column (below 1e12 in each row) that does not depend on the order of the rows."""
    return F.sum(column.cast(EXACT)).cast("double")


def visits(events: DataFrame, *, event_weights: Mapping[str, float]) -> DataFrame:
    """One row per user × item × day with an event other than expose on the item.

    Baskets of one day count as one visit, as in the reference runs (personal decay, household × day baskets).

    Args:
        events: silver.events before as_of.
        event_weights: weight per event type; types not named weigh 0.

    Returns:
        user_id, item_id, event_date, weight (highest of the day's events), known (events of KNOWING_EVENT_TYPES),
        bought (purchases), looked (all events).
    """
    weight = F.lit(0.0)
    for name, value in sorted(event_weights.items()):
        weight = F.when(F.col("event_type") == name, F.lit(float(value))).otherwise(weight)
    behaviour = events.filter((F.col("event_type") != "expose") & F.col("item_id").isNotNull())
    # By user alone: everything about a user's history then follows without another shuffle.
    return (
        behaviour.select("user_id", "item_id", "event_date", "event_type")
        .repartition("user_id")
        .groupBy("user_id", "item_id", "event_date")
        .agg(
            F.max(weight).alias("weight"),
            F.sum(F.col("event_type").isin(*KNOWING_EVENT_TYPES).cast("bigint")).alias("known"),
            F.sum((F.col("event_type") == "purchase").cast("bigint")).alias("bought"),
            F.count(F.lit(1)).alias("looked"),
        )
    )


def seen_categories(visits: DataFrame, item_categories: DataFrame) -> DataFrame:
    """user_id, category: every category of an item with a purchase, cart, click or rating by the user (DESIGN §5)."""
    known = visits.filter("known > 0").select("user_id", "item_id").distinct()
    return known.join(item_categories.select("item_id", "category"), "item_id").select("user_id", "category").distinct()

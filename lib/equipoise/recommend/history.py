"""What each user did with each item: visits, the personal decay over them, and the categories a user knows."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame, Window
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


def histories(visits: DataFrame, *, half_life_baskets: float) -> DataFrame:
    """One row per user × item with a visit.

    own: the item's part of the user's decayed history, Σ weight · 2^(−(visit days since) / half-life) over its visits ÷ the
    same over all items; sums to 1 per user, 0 where nothing has weight. Days are the user's own visit days, so the decay
    follows each user's rhythm (personal exponential decay, the strongest simple baseline on next baskets).

    Returns:
        user_id, item_id, own, known, bought, looked.
    """
    latest_first = Window.partitionBy("user_id").orderBy(F.desc("event_date"))
    since = F.dense_rank().over(latest_first) - 1
    decayed = F.col("weight") * F.pow(F.lit(2.0), -since / F.lit(float(half_life_baskets)))
    weighed = visits.withColumn("decayed", decayed.cast(EXACT))
    items = weighed.groupBy("user_id", "item_id").agg(*[F.sum(c).alias(c) for c in ("decayed", "known", "bought", "looked")])
    total = F.sum("decayed").over(Window.partitionBy("user_id")).cast("double")
    own = F.coalesce(F.col("decayed").cast("double") / F.nullif(total, F.lit(0.0)), F.lit(0.0))
    return items.select("user_id", "item_id", own.alias("own"), "known", "bought", "looked")


def best_of_history(histories: DataFrame, *, limit: int) -> DataFrame:
    """The `limit` items of each user with the largest own share (none with share 0); ties fall by item_id."""
    best_first = Window.partitionBy("user_id").orderBy(F.desc("own"), "item_id")
    ranked = histories.filter("own > 0").withColumn("place", F.row_number().over(best_first))
    return ranked.filter(F.col("place") <= limit).drop("place")


def seen_categories(histories: DataFrame, item_categories: DataFrame) -> DataFrame:
    """user_id, category: every category of an item with a purchase, cart, click or rating by the user (DESIGN §5)."""
    known = histories.filter("known > 0").select("user_id", "item_id")
    return known.join(item_categories.select("item_id", "category"), "item_id").select("user_id", "category").distinct()

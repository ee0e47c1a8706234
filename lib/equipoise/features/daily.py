"""Events per user, day, category and type: what every other feature is counted from."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.errors import EquipoiseError
from equipoise.tables.vocabulary import NO_CATEGORY, UNKNOWN


def daily_counts(events: DataFrame, item_categories: DataFrame) -> DataFrame:
    """One row per user × event_date × category × event_type (feature.daily_counts).

    `events`: user_id, item_id?, event_type, event_date, quantity?, amount? (the caller keeps event_date < as_of).
    `item_categories`: item_id, category, weight, weights summing to 1 per item: the join fans an event out over its item's
    categories and the weights put it together again. An item without a row counts as UNKNOWN, an event without item as '(none)'.

    The rows of a user lie in one partition: the features downstream group by user and something, and shuffle no more.
    """
    narrow = events.select("user_id", "item_id", "event_type", "event_date", "quantity", "amount").repartition("user_id")
    joined = narrow.join(item_categories.select("item_id", "category", "weight"), "item_id", "left")  # event × category
    weight = F.coalesce("weight", F.lit(1.0))
    category = F.coalesce("category", F.when(F.col("item_id").isNull(), NO_CATEGORY).otherwise(UNKNOWN))
    return joined.groupBy("user_id", "event_date", category.alias("category"), "event_type").agg(
        F.sum(weight).alias("events"),
        F.sum(F.coalesce("quantity", F.lit(0.0)) * weight).alias("quantity"),
        F.sum(F.coalesce("amount", F.lit(0.0)) * weight).alias("amount"),
    )


def first_days(daily: DataFrame) -> tuple[date | None, date | None]:
    """The first day with an event, and the first day on which anybody bought; None where there is none."""
    bought = F.when(F.col("event_type") == "purchase", F.col("event_date"))
    row = daily.agg(F.min("event_date").alias("event"), F.min(bought).alias("purchase")).collect()[0]
    return row["event"], row["purchase"]


def require_history(first: date | None, events: DataFrame, as_of: date) -> None:
    """Raises EquipoiseError when `first`, the first day before `as_of`, is None; `events`, all of them, say when they begin."""
    if first is not None:
        return
    begins = events.agg(F.min("event_date").alias("day")).collect()[0]["day"]
    if begins is None:
        raise EquipoiseError(
            f"as_of {as_of}: silver.events holds no event at all; run ingest_events on a source with events first"
        )
    raise EquipoiseError(
        f"as_of {as_of}: no event lies before it, the first is of {begins}; take --as-of {begins + timedelta(days=1)} or later"
    )

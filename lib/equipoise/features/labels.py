"""What users did in the window that starts at a cut: the only thing labels are made of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from equipoise.errors import EquipoiseError
from equipoise.tables.vocabulary import KNOWING_EVENT_TYPES, NO_CATEGORY

O, INTEREST, BUY = 0, 1, 2  # noqa: E741  the mission's name of the class "nothing in the window"


def label_windows(daily: DataFrame, *, cuts: Sequence[date], days: int) -> DataFrame:
    """One row per user × cut with an event but expose on [cut, cut + days).

    user_id, cut DATE, label_counts MAP<STRING, DOUBLE> (category → plain count of events of the knowing types, by the item's
    category weight; '(none)' left out; empty when there is none), label_spend DOUBLE (amount of purchases),
    n_buy BIGINT (purchases), n_interest BIGINT (every other event but expose).
    """
    listed = [F.struct(F.lit(c).alias("cut"), F.date_add(F.lit(c), days).alias("end")) for c in sorted(set(cuts))]
    windows = F.filter(F.array(*listed), lambda w: (w.cut <= F.col("event_date")) & (F.col("event_date") < w.end))
    spanned = (F.col("event_date") >= F.lit(min(cuts))) & (F.col("event_date") < F.date_add(F.lit(max(cuts)), days))
    inside = daily.filter(spanned & (F.col("event_type") != "expose"))
    at = inside.withColumn("window", F.explode(windows)).withColumn("cut", F.col("window.cut"))  # daily row × window it lies in
    knows = F.col("event_type").isin(*KNOWING_EVENT_TYPES)
    buys = F.col("event_type") == "purchase"
    per_category = at.groupBy("user_id", "cut", "category").agg(
        F.sum(F.when(knows, F.col("events")).otherwise(0.0)).alias("known"),
        F.sum(F.when(buys, F.col("amount")).otherwise(0.0)).alias("spend"),
        F.sum(F.when(buys, F.col("events")).otherwise(0.0)).alias("bought"),
        F.sum(F.when(buys, F.lit(0.0)).otherwise(F.col("events"))).alias("other"),
    )
    counted = (F.col("known") > 0) & (F.col("category") != NO_CATEGORY)
    entry = F.when(counted, F.struct("category", "known"))  # collect_list leaves nulls out
    return per_category.groupBy("user_id", "cut").agg(
        F.map_from_entries(F.sort_array(F.collect_list(entry))).alias("label_counts"),
        F.sum("spend").alias("label_spend"),
        F.round(F.sum("bought")).cast("bigint").alias("n_buy"),
        F.round(F.sum("other")).cast("bigint").alias("n_interest"),
    )


def spend_threshold(labels: DataFrame) -> float:
    """Exact median of label_spend among the user × cut rows that spent.

    Raises:
        EquipoiseError: when nobody spent.
    """
    median = F.expr("percentile(label_spend, 0.5D)")  # F.percentile states a frequency of a type that bars the GPU
    row = labels.filter("label_spend > 0").agg(median.alias("median")).collect()[0]
    if row["median"] is None:
        raise EquipoiseError(
            "segments.ladder = 'spend' needs spend in the training label windows, but nobody spent there; "
            "use segments.ladder = 'events', or check that the source gives amounts"
        )
    return float(row["median"])


def value_label(labels: DataFrame, *, ladder: Literal["events", "spend"], threshold: float) -> DataFrame:
    """The rows with label_value INT: 0 O, 1 interest, 2 buy.

    Ladder events: buy = a purchase, interest = any other event but expose. Ladder spend: O = no spend, interest = below
    `threshold`, buy = at or above it. Without an event, or with null counts from an outer join, a row is O.
    """
    return labels.withColumn("label_value", _events_step() if ladder == "events" else _spend_step(threshold))


def _events_step() -> Column:
    return F.when(F.col("n_buy") > 0, BUY).when(F.col("n_interest") > 0, INTEREST).otherwise(O)


def _spend_step(threshold: float) -> Column:
    spend = F.col("label_spend")
    return F.when((spend > 0) & (spend >= F.lit(threshold)), BUY).when(spend > 0, INTEREST).otherwise(O)

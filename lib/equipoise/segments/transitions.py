"""Who moved from which segment to which since the last night: gold.segment_transitions."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from equipoise.tables.vocabulary import GONE, NEW, SEGMENTATIONS


def transitions(now: DataFrame, before: DataFrame, previous_as_of: date, *, retold: bool) -> DataFrame:
    """One row per segmentation × from × to with a user: gold.segment_transitions without its stamps.

    A segmentation counts where both nights know it of somebody; NEW: the user was in no segment of it, GONE: is in none now.

    Args:
        now, before: user_id, expected_spend and some of SEGMENTATIONS; one row per user.
        retold: the segments before were made afterwards, from what was known then.
    """
    kept = sorted(_told(now) & _told(before), key=SEGMENTATIONS.index)
    here, there = _long(now, kept, "to_segment", "spend"), _long(before, kept, "from_segment", "previous_spend")
    both = here.join(there, ["user_id", "segmentation"], "full")
    counted = both.groupBy(
        "segmentation",
        F.coalesce("from_segment", F.lit(NEW)).alias("from_segment"),
        F.coalesce("to_segment", F.lit(GONE)).alias("to_segment"),
    ).agg(F.count(F.lit(1)).alias("users"), F.sum("previous_spend").alias("previous_spend"), F.sum("spend").alias("spend"))
    change = F.coalesce("spend", F.lit(0.0)) - F.coalesce("previous_spend", F.lit(0.0))
    amounts = F.col("spend").isNotNull() | F.col("previous_spend").isNotNull()
    return counted.select(
        "segmentation",
        F.lit(previous_as_of).alias("previous_as_of"),
        "from_segment",
        "to_segment",
        "users",
        "previous_spend",
        "spend",
        F.when(amounts, change).alias("value_change"),
        F.lit(retold).alias("retold"),
    )


def _told(frame: DataFrame) -> set[str]:
    """Segmentations that are known of somebody."""
    there = [c for c in SEGMENTATIONS if c in frame.columns]
    counts = frame.agg(*[F.count(c).alias(c) for c in there]).collect()[0]
    return {c for c in there if counts[c]}


def _long(frame: DataFrame, columns: list[str], name: str, spend: str) -> DataFrame:
    """user × segmentation in which the user has a segment."""
    each: list[Column] = [F.struct(F.lit(c).alias("segmentation"), F.col(c).cast("string").alias(name)) for c in columns]
    if not each:
        ddl = f"user_id string, segmentation string, {name} string, {spend} double"
        return frame.sparkSession.createDataFrame([], ddl)
    long = frame.select("user_id", F.col("expected_spend").alias(spend), F.explode(F.array(*each)).alias("s"))
    return long.select("user_id", "s.segmentation", f"s.{name}", spend).filter(F.col(name).isNotNull())

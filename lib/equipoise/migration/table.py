"""gold.interest_migration: what each user moved towards and away from, window by window."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from equipoise.migration.days import Trend
from equipoise.migration.trajectory import MOVED_DDL, Evidence, mover


def interest_migration(packed: DataFrame, trend: Trend, evidence: Evidence, *, origin: date, window_days: int) -> DataFrame:
    """One row per user × closed window with weight: gold.interest_migration without its stamps.

    Cost: linear in users × windows, `permutations` products of days × categories each; a user stays on one worker.

    Args:
        packed: the frame of `days.packed`.
        trend: what `days.trend_of` gives for the same visits.
    """
    moved: DataFrame = packed.mapInArrow(mover(evidence, trend), MOVED_DDL)
    return moved.select(
        "user_id",
        _start(F.col("window"), origin, window_days).alias("window_start"),
        _start(F.col("window") + 1, origin, window_days).alias("window_end"),
        "days",
        _start(F.col("previous_window"), origin, window_days).alias("previous_start"),
        "previous_days",
        "drift_js_bits",
        "noise_mean_bits",
        "noise_p95_bits",
        "migrated",
        "change_point",
        "gained",
        "lost",
        "returning",
    )


def _start(window: Column, origin: date, window_days: int) -> Column:
    return F.date_add(F.lit(origin), window * F.lit(window_days))

"""What migration is counted from: the user's visit days, what was on them, and what everybody did in the same window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.features.shares import weight_of_type
from equipoise.tables.vocabulary import NO_CATEGORY, UNKNOWN

MOST_RATE = 0.999
"""Of visit days with a category: the odds of one that is on every day would have no end."""


def visit_days(daily: DataFrame, *, origin: date, window_days: int, as_of: date, event_weights: Mapping[str, float]) -> DataFrame:
    """One row per user × day × category with weight: user_id, day, window INT, category, weight DOUBLE > 0.

    day counts from `origin`, window from 0; only closed windows, so whole ones between `origin` and `as_of`. weight is the sum
    of event weights by type, without decay: within a window all days count alike. UNKNOWN has rows, events without an item not.
    The rows of a user lie in one partition.

    Args:
        daily: feature.daily_counts.
    """
    end = origin + timedelta(days=(as_of - origin).days // window_days * window_days)
    weight = weight_of_type(event_weights)
    inside = (F.col("event_date") >= F.lit(origin)) & (F.col("event_date") < F.lit(end)) & (F.col("category") != NO_CATEGORY)
    day = F.datediff("event_date", F.lit(origin))
    kept = daily.filter(inside & (weight > 0) & (F.col("events") > 0))
    weighed = kept.select("user_id", day.alias("day"), "category", (F.col("events") * weight).alias("weight"))
    summed = weighed.repartition("user_id").groupBy("user_id", "day", "category").agg(F.sum("weight").alias("weight"))
    window = F.floor(F.col("day") / F.lit(window_days)).cast("int")
    return summed.select("user_id", "day", window.alias("window"), "category", "weight")


@dataclass(frozen=True)
class Trend:
    """Everybody's taste per window: `odds` (W, C) of a category on a visit day ÷ its usual odds; categories sorted."""

    categories: tuple[str, ...]
    odds: NDArray[np.float64]

    def of(self, windows: NDArray[np.int64], categories: Sequence[str]) -> NDArray[np.float64]:
        """The odds of these windows × categories, all of which somebody visited."""
        columns = np.searchsorted(np.array(self.categories, dtype=object), np.array(categories, dtype=object))
        return self.odds[windows][:, columns]


def trend_of(visits: DataFrame, *, support: float) -> Trend:
    """The population's trend: windows × categories numbers on the driver, nothing of any user.

    The rate of a category in a window is its usual rate × (hits + support) ÷ (expected hits + support), hits being visit days
    of all users: what a handful of users do is no trend.
    """
    known = visits.filter(F.col("category") != UNKNOWN)
    days = known.select("user_id", "day", "window").distinct().groupBy("window").agg(F.count(F.lit(1)).alias("days")).collect()
    hits = known.groupBy("window", "category").agg(F.count(F.lit(1)).alias("hits")).collect()
    categories = tuple(sorted({r["category"] for r in hits}))
    number = {c: i for i, c in enumerate(categories)}
    windows = 1 + max((int(r["window"]) for r in days), default=-1)
    counted, exposed = np.zeros((windows, len(categories))), np.zeros((windows, 1))
    for row in days:
        exposed[row["window"]] = row["days"]
    for row in hits:
        counted[row["window"], number[row["category"]]] = row["hits"]
    usual = counted.sum(axis=0) / max(exposed.sum(), 1.0)
    rate = usual * (counted + support) / (usual * exposed + support)
    return Trend(categories, _odds(rate) / _odds(usual))


def _odds(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    most = np.minimum(rate, MOST_RATE)
    return np.asarray(most / (1.0 - most), dtype=np.float64)


def packed(visits: DataFrame) -> DataFrame:
    """One row per user: user_id and `lines`, an array of day, window, category and weight in no order."""
    return visits.groupBy("user_id").agg(F.collect_list(F.struct("day", "window", "category", "weight")).alias("lines"))

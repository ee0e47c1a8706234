"""What is known of a user × category and of a category at a cut: decayed visits, recency, rhythm; popularity, trend, entries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from equipoise.features.shares import half_lives
from equipoise.tables.packing import CELL_VALUES, HALF_LIVES, LINES_HALF_LIFE
from equipoise.tables.vocabulary import KNOWING_EVENT_TYPES, NO_CATEGORY

PAIR = ["user_id", "cut"]


def visits(daily: DataFrame) -> DataFrame:
    """One row per user × event_date × category with an event of the knowing types: lines DOUBLE, trip INT.

    lines: events by category weight. trip numbers the user's days with a visit from 1. The rows of a user stay in
    the partition that `daily` has them in.
    """
    knows = F.col("event_type").isin(*KNOWING_EVENT_TYPES) & (F.col("category") != NO_CATEGORY) & (F.col("events") > 0)
    seen = daily.filter(knows).groupBy("user_id", "event_date", "category").agg(F.sum("events").alias("lines"))
    by_day = Window.partitionBy("user_id").orderBy("event_date")
    return seen.withColumn("trip", F.dense_rank().over(by_day))


def cells(seen: DataFrame, pairs: DataFrame) -> DataFrame:
    """One row per user × cut of `pairs` × category visited before the cut: user_id, cut, category and CELL_VALUES, DOUBLE.

    `seen` is the frame of `visits`; `pairs` has user_id and cut. Cost: visits × cuts asked for of their user.
    """
    at = seen.join(pairs.select(*PAIR), "user_id").filter(F.col("event_date") < F.col("cut"))  # visit × later cut
    age = F.datediff("cut", "event_date")
    counted = at.groupBy(*PAIR, "category").agg(
        *[F.sum(half_lives(age, h)).alias(f"visits_{h}d") for h in HALF_LIVES],
        F.sum(F.col("lines") * half_lives(age, LINES_HALF_LIFE)).alias("lines"),
        F.count(F.lit(1)).alias("days"),
        F.min(age).alias("recency_days"),
        F.max(age).alias("first_days"),
        F.max("trip").alias("last_trip"),
    )
    trips = F.max("last_trip").over(Window.partitionBy(*PAIR))
    whole = counted.withColumn("trips_since", trips - F.col("last_trip"))
    return whole.select(*PAIR, "category", *[F.col(name).cast("double").alias(name) for name in CELL_VALUES])


def gathered(found: DataFrame) -> DataFrame:
    """The frame of `cells` as one row per user × cut: cell_categories (sorted), cells (CELL_VALUES of each in turn, flat)."""
    values = F.array(*[F.col(name).cast("float") for name in CELL_VALUES]).alias("values")
    listed = found.groupBy(*PAIR).agg(F.sort_array(F.collect_list(F.struct("category", values))).alias("cells"))
    return listed.select(
        *PAIR,
        F.transform("cells", lambda c: c["category"]).alias("cell_categories"),
        F.flatten(F.transform("cells", lambda c: c["values"])).alias("cells"),
    )


def trends(seen: DataFrame, known: DataFrame, *, cuts: Sequence[date], days: int) -> DataFrame:
    """One row per cut × category visited before the last cut: TREND_VALUES, 0 where nothing was.

    Args:
        seen: the frame of `visits`.
        known: user_id and cut of the users known at each cut: what shares are of.
        days: length of a window.
    """
    ordered = sorted(set(cuts))
    flags, sums = [F.min("event_date").alias("first")], []
    for i, cut in enumerate(ordered):
        age = F.datediff(F.lit(cut), "event_date")
        flags.append(_seen((age > 0) & (age <= days)).alias(f"recent_{i}"))
        flags.append(_seen((age > days) & (age <= 2 * days)).alias(f"before_{i}"))
        new = F.datediff(F.lit(cut), "first") <= days
        sums.append(F.sum(f"recent_{i}").alias(f"visitors_{i}"))
        sums.append(F.sum(f"before_{i}").alias(f"visitors_before_{i}"))
        sums.append(F.sum(F.when(new, F.col(f"recent_{i}")).otherwise(0)).alias(f"entered_{i}"))
        sums.append(F.sum(F.when(new, 0).otherwise(1)).alias(f"had_{i}"))
    wide = seen.groupBy("user_id", "category").agg(*flags).groupBy("category").agg(*sums)
    names = ("visitors", "visitors_before", "entered", "had")
    structs = [F.struct(F.lit(c).alias("cut"), *[F.col(f"{n}_{i}").alias(n) for n in names]) for i, c in enumerate(ordered)]
    long = wide.select("category", F.explode(F.array(*structs)).alias("at")).select("category", "at.*")  # category × cut
    users = known.groupBy("cut").agg(F.count(F.lit(1)).alias("users"))
    return long.join(F.broadcast(users), "cut").select(
        "cut",
        "category",
        _ratio(F.col("visitors"), F.col("users")).alias("visitors_share"),
        _ratio(F.col("visitors_before"), F.col("users")).alias("visitors_share_before"),
        _ratio(F.col("entered"), F.col("users") - F.col("had")).alias("entry_rate"),
    )


def _seen(condition: Column) -> Column:
    """1 when a row of the group meets the condition, else 0."""
    return F.max(F.when(condition, 1).otherwise(0))


def _ratio(above: Column, below: Column) -> Column:
    return F.when(below > 0, above / below).otherwise(F.lit(0.0))

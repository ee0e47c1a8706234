"""What the monitors look at, counted on Spark: a few hundred rows that fit the driver, however large the tables are."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.spark.draw import drawn, millionths

ROWS = "rows"
COLUMNS = ("item_id", "quantity", "amount", "dwell_ms", "basket_id", "campaign_id", "store_id", "channel", "rating", "text")
"""Columns of silver.events that may be null."""


def event_days(events: DataFrame, since: date, until: date) -> pd.DataFrame:
    """One row per event type and day of [since, until), days without events too: event_type, day, rows, nulls per column."""
    inside = events.filter((F.col("event_date") >= F.lit(since)) & (F.col("event_date") < F.lit(until)))
    empty = [F.sum(F.col(c).isNull().cast("bigint")).alias(c) for c in COLUMNS]
    counted = inside.groupBy("event_type", F.col("event_date").alias("day")).agg(F.count("*").alias(ROWS), *empty).toPandas()
    types = sorted(counted["event_type"].unique())
    every = pd.MultiIndex.from_product([types, _days(since, until)], names=["event_type", "day"])
    return counted.set_index(["event_type", "day"]).reindex(every, fill_value=0).astype("int64")


def category_days(daily: DataFrame, since: date, until: date) -> pd.DataFrame:
    """(days of [since, until), categories) events of users' own, from feature.daily_counts; days without events are zeros."""
    inside = daily.filter(
        (F.col("event_date") >= F.lit(since)) & (F.col("event_date") < F.lit(until)) & (F.col("event_type") != "expose")
    )
    counted = inside.groupBy(F.col("event_date").alias("day"), "category").agg(F.sum("events").alias("events")).toPandas()
    wide = counted.pivot_table(index="day", columns="category", values="events", aggfunc="sum", fill_value=0)
    return wide.reindex(_days(since, until), fill_value=0)


def mean_shares(interests: DataFrame) -> pd.Series[float]:
    """Mean predicted share of each category over the rows of gold.user_interests of one date."""
    users = F.count_distinct("user_id")
    found = interests.groupBy("category").agg(F.sum("predicted_share").alias("share")).toPandas()
    number = max(1, int(interests.agg(users.alias("n")).collect()[0]["n"]))
    return (found.set_index("category")["share"].astype("float64") / number).sort_index()


def segment_sizes(segments: DataFrame) -> pd.Series[int]:
    """Users of each segment of gold.user_segments of one date."""
    return segments.groupBy("segment").count().toPandas().set_index("segment")["count"].sort_index()


MATURED_USERS = 200_000
"""Users whose matured labels come to the driver, about: a calibration error of so many is known to a thousandth."""


def matured(segments: DataFrame, events: DataFrame, of: date, until: date, most: int = MATURED_USERS) -> pd.DataFrame:
    """p (chance to buy), happened (0 or 1) of the users of one date whose horizon ends at `until`, in order of their ids: of more
    than `most` users a sample of about so many, by a hash of the ids, the same at every run.

    segments: rows of gold.user_segments as of `of`. To buy is to be of another class than O where the ladder goes by spend, else
    of class buy: both are a purchase in [of, until).
    """
    total = segments.count()
    if total > most:
        segments = segments.filter(drawn(millionths(most, total)))
    bought = events.filter(
        (F.col("event_type") == "purchase") & (F.col("event_date") >= F.lit(of)) & (F.col("event_date") < F.lit(until))
    )
    answers = bought.select("user_id").distinct().withColumn("happened", F.lit(1.0))
    said = segments.select("user_id", F.col("p_buys").alias("p"))
    joined = said.join(answers, "user_id", "left").fillna({"happened": 0.0})
    return joined.orderBy("user_id").select("p", "happened").toPandas()


def _days(since: date, until: date) -> list[date]:
    return [since + timedelta(days=n) for n in range((until - since).days)]

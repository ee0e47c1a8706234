"""Three users for the report, and what is known of them: chosen by rules, so that the same tables give the same three."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

LEAST_EVENTS = 10.0
"""Events that a user needs in both of the last two windows before a change between them is told as one."""


def movement(shares: DataFrame, as_of: date) -> DataFrame:
    """One row per user active in both of the last two closed windows: moved (total variation, 0..1), fewer events."""
    ends = [
        r["window_end"]
        for r in _closed(shares, as_of).select("window_end").distinct().orderBy(F.desc("window_end")).limit(2).collect()
    ]
    if len(ends) < 2:
        return shares.limit(0).select("user_id", F.lit(0.0).alias("moved"), F.lit(0.0).alias("events"))
    two = _closed(shares, as_of).filter(F.col("window_end").isin(*ends))
    newest = F.col("window_end") == F.lit(ends[0])
    pairs = two.groupBy("user_id", "category").agg(
        F.sum(F.when(newest, F.col("share")).otherwise(0.0)).alias("now"),
        F.sum(F.when(newest, 0.0).otherwise(F.col("share"))).alias("before"),
        F.sum(F.when(newest, F.col("events")).otherwise(0.0)).alias("events_now"),
        F.sum(F.when(newest, 0.0).otherwise(F.col("events"))).alias("events_before"),
    )
    users = pairs.groupBy("user_id").agg(
        (0.5 * F.sum(F.abs(F.col("now") - F.col("before")))).alias("moved"),
        F.least(F.sum("events_now"), F.sum("events_before")).alias("events"),
    )
    return users.filter("events > 0")


def chosen(interests: DataFrame, recommendations: DataFrame, moves: DataFrame) -> list[tuple[str, str]]:
    """Up to three (role, user_id), all different and all with a list.

    well_known: most evidence. mover: largest change between the last two windows among users with LEAST_EVENTS in both.
    hardly_known: least evidence. Ties fall by user_id.
    """
    with_list = recommendations.select("user_id").distinct()
    known = interests.groupBy("user_id").agg(F.sum("evidence").alias("evidence")).join(with_list, "user_id", "left_semi")
    enough = moves.filter(F.col("events") >= LEAST_EVENTS).join(with_list, "user_id", "left_semi")
    candidates = (
        ("well_known", known.orderBy(F.desc("evidence"), "user_id")),
        ("mover", enough.orderBy(F.desc("moved"), "user_id")),
        ("hardly_known", known.orderBy("evidence", "user_id")),
    )
    picked: list[tuple[str, str]] = []
    for role, ordered in candidates:
        taken = {user for _, user in picked}
        free = [r["user_id"] for r in ordered.select("user_id").limit(3).collect() if r["user_id"] not in taken]
        picked += [(role, free[0])] if free else []
    return picked


def their_shares(shares: DataFrame, users: list[str], as_of: date) -> DataFrame:
    """user_id, window_end, category, share of these users in their last two closed windows."""
    mine = _closed(shares, as_of).filter(F.col("user_id").isin(*users))
    newest = F.dense_rank().over(Window.partitionBy("user_id").orderBy(F.desc("window_end")))
    last = mine.withColumn("age", newest).filter("age <= 2")
    return last.select("user_id", "window_end", "category", "share", "events").orderBy(
        "user_id", "window_end", F.desc("share"), "category"
    )


def their_lists(recommendations: DataFrame, items: DataFrame, users: list[str]) -> DataFrame:
    """The lists of these users with each item's title."""
    titles = items.select("item_id", "title")  # item_id is its key: the join cannot fan out
    mine = recommendations.filter(F.col("user_id").isin(*users)).join(titles, "item_id", "left")
    return mine.select(
        "user_id",
        "rank",
        "item_id",
        F.coalesce("title", "item_id").alias("title"),
        "category",
        "slot",
        "propensity",
        "reason_code",
        "reason",
    ).orderBy("user_id", "rank")


def _closed(shares: DataFrame, as_of: date) -> DataFrame:
    return shares.filter(F.col("closed") & (F.col("window_end") <= F.lit(as_of)))

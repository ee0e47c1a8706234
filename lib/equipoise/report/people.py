"""Three users for the report, and what is known of them: chosen by rules, so that the same tables give the same three."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F


def newest_moves(migration: DataFrame) -> DataFrame:
    """Rows of gold.interest_migration of its newest window whose drift can be told from noise, with moved: bits above the band
    (below 0: inside it)."""
    newest = migration.agg(F.max("window_end").alias("window_end"))
    told = migration.join(newest, "window_end").filter("noise_p95_bits IS NOT NULL")
    return told.withColumn("moved", F.col("drift_js_bits") - F.col("noise_p95_bits"))


def chosen(interests: DataFrame, recommendations: DataFrame, moves: DataFrame) -> list[tuple[str, str]]:
    """Up to three (role, user_id), all different and all with a list.

    well_known: most evidence. mover: drift farthest above its noise band (see `newest_moves`). hardly_known: least evidence.
    Ties fall by user_id.
    """
    with_list = recommendations.select("user_id").distinct()
    known = interests.groupBy("user_id").agg(F.sum("evidence").alias("evidence")).join(with_list, "user_id", "left_semi")
    told = moves.join(with_list, "user_id", "left_semi")
    candidates = (
        ("well_known", known.orderBy(F.desc("evidence"), "user_id")),
        ("mover", told.orderBy(F.desc("moved"), "user_id")),
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
    """The lists of these users with each item's title, which also stands in the reason where that names an item."""
    titles = items.select("item_id", "title")  # item_id is its key: the join cannot fan out
    named = items.select(F.col("item_id").alias("reason_key"), F.col("title").alias("other"))
    mine = recommendations.filter(F.col("user_id").isin(*users)).join(titles, "item_id", "left").join(named, "reason_key", "left")
    capitals = F.upper("other") == F.col("other")
    readable = F.when(capitals, F.concat(F.substring("other", 1, 1), F.lower(F.expr("substring(other, 2)")))).otherwise(
        F.col("other")
    )
    by_title = F.when(F.col("reason_code") == "same_users", F.replace("reason", "reason_key", readable))
    return mine.select(
        "user_id",
        "rank",
        "item_id",
        F.coalesce("title", "item_id").alias("title"),
        "category",
        "slot",
        "propensity",
        "reason_code",
        F.coalesce(by_title, "reason").alias("reason"),
    ).orderBy("user_id", "rank")


def _closed(shares: DataFrame, as_of: date) -> DataFrame:
    return shares.filter(F.col("closed") & (F.col("window_end") <= F.lit(as_of)))

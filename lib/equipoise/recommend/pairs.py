"""What is known of a user × item at a cut: the user's own visits to it, the user, the item, and its category.

A cut is a date; everything is counted from visits before it, so nothing at or after a cut changes a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from equipoise.features.shares import half_lives

USER_CUT = ("user_id", "cut")
TRIP_HALF_LIVES = (2, 5, 10, 20, 40)
"""Half-lives of the personal decay, in the user's own visit days."""

DAY_HALF_LIVES = (7, 14, 28, 56, 84)
"""Half-lives of the decay in days."""

RATED = (10, 40)
"""Half-lives of TRIP_HALF_LIVES that are also given as a share of what an item bought at every visit would have."""

RECENT, LONG = 14, 56
"""Half-lives in days of an item's popularity; their ratio is its trend."""

FEATURES = (
    *(f"own_{h}" for h in TRIP_HALF_LIVES),
    *(f"own_{h}d" for h in DAY_HALF_LIVES),
    *(f"rate_{h}" for h in RATED),
    "visits", "trips_since", "recency_days", "first_trips", "gap_days", "due",
    "trips", "lines_per_trip", "user_recency_days", "tenure_days", "repertoire",
    "popular_recent", "popular_long", "trend", "buyers", "visits_per_buyer", "again_share",
    "category_own", "category_recency_days", "category_part",
)  # fmt: skip
"""What the value model reads, DOUBLE; null where it has no value (a rhythm after one visit, a visit that never was).

own_h, own_hd: visits decayed by half in h of the user's visit days, or days. rate_h: own_h ÷ its value if every visit day had
the item. visits: days with the item. trips_since, first_trips: the user's visit days after the last, the first of them.
gap_days: mean days between visits; due = recency_days ÷ gap_days. trips, lines_per_trip, user_recency_days, tenure_days,
repertoire (distinct items ÷ lines): of the user. popular_*, trend, buyers, visits_per_buyer, again_share (users with a second
visit): of the item over all users. category_own, category_recency_days: the user's decayed visits (half-life 10) to items of
the item's main category, days since the last. category_part: the item's part of its main category's
popularity.
"""

_SCALE = float(1 << 32)


def fixed_sum(column: Column) -> Column:
    """Sum of a double column, each value rounded to 2^-32 first: the same in any order of the rows, below 2^31 in all."""
    return F.sum(_fixed(column)) / F.lit(_SCALE)


def main_categories(item_categories: DataFrame) -> DataFrame:
    """item_id, category: each item's category of highest weight, ties by name."""
    best = Window.partitionBy("item_id").orderBy(F.desc("weight"), "category")
    return item_categories.withColumn("place", F.row_number().over(best)).filter("place = 1").select("item_id", "category")


def histories_at(visits: DataFrame, mains: DataFrame, cuts: Sequence[date]) -> DataFrame:
    """One row per user × item × cut with a visit before the cut: cut, category (main), and the features of the user's own visits.

    Also what the other frames are made of: popular_recent and popular_long of this user alone, known, bought and looked.

    Args:
        visits: see `history.visits`; a weight of 0 counts as a visit day but decays to nothing.
        mains: see `main_categories`.
    """
    by_day = Window.partitionBy("user_id").orderBy("event_date")
    numbered = visits.withColumn("trip", F.dense_rank().over(by_day))
    at = numbered.withColumn("cut", F.explode(F.array(*[F.lit(c) for c in sorted(set(cuts))]))).filter("event_date < cut")
    whole = Window.partitionBy(*USER_CUT)
    at = at.withColumn("trips", F.max("trip").over(whole))
    since, age = F.col("trips") - F.col("trip"), F.datediff("cut", "event_date")
    found = at.groupBy("user_id", "item_id", "cut").agg(
        *[fixed_sum(F.col("weight") * half_lives(since, h)).alias(f"own_{h}") for h in TRIP_HALF_LIVES],
        *[fixed_sum(F.col("weight") * half_lives(age, h)).alias(f"own_{h}d") for h in DAY_HALF_LIVES],
        F.count(F.lit(1)).alias("visits"),
        F.min(since).alias("trips_since"),
        F.max(since).alias("first_trips"),
        F.min(age).alias("recency_days"),
        F.max(age).alias("first_days"),
        F.first("trips").alias("trips"),
        *[F.sum(c).alias(c) for c in ("known", "bought", "looked")],
    )
    gap = (F.col("first_days") - F.col("recency_days")) / F.nullif(F.col("visits") - 1, F.lit(0))
    placed = found.join(mains, "item_id").withColumn("gap_days", gap)
    return placed.withColumns(
        {
            "due": F.col("recency_days") / F.nullif("gap_days", F.lit(0.0)),
            **{f"rate_{h}": F.col(f"own_{h}") / _full(F.col("trips"), h) for h in RATED},
        }
    )


def users_at(histories: DataFrame) -> DataFrame:
    """One row per user × cut with a visit before the cut: the features of the user."""
    lines = F.sum("visits")
    return histories.groupBy(*USER_CUT).agg(
        F.max("trips").alias("trips"),
        (lines / F.max("trips")).alias("lines_per_trip"),
        F.min("recency_days").alias("user_recency_days"),
        F.max("first_days").alias("tenure_days"),
        (F.count(F.lit(1)) / lines).alias("repertoire"),
    )


def items_at(histories: DataFrame) -> DataFrame:
    """One row per item × cut that anybody visited before the cut: main category, the features of the item, its place there.

    place: 1 = most popular of its main category by popular_long, ties by item_id. seen: visits of all users.
    """
    buyers, lines = F.count(F.lit(1)), F.sum("visits")
    found = histories.groupBy("item_id", "cut", "category").agg(
        fixed_sum(F.col(f"own_{RECENT}d")).alias("popular_recent"),
        fixed_sum(F.col(f"own_{LONG}d")).alias("popular_long"),
        buyers.alias("buyers"),
        lines.alias("seen"),
        (lines / buyers).alias("visits_per_buyer"),
        (F.sum((F.col("visits") > 1).cast("bigint")) / buyers).alias("again_share"),
    )
    category = Window.partitionBy("cut", "category")
    whole = F.sum(_fixed(F.col("popular_long"))).over(category) / F.lit(_SCALE)
    part = F.col("popular_long") / F.nullif(whole, F.lit(0.0))
    return found.withColumns(
        {
            "trend": F.col("popular_recent") / F.nullif("popular_long", F.lit(0.0)),
            "category_part": F.coalesce(part, F.lit(0.0)),
            "place": F.row_number().over(category.orderBy(F.desc("popular_long"), "item_id")),
        }
    )


def categories_at(histories: DataFrame) -> DataFrame:
    """One row per user × cut × main category with a visit: category_own and category_recency_days."""
    return histories.groupBy(*USER_CUT, "category").agg(
        fixed_sum(F.col("own_10")).alias("category_own"), F.min("recency_days").alias("category_recency_days")
    )


def featured(candidates: DataFrame, histories: DataFrame, mains: DataFrame, items: DataFrame | None = None) -> DataFrame:
    """`candidates` (user_id, item_id, cut and more) with FEATURES as DOUBLE and known, bought, looked; no row more or less.

    Counts of what never was are 0, its recencies and rhythms null. items: see `items_at`; those of the histories unless given.
    """
    items = (items_at(histories) if items is None else items).drop("category", "place", "seen")
    own = [c for c in histories.columns if c not in ("category", "trips", "first_days")]
    joined = (
        candidates.join(mains, "item_id", "left")
        .join(histories.select(*own), ["user_id", "item_id", "cut"], "left")
        .join(items, ["item_id", "cut"], "left")
        .join(categories_at(histories), [*USER_CUT, "category"], "left")
        .join(users_at(histories), list(USER_CUT), "left")
    )
    zero = [n for n in FEATURES if n.startswith(("own_", "rate_", "popular_"))]
    zero += ["visits", "buyers", "category_own", "category_part", "known", "bought", "looked"]
    kept = [c for c in candidates.columns if c not in FEATURES]
    counts = [F.col(c).cast("bigint").alias(c) for c in ("known", "bought", "looked")]
    return joined.fillna(0, zero).select(*kept, *counts, *[F.col(n).cast("double").alias(n) for n in FEATURES])


def _fixed(column: Column) -> Column:
    return F.round(column * F.lit(_SCALE)).cast("bigint")


def _full(trips: Column, half_life: float) -> Column:
    """Σ of ½^(j / half-life) over j = 0 … trips − 1: the own_h of an item in every visit."""
    step = 0.5 ** (1.0 / half_life)
    return (F.lit(1.0) - F.pow(F.lit(step), trips)) / F.lit(1.0 - step)

"""What prices users pay and whether they go by promotions."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

LEAST_LINES = 5
PRIOR_LINES = 5.0
"""Lines of everybody's that a user's share of promoted lines is read beside."""

STORE_LINES = 50.0
"""Lines of a category everywhere that its lines in one store are shrunk by."""

TENTHS = tuple(i / 10 for i in range(1, 10))
ACCURACY = 1000


def price_levels(events: DataFrame, items: DataFrame) -> DataFrame:
    """One row per user with LEAST_LINES priced lines: user_id, price_level.

    A line's place is the number of tenths of its finest category's unit prices below its own, plus half of those that equal it,
    ÷ 9; the level is the mean over lines. Tenths are those of Spark's approximate percentiles (Greenwald & Khanna 2001).

    Args:
        events: silver.events before as_of.
        items: silver.items.
    """
    priced = events.filter("event_type = 'purchase' AND quantity > 0 AND amount > 0")
    finest = F.concat_ws("|", "category_1", "category_2", "category_3").alias("finest")
    lines = priced.join(items.select("source", "item_id", finest), ["source", "item_id"]).select(
        "user_id", "finest", (F.col("amount") / F.col("quantity")).alias("price")
    )
    cuts = lines.groupBy("finest").agg(F.percentile_approx("price", list(TENTHS), ACCURACY).alias("cuts"))
    placed = lines.join(F.broadcast(cuts), "finest")  # one row of cuts per category: cannot fan out
    below = F.size(F.filter("cuts", lambda c: c < F.col("price"))) + F.size(F.filter("cuts", lambda c: c == F.col("price"))) / 2
    per_user = placed.groupBy("user_id").agg(F.avg(below / len(TENTHS)).alias("price_level"), F.count(F.lit(1)).alias("lines"))
    return per_user.filter(F.col("lines") >= LEAST_LINES).select("user_id", "price_level")


def promotion_habits(events: DataFrame, item_categories: DataFrame, promotions: DataFrame) -> DataFrame:
    """One row per user with a purchase in a store, where there are promotions: user_id, promotion_share, promotion_lift.

    A line counts as promoted when its category had a placement in its store in its week (from Monday). Lift: (promoted lines +
    k r) ÷ (lines · r + k r), r the share that everybody's lines of the same stores and categories have, a store's shrunk
    to the category's by STORE_LINES, k = PRIOR_LINES.

    Args:
        events: silver.events before as_of.
        item_categories: silver.item_categories; an item counts with its category of highest weight.
        promotions: silver.promotions.
    """
    first = F.max(F.struct("weight", "category"))["category"].alias("category")
    main = item_categories.groupBy("source", "item_id").agg(first)
    week = F.date_trunc("week", F.col("event_date")).cast("date").alias("week_start")
    bought = events.filter("event_type = 'purchase' AND store_id IS NOT NULL")
    lines = (
        bought.join(main, ["source", "item_id"])
        .groupBy("user_id", "source", "store_id", week, "category")
        .agg(F.count(F.lit(1)).cast("double").alias("lines"))
    )
    placed = promotions.select("source", "store_id", "week_start", "category", F.lit(1.0).alias("promoted")).distinct()
    joined = lines.join(placed, ["source", "store_id", "week_start", "category"], "left")
    places = ["source", "store_id", "category"]
    promoted = F.sum(F.col("lines") * F.coalesce("promoted", F.lit(0.0)))
    counted = joined.groupBy("user_id", *places).agg(F.sum("lines").alias("lines"), promoted.alias("promoted"))
    whole = counted.groupBy("category").agg((F.sum("promoted") / F.sum("lines")).alias("all"))
    there = (
        counted.groupBy(*places)
        .agg(F.sum("promoted").alias("yes"), F.sum("lines").alias("number"))
        .join(F.broadcast(whole), "category")
    )
    usual = there.select(*places, ((F.col("yes") + STORE_LINES * F.col("all")) / (F.col("number") + STORE_LINES)).alias("usual"))
    per_user = (
        counted.join(usual, places)  # one row per store × category: cannot fan out
        .groupBy("user_id")
        .agg(
            F.sum("lines").alias("lines"),
            F.sum("promoted").alias("promoted"),
            F.sum(F.col("lines") * F.col("usual")).alias("expected"),
        )
    )
    everybody = F.col("expected") / F.col("lines")
    lift = (F.col("promoted") + PRIOR_LINES * everybody) / F.nullif(F.col("expected") + PRIOR_LINES * everybody, F.lit(0.0))
    share = (F.col("promoted") / F.col("lines")).alias("promotion_share")
    told = per_user.select("user_id", share, lift.alias("promotion_lift"))
    return told.join(promotions.limit(1).select(F.lit(True).alias("there")), F.lit(True), "left_semi")  # none without promotions

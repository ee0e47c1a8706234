"""How popular items are, over all and within their categories."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from equipoise.features.shares import half_lives
from equipoise.recommend.history import EXACT, exact_sum


def item_popularity(visits: DataFrame, *, as_of: date, half_life_days: float) -> DataFrame:
    """One row per item with a visit.

    Returns:
        item_id, popularity (Σ over visits of weight · 2^(−age in days / half-life)), visits (their number, undecayed).
    """
    age = F.datediff(F.lit(as_of), F.col("event_date"))
    decayed = F.col("weight") * half_lives(age, half_life_days)
    return visits.groupBy("item_id").agg(exact_sum(decayed).alias("popularity"), F.count(F.lit(1)).alias("visits"))


def category_items(popularity: DataFrame, item_categories: DataFrame) -> DataFrame:
    """One row per item × category of the catalogue, items that nobody touched included.

    Returns:
        item_id, category, weight (the category's part of the item), popularity and visits (of the item, 0 when untouched),
        share (the item's part of the category's popularity, weight · popularity ÷ its sum; sums to 1 per category, 0 when
        the category is untouched), place (1 = most popular of the category; ties fall by item_id).
    """
    touched = item_categories.select("item_id", "category", "weight").join(popularity, "item_id", "left")
    counted = touched.fillna(0, ["popularity", "visits"]).withColumn("mass", (F.col("weight") * F.col("popularity")).cast(EXACT))
    category = Window.partitionBy("category")
    share = F.col("mass").cast("double") / F.nullif(F.sum("mass").over(category).cast("double"), F.lit(0.0))
    place = F.row_number().over(category.orderBy(F.desc("mass"), F.desc("visits"), "item_id"))
    shared = counted.withColumn("share", F.coalesce(share, F.lit(0.0))).withColumn("place", place)
    return shared.select("item_id", "category", "weight", "popularity", "visits", "share", "place")


def shelves(category_items: DataFrame, *, depth: int) -> DataFrame:
    """The `depth` most popular items of every category, each with all its categories: rows of `category_items`.

    Rows with place ≤ depth are the shelves; the others only tell the further categories of an item that stands on one.
    """
    standing = category_items.filter(F.col("place") <= depth).select("item_id").distinct()
    return category_items.join(standing, "item_id", "left_semi")

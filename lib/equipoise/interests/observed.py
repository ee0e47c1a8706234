"""What users have shown of themselves: shares of their own behaviour, and which categories they know."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from equipoise.tables.vocabulary import KNOWING_EVENT_TYPES, NO_CATEGORY


def weights_of(sequences: DataFrame) -> DataFrame:
    """user_id, category, weight: the decayed weights that feature.sequences carries as two arrays."""
    pairs = F.explode(F.arrays_zip(F.col("prior_categories").alias("category"), F.col("prior_weights").alias("weight")))
    return sequences.select("user_id", pairs.alias("pair")).select("user_id", "pair.category", "pair.weight")


def observed_shares(weights: DataFrame) -> DataFrame:
    """Share of each category in a user's own behaviour.

    Args:
        weights: one row per user × category, `user_id, category, weight`: decayed weight at as_of, all history before it.

    Returns:
        user_id, category, evidence (the weight), observed_share (evidence ÷ the user's evidence; sums to 1 per user).
        Categories without weight are left out, so a user whose behaviour weighs nothing has no rows.
    """
    # Ordered, so that the sum is taken in the same order in every run and its last bit is the same too.
    user = Window.partitionBy("user_id").orderBy("category")
    whole = user.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    evidence = weights.filter("weight > 0").select("user_id", "category", F.col("weight").alias("evidence"))
    return evidence.withColumn("observed_share", F.col("evidence") / F.sum("evidence").over(whole))


def seen_categories(daily: DataFrame, *, as_of: date) -> DataFrame:
    """user_id, category: one row per category that a user knows, by a purchase, cart, click or rating before as_of (DESIGN §5).

    Every other category is *unseen* by the user, one that was only looked at too.

    Args:
        daily: feature.daily_counts.
    """
    known = F.col("event_type").isin(*KNOWING_EVENT_TYPES) & (F.col("category") != NO_CATEGORY) & (F.col("events") > 0)
    return daily.filter((F.col("event_date") < F.lit(as_of)) & known).select("user_id", "category").distinct()

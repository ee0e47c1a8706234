"""What each user does next in each category: nothing, something, or a purchase."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from equipoise.segments.table import most_probable
from equipoise.tables.vocabulary import KNOWING_EVENT_TYPES, NO_CATEGORY

PRIOR = 5.0
"""Windows of the category's own rate that a user's rate is shrunk by, and of everybody's that a category's is."""


def category_values(interests: DataFrame, daily: DataFrame, *, as_of: date, origin: date, window_days: int) -> DataFrame:
    """One row per user × category whose visit_probability is known: gold.user_category_values without stamps.

    p_buy = P(anything in the category) · P(a purchase | anything). The first is visit_probability, of a model; the second a
    rate of windows: of the closed windows in which the user did something in the category, those with a purchase, with PRIOR
    windows of the category's rate more, and that in turn with PRIOR of everybody's. 1 where a source knows purchases only.

    Args:
        interests: gold.user_interests of one as_of.
        daily: feature.daily_counts.
        origin, window_days: window k is [origin + k · window_days, …).
    """
    rates = _conversions(daily, as_of, origin, window_days)
    known = interests.filter("visit_probability IS NOT NULL").select("user_id", "category", "visit_probability", "model_id")
    users, categories = rates.groupBy("user_id", "category").agg(*_sums()), rates.groupBy("category").agg(*_sums("category_"))
    everybody = rates.agg(*_sums("all_"))
    joined = (
        known.join(users, ["user_id", "category"], "left")
        .join(F.broadcast(categories), "category", "left")
        .crossJoin(F.broadcast(everybody))  # one row
    )
    # Before anybody has done anything there is no rate: half is what says least.
    base = F.coalesce(F.col("all_bought") / F.nullif("all_acted", F.lit(0.0)), F.lit(0.5))
    here = _shrunk("category_bought", "category_acted", base)
    rate = _shrunk("bought", "acted", here)
    acts = F.col("visit_probability")
    valued = joined.withColumns({"p_o": 1.0 - acts, "p_interest": acts * (1.0 - rate), "p_buy": acts * rate})
    return valued.select(
        "user_id",
        "category",
        F.lit(window_days).alias("horizon_days"),
        most_probable().alias("segment"),
        "p_o",
        "p_interest",
        "p_buy",
        "model_id",
    )


def _conversions(daily: DataFrame, as_of: date, origin: date, window_days: int) -> DataFrame:
    """user × category × closed window with an event of the knowing types: acted 1.0, bought 1.0 or 0.0."""
    window = F.floor(F.datediff("event_date", F.lit(origin)) / window_days)
    closed = F.datediff(F.lit(as_of), F.lit(origin)) >= (F.col("window") + 1) * window_days
    own = daily.filter(F.col("event_type").isin(*KNOWING_EVENT_TYPES) & (F.col("category") != NO_CATEGORY))
    at = own.filter((F.col("event_date") >= F.lit(origin)) & (F.col("event_date") < F.lit(as_of))).withColumn("window", window)
    bought = F.max(F.when(F.col("event_type") == "purchase", 1.0).otherwise(0.0))
    return at.filter(closed).groupBy("user_id", "category", "window").agg(F.lit(1.0).alias("acted"), bought.alias("bought"))


def _sums(prefix: str = "") -> list[Column]:
    return [F.sum(name).alias(f"{prefix}{name}") for name in ("acted", "bought")]


def _shrunk(bought: str, acted: str, prior: Column) -> Column:
    yes, number = (F.coalesce(F.col(name), F.lit(0.0)) for name in (bought, acted))
    return (yes + PRIOR * prior) / (number + PRIOR)

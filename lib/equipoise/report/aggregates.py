"""Small summaries of big tables, for the report: DataFrame → DataFrame with at most a few hundred rows each.

Everything that grows with users or events is counted by Spark; only these summaries reach the driver.
"""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

EVIDENCE_EDGES = (1.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
"""Upper edges of the bins of a user's decayed weight; the last bin has none."""

PROPENSITY_EDGES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Upper edges, inclusive, of the bins of an explored item's propensity."""


def event_counts(events: DataFrame, as_of: date) -> DataFrame:
    """One row per event type: events, events_before (event_date < as_of), first and last date."""
    before = (F.col("event_date") < F.lit(as_of)).cast("long")
    return (
        events.groupBy("event_type")
        .agg(
            F.count("*").alias("events"),
            F.sum(before).alias("events_before"),
            F.min("event_date").alias("first"),
            F.max("event_date").alias("last"),
        )
        .orderBy(F.desc("events"), "event_type")
    )


def category_means(interests: DataFrame) -> DataFrame:
    """One row per category: mean history, predicted and target share over all users, 0 where they have no row; users it leads."""
    users = interests.agg(F.count_distinct("user_id").cast("double").alias("users"))
    sums = interests.groupBy("category").agg(
        F.sum("observed_share").alias("history"),
        F.sum("predicted_share").alias("predicted"),
        F.sum("target_share").alias("target"),
        F.sum(F.col("is_predicted_top").cast("long")).alias("users_led"),
    )
    shares = [(F.col(c) / F.col("users")).alias(c) for c in ("history", "predicted", "target")]
    return sums.crossJoin(users).select("category", *shares, "users_led").orderBy(F.desc("target"), "category")


def evidence_bins(interests: DataFrame) -> DataFrame:
    """One row per bin of a user's evidence (decayed weight over all categories): bin (0 = none, i = up to edge i), users."""
    per_user = interests.groupBy("user_id").agg(F.sum("evidence").alias("evidence"))
    binned = F.when(F.col("evidence") <= 0, F.lit(0)).otherwise(1 + bin_of("evidence", EVIDENCE_EDGES))
    return per_user.groupBy(binned.alias("bin")).agg(F.count("*").alias("users")).orderBy("bin")


def window_shares(shares: DataFrame, as_of: date) -> DataFrame:
    """One row per closed window × category up to as_of: mean share over the users active in the window."""
    closed = shares.filter(F.col("closed") & (F.col("window_end") <= F.lit(as_of)))
    users = closed.groupBy("window_end").agg(F.count_distinct("user_id").cast("double").alias("users"))
    sums = closed.groupBy("window_end", "category").agg(F.sum("share").alias("total"))
    joined = sums.join(users, "window_end")  # one row of `users` per window: cannot fan out
    return joined.select("window_end", "category", (F.col("total") / F.col("users")).alias("share"), "users")


def group_sizes(segments: DataFrame, column: str) -> DataFrame:
    """One row per value of a segmentation: users, mean p_o/p_interest/p_buy, mean and total expected spend, by name."""
    return (
        segments.filter(F.col(column).isNotNull())
        .groupBy(F.col(column).cast("string").alias("name"))
        .agg(
            F.count("*").alias("users"),
            *[F.avg(c).alias(c) for c in ("p_o", "p_interest", "p_buy")],
            F.avg("expected_spend").alias("mean_spend"),
            F.sum("expected_spend").alias("total_spend"),
        )
        .orderBy("name")
    )


def crossed(segments: DataFrame, column: str) -> DataFrame:
    """One row per value of a segmentation × segment: users."""
    kept = segments.filter(F.col(column).isNotNull())
    return (
        kept.groupBy(F.col(column).cast("string").alias("name"), "segment")
        .agg(F.count("*").alias("users"))
        .orderBy("name", "segment")
    )


def rfm_grid(segments: DataFrame) -> DataFrame:
    """One row per fifth of recency × fifth of frequency: r, f, users, mean_spend (null without amounts), by r and f."""
    fifths = F.split("rfm_cell", "-")
    return (
        segments.filter(F.col("rfm_cell").isNotNull())
        .groupBy(fifths[0].cast("int").alias("r"), fifths[1].cast("int").alias("f"))
        .agg(F.count("*").alias("users"), F.avg("expected_spend").alias("mean_spend"))
        .orderBy("r", "f")
    )


def value_models(segments: DataFrame) -> DataFrame:
    """One row per value_model and buy_threshold: users, and their mean churn_risk (null where it is not told)."""
    told = segments.groupBy("value_model", "buy_threshold").agg(F.count("*").alias("users"), F.avg("churn_risk").alias("churn"))
    return told.orderBy(F.desc("users"), "value_model")


def segment_drivers(segments: DataFrame) -> DataFrame:
    """One row per segment × driver: mean log_odds over its users, by segment and driver."""
    each = segments.select("segment", F.explode("drivers").alias("d")).select("segment", "d.driver", "d.log_odds")
    return each.groupBy("segment", "driver").agg(F.avg("log_odds").alias("log_odds")).orderBy("segment", "driver")


def list_categories(recommendations: DataFrame) -> DataFrame:
    """One row per category: rows in lists, rows in explore slots, share of all rows."""
    total = recommendations.agg(F.count("*").cast("double").alias("total"))
    explored = (F.col("slot") == "explore").cast("long")
    counts = recommendations.groupBy("category").agg(F.count("*").alias("rows"), F.sum(explored).alias("explored"))
    return counts.crossJoin(total).withColumn("share", F.col("rows") / F.col("total")).orderBy(F.desc("rows"), "category")


def list_counts(recommendations: DataFrame) -> DataFrame:
    """One row: users, rows, items, categories, explore rows, categories per list, share of a list's largest category."""
    per_pair = recommendations.groupBy("user_id", "category").agg(F.count("*").cast("double").alias("n"))
    per_user = per_pair.groupBy("user_id").agg((F.max("n") / F.sum("n")).alias("largest"), F.count("*").alias("categories"))
    means = per_user.agg(
        F.count("*").alias("users"), F.avg("categories").alias("categories_per_list"), F.avg("largest").alias("largest_share")
    )
    whole = recommendations.agg(
        F.count("*").alias("rows"),
        F.count_distinct("item_id").alias("items"),
        F.count_distinct("category").alias("categories"),
        F.sum((F.col("slot") == "explore").cast("long")).alias("explored"),
    )
    return whole.crossJoin(means)


def reasons(recommendations: DataFrame) -> DataFrame:
    """One row per reason code × slot: rows."""
    return (
        recommendations.groupBy("reason_code", "slot")
        .agg(F.count("*").alias("rows"))
        .orderBy(F.desc("rows"), "reason_code", "slot")
    )


def rule_counts(effects: DataFrame) -> DataFrame:
    """One row per rule × what it names: users, places it took, and their expected DCG (Σ p_next_trip ÷ log2(place + 1))."""
    worth = F.coalesce("p_next_trip", F.lit(0.0)) / F.log2(F.col("rank") + 1.0)
    counted = effects.groupBy("rule", "rule_key").agg(
        F.count_distinct("user_id").alias("users"), F.count("*").alias("places"), F.sum(worth).alias("dcg")
    )
    return counted.orderBy(F.desc("places"), "rule", "rule_key")


def propensity_bins(recommendations: DataFrame) -> DataFrame:
    """One row per bin of the propensity of explore rows: bin (i = up to edge i, inclusive), rows."""
    explored = recommendations.filter(F.col("slot") == "explore")
    edged = explored.groupBy(bin_of("propensity", PROPENSITY_EDGES).alias("bin"))
    return edged.agg(F.count("*").alias("rows")).orderBy("bin")


def bin_of(column: str, edges: tuple[float, ...]) -> Column:
    """Number of edges below the value: 0 for a value up to the first edge."""
    found = F.lit(0)
    for edge in edges:
        found = found + (F.col(column) > F.lit(edge)).cast("int")
    return found


def strongest_rules(rules: DataFrame, most: int = 15) -> DataFrame:
    """Up to `most` rows per level: of each set of names the rule with the highest leverage (then confidence), those first that
    have most of it; `rules`: how many the level has in all.

    Args:
        rules: gold.item_rules of one date.
    """
    # Names joined by a character below all others sort as their arrays do; no GPU sorts arrays, or parts by them.
    by_leverage = (F.desc("leverage"), F.desc("confidence"), F.array_join("antecedent", "\u0001"), F.col("consequent"))
    within = F.array_join(F.sort_array(F.concat("antecedent", F.array("consequent"))), "\u0001")
    one = rules.withColumns(
        {
            "rules": F.count(F.lit(1)).over(Window.partitionBy("level")),
            "of_set": F.row_number().over(Window.partitionBy("level", within).orderBy(*by_leverage)),
        }
    ).filter("of_set = 1")
    ranked = one.withColumn("place", F.row_number().over(Window.partitionBy("level").orderBy(*by_leverage)))
    columns = ("level", "antecedent", "consequent", "support", "confidence", "lift", "leverage", "baskets", "rules")
    return ranked.filter(F.col("place") <= most).orderBy("level", "place").select(*columns)

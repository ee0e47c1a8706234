"""Small summaries of gold.interest_migration and gold.category_transitions, for the report: at most a few hundred rows each."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.report.aggregates import bin_of
from equipoise.tables.vocabulary import ALL_SEGMENTS, REST

EXCESS_EDGES = (-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3)
"""Upper edges, inclusive, of the bins of drift less its band, in bits; the last bin has none."""

KINDS = ("gained", "lost", "returning")
LARGEST, LEADS = 10, 15


def window_moves(moved: DataFrame) -> DataFrame:
    """One row per window: users, told (with a band), migrated, change_point (users), mean drift, noise and band of those told."""
    told = F.col("migrated").isNotNull()
    means = [F.avg(F.when(told, F.col(c))).alias(c) for c in ("drift_js_bits", "noise_mean_bits", "noise_p95_bits")]
    return (
        moved.groupBy("window_end")
        .agg(
            F.count("*").alias("users"),
            F.sum(told.cast("long")).alias("told"),
            *[F.sum(F.coalesce(c, F.lit(False)).cast("long")).alias(c) for c in ("migrated", "change_point")],
            *means,
        )
        .orderBy("window_end")
    )


def excess_bins(moved: DataFrame) -> DataFrame:
    """One row per bin of drift less band: bin (i = up to edge i, inclusive), rows."""
    told = moved.filter(F.col("migrated").isNotNull()).withColumn("excess", F.col("drift_js_bits") - F.col("noise_p95_bits"))
    return told.groupBy(bin_of("excess", EXCESS_EDGES).alias("bin")).agg(F.count("*").alias("rows")).orderBy("bin")


def turned_users(moved: DataFrame) -> DataFrame:
    """One row: users, told (some window could be a change point), turned (one is)."""
    per_user = moved.groupBy("user_id").agg(F.max(F.col("change_point").cast("int")).alias("turned"))
    return per_user.agg(F.count("*").alias("users"), F.count("turned").alias("told"), F.sum("turned").alias("turned"))


def changed_categories(moved: DataFrame) -> DataFrame:
    """One row per category that any user gained, lost or came back to in any window: how often each."""
    parts = [moved.select(F.explode(kind).alias("category"), F.lit(kind).alias("kind")) for kind in KINDS]
    rows = reduce(DataFrame.unionByName, parts)
    sums = [F.sum((F.col("kind") == kind).cast("long")).alias(kind) for kind in KINDS]
    return rows.groupBy("category").agg(*sums).orderBy(F.desc(F.col("gained") + F.col("lost") + F.col("returning")), "category")


def largest_flows(transitions: DataFrame) -> DataFrame:
    """Rows of everybody between the LARGEST categories by population share."""
    named = _of_everybody(transitions)
    shares = named.select("to_category", "population_share").distinct()
    top = [r["to_category"] for r in shares.orderBy(F.desc("population_share"), "to_category").limit(LARGEST).collect()]
    inside = F.col("from_category").isin(*top) & F.col("to_category").isin(*top)
    return named.filter(inside).select("from_category", "to_category", "probability", "population_share", "users")


def leads(transitions: DataFrame) -> DataFrame:
    """The LEADS rows of everybody, from one category to another, whose probability is most above the population's share."""
    named = _of_everybody(transitions).filter(F.col("from_category") != F.col("to_category"))
    above = F.desc(F.col("probability") - F.col("population_share"))
    columns = ("from_category", "to_category", "probability", "population_share", "users")
    return named.orderBy(above, "from_category", "to_category").limit(LEADS).select(*columns)


def _of_everybody(transitions: DataFrame) -> DataFrame:
    return transitions.filter(
        (F.col("segment") == ALL_SEGMENTS) & (F.col("from_category") != REST) & (F.col("to_category") != REST)
    )

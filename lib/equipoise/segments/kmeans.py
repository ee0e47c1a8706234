"""K-means on recency, frequency and money: the second baseline, at the same number of groups as the model's segments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from pyspark.ml.clustering import KMeans
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

ROWS_PER_PARTITION = 1_000_000
"""Up to here one partition holds everybody, so that sums are taken in one order and a rerun gives the same centres."""

ITERATIONS = 50


def clusters(profile: DataFrame, k: int, seed: int) -> DataFrame:
    """One row per user: user_id, kmeans_cluster (1..k by rising mean spend; null for all when there are fewer users than k).

    Features: log(1 + recency), log(1 + frequency), log(1 + money), each with mean 0 and standard deviation 1; the logarithm
    because all three are heavy-tailed. Without amounts money is left out and clusters are numbered by rising frequency.
    Centres come from k-means|| (Bahmani et al., VLDB 2012) with `seed`; the numbers, not the centres, are stable names.

    Args:
        profile: feature.user_profile of one as_of.
    """
    users = profile.count()
    if users < k:
        return profile.select("user_id", F.lit(None).cast("int").alias("kmeans_cluster"))
    names = ["recency_days", "frequency"]
    if profile.filter("monetary IS NOT NULL").limit(1).count():
        names.append("monetary")
    worth = names[-1]
    partitions = 1 + users // ROWS_PER_PARTITION
    points = profile.select("user_id", F.coalesce(worth, F.lit(0.0)).alias("worth"), *[_log(n) for n in names])
    ordered = points.repartition(partitions, "user_id").sortWithinPartitions("user_id").persist()
    try:
        features = _standardised(ordered, names)
        fitted = KMeans(k=k, seed=seed, maxIter=ITERATIONS, initMode="k-means||").fit(ordered.select(features.alias("features")))
        centres = [[float(x) for x in centre] for centre in fitted.clusterCenters()]
        assigned = ordered.select("user_id", "worth", _nearest(features, centres).alias("centre"))
        means = assigned.groupBy("centre").agg(F.mean("worth").alias("worth")).orderBy("worth", "centre").collect()
    finally:
        ordered.unpersist()
    number = {row["centre"]: n for n, row in enumerate(means, start=1)}
    label = F.coalesce(*[F.when(F.col("centre") == centre, F.lit(n)) for centre, n in sorted(number.items())])
    return assigned.select("user_id", label.alias("kmeans_cluster"))


def _log(name: str) -> Column:
    # Refunds can take a total below zero.
    return F.log1p(F.greatest(F.coalesce(F.col(name), F.lit(0.0)), F.lit(0.0))).alias(name)


def _standardised(points: DataFrame, names: Sequence[str]) -> Column:
    """ARRAY<DOUBLE> of (x − mean) ÷ standard deviation; 0 where everybody has the same value."""
    sums = points.agg(*[f(n).alias(f"{a}_{n}") for n in names for a, f in (("mean", F.mean), ("sd", F.stddev_pop))]).first()
    if sums is None:
        raise AssertionError("an aggregate without groups has one row")
    scaled = [(F.col(n) - F.lit(sums[f"mean_{n}"])) / F.lit(sums[f"sd_{n}"] or 1.0) for n in names]
    return F.array(*[F.coalesce(x, F.lit(0.0)) for x in scaled])  # KMeans wants a type without nulls; there are none


def _nearest(features: Column, centres: Sequence[Sequence[float]]) -> Column:
    """Number of the nearest centre, as native expressions; a tie falls to the first."""
    distances = [
        reduce(Column.__add__, [(features[i] - F.lit(x)) * (features[i] - F.lit(x)) for i, x in enumerate(centre)])
        for centre in centres
    ]
    return F.array_position(F.array(*distances), F.array_min(F.array(*distances))).cast("int") - 1

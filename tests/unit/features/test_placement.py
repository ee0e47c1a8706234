"""Salts against Spark's own hash and its own partitions."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from equipoise.features.placement import murmur3_int, salts


def test_the_hash_is_sparks(spark: SparkSession) -> None:
    values = [0, 1, 2, 3, 41, 1000, 2**31 - 1, -1, -(2**31)]
    row = spark.range(1).select([F.hash(F.lit(v).cast("int")).alias(str(i)) for i, v in enumerate(values)]).collect()[0]
    assert [murmur3_int(v) for v in values] == [h % 2**32 for h in row]


@pytest.mark.parametrize("n", [1, 3, 8])
def test_every_salt_lands_in_its_partition_alone(spark: SparkSession, n: int) -> None:
    found = salts(n)
    frame = spark.createDataFrame([(i, s) for i, s in enumerate(found) for _ in range(2)], "file INT, salt INT")
    placed = frame.repartition(n, "salt").select("file", F.spark_partition_id().alias("partition")).distinct().collect()
    assert sorted((r["file"], r["partition"]) for r in placed) == [(i, i) for i in range(n)]
    assert len(set(found)) == n


def test_a_plain_number_would_not_do(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(i,) for i in range(8)], "file INT").repartition(8, "file")
    assert frame.select(F.spark_partition_id().alias("p")).distinct().count() < 8

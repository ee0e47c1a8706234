"""Fewer, larger files, and no files of versions that nobody needs any more."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.store import log
from equipoise.store.store import is_conflict

SMALLEST = "spark.databricks.delta.optimize.minFileSize"
RETENTION = "delta.deletedFileRetentionDuration"
LISTING = "spark.sql.sources.parallelPartitionDiscovery.parallelism"
"""Tasks among which VACUUM divides the listing of folders, 10,000 unless told: a minute per table on two cores."""


def live_files(spark: SparkSession, path: str) -> DataFrame:
    """partition, size (bytes) of every data file of the newest version."""
    found: Any = log.snapshot(spark, path).allFiles().toDF()
    partition = F.concat_ws("/", F.map_values("partitionValues")).alias("partition")
    return DataFrame(found, spark).select(partition, "size")


def bytes_on_disk(spark: SparkSession, path: str) -> int:
    """Size of everything below a folder, bytes."""
    jvm: Any = spark._jvm
    place = jvm.org.apache.hadoop.fs.Path(path)
    summary = place.getFileSystem(spark._jsc.hadoopConfiguration()).getContentSummary(place)
    return int(summary.getLength())


def scattered(files: DataFrame, small_bytes: int, most: int) -> bool:
    """Whether a partition has more than `most` files smaller than `small_bytes`."""
    counted = files.filter(F.col("size") < small_bytes).groupBy("partition").count()
    return not counted.filter(F.col("count") > most).isEmpty()


def compact(spark: SparkSession, path: str, small_bytes: int) -> bool:
    """Joins the files of each partition that are smaller than `small_bytes`; the rows stay the same, the version rises.

    False where another run changed the table meanwhile: its write stands, and the files are left for the next upkeep.
    """
    try:
        with _setting(spark, SMALLEST, str(small_bytes)):
            spark.sql(f"OPTIMIZE delta.`{path}`").collect()
    except Exception as error:  # Spark's errors have no common class
        if not is_conflict(error):
            raise
        return False
    return True


def replaced_at(spark: SparkSession, path: str, version: int) -> datetime | None:
    """When the first change of rows after a version took files out of it; None where there was none since."""
    history = DeltaTable.forPath(spark, path).history().select("version", "timestamp")
    row = history.filter(F.col("version") > version).agg(F.unix_micros(F.min("timestamp")).alias("at")).collect()[0]
    return None if row["at"] is None else datetime.fromtimestamp(row["at"] / 1e6, UTC)


def keep_removed(spark: SparkSession, path: str, retention: timedelta) -> None:
    """From now on the log remembers files that were taken out for so long.

    VACUUM takes a file that the log has forgotten for one that never belonged to the table, and deletes it however long it was
    told to RETAIN: the property and the retention have to be the same.
    """
    wanted = f"interval {_hours(retention)} hours"
    known = spark.sql(f"SHOW TBLPROPERTIES delta.`{path}`").filter(F.col("key") == RETENTION).collect()
    if [r["value"] for r in known] != [wanted]:
        spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('{RETENTION}' = '{wanted}')")


def vacuum(spark: SparkSession, path: str, retention: timedelta, *, dry_run: bool) -> int:
    """Deletes files that no version of the last `retention` has; number of files that it found."""
    asked = f"VACUUM delta.`{path}` RETAIN {_hours(retention)} HOURS"
    with _setting(spark, LISTING, str(4 * spark.sparkContext.defaultParallelism)):
        found = spark.sql(f"{asked} DRY RUN").count()
        if found and not dry_run:
            spark.sql(asked).collect()
    return int(found)


def _hours(retention: timedelta) -> int:
    return math.ceil(retention.total_seconds() / 3600)


@contextmanager
def _setting(spark: SparkSession, name: str, value: str) -> Iterator[None]:
    before = spark.conf.get(name, None)
    spark.conf.set(name, value)
    try:
        yield
    finally:
        if before is None:
            spark.conf.unset(name)
        else:
            spark.conf.set(name, before)

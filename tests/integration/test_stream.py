"""The stream over a real table: what it reads is the pinned version, whatever happens to the table afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from equipoise.errors import StreamError
from equipoise.stream import IDENTITY_COLUMNS, LEARNER_COLUMNS, ExampleStream, plan
from tests.unit.stream.made import WIDTHS, table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from equipoise.store import Store

NAME = "feature.examples"
Row = tuple[bytes, int, bytes, bytes, int, float]


def frame(spark: SparkSession, rows: range, files: int) -> DataFrame:
    made = spark.createDataFrame(table(rows).to_pandas())
    for name in ("cut_day", "length", "label_value"):
        made = made.withColumn(name, F.col(name).cast("int"))
    return made.repartition(files, "user_id")


def as_of_version(store: Store, version: int) -> list[Row]:
    """What the table held at a version, as Spark reads it."""
    rows = store.read(NAME, version).select("user_id", "cut_day", "prior", "features", "label_value", "label_spend").collect()
    return sorted((bytes(r[0]), r[1], bytes(r[2]), bytes(r[3]), r[4], r[5]) for r in rows)


def streamed(files: list[str], world_size: int) -> list[list[Row]]:
    """What each rank gets."""
    seen: list[list[Row]] = []
    for rank in range(world_size):
        stream = ExampleStream(
            files,
            rank=rank,
            world_size=world_size,
            batch_size=7,
            seed=3,
            epoch=1,
            widths=WIDTHS,
            columns=LEARNER_COLUMNS + IDENTITY_COLUMNS,
            drop_last=False,
        )
        mine: list[Row] = []
        with stream:
            for b in stream:
                columns = zip(
                    (bytes(u.tolist()) for u in b["user_id"]),
                    b["cut_day"].tolist(),
                    (p.numpy().tobytes() for p in b["prior"]),
                    (f.numpy().tobytes() for f in b["features"]),
                    b["label_value"].tolist(),
                    b["label_spend"].tolist(),
                    strict=True,
                )
                mine.extend(columns)
        seen.append(mine)
    return seen


def test_the_stream_equals_the_pinned_version_after_delete_and_overwrite(spark: SparkSession, store: Store) -> None:
    first = store.replace(frame(spark, range(200), 6), NAME, {}, fingerprint="first", job="test", keep_partitions=True).version
    pinned = store.files(NAME, first)
    before = as_of_version(store, first)
    assert len(before) == 200

    spark.sql(f"DELETE FROM delta.`{store.path(NAME)}` WHERE label_value = 1")
    after_delete = store.version(NAME)
    assert after_delete is not None and after_delete > first
    store.replace(frame(spark, range(500, 560), 2), NAME, {}, fingerprint="second", job="test", keep_partitions=True)
    newest = store.version(NAME)
    assert newest is not None

    for version, rows in ((first, 200), (after_delete, 133), (newest, 60)):
        expected = as_of_version(store, version)
        assert len(expected) == rows
        for world_size in (1, 2):
            ranks = streamed(store.files(NAME, version), world_size)
            assert sorted(row for rank in ranks for row in rank) == expected  # every row once, so no two ranks share one
    assert sorted(streamed(pinned, 1)[0]) == before


def test_reading_the_folder_instead_would_be_wrong(spark: SparkSession, store: Store) -> None:
    """Why the list is pinned: the folder still holds removed rows."""
    version = store.replace(frame(spark, range(100), 2), NAME, {}, fingerprint="first", job="test", keep_partitions=True).version
    store.replace(frame(spark, range(40), 2), NAME, {}, fingerprint="second", job="test", keep_partitions=True)
    newest = store.version(NAME)
    assert newest is not None and newest > version
    assert pq.read_table(store.path(NAME), columns=["length"]).num_rows == 140
    assert plan(store.files(NAME, newest), 1, 1).rows == 40


def test_a_vacuumed_file_is_said(spark: SparkSession, store: Store) -> None:
    from pathlib import Path

    version = store.replace(frame(spark, range(20), 2), NAME, {}, fingerprint="first", job="test", keep_partitions=True).version
    files = store.files(NAME, version)
    Path(files[0]).unlink()
    with pytest.raises(StreamError, match="the version was vacuumed or moved"):
        streamed(files, 1)

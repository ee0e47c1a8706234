"""Sort keys of values that hold lists: equal exactly where the values are."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, StringType, StructType

from equipoise.spark.order import sortable

LISTS: list[list[str | None] | None] = [
    None,
    [],
    [None],
    [""],
    ["-"],
    ["null"],
    ["a", "b"],
    ["b", "a"],
    ["a,b"],
    ["a1:b"],
    ["1:a", "b"],
    ["a", None, "b"],
    ["a", "b", None],
    ["", ""],
    ["12", "3"],
    ["1", "23"],
]
PAIRS: list[Any] = [
    None,
    [],
    [None],
    [(None, None)],
    [("a", "b")],
    [("a", None)],
    [(None, "a")],
    [("a", "b"), ("c", "d")],
    [("c", "d"), ("a", "b")],
    [("a", "b1:c"), (None, "d")],
]
NESTED: list[Any] = [None, (None, None), ("x", None), ("x", []), ("x", [["a"], ["b"]]), ("x", [["a", "b"]]), ("x", [None, ["a"]])]


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        (LISTS, "ARRAY<STRING>"),
        (PAIRS, "ARRAY<STRUCT<key: STRING, value: STRING>>"),
        (NESTED, "STRUCT<n: STRING, of: ARRAY<ARRAY<STRING>>>"),
    ],
)
def test_different_values_have_different_keys(spark: SparkSession, values: list[Any], type_: str) -> None:
    frame = spark.createDataFrame([(i, (v,)) for i, v in enumerate(values)], f"i INT, raw STRUCT<v: {type_}>")
    both = frame.union(frame).withColumn("key", sortable(F.col("raw"), frame.schema["raw"].dataType))
    assert not _lists(both.schema["key"].dataType)
    keys = [r["key"] for r in both.orderBy("i").collect()]
    assert keys[::2] == keys[1::2], "the same value twice"
    assert [(values[a], values[b]) for a, b in combinations(range(len(values)), 2) if keys[2 * a] == keys[2 * b]] == []
    assert both.groupBy("key").count().count() == len(values), "Spark tells them apart too"


def test_what_holds_no_list_is_left_as_it_is(spark: SparkSession) -> None:
    frame = spark.createDataFrame([((1, "a"),)], "raw STRUCT<n: INT, t: STRING>")
    raw = F.col("raw")
    assert sortable(raw, frame.schema["raw"].dataType) is raw
    assert sortable(raw, StringType()) is raw


def _lists(type_: DataType) -> bool:
    return isinstance(type_, ArrayType) or (isinstance(type_, StructType) and any(_lists(f.dataType) for f in type_.fields))

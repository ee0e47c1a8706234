"""Text files → one row per line with its fields, broken lines kept: nothing that stands in a file can vanish.

Lines are read as bytes and split by us, since Spark's CSV and JSON readers replace bytes that are no UTF-8 without a word.
A field may not hold a line break: such a record is two broken lines.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.errors import SourceError

SEPARATORS = {"csv": ",", "tsv": "\t"}
BOM = "\ufeff"
REPLACEMENT = "\ufffd"
_BROKEN_RECORD = "_broken_record"


def read_lines(spark: SparkSession, files: Sequence[str]) -> DataFrame:
    """line, bad_utf8, replaced (holds U+FFFD) of every line that is not blank.

    A line that is no UTF-8 is read as Latin-1, which loses no byte.
    """
    valid = F.expr("is_valid_utf8(value)")
    text = F.when(valid, F.col("value")).otherwise(F.decode(F.col("value").cast("binary"), "ISO-8859-1"))
    lines = spark.read.text(list(files)).select(F.ltrim(text, F.lit(BOM)).alias("line"), (~valid).alias("bad_utf8"))
    return lines.filter(F.trim("line") != "").withColumn("replaced", F.contains("line", F.lit(REPLACEMENT)))


def read_separated(spark: SparkSession, files: Sequence[str], format_: str) -> DataFrame:
    """raw (struct: the header's columns as text), broken, bad_utf8, replaced, line of each row.

    CSV is RFC 4180, TSV knows no quotes; every file has the header.

    Raises:
        SourceError: when a file is empty, or its header differs from the first file's.
    """
    separator = SEPARATORS[format_]
    header = _common_header(spark, files)
    names = next(csv.reader([header], delimiter=separator)) if format_ == "csv" else header.split(separator)
    if len(set(names)) != len(names) or not all(n.strip() for n in names):
        raise SourceError(f"{files[0]}: header {header!r} has empty or repeated column names; expected one name per column")
    schema = ", ".join(f"`{n.replace('`', '``')}` STRING" for n in [*names, _BROKEN_RECORD])
    quotes = {"quote": '"', "escape": '"'} if format_ == "csv" else {"quote": ""}
    options = {"sep": separator, "mode": "PERMISSIVE", "columnNameOfCorruptRecord": _BROKEN_RECORD, **quotes}
    split = read_lines(spark, files).filter(F.col("line") != header).withColumn("f", F.from_csv("line", schema, options))
    broken = F.col(f"f.{_BROKEN_RECORD}").isNotNull() | (_open_quote() if format_ == "csv" else F.lit(False))
    raw = F.struct(*[F.col(f"f.`{n}`").alias(n) for n in names]).alias("raw")
    return split.select(raw, broken.alias("broken"), "bad_utf8", "replaced", F.when(broken, F.col("line")).alias("line"))


def read_json_lines(spark: SparkSession, files: Sequence[str]) -> DataFrame:
    """fields (map: top-level name → text; nested values as JSON), broken, bad_utf8, replaced, line of a JSON lines file.

    A line with anything beside one object, or with a name twice, is broken: a parser alone would take its first half.
    """
    lines = read_lines(spark, files)
    wrapped = F.from_json(F.concat(F.lit("["), F.col("line"), F.lit("]")), "array<map<string,string>>")
    parsed = lines.withColumn("a", wrapped)
    keys = F.map_keys(F.col("a")[0])
    whole = (F.size("a") == 1) & (F.size(F.array_distinct(keys)) == F.size(keys))
    broken = ~F.coalesce(whole, F.lit(False))
    return parsed.select(
        F.when(~broken, F.col("a")[0]).alias("fields"),
        broken.alias("broken"),
        "bad_utf8",
        "replaced",
        F.when(broken, F.col("line")).alias("line"),
    )


def _open_quote() -> Column:
    """A field begins with a quote, and the line holds an odd number of them: a quoted field is not closed."""
    quotes = F.length("line") - F.length(F.replace(F.col("line"), F.lit('"'), F.lit("")))
    return (quotes % 2 == 1) & F.col("line").rlike('(^|,)\\s*"')


def _common_header(spark: SparkSession, files: Sequence[str]) -> str:
    """The first line of every file, which must be the same."""
    first = {f: _first_line(spark, f) for f in files}
    header = first[files[0]]
    other = [f for f in files if first[f] != header]
    if other:
        raise SourceError(
            f"{other[0]}: header {first[other[0]]!r} differs from {header!r} in {files[0]}; give every file the same columns"
        )
    return header


def _first_line(spark: SparkSession, file: str) -> str:
    rows = read_lines(spark, [file]).select("line").head(1)
    if not rows:
        raise SourceError(f"{file}: empty; expected a header and rows")
    return str(rows[0]["line"])

"""Rows of one input → the same rows, each with the rules it breaks. One pass, one shuffle (by natural key)."""

from __future__ import annotations

from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame, Window, WindowSpec
from pyspark.sql import functions as F
from pyspark.sql.types import StringType

from equipoise.quality.rules import BROKEN_RULES, MISSING, Limits, Rule, rules_for
from equipoise.sources.canonical import FIELDS, Kind, blank_to_null
from equipoise.spark.order import sortable

KEYS = ("raw_user", "natural_key")
"""Trimmed already; touching them would cost a second shuffle."""


def fill_missing(frame: DataFrame, kind: Kind) -> DataFrame:
    """Blank text is null; what MISSING gives a default has it, and `defaulted` lists those columns, sorted.

    Lines that could not be split are left as they are: nothing in them is known to be missing.
    """
    text = [f.name for f in frame.schema.fields if isinstance(f.dataType, StringType) and f.name not in (*KEYS, "line")]
    filled = frame.withColumns({c: blank_to_null(F.col(c)) for c in text})
    stated = [m for m in MISSING if m.applies_to == kind and m.default]
    by_name = sorted(m.column for m in stated)
    empty = [F.when(F.col(c).isNull() & ~F.col("broken"), F.lit(c)).otherwise("") for c in by_name]
    filled = filled.withColumn("defaulted", F.array_remove(F.array(*empty), "").cast("array<string>"))
    for m in stated:  # in MISSING's order: later defaults read earlier ones
        filled = filled.withColumn(m.column, F.coalesce(F.col(m.column), F.expr(str(m.default)).cast(FIELDS[kind][m.column])))
    return filled


def check(frame: DataFrame, kind: Kind, limits: Limits) -> DataFrame:
    """The frame with `violations` (ids of every broken rule, sorted) and `rejected`; as many rows as before.

    Outlier bounds, item_known and event_date must stand beside the events.
    """
    rules = rules_for(kind)
    conditions = {r: F.coalesce(F.expr(r.violated.format(**limits.sql())), F.lit(False)) for r in rules}
    by_row = {r: c for r, c in conditions.items() if "copy_number" not in r.violated}
    judged = frame.withColumns({"_row_rules": _broken_rules(by_row), "_refused": _any(by_row, "reject")})
    numbered = judged.withColumn("copy_number", F.row_number().over(_copies(judged)))
    by_key = {r: c for r, c in conditions.items() if r not in by_row}
    every = F.when(_any(by_key), F.array_sort(F.concat("_row_rules", _broken_rules(by_key)))).otherwise(F.col("_row_rules"))
    spoken = F.when(F.col("broken"), F.array_intersect(every, F.lit(list(BROKEN_RULES)))).otherwise(every)
    done = numbered.withColumns({"violations": spoken, "rejected": F.col("_refused") | _any(by_key, "reject")})
    return done.drop("_row_rules", "_refused", "copy_number")


def _any(conditions: dict[Rule, Column], level: str | None = None) -> Column:
    return reduce(or_, (c for r, c in conditions.items() if level in (None, r.level)), F.lit(False))


def _broken_rules(conditions: dict[Rule, Column]) -> Column:
    """Ids of the rules that hold, in their order; lists are built only for rows that break one."""
    found = F.array_remove(F.array(*[F.when(c, F.lit(r.id)).otherwise("") for r, c in conditions.items()]), "")
    return F.when(_any(conditions), found).otherwise(F.array().cast("array<string>"))


def _copies(frame: DataFrame) -> WindowSpec:
    """Rows of one natural key in an order that leaves nothing to chance: rows with the same raw and line are the same."""
    raw = sortable(F.col("raw"), frame.schema["raw"].dataType)
    first = [F.col("_refused"), *([F.col("event_ts").asc_nulls_last()] if "event_ts" in frame.columns else [])]
    return Window.partitionBy(*[c for c in KEYS if c in frame.columns]).orderBy(*first, raw, "line")

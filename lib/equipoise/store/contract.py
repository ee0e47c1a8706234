"""A frame against its table's contract, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from equipoise.errors import ContractError
from equipoise.tables import Table


@dataclass(frozen=True)
class Only:
    """The part of a slice that a write replaces: rows whose `column` is one of `days`, at least one. `upon` is the version of the
    table (`Store.rows_version`) whose other rows are to stay."""

    column: str
    days: tuple[date, ...]
    upon: int


def conform(frame: DataFrame, table: Table) -> DataFrame:
    """The frame with the table's columns in the table's order.

    Raises:
        ContractError: naming every missing, unexpected or wrongly typed column.
    """
    wanted = {f.name: f.dataType for f in table.struct_type()}
    given = {f.name: f.dataType for f in frame.schema}
    problems = [f"missing column {c} {t.simpleString()}" for c, t in wanted.items() if c not in given]
    problems += [f"unexpected column {c}" for c in given if c not in wanted]
    problems += [
        f"column {c} is {given[c].simpleString()}, expected {t.simpleString()}"
        for c, t in wanted.items()
        if c in given and given[c].simpleString() != t.simpleString()
    ]
    if problems:
        listed = "\n".join(f"  {p}" for p in problems)
        raise ContractError(f"{table.full_name}: the frame does not have the table's columns\n{listed}")
    return frame.select(*table.column_names)


def check_rows(frame: DataFrame, table: Table, slice_values: dict[str, object], only: Only | None = None) -> int:
    """Number of rows; the frame is read twice, so persist it.

    Raises:
        ContractError: for nulls in NOT NULL columns, rows outside the slice, or a key that is not unique,
            with counts and example keys.
    """
    required = [c.name for c in table.columns if not c.nullable]
    outside = reduce(lambda a, b: a | b, (F.col(k) != F.lit(v) for k, v in slice_values.items()), F.lit(False))
    if only:
        outside = outside | ~F.col(only.column).isin(list(only.days))
    counts = frame.agg(
        F.count(F.lit(1)).alias("rows"),
        F.coalesce(F.sum(outside.cast("long")), F.lit(0)).alias("outside"),
        *[_nulls(c).alias(f"null_{c}") for c in required],
    ).collect()[0]
    problems = [f"{counts[f'null_{c}']} rows have no {c}; it is NOT NULL" for c in required if counts[f"null_{c}"]]
    if counts["outside"]:
        problems.append(
            f"{counts['outside']} rows lie outside the slice {slice_values}{f', days of {only.column}' if only else ''}"
        )
    doubled = frame.groupBy(*table.key).agg(F.count(F.lit(1)).alias("rows_of_key")).filter("rows_of_key > 1")
    examples = doubled.orderBy(*table.key).limit(2).collect()
    if examples:
        keys = "; ".join(str({k: r[k] for k in table.key}) for r in examples)
        problems.append(f"{doubled.count()} keys ({', '.join(table.key)}) occur more than once, such as {keys}")
    if problems:
        listed = "\n".join(f"  {p}" for p in problems)
        raise ContractError(f"{table.full_name}: nothing was written\n{listed}")
    return int(counts["rows"])


def _nulls(name: str) -> Column:
    return F.coalesce(F.sum(F.col(name).isNull().cast("long")), F.lit(0))

"""Sorting by values that hold lists, which no GPU does as they are."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, StructType


def sortable(value: Column, type_: DataType) -> Column:
    """The value with text in place of each list within; two values come out equal exactly where they are equal.

    The order is total and the same on every machine, but not that of the lists themselves. No maps, which Spark does not sort.
    """
    if not _holds_list(type_):
        return value
    if isinstance(type_, StructType):
        fields = [sortable(value.getField(f.name), f.dataType).alias(f.name) for f in type_.fields]
        return F.when(value.isNotNull(), F.struct(*fields))
    return _text(value, type_)


def _holds_list(type_: DataType) -> bool:
    return isinstance(type_, ArrayType) or (isinstance(type_, StructType) and any(_holds_list(f.dataType) for f in type_.fields))


def _text(value: Column, type_: DataType) -> Column:
    """Text with each part's length before it, so that no content can look like the border of two parts."""
    if isinstance(type_, ArrayType):
        return F.array_join(F.transform(value, lambda x: _measured(_text(x, type_.elementType))), "")
    if isinstance(type_, StructType):
        parts = [_measured(_text(value.getField(f.name), f.dataType)) for f in type_.fields]
        return F.when(value.isNotNull(), F.concat(*parts))
    return value.cast("string")


def _measured(text: Column) -> Column:
    return F.coalesce(F.concat(F.length(text).cast("string"), F.lit(":"), text), F.lit("-"))

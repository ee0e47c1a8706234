"""Fifths of a population, without ntile (which has no GPU operator)."""

from __future__ import annotations

from pyspark.sql import Column, Window
from pyspark.sql import functions as F

FIFTHS = 5


def fifth(value: Column, *ties: Column) -> Column:
    """1..5: the fifth in which a row stands by rising `value`, 5 the highest; the sizes differ by at most one.

    fifth = 1 + ⌊5 · (row number − 1) ÷ rows⌋. Null where the value is null; such rows are not counted.

    Args:
        ties: what decides between equal values; the last one must be unique.
    """
    everyone = Window.partitionBy(value.isNull())  # one group: fifths need the whole population in order
    row = F.row_number().over(everyone.orderBy(value.asc(), *ties)) - 1
    rows = F.count(F.lit(1)).over(everyone)
    return F.when(value.isNotNull(), (1 + F.floor(FIFTHS * row / rows)).cast("int"))

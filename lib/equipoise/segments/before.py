"""Tonight's segments beside those of earlier nights: numbers that last, and who moved."""

from __future__ import annotations

from datetime import timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.segments.carry import carried
from equipoise.segments.history import EPOCH
from equipoise.segments.table import retold
from equipoise.segments.transitions import transitions
from equipoise.segments.valued import How, Worth, told

GROUP = "interest_group"


def lasting(groups: DataFrame, earlier: DataFrame) -> DataFrame:
    """The groups under the numbers they had in the latest earlier night; as they are where there was none.

    Args:
        groups: user_id, interest_group.
        earlier: rows of gold.user_segments of earlier nights.
    """
    row = earlier.agg(F.max("as_of").alias("last"), F.max(GROUP).alias("used")).collect()[0]
    if row["used"] is None:
        return groups
    return carried(groups, earlier.filter(F.col("as_of") == F.lit(row["last"])), GROUP, row["used"])


def moves(
    table: DataFrame, earlier: DataFrame, packed: DataFrame, worth: Worth | None, how: How, *, kmeans_seed: int
) -> DataFrame:
    """gold.segment_transitions without stamps: from the latest earlier night, else from one horizon before as_of, told afterwards
    by the value model of that time; nothing where there is neither.

    Args:
        table: gold.user_segments of tonight.
        earlier: its rows of earlier nights.
        packed: rows of `history.packed` before as_of.
        worth: the fitted value; None where history is too short for one.
    """
    last = earlier.agg(F.max("as_of").alias("last")).collect()[0]["last"]
    if last is not None:
        return transitions(table, earlier.filter(F.col("as_of") == F.lit(last)), last, retold=False)
    day = how.as_of - how.horizon_days
    date = EPOCH + timedelta(days=day)
    if worth is None:
        return transitions(table.limit(0), table.limit(0), date, retold=True)
    said = told(packed, worth.earlier, day).persist()
    before = retold(said, amounts=how.amounts, kmeans_seed=kmeans_seed).persist()
    try:
        found = transitions(table, before, date, retold=True)
        return table.sparkSession.createDataFrame(found.collect(), found.schema)  # a few hundred rows
    finally:
        before.unpersist()
        said.unpersist()

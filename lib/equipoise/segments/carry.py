"""Numbers of groups that last: each group of tonight gets the number of the earlier group whose members it has."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy.optimize import linear_sum_assignment


def matched(
    shared: Mapping[tuple[int, int], int], now: Mapping[int, int], before: Mapping[int, int], used: int
) -> dict[int, int]:
    """Label of tonight → lasting number.

    The assignment that maximises the sum of Jaccard indices over pairs (Kuhn 1955); a pair without a shared member is no pair.
    Groups without a partner get numbers from `used` + 1 on, larger ones first, so that no number ever speaks of two groups; what
    is gone leaves a gap.

    Args:
        shared: (label now, number before) → users of both.
        now, before: users per label and per number.
        used: highest number ever given; 0 when none was.
    """
    here, there = sorted(now), sorted(before)
    both = np.array([[shared.get((a, b), 0) for b in there] for a in here], dtype=np.float64).reshape(len(here), len(there))
    sizes = np.array([now[a] for a in here], dtype=np.float64)[:, None] + np.array([before[b] for b in there], dtype=np.float64)
    jaccard = both / np.maximum(sizes - both, 1.0)
    out = {here[a]: there[b] for a, b in zip(*linear_sum_assignment(-jaccard), strict=True) if both[a, b] > 0}
    fresh = sorted((a for a in here if a not in out), key=lambda a: (-now[a], a))
    top = max([used, *there])
    return out | {a: top + n for n, a in enumerate(fresh, start=1)}


def carried(labels: DataFrame, before: DataFrame, column: str, used: int) -> DataFrame:
    """`labels` with its numbers replaced by lasting ones; as they are where nothing was before.

    Args:
        labels: user_id and the column, of tonight; one row per user.
        before: the same of the latest earlier night; rows without a number do not count.
        used: highest number ever given.
    """
    earlier = before.filter(F.col(column).isNotNull()).select("user_id", F.col(column).alias("before"))
    joined = labels.join(earlier, "user_id", "left").groupBy(column, "before").count().collect()
    gone = earlier.groupBy("before").count().collect()
    now: dict[int, int] = {}
    shared: dict[tuple[int, int], int] = {}
    for row in joined:
        now[row[column]] = now.get(row[column], 0) + row["count"]
        if row["before"] is not None:
            shared[row[column], row["before"]] = row["count"]
    numbers = matched(shared, now, {r["before"]: r["count"] for r in gone}, used)
    renamed = F.coalesce(*[F.when(F.col(column) == a, F.lit(b)) for a, b in sorted(numbers.items())], F.lit(None).cast("int"))
    return labels.withColumn(column, renamed)

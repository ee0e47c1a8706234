"""How large a quantity or an amount may be in a department before it is warned of."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from equipoise.quality.rules import Limits

MEASURES = ("quantity", "amount")


def outlier_bounds(events: DataFrame, limits: Limits) -> DataFrame:
    """One row per department: department, quantity_bound, amount_bound = Q3 + factor × max(IQR, 1); null without values.

    Tukey's fence with a floor of 1 on the IQR, since most quantities of a shop are 1 and an IQR of 0 would warn of every 2.
    Quartiles are exact, over values that no reject rule refuses.
    """
    most = {"quantity": limits.max_quantity, "amount": limits.max_amount}
    return events.groupBy("department").agg(
        *[
            _bound(F.percentile(_sane(m, most[m]), F.array(F.lit(0.25), F.lit(0.75))), limits.outlier_iqr_factor).alias(
                f"{m}_bound"
            )
            for m in MEASURES
        ]
    )


def _sane(measure: str, most: float) -> Column:
    return F.when(F.col(measure).between(0.0, most), F.col(measure))


def _bound(quartiles: Column, factor: float) -> Column:
    low, high = quartiles[0], quartiles[1]
    return high + factor * F.greatest(high - low, F.lit(1.0))

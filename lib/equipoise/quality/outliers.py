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
        *[_bound(_quartiles(m, most[m]), limits.outlier_iqr_factor).alias(f"{m}_bound") for m in MEASURES]
    )


def _quartiles(measure: str, most: float) -> Column:
    sane = f"CASE WHEN {measure} BETWEEN 0.0D AND {float(most)!r}D THEN {measure} END"
    return F.expr(f"percentile({sane}, array(0.25D, 0.75D))")  # F.percentile states a frequency of a type that bars the GPU


def _bound(quartiles: Column, factor: float) -> Column:
    low, high = quartiles[0], quartiles[1]
    return high + factor * F.greatest(high - low, F.lit(1.0))

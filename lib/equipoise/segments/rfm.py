"""The usual segmentation by recency, frequency and money, as a baseline people know."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from equipoise.segments.ranks import fifth

NAMES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "Champions": ((5,), (4, 5)),
    "Loyal Customers": ((3, 4), (4, 5)),
    "Potential Loyalists": ((4, 5), (2, 3)),
    "New Customers": ((5,), (1,)),
    "Promising": ((4,), (1,)),
    "Need Attention": ((3,), (3,)),
    "About To Sleep": ((3,), (1, 2)),
    "Can't Lose Them": ((1, 2), (5,)),
    "At Risk": ((1, 2), (3, 4)),
    "Hibernating": ((1, 2), (1, 2)),
}
"""Name → fifths of recency × fifths of frequency. The names are those of Putler's guide to RFM analysis; the grid is
the one that public RFM notebooks share ('[1-2][1-2]' hibernating … '5[4-5]' champions). It covers all 25 cells once; money
is not in it."""


def rfm(profile: DataFrame) -> DataFrame:
    """One row per user of the profile: user_id, r, f, m (fifths, 5 is best), rfm_cell (such as 5-4-5), rfm_segment.

    m, rfm_cell and rfm_segment are null where monetary is null: the source has no amounts. Equal values are told apart by
    the other two measures, then by user_id, so that a fifth never hangs on chance alone while behaviour can decide.

    Args:
        profile: feature.user_profile of one as_of.
    """
    recent, frequent = -F.col("recency_days"), F.col("frequency")
    money, user = F.col("monetary"), F.col("user_id")
    spent = F.coalesce(money, F.lit(0.0))
    scored = profile.select(
        "user_id",
        fifth(recent, frequent, spent, user).alias("r"),
        fifth(frequent, spent, recent, user).alias("f"),
        fifth(money, frequent, recent, user).alias("m"),
    )
    return scored.select(
        "*",
        F.when(F.col("m").isNotNull(), F.concat_ws("-", "r", "f", "m")).alias("rfm_cell"),
        F.when(F.col("m").isNotNull(), segment_name(F.col("r"), F.col("f"))).alias("rfm_segment"),
    )


def segment_name(r: Column, f: Column) -> Column:
    """The name of an R × F cell."""
    return F.coalesce(*[F.when(r.isin(*rs) & f.isin(*fs), F.lit(name)) for name, (rs, fs) in NAMES.items()])

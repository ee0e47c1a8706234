"""gold.user_segments: what each user is worth, by the model and by the two usual segmentations."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from equipoise.errors import ContractError
from equipoise.segments.kmeans import clusters
from equipoise.segments.ranks import fifth
from equipoise.segments.rfm import rfm
from equipoise.tables.vocabulary import SEGMENTS

PROBABILITIES = ("p_o", "p_interest", "p_buy")
"""Column of each of SEGMENTS, in their order."""


def user_segments(profile: DataFrame, vectors: DataFrame, *, as_of: date, horizon_days: int, kmeans_seed: int) -> DataFrame:
    """One row per user of the profile: gold.user_segments without run_id and synthetic; model_id is that of the user's row.

    Args:
        profile: feature.user_profile of one as_of.
        vectors: feature.user_vectors of the same as_of; `check_users` says whether they fit.
    """
    said = vectors.select("user_id", "model_id", *PROBABILITIES, "expected_spend")
    names = rfm(profile).select("user_id", "rfm_cell", "rfm_segment")
    grouped = clusters(profile, len(SEGMENTS), kmeans_seed)
    whole = profile.join(said, "user_id").join(names, "user_id").join(grouped, "user_id")
    return whole.withColumn("segment", most_probable()).select(
        "user_id",
        "segment",
        *PROBABILITIES,
        F.lit(horizon_days).alias("horizon_days"),
        "expected_spend",
        fifth(F.col("expected_spend"), F.col("user_id")).alias("value_tier"),
        "rfm_cell",
        "rfm_segment",
        "kmeans_cluster",
        _reason(as_of, horizon_days).alias("reason"),
        "model_id",
    )


def most_probable() -> Column:
    """The segment with the highest probability; a tie falls to the first of SEGMENTS."""
    highest = F.greatest(*PROBABILITIES)
    return F.coalesce(*[F.when(F.col(p) == highest, F.lit(s)) for s, p in zip(SEGMENTS, PROBABILITIES, strict=True)])


def _reason(as_of: date, horizon_days: int) -> Column:
    """Numbers are the user's own in feature.user_profile, and the segment's probability."""
    verdict = F.concat(
        F.col("segment"), F.lit(" with probability "), _decimal(F.greatest(*PROBABILITIES), 3), F.lit(f" in {horizon_days} days")
    )
    bought = F.col("n_purchase") > 0
    act = F.when(bought, F.lit("purchase")).otherwise(F.lit("event"))
    last = F.concat(F.lit("last "), act, F.lit(" "), _whole("recency_days"), F.lit(f" days before {as_of.isoformat()}"))
    often = F.concat(act, F.lit(" on "), _whole("frequency"), F.lit(" of "), _whole("tenure_days"), F.lit(" days"))
    spent = F.concat(_decimal(F.col("monetary"), 2), F.lit(" spent"))
    return F.concat(verdict, F.lit(": "), F.concat_ws(", ", last, often, F.when(F.col("monetary").isNotNull(), spent)))


def _whole(name: str) -> Column:
    return F.col(name).cast("bigint").cast("string")


def _decimal(value: Column, places: int) -> Column:
    return F.round(value, places).cast(f"decimal(18,{places})").cast("string")


def check_users(profile: DataFrame, vectors: DataFrame) -> int:
    """Number of users of the profile.

    Raises:
        ContractError: when there are none, or when users of the profile have no vector or the other way round.
    """
    users = profile.select("user_id"), vectors.select("user_id")
    names = ("feature.user_profile", "feature.user_vectors")
    for here, there in ((0, 1), (1, 0)):
        lost = users[here].join(users[there], "user_id", "left_anti")
        if number := lost.count():
            examples = ", ".join(str(r[0]) for r in lost.orderBy("user_id").take(3))
            way_out = "run build_features and score_users for this as_of again"
            raise ContractError(f"{number} users of {names[here]} are not in {names[there]}, such as {examples}; {way_out}")
    number = users[0].count()
    if not number:
        raise ContractError(f"{names[0]} has no users at this as_of, expected at least one; run build_features for it first")
    return number

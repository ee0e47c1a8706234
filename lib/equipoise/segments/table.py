"""gold.user_segments: what each user is worth, by the model and by the two usual segmentations."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from equipoise.errors import ContractError
from equipoise.segments.kmeans import clusters
from equipoise.segments.ranks import fifth
from equipoise.segments.rfm import rfm
from equipoise.segments.valued import PROBABILITIES, TOLD
from equipoise.tables.vocabulary import SEGMENTS


def user_segments(
    profile: DataFrame,
    worth: DataFrame,
    groups: DataFrame,
    *,
    as_of: date,
    horizon_days: int,
    threshold: float | None,
    kmeans_seed: int,
) -> DataFrame:
    """One row per user of the profile: gold.user_segments without model_id, run_id and synthetic.

    Args:
        profile: feature.user_profile of one as_of.
        worth: what a value model says of the same users: user_id, value_model, `valued.TOLD`, drivers.
        groups: user_id, interest_group of those who are in one.
        threshold: spend from which a user is of class buy; None on the ladder by events.
    """
    said = worth.select("user_id", "value_model", *TOLD, "drivers")
    names = rfm(profile).select("user_id", "rfm_cell", "rfm_segment")
    grouped = clusters(profile, len(SEGMENTS), kmeans_seed)
    whole = profile.join(said, "user_id").join(names, "user_id").join(grouped, "user_id").join(groups, "user_id", "left")
    return whole.withColumn("segment", most_probable()).select(
        "user_id",
        "segment",
        *PROBABILITIES,
        F.lit(horizon_days).alias("horizon_days"),
        "expected_spend",
        fifth(F.col("expected_spend"), F.col("user_id")).alias("value_tier"),
        "value_model",
        F.lit(threshold).cast("double").alias("buy_threshold"),
        "churn_risk",
        "drivers",
        "rfm_cell",
        "rfm_segment",
        "kmeans_cluster",
        "interest_group",
        _reason(as_of, horizon_days).alias("reason"),
    )


def retold(said: DataFrame, *, amounts: bool, kmeans_seed: int) -> DataFrame:
    """One row per user: what `user_segments` would have said of segment, value_tier, RFM and K-means, and expected_spend, from
    what a value model said of an earlier day.

    Args:
        said: rows of `valued.told`.
    """
    known = said.withColumn("monetary", F.col("monetary") if amounts else F.lit(None).cast("double"))
    names = rfm(known).select("user_id", "rfm_segment")
    whole = known.join(names, "user_id").join(clusters(known, len(SEGMENTS), kmeans_seed), "user_id")
    tier = fifth(F.col("expected_spend"), F.col("user_id")).alias("value_tier")
    return whole.select("user_id", most_probable().alias("segment"), "expected_spend", tier, "rfm_segment", "kmeans_cluster")


def most_probable() -> Column:
    """The segment with the highest probability; a tie falls to the first of SEGMENTS."""
    highest = F.greatest(*PROBABILITIES)
    return F.coalesce(*[F.when(F.col(p) == highest, F.lit(s)) for s, p in zip(SEGMENTS, PROBABILITIES, strict=True)])


def _reason(as_of: date, horizon_days: int) -> Column:
    """Numbers are the user's own in feature.user_profile, the segment's probability and the strongest driver."""
    verdict = F.concat(
        F.col("segment"), F.lit(" with probability "), _decimal(F.greatest(*PROBABILITIES), 3), F.lit(f" in {horizon_days} days")
    )
    bought = F.col("n_purchase") > 0
    act = F.when(bought, F.lit("purchase")).otherwise(F.lit("event"))
    last = F.concat(F.lit("last "), act, F.lit(" "), _whole("recency_days"), F.lit(f" days before {as_of.isoformat()}"))
    often = F.concat(act, F.lit(" on "), _whole("frequency"), F.lit(" of "), _whole("tenure_days"), F.lit(" days"))
    spent = F.concat(_decimal(F.col("monetary"), 2), F.lit(" spent"))
    most = F.try_element_at("drivers", F.lit(1))
    way = F.when(most["log_odds"] > 0, F.lit("most for buying: ")).otherwise(F.lit("most against buying: "))
    moved = F.when(most["log_odds"] != 0, F.concat(way, most["driver"]))
    return F.concat(verdict, F.lit(": "), F.concat_ws(", ", last, often, F.when(F.col("monetary").isNotNull(), spent), moved))


def _whole(name: str) -> Column:
    return F.col(name).cast("bigint").cast("string")


def _decimal(value: Column, places: int) -> Column:
    return F.round(value, places).cast(f"decimal(18,{places})").cast("string")


def check_users(profile: DataFrame, vectors: DataFrame) -> tuple[int, str | None]:
    """Number of users of the profile, and the one language model behind the vectors.

    Raises:
        ContractError: when there are none, when users of the profile have no vector or the other way round, or when the
            vectors come from several models.
    """
    users = profile.select("user_id"), vectors.select("user_id")
    names = ("feature.user_profile", "feature.user_vectors")
    for here, there in ((0, 1), (1, 0)):
        lost = users[here].join(users[there], "user_id", "left_anti")
        if number := lost.count():
            examples = ", ".join(str(r[0]) for r in lost.orderBy("user_id").take(3))
            way_out = "run build_features and score_users for this as_of again"
            raise ContractError(f"{number} users of {names[here]} are not in {names[there]}, such as {examples}; {way_out}")
    per_model = vectors.groupBy("model_id").count().orderBy("model_id").collect()
    if not per_model:
        raise ContractError(f"{names[0]} has no users at this as_of, expected at least one; run build_features for it first")
    if len(per_model) > 1:
        listed = ", ".join(str(r["model_id"]) for r in per_model)
        raise ContractError(f"{names[1]} has rows of {len(per_model)} models ({listed}), expected one; run score_users again")
    return sum(int(r["count"]) for r in per_model), per_model[0]["model_id"]

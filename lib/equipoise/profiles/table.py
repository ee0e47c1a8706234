"""gold.user_profiles: everything that is known of a user, in one row."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from equipoise.errors import ContractError
from equipoise.tables.vocabulary import UNKNOWN

TOP = 3
NEW_DAYS = 28
NO_WORDS = "array<string>"


@dataclass(frozen=True)
class Known:
    """Frames of one as_of, each with at most one row per user unless its grain says otherwise.

    users: silver.users. profile: feature.user_profile. segments: gold.user_segments. portraits: gold.segment_profiles.
    interests: gold.user_interests (user × category). moves: gold.interest_migration (user × window). habits, prices, promotions:
    of `habits` and `prices`.
    """

    users: DataFrame
    profile: DataFrame
    segments: DataFrame
    portraits: DataFrame
    interests: DataFrame
    moves: DataFrame
    habits: DataFrame
    prices: DataFrame
    promotions: DataFrame


def user_profiles(known: Known) -> DataFrame:
    """One row per user of gold.user_segments: gold.user_profiles without run_id, as_of and synthetic."""
    groups = known.portraits.filter("segmentation = 'interest_group'").select(
        F.col("segment").cast("int").alias("interest_group"), F.col("name").alias("group_name")
    )
    segments = known.segments.join(F.broadcast(groups), "interest_group", "left")  # one name per group: cannot fan out
    parts = [known.profile, known.users.select("user_id", "attributes"), _interests(known.interests), _moves(known.moves)]
    whole = segments.select(
        *("user_id", "segment", "p_buy", "expected_spend", "value_tier", "churn_risk", "rfm_segment", "group_name", "model_id")
    )
    for part in (*parts, known.habits, known.prices, known.promotions):
        whole = whole.join(part.drop("as_of", "run_id", "synthetic", "source"), "user_id", "left")
    empty = F.array().cast(NO_WORDS)
    told = whole.select(
        "user_id",
        F.coalesce("attributes", F.create_map().cast("map<string,string>")).alias("attributes"),
        F.col("tenure_days").cast("int").alias("tenure_days"),
        (F.col("tenure_days") < NEW_DAYS).alias("is_new"),
        F.col("recency_days").cast("int").alias("recency_days"),
        F.col("frequency").cast("int").alias("trips"),
        F.col("trips_28d").cast("int").alias("trips_28d"),
        F.col("monetary").alias("spend"),
        F.when(F.col("monetary").isNotNull(), F.col("spend_28d")).alias("spend_28d"),
        (F.col("monetary") / F.nullif("frequency", F.lit(0.0))).alias("mean_basket"),
        *("segment", "p_buy", "expected_spend", "value_tier", "churn_risk", "rfm_segment"),
        F.col("group_name").alias("interest_group"),
        F.coalesce("top_interests", F.array().cast("array<struct<category:string,share:double>>")).alias("top_interests"),
        *("next_interest", "next_share"),
        F.col("categories_112d").cast("int").alias("categories_112d"),
        "entropy_bits",
        "moved_in",
        *[F.coalesce(c, empty).alias(c) for c in ("gained", "lost", "returning")],
        "migrated",
        *("favourite_weekday", "weekend_share", "favourite_day_part", "favourite_store", "store_share", "favourite_channel"),
        *("price_level", "promotion_share", "promotion_lift"),
        *[F.coalesce(c, F.lit(0)).alias(c) for c in ("exposed", "redeemed")],
        "model_id",
    )
    return told.withColumn("summary", _summary())


def check_rows(users: int, rows: int) -> None:
    """Raises ContractError when a table that is to have a row per user has another number of rows."""
    if users != rows:
        raise ContractError(
            f"gold.user_profiles would have {rows:,} rows for {users:,} users of gold.user_segments; a table that is joined has "
            "several rows of a user, or one of them lacks users: run the jobs before profile_users again"
        )


def _interests(interests: DataFrame) -> DataFrame:
    """user_id, top_interests, next_interest, next_share."""
    seen = F.when(F.col("observed_share") > 0, F.struct((-F.col("observed_share")).alias("by"), "category"))
    likely = F.struct("predicted_share", "category")
    known = interests.filter(F.col("category") != UNKNOWN)
    gathered = known.groupBy("user_id").agg(F.sort_array(F.collect_list(seen)).alias("seen"), F.max(likely).alias("likely"))
    top = F.transform(F.slice("seen", 1, TOP), lambda s: F.struct(s["category"].alias("category"), (-s["by"]).alias("share")))
    return gathered.select(
        "user_id",
        top.alias("top_interests"),
        F.col("likely.category").alias("next_interest"),
        F.col("likely.predicted_share").alias("next_share"),
    )


def _moves(moves: DataFrame) -> DataFrame:
    """The latest window of each user."""
    names = ("gained", "lost", "returning", "migrated")
    last = F.max_by(F.struct("window_start", *names), "window_start").alias("last")
    told = moves.groupBy("user_id").agg(last)
    return told.select("user_id", F.col("last.window_start").alias("moved_in"), *[f"last.{c}" for c in names])


def _summary() -> Column:
    """Two sentences from the columns of the table."""
    often = F.concat(F.col("trips").cast("string"), F.lit(" trips in "), F.col("tenure_days").cast("string"), F.lit(" days"))
    last = F.concat(F.lit("the last "), F.col("recency_days").cast("string"), F.lit(" days ago"))
    day = F.concat(F.lit("mostly on "), "favourite_weekday", F.lit("s"))
    part = F.when(F.col("favourite_day_part") == "night", F.lit("at night")).otherwise(
        F.concat(F.lit("in the "), F.col("favourite_day_part"))
    )
    liked = F.array_join(F.transform("top_interests", lambda t: F.lower(t["category"])), ", ")
    likes = F.when(F.size("top_interests") > 0, F.concat(F.lit("Likes "), liked))
    next_ = F.concat(F.lit("most likely next: "), F.lower("next_interest"))
    gained = F.when(F.size("gained") > 0, F.concat(F.lit("gained "), F.lower(F.array_join("gained", ", "))))
    lost = F.when(F.size("lost") > 0, F.concat(F.lit("lost "), F.lower(F.array_join("lost", ", "))))
    first = F.concat_ws(", ", often, last, F.nullif(F.concat_ws(" ", day, part), F.lit("")))
    second = F.concat_ws("; ", likes, next_, gained, lost)
    return F.concat(F.concat_ws(". ", first, F.nullif(second, F.lit(""))), F.lit("."))

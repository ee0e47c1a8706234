"""Says what each user is worth, in all and per category, which users are alike, and who moved: gold.user_segments and three more.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \\
    jobs/segment_users.py --settings conf/demo.toml --as-of 2017-11-06
"""

from __future__ import annotations

from datetime import date

from pyspark.sql import functions as F

from equipoise.features.cuts import cut_dates
from equipoise.features.daily import first_days
from equipoise.features.profile import trip_types
from equipoise.job import Context, Job, main
from equipoise.segments import portraits
from equipoise.segments.before import lasting, moves
from equipoise.segments.categories import category_values
from equipoise.segments.groups import interest_groups
from equipoise.segments.history import day_number, packed
from equipoise.segments.table import check_users, user_segments
from equipoise.segments.valued import LANGUAGE, How, published
from equipoise.settings import Settings

JOB = Job(
    name="segment_users",
    reads=("feature.user_profile", "feature.user_vectors", "gold.user_interests", "feature.daily_counts"),
    earlier=("gold.user_segments",),
    writes=("gold.user_segments", "gold.user_category_values", "gold.segment_transitions", "gold.segment_profiles"),
    sections=("segments", "windows"),
    extra_inputs=lambda s, _: {"amounts": str(s.source.has_amounts), "cuts": str(s.training.training_cuts)},
)


def how(s: Settings, as_of: date) -> How:
    """The settings as plain values; the ladder's threshold is told at the cuts that the language model learns it from."""
    cuts = cut_dates(s.windows.origin, s.windows.days, as_of, s.training.training_cuts, s.label_days).train
    return How(
        as_of=day_number(as_of), horizon_days=s.segments.horizon_days, churn_days=s.segments.churn_days, ladder=s.segments.ladder,
        amounts=s.source.has_amounts, cuts=s.segments.value_cuts, threshold_cuts=tuple(map(day_number, cuts)),
        seed=s.segments.value_seed,
    )  # fmt: skip


def run(ctx: Context) -> None:
    s, windows = ctx.settings.segments, ctx.settings.windows
    at: dict[str, object] = {"as_of": ctx.as_of}
    profile, vectors, interests = map(ctx.at_as_of, JOB.reads[:3])
    users, model = check_users(profile, vectors)
    ctx.say(f"{users:,} users, model {model}")
    daily = ctx.read("feature.daily_counts").filter(F.col("event_date") < F.lit(ctx.as_of))
    trips = trip_types([ctx.as_of], first_days(daily)[1])[ctx.as_of]
    days = packed(daily, as_of=ctx.as_of, trip_types=trips).persist()
    values, asked = how(ctx.settings, ctx.as_of), s.value_model == LANGUAGE
    told, worth = published(days, profile, vectors, values, users=users, most=s.value_users, language=asked, say=ctx.say)
    earlier = ctx.read_earlier("gold.user_segments")
    groups = lasting(interest_groups(interests, k=s.interest_groups, seed=s.kmeans_seed), earlier)
    threshold = worth.threshold if worth and s.ladder == "spend" else None
    table = user_segments(
        *(profile, told, groups), as_of=ctx.as_of, horizon_days=s.horizon_days, threshold=threshold, kmeans_seed=s.kmeans_seed
    ).persist()
    stamp = F.lit(model).cast("string")
    try:
        ctx.replace("gold.user_segments", table.withColumn("model_id", stamp), at)
        each = category_values(interests, daily, as_of=ctx.as_of, origin=windows.origin, window_days=windows.days)
        ctx.replace("gold.user_category_values", each, at)
        moved = moves(table, earlier, days, worth, values, kmeans_seed=s.kmeans_seed)
        ctx.replace("gold.segment_transitions", moved.withColumn("model_id", stamp), at)
        found = portraits.portraits(table, profile, interests)
        ctx.replace("gold.segment_profiles", portraits.frame(found, table).withColumn("model_id", stamp), at)
    finally:
        table.unpersist()
        days.unpersist()


if __name__ == "__main__":
    main(JOB, run)

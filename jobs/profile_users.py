"""Puts everything that is known of a user into one readable row: gold.user_profiles.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \\
    jobs/profile_users.py --settings conf/demo.toml --as-of 2017-11-06
"""

from __future__ import annotations

from pyspark.sql import functions as F

from equipoise.job import Context, Job, main
from equipoise.profiles.habits import habits
from equipoise.profiles.prices import price_levels, promotion_habits
from equipoise.profiles.table import Known, check_rows, user_profiles

JOB = Job(
    name="profile_users",
    reads=(
        *("silver.events", "silver.items", "silver.item_categories", "silver.users", "silver.promotions"),
        *(
            "feature.user_profile",
            "gold.user_segments",
            "gold.segment_profiles",
            "gold.user_interests",
            "gold.interest_migration",
        ),
    ),
    writes=("gold.user_profiles",),
    extra_inputs=lambda s, _: {"timezone": s.source.timezone, "half_life": str(s.interests.half_life_days)},
)


def run(ctx: Context) -> None:
    s = ctx.settings
    events = ctx.read("silver.events").filter(F.col("event_date") < F.lit(ctx.as_of))
    items, categories, promotions = (ctx.read(f"silver.{n}") for n in ("items", "item_categories", "promotions"))
    segments = ctx.at_as_of("gold.user_segments")
    known = Known(
        users=ctx.read("silver.users"),
        profile=ctx.at_as_of("feature.user_profile"),
        segments=segments,
        portraits=ctx.at_as_of("gold.segment_profiles"),
        interests=ctx.at_as_of("gold.user_interests"),
        moves=ctx.at_as_of("gold.interest_migration"),
        habits=habits(events, as_of=ctx.as_of, timezone=s.source.timezone, half_life_days=s.interests.half_life_days),
        prices=price_levels(events, items),
        promotions=promotion_habits(events, categories, promotions),
    )
    table = user_profiles(known).persist()
    try:
        check_rows(segments.count(), table.count())
        ctx.replace("gold.user_profiles", table, {"as_of": ctx.as_of})
    finally:
        table.unpersist()


if __name__ == "__main__":
    main(JOB, run)

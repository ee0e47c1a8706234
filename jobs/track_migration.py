"""Says what each user moved towards, and where interest goes next: gold.interest_migration and gold.category_transitions.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \\
    jobs/track_migration.py --settings conf/demo.toml --as-of 2017-11-06
"""

from __future__ import annotations

from pyspark.sql import functions as F

from equipoise.job import Context, Job, main
from equipoise.migration.days import packed, trend_of, visit_days
from equipoise.migration.table import interest_migration
from equipoise.migration.trajectory import Evidence
from equipoise.migration.transitions import category_transitions, check_segments, flows, supported
from equipoise.settings import chosen

JOB = Job(
    name="track_migration",
    reads=("feature.daily_counts", "gold.user_segments"),
    writes=("gold.interest_migration", "gold.category_transitions"),
    sections=("windows", "interests", "migration"),
    ignores=tuple(
        f"interests.{k}"
        for k in ("half_life_days", "dirichlet", "sharpening", "top_predicted", "evidence_half", "most_target_share")
    ),
)


def run(ctx: Context) -> None:
    s, windows = ctx.settings.migration, ctx.settings.windows
    segments = ctx.at_as_of("gold.user_segments").select("user_id", "segment", "model_id")
    model = check_segments(segments)
    visits = visit_days(
        ctx.read("feature.daily_counts"),
        origin=windows.origin,
        window_days=windows.days,
        as_of=ctx.as_of,
        event_weights=ctx.settings.interests.event_weights,
    ).persist()
    kept_frames = [visits]
    try:
        users, trend = packed(visits), trend_of(visits, support=s.trend_support)
        ctx.say(f"{len(trend.odds):,} closed windows, {len(trend.categories):,} categories")
        evidence = Evidence(**chosen(s, Evidence))
        moved = interest_migration(users, trend, evidence, origin=windows.origin, window_days=windows.days)
        ctx.replace("gold.interest_migration", moved, {"as_of": ctx.as_of})
        kept = supported(visits, segments, min_support=s.min_support)
        counted = flows(users, segments, kept).persist()
        kept_frames.append(counted)
        table = category_transitions(counted, pseudo_all=s.pseudo_all, pseudo_segment=s.pseudo_segment)
        ctx.replace("gold.category_transitions", table.withColumn("model_id", F.lit(model).cast("string")), {"as_of": ctx.as_of})
    finally:
        for frame in kept_frames:
            frame.unpersist()


if __name__ == "__main__":
    main(JOB, run)

"""Says whom each planned campaign should contact, and what that would bring: gold.audiences and gold.audience_summary.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \\
    jobs/build_audiences.py --settings conf/demo.toml --as-of 2017-11-06
"""

from __future__ import annotations

from functools import reduce
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.audiences.choose import Terms, summary_frame
from equipoise.audiences.goals import LeftOut, World
from equipoise.audiences.plan import Learning, Plan, built, ids_of, sums
from equipoise.features.daily import first_days
from equipoise.features.profile import trip_types
from equipoise.job import Context, Job, main
from equipoise.segments.history import packed
from equipoise.settings import Settings, chosen, resolve
from equipoise.tables import CATALOGUE

AS_OF = ("gold.user_segments", "gold.user_interests", "feature.user_profile", "feature.user_vectors")


def files(s: Settings, folder: Path) -> list[str]:
    """Files that the campaigns name."""
    return [resolve(f, folder) for c in s.audiences.campaigns for f in (c.seed_file, c.exclude_file) if f]


JOB = Job(
    name="build_audiences",
    reads=("silver.events", "silver.users", "feature.daily_counts", *AS_OF),
    writes=("gold.audiences", "gold.audience_summary"),
    sections=("audiences",),
    extra_inputs=lambda s, folder: sums(files(s, folder)),
)


def plans(s: Settings, folder: Path) -> list[Plan]:
    """The campaigns of the settings as plain values."""

    def listed(path: str) -> tuple[str, ...]:
        return ids_of(resolve(path, folder)) if path else ()

    return [
        Plan(
            c.id, c.goal, Terms(**chosen(c, Terms)),
            LeftOut(c.exclude_segments, c.exclude_attributes, listed(c.exclude_file), c.frequency_cap, c.frequency_days),
            c.category, listed(c.seed_file),
        )
        for c in s.audiences.campaigns
    ]  # fmt: skip


def run(ctx: Context) -> None:
    before = {n: ctx.read(n).filter(F.col("event_date") < F.lit(ctx.as_of)) for n in ("silver.events", "feature.daily_counts")}
    events, daily = before.values()
    trips = trip_types([ctx.as_of], first_days(daily)[1])[ctx.as_of]
    segments, interests, profile, vectors = map(ctx.at_as_of, AS_OF)
    days = packed(daily, as_of=ctx.as_of, trip_types=trips)
    world = World(ctx.as_of, events, ctx.read("silver.users"), segments, interests, profile, vectors, days)
    asked = plans(ctx.settings, ctx.settings_dir)
    found = list(built(world, asked, Learning(**chosen(ctx.settings.audiences, Learning)), ctx.say))
    empty: DataFrame = ctx.spark.createDataFrame([], CATALOGUE["gold.audiences"].struct_type())
    model = segments.agg(F.max("model_id").alias("model_id")).first() if asked else None  # one model made them all
    stamp = F.lit(model["model_id"] if model else None).cast("string")
    rows = reduce(DataFrame.unionByName, [r.withColumn("model_id", stamp) for r, _ in found if r is not None] or [empty])
    ctx.replace("gold.audiences", rows, {"as_of": ctx.as_of})
    told = summary_frame([one for _, one in found], segments)
    ctx.replace("gold.audience_summary", told.withColumn("model_id", stamp), {"as_of": ctx.as_of})


if __name__ == "__main__":
    main(JOB, run)

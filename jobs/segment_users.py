"""Says what each user is worth, by the model, by RFM and by K-means: gold.user_segments.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \\
    jobs/segment_users.py --settings conf/demo.toml --as-of 2017-11-06
"""

from __future__ import annotations

from equipoise.job import Context, Job, main
from equipoise.segments.table import check_users, user_segments

JOB = Job(
    name="segment_users",
    reads=("feature.user_profile", "feature.user_vectors"),
    writes=("gold.user_segments",),
    sections=("segments",),
)


def run(ctx: Context) -> None:
    profile, vectors = ctx.at_as_of("feature.user_profile"), ctx.at_as_of("feature.user_vectors")
    ctx.say(f"{check_users(profile, vectors):,} users")
    segments = ctx.settings.segments
    table = user_segments(profile, vectors, as_of=ctx.as_of, horizon_days=segments.horizon_days, kmeans_seed=segments.kmeans_seed)
    ctx.replace("gold.user_segments", table, {"as_of": ctx.as_of})


if __name__ == "__main__":
    main(JOB, run)

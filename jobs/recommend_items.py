"""Makes a balanced list for each user, most of it what the user wants, some of it what is unknown: gold.recommendations.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \\
    jobs/recommend_items.py --settings conf/demo.toml --as-of 2017-11-06
"""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.job import Context, Job, main
from equipoise.recommend.lists import Policy
from equipoise.recommend.table import Inputs, Limits, check, check_inputs, recommendations, rows_for_blocks
from equipoise.settings import chosen

JOB = Job(
    name="recommend_items",
    reads=("silver.events", "silver.item_categories", "gold.user_interests", "feature.user_vectors", "feature.item_vectors"),
    writes=("gold.recommendations",),
    sections=("recommend", "interests"),
)


def run(ctx: Context) -> None:
    settings, interests = ctx.settings.recommend, ctx.settings.interests
    inputs = Inputs(
        events=ctx.read("silver.events").filter(F.col("event_date") < F.lit(ctx.as_of)),
        item_categories=ctx.read("silver.item_categories"),
        interests=_slice(ctx, "gold.user_interests"),
        user_vectors=_slice(ctx, "feature.user_vectors"),
        item_vectors=ctx.read("feature.item_vectors"),
    )
    policy = Policy(as_of=ctx.as_of, **chosen(settings, Policy))
    limits = Limits(
        half_life_days=interests.half_life_days,
        event_weights=interests.event_weights,
        **chosen(settings, Limits),
    )
    users, items, model = check_inputs(inputs, k=policy.k)
    ctx.say(f"{users:,} users, {items:,} items, model {model}")
    rows = rows_for_blocks(inputs, policy, limits, users=users, items=items)
    listed = recommendations(rows, policy).withColumn("model_id", F.lit(model)).persist()
    try:
        check(listed, inputs, k=policy.k, explore_slots=policy.explore_slots)
        ctx.replace("gold.recommendations", listed, {"as_of": ctx.as_of})
    finally:
        listed.unpersist()


def _slice(ctx: Context, name: str) -> DataFrame:
    return ctx.read(name).filter(F.col("as_of") == F.lit(ctx.as_of))


if __name__ == "__main__":
    main(JOB, run)

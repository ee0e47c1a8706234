"""Gathers what each user could be shown and learns what each of these items is worth to the user: gold.user_item_values.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \\
    jobs/value_items.py --settings conf/demo.toml --as-of 2017-11-06
"""

from __future__ import annotations

from pyspark.sql import functions as F

from equipoise.job import Context, Job, main
from equipoise.recommend.rules import shown_only
from equipoise.recommend.values import Inputs, Limits, Valuation, check_inputs
from equipoise.settings import Recommend, chosen

JOB = Job(
    name="value_items",
    reads=(
        "silver.events",
        "silver.items",
        "silver.item_categories",
        "gold.user_interests",
        "feature.user_vectors",
        "feature.item_vectors",
    ),
    writes=("gold.user_item_values",),
    sections=("recommend", "interests", "segments"),
    ignores=tuple(
        f"recommend.{k}" for k in Recommend.model_fields if k not in {*Limits.__dataclass_fields__, "exclude_categories"}
    ),
)


def run(ctx: Context) -> None:
    s = ctx.settings
    inputs = Inputs(
        events=ctx.read("silver.events").filter(F.col("event_date") < F.lit(ctx.as_of)),
        item_categories=shown_only(ctx.read("silver.item_categories"), ctx.read("silver.items"), s.recommend.exclude_categories),
        interests=ctx.at_as_of("gold.user_interests"),
        user_vectors=ctx.at_as_of("feature.user_vectors"),
        item_vectors=ctx.read("feature.item_vectors"),
    )
    limits = Limits(**chosen(s.recommend, Limits), **chosen(s.interests, Limits), horizon_days=s.segments.horizon_days)
    users, items, model = check_inputs(inputs)
    ctx.say(f"{users:,} users, {items:,} items, model {model}")
    valuation = Valuation(inputs, limits, ctx.as_of, users, items)
    try:
        learnt, rows = valuation.learnt()
        ctx.say(f"learnt from {rows:,} rows of user × item at {', '.join(map(str, valuation.cuts))}")
        values = valuation.values(learnt).withColumn("model_id", F.lit(model))
        ctx.replace("gold.user_item_values", values, {"as_of": ctx.as_of})
    finally:
        valuation.close()


if __name__ == "__main__":
    main(JOB, run)

"""Makes a balanced list for each user, most of it what the user wants, some of it what is unknown: gold.recommendations,
what balance is expected to cost: gold.balance, what the shop's rules took from the lists: gold.rule_effects, and, before the
lists, what ways to explore would have brought: gold.policy_estimates.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \\
    jobs/recommend_items.py --settings conf/demo.toml --as-of 2017-11-06
"""

from __future__ import annotations

from dataclasses import replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.job import Context, Job, main
from equipoise.recommend.estimates import estimates
from equipoise.recommend.frontier import frontier, told
from equipoise.recommend.lists import Policy
from equipoise.recommend.rules import Rules, may_be_shown, rule_effects, unknown_names
from equipoise.recommend.table import Popularity, Sources, check, check_sources, recommendations, rows_for_blocks
from equipoise.settings import chosen

LISTS = "gold.recommendations"

JOB = Job(
    name="recommend_items",
    reads=(
        *("silver.events", "silver.items", "silver.item_categories", "gold.user_interests", "gold.user_item_values"),
        *("gold.exploration_response", "gold.exploration_budgets", "ops.feedback"),
    ),
    earlier=(LISTS,),
    writes=("gold.balance", "gold.policy_estimates", LISTS, "gold.rule_effects"),
    sections=("recommend", "interests"),
)


def run(ctx: Context) -> None:
    settings, items, item_categories = ctx.settings.recommend, ctx.read("silver.items"), ctx.read("silver.item_categories")
    rules = Rules(**chosen(settings, Rules))
    for line in unknown_names(item_categories, items, rules):
        ctx.say(line)
    sources = Sources(
        events=ctx.read("silver.events").filter(F.col("event_date") < F.lit(ctx.as_of)),
        item_categories=item_categories,
        stock=may_be_shown(item_categories, items, rules),
        interests=ctx.at_as_of("gold.user_interests"),
        values=ctx.at_as_of("gold.user_item_values"),
        response=ctx.at_as_of("gold.exploration_response"),
        budgets=ctx.at_as_of("gold.exploration_budgets"),
        items=items,
    )
    policy = Policy(**{**chosen(settings, Policy), "as_of": ctx.as_of, "calibration": 0.0})
    users, model = check_sources(sources, k=policy.k)
    ctx.say(f"{users:,} users, model {model}")
    popularity = Popularity(**chosen(ctx.settings.interests, Popularity))
    rows = rows_for_blocks(sources, policy, popularity, users=users).persist()
    listed: DataFrame | None = None
    try:
        costs = frontier(rows, policy, settings.calibration, settings.accuracy_loss)
        ctx.say(told(costs))
        ctx.replace("gold.balance", ctx.spark.createDataFrame(costs).withColumn("model_id", F.lit(model)), {"as_of": ctx.as_of})
        policy = replace(policy, calibration=float(costs.loc[costs["chosen"], "calibration"].iloc[0]))
        listed = recommendations(rows, policy).withColumn("model_id", F.lit(model)).persist()
        check(listed, sources, policy)
        known, line = estimates(ctx.read("ops.feedback"), ctx.read_earlier(LISTS), rows, listed, policy)
        ctx.say(line)
        ctx.replace("gold.policy_estimates", known.withColumn("model_id", F.lit(model)), {"as_of": ctx.as_of})
        ctx.replace(LISTS, listed, {"as_of": ctx.as_of})
        taken = rule_effects(listed, sources, policy, popularity, rules, users=users).withColumn("model_id", F.lit(model))
        ctx.replace("gold.rule_effects", taken, {"as_of": ctx.as_of})
    finally:
        for frame in (rows, listed):
            if frame is not None:
                frame.unpersist()


if __name__ == "__main__":
    main(JOB, run)

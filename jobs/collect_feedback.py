"""Asks what came of the lists that were shown, and what to explore because of it: ops.feedback, gold.exploration_response and
gold.exploration_budgets.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \\
    jobs/collect_feedback.py --settings conf/demo.toml --as-of 2017-11-06
"""

from __future__ import annotations

from pyspark.sql import functions as F

from equipoise.feedback.exposures import Shown, answered, exposures, trials
from equipoise.feedback.table import budgets, response_rows, unsettled
from equipoise.job import Context, Job, main
from equipoise.migration.transitions import check_segments
from equipoise.settings import chosen
from equipoise.settings.balance import Recommend

LISTS, SEGMENTS = "gold.recommendations", "gold.user_segments"
DECISIVE = ("k", "explore_slots", "explore_pool")

JOB = Job(
    name="collect_feedback",
    reads=("silver.events", "silver.item_categories", "gold.user_interests", SEGMENTS),
    earlier=(LISTS, SEGMENTS),
    writes=("ops.feedback", "gold.exploration_response", "gold.exploration_budgets"),
    sections=("windows", "feedback", "recommend"),
    ignores=tuple(f"recommend.{name}" for name in Recommend.model_fields if name not in DECISIVE),
)


def run(ctx: Context) -> None:
    s, lists = ctx.settings.recommend, ctx.published[LISTS]
    how, strength = Shown(**chosen(ctx.settings.feedback, Shown)), ctx.settings.feedback.strength
    events = ctx.read("silver.events").filter(F.col("event_date") < F.lit(ctx.as_of))
    shown = exposures(events, ctx.read_earlier(LISTS), lists, how, ctx.as_of)
    answers = answered(shown, events, ctx.read("silver.item_categories"), how, ctx.as_of).persist()
    tried = trials(answers, origin=ctx.settings.windows.origin, response_days=how.response_days).persist()
    try:
        ctx.say(f"{len(lists):,} lists published before, {answers.count():,} of their places shown and settled")
        ctx.store.create("ops.feedback")
        new = unsettled(answers, ctx.read_latest("ops.feedback"), ctx.as_of)
        ctx.replace("ops.feedback", new, {"settled_by": ctx.as_of})
        segments = ctx.at_as_of(SEGMENTS).select("user_id", "segment", "model_id")
        model = F.lit(check_segments(segments)).cast("string")
        counted = response_rows(tried, ctx.read_earlier(SEGMENTS).select("as_of", "user_id", "segment"), strength=strength)
        response = ctx.spark.createDataFrame(counted).withColumn("model_id", model)
        ctx.replace("gold.exploration_response", response, {"as_of": ctx.as_of})
        found = budgets(
            ctx.at_as_of("gold.user_interests"), segments.drop("model_id"), tried, overall=float(counted["ratio"].iloc[0]),
            slots=s.explore_slots, most=min(s.k - 1, s.explore_pool), strength=strength,
        )  # fmt: skip
        ctx.replace("gold.exploration_budgets", found.withColumn("model_id", model), {"as_of": ctx.as_of})
    finally:
        tried.unpersist()
        answers.unpersist()


if __name__ == "__main__":
    main(JOB, run)

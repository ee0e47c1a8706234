r"""Compares what is published for an as-of date, and every baseline, with what happened after it: gold.evaluation.

Where no whole label window after that date is in the log it says so and ends well: a night is published before its labels exist.
Run it again once the window is over.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \
    jobs/evaluate_models.py --settings conf/demo.toml --as-of 2017-11-06
"""

from __future__ import annotations

from pyspark.sql import functions as F

from equipoise.evaluate import arms, measured
from equipoise.evaluate.protocol import ListTables, Tables
from equipoise.evaluate.seeds import published_models
from equipoise.evaluate.table import frame
from equipoise.job import Context, Job, main
from equipoise.job.evaluation import compared, judged, labels_until, protocol, unjudged, vectors_of
from equipoise.models.package import load_meta
from equipoise.recommend.frontier import prices

SILVER = ("silver.events", "silver.items", "silver.item_categories", "silver.users")
PEOPLE = ("gold.user_interests", "gold.user_segments", "gold.interest_migration")
EXPLORATION = ("gold.exploration_response", "gold.exploration_budgets")
LISTS = ("gold.user_item_values", *EXPLORATION, "gold.recommendations")
AS_OF = ("feature.user_profile", "feature.sequences", "feature.user_vectors", *PEOPLE)
WHOLE = ("feature.examples", "feature.examples_validation", "feature.example_spec")

JOB = Job(
    name="evaluate_models",
    reads=(*SILVER, *AS_OF, *LISTS, *WHOLE, "gold.balance", "ops.feedback", "feature.item_vectors", "feature.category_trends"),
    spared=lambda s: () if s.evaluate.lists else (*LISTS, "gold.balance", "ops.feedback"),
    writes=("gold.evaluation",),
    sections=("source", "windows", "interests", "training", "scoring", "segments", "recommend", "evaluate"),
    ignores=("evaluate.also",),
    uses_model=True,
    extra_inputs=lambda s, _: (
        {"models": published_models(s.home), "audiences": str(s.audiences.response_days)}
        | arms.told(s.evaluate.arms)
        | measured.told(s.evaluate.measured)
    ),
)


def run(ctx: Context) -> None:
    s, model_id = ctx.settings, judged(ctx.at_as_of("feature.user_vectors"), ctx.registry, ctx.as_of)
    meta = load_meta(ctx.registry.trusted(model_id))
    lists = ListTables(*(ctx.at_as_of(n) for n in LISTS)) if s.evaluate.lists else None
    of_items = vectors_of(ctx.read("feature.item_vectors"), model_id)
    tables = Tables(lists, of_items, *map(ctx.read, SILVER), *map(ctx.at_as_of, AS_OF), *map(ctx.read, WHOLE))
    priced = prices(ctx.at_as_of("gold.balance")) if lists else (0.0, {})
    told = protocol(s, ctx.as_of, labels_until(s, ctx.as_of, tables.events), meta.metrics, priced)
    nothing = unjudged(told, s.evaluate.labels_until, meta)
    if nothing:
        ctx.say(nothing)
    found = [] if nothing else compared(ctx, told, tables, model_id, meta)
    tried = arms.Experiment(s.evaluate.arms, s.evaluate.control, s.evaluate.split, s.evaluate.arms_since)
    found += arms.compared(ctx.read("ops.feedback"), tried, ctx.as_of, ctx.say) if lists else []
    found += measured.read(s.evaluate.measured, ctx.as_of)
    rows = frame(ctx.spark, found, s.source.name).withColumn("model_id", F.lit(model_id))
    ctx.replace("gold.evaluation", rows, {"as_of": ctx.as_of})


if __name__ == "__main__":
    main(JOB, run)

r"""Compares what is published for an as-of date, and every baseline, with what happened after it: gold.evaluation.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \
    jobs/evaluate_models.py --settings conf/demo.toml --as-of 2017-11-06
"""

from __future__ import annotations

from equipoise.evaluate import arms, measured
from equipoise.evaluate.prepare import prepare
from equipoise.evaluate.protocol import ListTables, Tables
from equipoise.evaluate.run import evaluate
from equipoise.evaluate.seeds import every_model, published_models
from equipoise.evaluate.table import frame
from equipoise.inference.udf import threads_per_worker, trends_at
from equipoise.inference.worker import Setup
from equipoise.job import Context, Job, main
from equipoise.job.evaluation import protocol
from equipoise.models.package import load_meta
from equipoise.recommend.frontier import prices
from equipoise.settings import chosen

SILVER = ("silver.events", "silver.items", "silver.item_categories", "silver.users")
PEOPLE = ("gold.user_interests", "gold.user_segments", "gold.interest_migration")
EXPLORATION = ("gold.exploration_response", "gold.exploration_budgets")
LISTS = ("gold.user_item_values", *EXPLORATION, "gold.recommendations")
AS_OF = ("feature.user_profile", "feature.user_vectors", *PEOPLE)
WHOLE = ("feature.item_vectors", "feature.examples", "feature.examples_validation", "feature.example_spec")

JOB = Job(
    name="evaluate_models",
    reads=(*SILVER, *AS_OF, *LISTS, *WHOLE, "gold.balance", "ops.feedback", "feature.sequences", "feature.category_trends"),
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
    s, meta = ctx.settings, load_meta(ctx.model_path)
    lists = ListTables(*(ctx.at_as_of(n) for n in LISTS)) if s.evaluate.lists else None
    tables = Tables(lists, *(ctx.read(n) for n in SILVER), *(ctx.at_as_of(n) for n in AS_OF), *(ctx.read(n) for n in WHOLE))
    known = trends_at(ctx.read("feature.category_trends"), ctx.as_of, meta.categories)
    alone = threads_per_worker(ctx.spark, s.scoring.workers)
    setup = Setup(ctx.model_path, threads=alone, trends=known, **chosen(s.scoring, Setup))
    told = protocol(s, ctx.as_of, meta.metrics, prices(ctx.at_as_of("gold.balance")) if lists else (0.0, {}))
    sequences = ctx.at_as_of("feature.sequences")
    with every_model(ctx.registry, meta, s.evaluate.seeds, tables, sequences, setup) as (scored, held_out):
        ready = prepare(ctx.spark, tables, told, scored, held_out, meta.categories, ctx.say)
    tried = arms.Experiment(s.evaluate.arms, s.evaluate.control, s.evaluate.split, s.evaluate.arms_since)
    found = arms.compared(ctx.read("ops.feedback"), tried, ctx.as_of, ctx.say) if lists else []
    found += measured.read(s.evaluate.measured, ctx.as_of)
    ctx.replace("gold.evaluation", frame(ctx.spark, evaluate(ready, ctx.say) + found, s.source.name), {"as_of": ctx.as_of})


if __name__ == "__main__":
    main(JOB, run)

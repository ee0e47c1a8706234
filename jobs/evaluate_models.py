r"""Compares what is published for an as-of date, and every baseline, with what happened after it: gold.evaluation.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \
    jobs/evaluate_models.py --settings conf/demo.toml --as-of 2017-11-06
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

from equipoise.evaluate import arms
from equipoise.evaluate.prepare import prepare
from equipoise.evaluate.protocol import Protocol, Tables
from equipoise.evaluate.run import evaluate
from equipoise.evaluate.seeds import every_model, published_models
from equipoise.evaluate.table import frame
from equipoise.features.cuts import cut_dates
from equipoise.inference.udf import threads_per_worker, trends_at
from equipoise.inference.worker import Setup
from equipoise.job import Context, Job, main
from equipoise.models.package import load_meta
from equipoise.recommend.frontier import prices
from equipoise.recommend.lists import Policy
from equipoise.recommend.rules import Rules
from equipoise.recommend.table import Popularity
from equipoise.settings import Settings, chosen

SILVER = ("silver.events", "silver.items", "silver.item_categories", "silver.users")
PEOPLE = ("gold.user_interests", "gold.user_segments", "gold.interest_migration")
EXPLORATION = ("gold.exploration_response", "gold.exploration_budgets")
GOLD = (*PEOPLE, "gold.user_item_values", *EXPLORATION, "gold.recommendations")
AS_OF = ("feature.user_profile", "feature.user_vectors", *GOLD)
WHOLE = ("feature.item_vectors", "feature.examples", "feature.examples_validation", "feature.example_spec")

JOB = Job(
    name="evaluate_models",
    reads=(*SILVER, *AS_OF, *WHOLE, "gold.balance", "ops.feedback", "feature.sequences", "feature.category_trends"),
    writes=("gold.evaluation",),
    sections=("source", "windows", "interests", "training", "scoring", "segments", "recommend", "evaluate"),
    uses_model=True,
    extra_inputs=lambda s, _: (
        {"models": published_models(s.home), "audiences": str(s.audiences.response_days)} | arms.told(s.evaluate.arms)
    ),
)


def protocol(s: Settings, as_of: date, figures: Mapping[str, float], priced: tuple[float, dict[float, float]]) -> Protocol:
    """The settings as plain values; `figures` of the published model say which prior it began with, `priced`: see `prices`."""
    label_days, r = max(s.windows.days, s.segments.horizon_days), s.recommend
    return Protocol(
        as_of=as_of, window_days=s.windows.days, has_amounts=s.source.has_amounts,
        labels_until=s.evaluate.labels_until or as_of + timedelta(days=label_days),
        training_cuts=tuple(cut_dates(s.windows.origin, s.windows.days, as_of, s.training.training_cuts, label_days).train),
        prior=(figures.get("prior_dirichlet", s.interests.dirichlet), figures.get("prior_sharpening", s.interests.sharpening)),
        excluded=s.evaluate.exclude_categories, policy=Policy(**{**chosen(r, Policy), "as_of": as_of, "calibration": priced[0]}),
        popularity=Popularity(**chosen(s.interests, Popularity)), rules=Rules(**chosen(r, Rules)),
        seed=r.seed, foretold=priced[1], response_days=s.audiences.response_days,
        **s.segments.model_dump(include={"ladder", "horizon_days"}),
        **s.evaluate.model_dump(include={"frontier", "resamples", "floors"}),
    )  # fmt: skip


def run(ctx: Context) -> None:
    s, meta = ctx.settings, load_meta(ctx.model_path)
    at = {name: ctx.at_as_of(name) for name in (*AS_OF, "feature.sequences")}
    tables = Tables(*(ctx.read(n) for n in SILVER), *(at[n] for n in AS_OF), *(ctx.read(n) for n in WHOLE))
    known = trends_at(ctx.read("feature.category_trends"), ctx.as_of, meta.categories)
    alone = threads_per_worker(ctx.spark, s.scoring.workers)
    setup = Setup(ctx.model_path, threads=alone, trends=known, **chosen(s.scoring, Setup))
    told = protocol(s, ctx.as_of, meta.metrics, prices(ctx.at_as_of("gold.balance")))
    with every_model(ctx.registry, meta, s.evaluate.seeds, tables, at["feature.sequences"], setup) as scored:
        ready = prepare(ctx.spark, tables, told, scored, meta.categories, ctx.say)
    tried = arms.Experiment(s.evaluate.arms, s.evaluate.control, s.evaluate.split, s.evaluate.arms_since)
    found = arms.compared(ctx.read("ops.feedback"), tried, ctx.as_of, ctx.say)
    ctx.replace("gold.evaluation", frame(ctx.spark, evaluate(ready, ctx.say) + found, s.source.name), {"as_of": ctx.as_of})


if __name__ == "__main__":
    main(JOB, run)

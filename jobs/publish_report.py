"""Publishes one whole night: ops.published, the views that read through it, and the report.

Refuses (exit 1) when a table lacks the date or the tables come from different models, so that readers never see half a night.

    spark-submit --properties-file conf/spark/local.conf --load-spark-defaults jobs/publish_report.py \
        --settings conf/demo.toml --as-of 2017-11-06
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from pyspark.sql import DataFrame

from equipoise.job import Context, Job, main
from equipoise.places import beside
from equipoise.report import build, dictionary, publish, views
from equipoise.report.facts import gather
from equipoise.report.masked import Mask
from equipoise.settings import Settings
from equipoise.spark.remote import write_text
from equipoise.tables import CATALOGUE


def artifacts(settings: Settings) -> list[str]:
    """Files beside the tables; a run is not skipped when one is missing."""
    return [settings.report.path, f"{settings.warehouse}/{publish.VIEWS_FILE}"]


JOB = Job(
    name="publish_report",
    reads=(
        *("silver.events", "silver.items", "feature.category_shares", "feature.user_profile"),
        *("gold.user_interests", "gold.user_segments", "gold.user_category_values"),
        *("gold.segment_transitions", "gold.segment_profiles"),
        *("gold.interest_migration", "gold.category_transitions", "gold.user_profiles", "gold.item_rules"),
        *("gold.audiences", "gold.audience_summary"),
        *("gold.exploration_response", "gold.exploration_budgets", "gold.user_item_values", "gold.balance"),
        *("gold.policy_estimates", "gold.recommendations", "gold.rule_effects", "gold.evaluation", "ops.monitors"),
    ),
    writes=("ops.published",),
    sections=("source", "report"),
    uses_model=True,
    artifacts=artifacts,
)


def run(ctx: Context) -> None:
    def read(name: str) -> DataFrame:
        return ctx.read(name) if name in ctx.inputs else ctx.read_latest(name)

    model_id = publish.model_of_night(read, ctx.as_of)
    mine = publish.versions(ctx.inputs, read, ctx.as_of)
    ctx.say("counting")
    facts = replace(gather(read, ctx.as_of), published=sorted(mine.items()))
    page = build.page(
        facts,
        title=ctx.settings.report.title,
        source=ctx.settings.source.name,
        model_id=model_id,
        card_text=publish.card_text(str(ctx.registry.path(model_id)) if model_id else None),
        training_log=publish.training_log(ctx.registry.logs(model_id) if model_id else None),
        run_id=ctx.run_id,
        synthetic=ctx.synthetic,
    )
    report = ctx.settings.report.path
    write_text(ctx.spark, beside(report, "data_dictionary.html"), dictionary.html())
    write_text(ctx.spark, report, build.html(page))
    ctx.store.create("ops.published")
    shown = views.latest(publish.with_earlier(ctx.read_latest("ops.published"), mine, ctx.as_of))
    tables = [t for t in CATALOGUE if ctx.store.version(t) is not None]
    mask = Mask(secrets.token_hex(16), ctx.settings.report.least_users)
    write_text(ctx.spark, f"{ctx.warehouse}/{publish.VIEWS_FILE}", views.views_sql(ctx.warehouse, tables, shown, mask))
    ctx.replace("ops.published", publish.published_frame(ctx.spark, mine, ctx.as_of, ctx.run_id), {"as_of": ctx.as_of})
    ctx.say(f"report: {report}")


if __name__ == "__main__":
    main(JOB, run)

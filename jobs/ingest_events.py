"""Source → silver.*, ops.quarantine, ops.quality_metrics: the door of the warehouse.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults jobs/ingest_events.py --settings conf/demo.toml

Takes no --as-of: data_until bounds what counts as future. Exit code 3 when more than quality.max_quarantined_share of an input
is bad; silver.* then stays as it was, while ops.quarantine and ops.quality_metrics say why.
"""

from __future__ import annotations

from functools import partial

from equipoise.job import Context, Job, main
from equipoise.job.sources import require_one_source
from equipoise.quality.door import ingest
from equipoise.quality.plan import door_of, extra_inputs
from equipoise.sources.read import read_source
from equipoise.store.log import foreign

JOB = Job(
    name="ingest_events",
    writes=(
        "ops.quarantine",
        "ops.quality_metrics",
        "silver.items",
        "silver.item_categories",
        "silver.users",
        "silver.promotions",
        "silver.events",
    ),
    sections=("source", "identity", "quality", "data_until"),
    needs_as_of=False,
    extra_inputs=partial(extra_inputs, delta_state=foreign),
)


def run(ctx: Context) -> None:
    require_one_source(ctx)
    raw = read_source(ctx.spark, ctx.settings.source, ctx.settings_dir, ctx.store.read_pinned)
    ingest(ctx.spark, raw, door_of(ctx.settings, ctx.settings_dir, ctx.run_id), ctx.replace, ctx.say)


if __name__ == "__main__":
    main(JOB, run)

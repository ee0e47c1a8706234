"""Counts behaviour before as-of, and before earlier cuts with what came next: the tables that the learner and the lists read.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \\
    jobs/build_features.py --settings conf/demo.toml --as-of 2017-11-06

With --features.incremental=true only what differs from the night before is counted, where that is known and its tables are as it
left them; else everything, and the log says why.
"""

from __future__ import annotations

from equipoise.job import Context, Job, main
from equipoise.job.features import COUNTED, EXAMPLES, STATE, Night
from equipoise.job.recipe import identity, recipe

JOB = Job(
    name="build_features",
    reads=("silver.events", "silver.items", "silver.item_categories"),
    writes=(*COUNTED, *EXAMPLES, STATE),
    sections=("windows", "segments"),
    extra_inputs=identity,
)


def run(ctx: Context) -> None:
    Night(ctx, recipe(ctx.settings, ctx.settings_dir, ctx.as_of)).run()


if __name__ == "__main__":
    main(JOB, run)

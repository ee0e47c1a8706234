"""Upkeep: joins small files, deletes files of versions that nobody needs, and what trainings that did not end left behind.

Rows stay as they are, and no job runs again because of it. Writes ops.maintenance.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \\
    jobs/maintain_tables.py --settings conf/demo.toml
"""

from __future__ import annotations

from equipoise.job import Context, Job, main
from equipoise.job.upkeep import Upkeep
from equipoise.places import is_remote
from equipoise.training.registry import Registry

JOB = Job("maintain_tables", sections=("maintenance",), needs_as_of=False)


def run(ctx: Context) -> None:
    Upkeep(ctx, None if is_remote(ctx.home) else Registry.of(ctx.home)).run()


if __name__ == "__main__":
    main(JOB, run)

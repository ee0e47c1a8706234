"""Tries settings of fine-tuning on the training examples and keeps what each gives on the validation examples, in ops.trials.

Publishes no model. Stopped or out of time, the next run of the same search goes on.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \\
    jobs/search_settings.py --settings conf/search.toml --as-of 2017-11-06
"""

from __future__ import annotations

import time
from pathlib import Path

from equipoise.job import Context, Job, main
from equipoise.job.finetune import READS
from equipoise.job.identity import sha256
from equipoise.job.pretraining import spared
from equipoise.job.search import told, trials
from equipoise.models.encoder import check_directory
from equipoise.models.package import checksums
from equipoise.settings import Settings, resolve
from equipoise.training import search


def decisive(s: Settings, folder: Path) -> dict[str, str]:
    """What beside the sections decides how a trial ends."""
    weights = sha256(checksums(check_directory(resolve(s.encoder.path, folder))))
    return {"encoder": s.encoder.model_dump_json(), "weights": weights, "interests": s.interests.model_dump_json()}


JOB = Job("search_settings", reads=READS, sections=("search", "training", "tower"), extra_inputs=decisive, spared=spared)


def run(ctx: Context) -> None:
    end = time.monotonic() + ctx.settings.search.max_seconds
    with trials(ctx) as found:
        done = found.known()
        if done:
            ctx.say(f"search {found.search_id[:8]} goes on: {len(done)} trainings are in ops.trials")
        for outcome in search.run(found.plan, done, found.train, lambda: time.monotonic() >= end):
            done.append(outcome)
    for line in told(found.plan, done):
        ctx.say(line)


if __name__ == "__main__":
    main(JOB, run)

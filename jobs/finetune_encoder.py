"""Fine-tunes the learner on feature.examples and publishes it in <warehouse>/models/encoder; promotes it past the gate.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \\
    jobs/finetune_encoder.py --settings conf/demo.toml --as-of 2017-11-06
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

from equipoise.job import Context, Job, main
from equipoise.job.finetune import READS, recipe
from equipoise.job.identity import sha256
from equipoise.job.pretraining import spared
from equipoise.models.encoder import check_directory
from equipoise.models.package import checksums
from equipoise.settings import Settings, chosen, resolve
from equipoise.training import launch
from equipoise.training.judge import GATE, Gate, GateOptions
from equipoise.training.registry import Registry
from equipoise.training.warm import predecessor


def decisive(s: Settings, folder: Path) -> dict[str, str]:
    """What beside the training section decides the weights."""
    prior, encoder = s.interests.model_dump_json(include={"dirichlet", "sharpening"}), s.encoder.model_dump_json()
    weights = sha256(checksums(check_directory(resolve(s.encoder.path, folder))))
    tower = s.tower.model_dump_json() if s.encoder.route == "tower" else ""
    return {"prior": prior, "encoder": encoder, "tower": tower, "weights": weights, "amounts": str(s.source.has_amounts)}


def goes_on_with(s: Settings, registry: Registry, as_of: date) -> dict[str, str]:
    """The model whose weights an incremental training begins with."""
    return {"warm": predecessor(registry, as_of) or "none"} if s.training.warm_start == "current" else {}


JOB = Job(
    "finetune_encoder", reads=READS, sections=("training",), ignores=GATE, publishes_model=True, extra_inputs=decisive,
    spared=spared, of_registry=goes_on_with,
)  # fmt: skip


def run(ctx: Context) -> None:
    t, gate = ctx.settings.training, Gate(ctx.registry, GateOptions(**chosen(ctx.settings.training, GateOptions)), ctx.say)
    if not ctx.registry.published(ctx.run_id):
        made = recipe(ctx)
        ctx.say(f"{made.sample.training_rows:,} examples, {t.processes} ranks × {made.threads} threads on {t.device}")
        launch.fine_tune(ctx.spark, made, processes=t.processes, cluster_mode=t.cluster_mode, say=ctx.say)
        gate.judge(made, promotes=ctx.job.promotes)
        ctx.registry.publish(made.staging, ctx.run_id)
    if ctx.job.promotes:
        gate.promote(ctx.run_id, ctx.files(READS[1])[0])


if __name__ == "__main__":
    main(JOB, run)

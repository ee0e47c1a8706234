"""Fine-tunes the text encoder on feature.examples and publishes it in <warehouse>/models/encoder; promotes it past the gate.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \\
    jobs/finetune_encoder.py --settings conf/demo.toml --as-of 2017-11-06
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from equipoise.job import Context, Job, main
from equipoise.job.identity import sha256
from equipoise.models.encoder import check_directory, pooling_of
from equipoise.models.package import ModelMeta, checksums
from equipoise.models.statistics import Prior
from equipoise.settings import Settings, resolve
from equipoise.stream import Widths
from equipoise.tables.feature import H_FEATURES
from equipoise.training import launch
from equipoise.training.checkpoint import Checkpoints
from equipoise.training.loop import Options
from equipoise.training.recipe import Recipe
from equipoise.training.sample import described, vocabulary


def decisive(s: Settings, folder: Path) -> dict[str, str]:
    """What beside the training section decides the weights."""
    prior, encoder = s.interests.model_dump_json(include={"dirichlet", "sharpening"}), s.encoder.model_dump_json()
    weights = sha256(checksums(check_directory(resolve(s.encoder.path, folder))))
    return {"prior": prior, "encoder": encoder, "weights": weights, "amounts": str(s.source.has_amounts)}


TOLD: Any = {"training": True, "encoder": True, "interests": {"dirichlet", "sharpening"}, "segments": {"ladder"}}
READS = ("feature.examples", "feature.examples_validation", "feature.example_spec")
JOB = Job(name="finetune_encoder", reads=READS, sections=("training",), publishes_model=True, extra_inputs=decisive)


def recipe(ctx: Context) -> Recipe:
    """The settings and pinned inputs as plain values."""
    s, t = ctx.settings, ctx.settings.training
    encoder_path = resolve(s.encoder.path, ctx.settings_dir)
    train, validation = ctx.files(READS[0])[0], ctx.files(READS[1])[0]
    categories, population = vocabulary(ctx.read(READS[2]))
    sample = described(ctx.read(READS[0]), ctx.read(READS[1]), labels_by=ctx.as_of, horizon_days=s.segments.horizon_days)
    names = [name for name, _ in H_FEATURES]
    widths, start = Widths(s.encoder.max_tokens, len(categories), len(names)), (s.interests.dirichlet, s.interests.sharpening)
    statistics = launch.statistics_of(train, widths, t.seed)
    prior = launch.prior_of(train, widths, t.seed, population, Prior(*start), fit=t.fit_prior)
    low, middle, high = statistics.class_mean_spend
    meta = ModelMeta(
        model_id=ctx.run_id, categories=categories, max_tokens=s.encoder.max_tokens, max_item_tokens=s.encoder.max_item_tokens,
        class_mean_spend=(low, middle, high), has_amounts=s.source.has_amounts, feature_names=names,
        pooling=pooling_of(encoder_path), table_versions=ctx.inputs, settings=s.model_dump(mode="json", include=TOLD),
    )  # fmt: skip
    return Recipe(
        encoder_path=encoder_path, train_files=train, validation_files=validation, population=population, statistics=statistics,
        dirichlet=prior.dirichlet, sharpening=prior.sharpening,
        lora_rank=t.lora_rank, lora_alpha=t.lora_alpha, lora_dropout=t.lora_dropout,
        options=Options(**t.model_dump(include={f.name for f in fields(Options)})), device=t.device, bfloat16=t.bfloat16,
        threads=launch.threads_per_rank(ctx.spark, t.processes, cluster_mode=t.cluster_mode),
        staging=str(ctx.registry.staging(ctx.run_id)), checkpoints=str(ctx.registry.checkpoints(ctx.run_id)),
        logs=str(ctx.registry.logs(ctx.run_id)), meta=meta, sample=sample,
    )  # fmt: skip


def run(ctx: Context) -> None:
    if not ctx.registry.published(ctx.run_id):
        made, t = recipe(ctx), ctx.settings.training
        ctx.say(f"{made.sample.training_rows:,} examples, {t.processes} ranks × {made.threads} threads on {t.device}")
        launch.fine_tune(ctx.spark, made, processes=t.processes, cluster_mode=t.cluster_mode)
        ctx.registry.publish(made.staging, ctx.run_id)
        Checkpoints(made.checkpoints, "").remove()
    ctx.registry.promote(ctx.run_id)
    ctx.say(f"model {ctx.run_id} is CURRENT in {ctx.registry.root}")


if __name__ == "__main__":
    main(JOB, run)

"""Fine-tunes the text encoder on feature.examples and publishes it in <warehouse>/models/encoder; promotes it past the gate.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \\
    jobs/finetune_encoder.py --settings conf/demo.toml --as-of 2017-11-06
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from equipoise.job import Context, Job, main
from equipoise.job.identity import sha256
from equipoise.models.encoder import check_directory, pooling_of
from equipoise.models.fit_pairs import PairOptions
from equipoise.models.package import ModelMeta, checksums
from equipoise.models.statistics import Prior
from equipoise.settings import Settings, chosen, resolve
from equipoise.stream import Widths
from equipoise.tables.feature import H_FEATURES
from equipoise.training import launch
from equipoise.training.judge import GATE, Gate, GateOptions
from equipoise.training.loop import Options
from equipoise.training.recipe import Recipe
from equipoise.training.sample import dates_of, described, vocabulary
from equipoise.training.start import Files, fitted_start


def decisive(s: Settings, folder: Path) -> dict[str, str]:
    """What beside the training section decides the weights."""
    prior, encoder = s.interests.model_dump_json(include={"dirichlet", "sharpening"}), s.encoder.model_dump_json()
    weights = sha256(checksums(check_directory(resolve(s.encoder.path, folder))))
    return {"prior": prior, "encoder": encoder, "weights": weights, "amounts": str(s.source.has_amounts)}


PASSED: Any = {"lora_rank", "lora_alpha", "lora_dropout", "device", "bfloat16"}
TOLD: Any = {"training": True, "encoder": True, "interests": {"dirichlet", "sharpening"}, "segments": {"ladder"}}
READS = ("feature.examples", "feature.examples_validation", "feature.example_spec")
JOB = Job("finetune_encoder", reads=READS, sections=("training",), ignores=GATE, publishes_model=True, extra_inputs=decisive)


def recipe(ctx: Context) -> Recipe:
    """The settings and pinned inputs as plain values."""
    s, t, encoder_path = ctx.settings, ctx.settings.training, resolve(ctx.settings.encoder.path, ctx.settings_dir)
    train, validation = ctx.files(READS[0])[0], ctx.files(READS[1])[0]
    categories, population = vocabulary(ctx.read(READS[2]))
    sample = described(ctx.read(READS[0]), ctx.read(READS[1]), labels_by=ctx.as_of, horizon_days=s.segments.horizon_days)
    start = fitted_start(
        Files(train, validation, Widths(s.encoder.max_tokens, len(categories), len(H_FEATURES))),
        population, Prior(**chosen(s.interests, Prior)), PairOptions(**chosen(t, PairOptions)),
        fit=t.fit_prior, into=str(ctx.registry.checkpoints(ctx.run_id)), say=ctx.say,
    )  # fmt: skip
    meta = ModelMeta(
        model_id=ctx.run_id, categories=categories, max_tokens=s.encoder.max_tokens, max_item_tokens=s.encoder.max_item_tokens,
        class_mean_spend=start.class_mean_spend, has_amounts=s.source.has_amounts, feature_names=[name for name, _ in H_FEATURES],
        pooling=pooling_of(encoder_path), table_versions=ctx.inputs, settings=s.model_dump(mode="json", include=TOLD),
        dates=dates_of(sample, as_of=ctx.as_of, label_days=max(s.windows.days, s.segments.horizon_days)),
    )  # fmt: skip
    return Recipe(
        encoder_path=encoder_path, train_files=train, validation_files=validation, population=population, start=start,
        options=Options(**chosen(t, Options)), **t.model_dump(include=PASSED),
        threads=launch.threads_per_rank(ctx.spark, t.processes, cluster_mode=t.cluster_mode),
        meta=meta, sample=sample, **ctx.registry.places(ctx.run_id),
    )  # fmt: skip


def run(ctx: Context) -> None:
    t, gate = ctx.settings.training, Gate(ctx.registry, GateOptions(**chosen(ctx.settings.training, GateOptions)), ctx.say)
    if not ctx.registry.published(ctx.run_id):
        made = recipe(ctx)
        ctx.say(f"{made.sample.training_rows:,} examples, {t.processes} ranks × {made.threads} threads on {t.device}")
        launch.fine_tune(ctx.spark, made, processes=t.processes, cluster_mode=t.cluster_mode)
        gate.judge(made, promotes=ctx.job.promotes)
        ctx.registry.publish(made.staging, ctx.run_id)
    if ctx.job.promotes:
        gate.promote(ctx.run_id, ctx.files(READS[1])[0])


if __name__ == "__main__":
    main(JOB, run)

"""From the settings and pinned inputs of finetune_encoder to one training, as plain values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from equipoise.inference.udf import threads_per_worker
from equipoise.inference.worker import Setup
from equipoise.job.context import Context
from equipoise.models import TowerOptions
from equipoise.models.encoder import pooling_of
from equipoise.models.fit_pairs import PairOptions
from equipoise.models.package import ModelMeta
from equipoise.models.statistics import Prior
from equipoise.settings import chosen, resolve
from equipoise.stream import Widths
from equipoise.tables.feature import H_FEATURES
from equipoise.training import launch
from equipoise.training.loop import Options
from equipoise.training.recipe import Recipe
from equipoise.training.sample import dates_of, described, vocabulary
from equipoise.training.start import Files, behaviours_in, fitted_start
from equipoise.training.vectors import items_file

READS = ("feature.examples", "feature.examples_validation", "feature.example_spec", "feature.example_items")
PASSED: Any = {"lora_rank", "lora_alpha", "lora_dropout", "device", "bfloat16"}
TOLD: Any = {"training": True, "encoder": True, "tower": True, "interests": {"dirichlet", "sharpening"}, "segments": {"ladder"}}


def recipe(ctx: Context) -> Recipe:
    """One training of the route that the settings name.

    Raises:
        ContractError, ModelError: when the examples are empty or do not fit the settings.
    """
    s, t, encoder_path = ctx.settings, ctx.settings.training, resolve(ctx.settings.encoder.path, ctx.settings_dir)
    train, validation = ctx.files(READS[0])[0], ctx.files(READS[1])[0]
    categories, population = vocabulary(ctx.read(READS[2]))
    sample = described(ctx.read(READS[0]), ctx.read(READS[1]), labels_by=ctx.as_of, horizon_days=s.segments.horizon_days)
    scratch = ctx.registry.checkpoints(ctx.run_id)
    files = Files(train, validation, Widths(s.encoder.max_tokens, len(categories), len(H_FEATURES)))
    start = fitted_start(
        files,
        population,
        Prior(**chosen(s.interests, Prior)),
        PairOptions(**chosen(t, PairOptions)),
        fit=t.fit_prior,
        into=str(scratch),
        say=ctx.say,
    )
    tower, items, off = None, "", {}
    options = Options(**chosen(t, Options))
    if s.encoder.route == "tower":
        tower = TowerOptions(**chosen(s.tower, TowerOptions), events=s.encoder.sequence_items)
        items = _items(ctx, encoder_path, scratch)
        off = _off(behaviours_in(train, files.widths, t.seed))
        options = replace(options, behaviour_weight=0.0) if off else options
        for head, why in off.items():
            ctx.say(f"head {head} is off: {why}")
    meta = ModelMeta(
        model_id=ctx.run_id,
        categories=categories,
        max_tokens=s.encoder.max_tokens,
        max_item_tokens=s.encoder.max_item_tokens,
        class_mean_spend=start.class_mean_spend,
        has_amounts=s.source.has_amounts,
        feature_names=[name for name, _ in H_FEATURES],
        pooling=pooling_of(encoder_path),
        table_versions=ctx.inputs,
        settings=s.model_dump(mode="json", include=TOLD),
        dates=dates_of(sample, as_of=ctx.as_of, label_days=max(s.windows.days, s.segments.horizon_days)),
        route=s.encoder.route,
        tower=vars(tower) if tower else {},
        off=off,
    )
    return Recipe(
        encoder_path=encoder_path,
        train_files=train,
        validation_files=validation,
        population=population,
        start=start,
        tower=tower,
        items=items,
        options=options,
        **t.model_dump(include=PASSED),
        threads=launch.threads_per_rank(ctx.spark, t.processes, cluster_mode=t.cluster_mode),
        meta=meta,
        sample=sample,
        **ctx.registry.places(ctx.run_id),
    )


def _items(ctx: Context, encoder_path: str, into: Path) -> str:
    scoring = ctx.settings.scoring
    setup = Setup(encoder_path, threads=threads_per_worker(ctx.spark, scoring.workers), **chosen(scoring, Setup))
    items = ctx.read(READS[3])
    ctx.say(f"encoding the texts of {items.count():,} items in the examples")
    return items_file(items, setup, max_tokens=ctx.settings.encoder.max_item_tokens, into=into)


def _off(behaviours: dict[str, int]) -> dict[str, str]:
    """Heads that these events cannot teach, with the reason."""
    shown = [name for name, number in behaviours.items() if number]
    if len(shown) > 1:
        return {}
    return {"behaviour": f"the sequences show {' and '.join(shown) or 'nothing'} alone; it needs two of {', '.join(behaviours)}"}

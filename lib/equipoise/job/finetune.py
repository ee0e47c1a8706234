"""From the settings and pinned inputs of finetune_encoder to one training, as plain values."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from equipoise.inference.interface import Precision, Switch
from equipoise.inference.udf import threads_per_worker
from equipoise.inference.worker import Setup
from equipoise.job.context import Context
from equipoise.job.pretraining import CATEGORIES, pretrained_encoder
from equipoise.models import TowerOptions
from equipoise.models.encoder import check_length, pooling_of
from equipoise.models.fit_pairs import PairOptions
from equipoise.models.methods import BESIDE, LEARNING_RATES, Method
from equipoise.models.package import ModelMeta
from equipoise.models.statistics import Prior
from equipoise.settings import Settings, chosen, resolve
from equipoise.stream import Widths
from equipoise.tables.feature import H_FEATURES
from equipoise.training import launch, warm
from equipoise.training.augment import AugmentOptions
from equipoise.training.held_out_users import HeldOut, rows_in, without
from equipoise.training.options import Options
from equipoise.training.recipe import Recipe
from equipoise.training.registry import Registry
from equipoise.training.sample import Sample, dates_of, described, vocabulary
from equipoise.training.start import Files, Start, behaviours_in, fitted_start
from equipoise.training.vectors import items_file

READS = (
    *("feature.examples", "feature.examples_validation", "feature.example_spec", "feature.example_items"),
    CATEGORIES,
)
PASSED: Any = {"device", "precision", "dropout", "sharded", "wandb", "task_adapter_width"}
SHARED: Any = {"workers", "tokens_per_batch", "buffer_rows", "device"}
"""Settings of scoring that say where and how much at a time, not what comes of it."""

_SWITCH: dict[Precision, Switch] = {"auto": "auto", "float32": "off", "bfloat16": "on", "float16": "off"}
"""Whether items are encoded in bfloat16, by training.precision; workers know no float16 and take float32."""

TOLD: Any = {"training": True, "encoder": True, "tower": True, "interests": {"dirichlet", "sharpening"}, "segments": {"ladder"}}


def starts_with(settings: Settings) -> str:
    """What decides `Recipe.start` beside the examples, as text."""
    t = settings.training
    held = f"{t.held_out_users} {t.held_out_seed}"
    return f"{chosen(t, PairOptions)} {t.fit_prior} {chosen(settings.interests, Prior)} {settings.encoder.max_tokens} {held}"


def recipe(ctx: Context, start: Start | None = None, models: Registry | None = None) -> Recipe:
    """One training of the route that the settings name.

    Args:
        start: where it is fitted already, by the same `starts_with`.
        models: where the model to go on with is looked for; none: the run's own registry.

    Raises:
        ContractError, ModelError: when the examples are empty or do not fit the settings.
    """
    s, t, encoder_path = ctx.settings, ctx.settings.training, resolve(ctx.settings.encoder.path, ctx.settings_dir)
    scratch = ctx.registry.checkpoints(ctx.run_id)
    categories, population = vocabulary(ctx.read(READS[2]))
    files, sample = _examples(ctx, len(categories), scratch)
    start = start or _start(ctx, files, population, scratch)
    method = Method(**chosen(t, Method))
    check_length(encoder_path, s.encoder.max_tokens, prepended=method.prepended)
    encoder_path, pretraining = pretrained_encoder(ctx, encoder_path, files, scratch)
    route, options = _route(ctx, encoder_path, files, scratch)
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
        dates=dates_of(sample, as_of=ctx.as_of, label_days=s.label_days),
        route=s.encoder.route,
        tower=vars(route.tower) if route.tower else {},
        off=route.off,
        beside=asdict(method) if route.tower is None and method.method in BESIDE else {},
        pretraining=pretraining,
    )
    goes_on_with = _warm(ctx, models or ctx.registry, meta, method)
    if goes_on_with:
        meta = replace(meta, settings={**meta.settings, "began_with": Path(goes_on_with).name})
    return Recipe(
        warm=goes_on_with,
        encoder_path=encoder_path,
        train_files=files.train,
        validation_files=files.validation,
        population=population,
        start=start,
        tower=route.tower,
        items=route.items,
        method=method,
        options=options,
        augment=_augment(ctx) if t.augments else None,
        **t.model_dump(include=PASSED),
        threads=launch.threads_per_rank(ctx.spark, t.processes, cluster_mode=t.cluster_mode),
        meta=meta,
        sample=sample,
        **ctx.registry.places(ctx.run_id),
    )


def _examples(ctx: Context, categories: int, scratch: Path) -> tuple[Files, Sample]:
    """The pinned examples, or copies without the users held out."""
    s, t = ctx.settings, ctx.settings.training
    train, validation = ctx.files(READS[0])[0], ctx.files(READS[1])[0]
    sample = described(ctx.read(READS[0]), ctx.read(READS[1]), labels_by=ctx.as_of, label_days=s.label_days)
    if t.held_out_users:
        held = HeldOut(t.held_out_users, t.held_out_seed)
        train, validation = (without(f, held, scratch / name) for f, name in ((train, "train"), (validation, "validation")))
        sample = replace(sample, training_rows=rows_in(train), validation_rows=rows_in(validation))
        ctx.say(f"a share of {held.share:g} of the users is held out: {sample.training_rows:,} examples are left")
    return Files(train, validation, Widths(s.encoder.max_tokens, categories, len(H_FEATURES))), sample


def _start(ctx: Context, files: Files, population: list[float], scratch: Path) -> Start:
    t = ctx.settings.training
    return fitted_start(
        files,
        population,
        Prior(**chosen(ctx.settings.interests, Prior)),
        PairOptions(**chosen(t, PairOptions)),
        fit=t.fit_prior,
        into=str(scratch),
        say=ctx.say,
    )


class _Route(NamedTuple):
    """What the tower route has beside the text route: its sizes (None: the text route), the file of the items' vectors, and heads
    that are off, with the reason."""

    tower: TowerOptions | None
    items: str
    off: dict[str, str]


def _route(ctx: Context, encoder_path: str, files: Files, scratch: Path) -> tuple[_Route, Options]:
    """The route, and the options of its training: heads that are off have no weight in the loss."""
    s, t = ctx.settings, ctx.settings.training
    rate = t.learning_rate or (LEARNING_RATES["lora" if s.encoder.route == "tower" else t.method])
    options = Options(**{**chosen(t, Options), "learning_rate": rate})
    if s.encoder.route == "text":
        return _Route(None, "", {}), options
    items = _items(ctx, encoder_path, scratch)
    off = _off(behaviours_in(files.train, files.widths, t.seed))
    options = replace(options, behaviour_weight=0.0, sequence_behaviour_weight=0.0) if off else options
    kinds = options.sequence_behaviour_weight > 0
    tower = TowerOptions(**chosen(s.tower, TowerOptions), events=s.encoder.sequence_items, kinds=kinds)
    for head, why in off.items():
        ctx.say(f"head {head} is off: {why}")
    return _Route(tower, items, off), options


def _warm(ctx: Context, models: Registry, meta: ModelMeta, method: Method) -> str:
    """Folder of the model to go on with, or '' and the reason told."""
    s = ctx.settings
    if s.training.warm_start == "none":
        return ""
    found = warm.predecessor(models, ctx.as_of)
    if found is None:
        ctx.say(f"warm start: no model was promoted for a date before {ctx.as_of}; training starts fresh")
        return ""
    folder = models.trusted(found)
    reason = warm.why_not(folder, meta, method, trusted_encoder=s.encoder.path)
    ctx.say(f"warm start: not from {found}: {reason}; training starts fresh" if reason else f"warm start: goes on with {found}")
    return "" if reason else str(folder)


def _augment(ctx: Context) -> AugmentOptions:
    """With the files' absolute paths."""
    given = chosen(ctx.settings.training, AugmentOptions)
    files = [given["synonyms_file"], *given["back_translation_models"]]
    synonyms, *models = (resolve(f, ctx.settings_dir) if f else "" for f in files)
    return AugmentOptions(**{**given, "synonyms_file": synonyms, "back_translation_models": tuple(models)})


def _items(ctx: Context, encoder_path: str, into: Path) -> str:
    setup = _encoding(ctx.settings, encoder_path, threads_per_worker(ctx.spark, ctx.settings.scoring.workers))
    items = ctx.read(READS[3])
    ctx.say(f"encoding the texts of {items.count():,} items in the examples")
    return items_file(items, setup, max_tokens=ctx.settings.encoder.max_item_tokens, into=into)


def _encoding(s: Settings, encoder_path: str, threads: int) -> Setup:
    """How workers encode the items of the examples: where and how much at a time as in scoring, how exactly as in training. What
    makes scoring cheaper has no part in it: no fingerprint of a training holds it."""
    place = s.scoring.model_dump(include=SHARED)
    return Setup(encoder_path, threads=threads, bfloat16=_SWITCH[s.training.precision], **place)


def _off(behaviours: dict[str, int]) -> dict[str, str]:
    """Heads that these events cannot teach, with the reason."""
    shown = [name for name, number in behaviours.items() if number]
    if len(shown) > 1:
        return {}
    return {"behaviour": f"the sequences show {' and '.join(shown) or 'nothing'} alone; it needs two of {', '.join(behaviours)}"}

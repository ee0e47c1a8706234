"""Distributed fine-tuning with TorchDistributor: the driver's call and each rank's work. Only this knows Spark and the stream."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow  # noqa: F401  # before torch, or their bundled libraries clash (petastorm's troubleshooting page)
from safetensors.torch import load_file

from equipoise.errors import ModelError, OutOfMemory
from equipoise.models.fit_pairs import start_counted
from equipoise.models.statistics import start_heads
from equipoise.training.recipe import Recipe
from equipoise.training.tracking import to_stdout
from equipoise.training.warm import encoder_of, go_on

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from equipoise.stream import ExampleStream, Widths

VALIDATION_BATCH = 64
HEAD_COLUMNS = ("prior", "cells", "trends", "features", "label_counts", "label_value")
_FAILURE = "failed-rank-"


def fine_tune(
    spark: SparkSession,
    recipe: Recipe,
    *,
    processes: int,
    cluster_mode: bool,
    say: Callable[[str], None] = to_stdout,
) -> dict[str, Any]:
    """Trains on `processes` ranks and leaves a package in `recipe.staging`; returns the model's metrics, from the leading rank.

    Ranks run on the driver's machine, or with `cluster_mode` one per Spark task. There they need the same Python environment.
    Where memory runs out, training goes on from its last checkpoint with half the examples per pass: steps stay what they were.

    Raises:
        ModelError: when a rank failed, with what the first one to fail said.
    """
    from pyspark.ml.torch.distributor import TorchDistributor

    # On the driver, use_gpu would ask Spark for GPUs that plain sessions do not declare; there ranks choose by local rank.
    use_gpu = cluster_mode and recipe.device == "cuda"
    distributor = TorchDistributor(num_processes=processes, local_mode=not cluster_mode, use_gpu=use_gpu)
    while True:
        for stale in _failures(recipe):
            stale.unlink()
        try:
            return cast(dict[str, Any], distributor.run(train_rank, recipe))
        except Exception as error:  # RuntimeError on the driver's machine, a Spark error from a cluster
            said = [p.read_text(encoding="utf-8") for p in _failures(recipe)]
            tried = _too_many(said)
            if not tried or tried < 2:
                raise ModelError(
                    f"training failed on a rank: {said[0] if said else error}\nfix the cause and run again: it resumes"
                ) from error
            recipe = replace(recipe, options=replace(recipe.options, micro_batch=tried // 2))
            say(f"out of memory with {tried} examples per pass: going on from the last checkpoint with {tried // 2}")


def _too_many(said: list[str]) -> int:
    """Examples per pass that a rank had no memory for; 0 where that is not what stopped it."""
    found = [re.match(rf"{OutOfMemory.__name__}\[(\d+)\]: ", text) for text in said]
    return min((int(m.group(1)) for m in found if m), default=0)


def train_rank(recipe: Recipe) -> dict[str, Any]:
    """One rank's work in its own process; returns the metrics.

    What it fails with is left in a file for the driver: TorchDistributor tells only that something failed.
    """
    try:
        return _train(recipe)
    except Exception as error:
        told = Path(recipe.logs) / f"{_FAILURE}{os.environ.get('RANK', '0')}.txt"
        told.parent.mkdir(parents=True, exist_ok=True)
        kind = type(error).__name__ + (f"[{error.tried}]" if isinstance(error, OutOfMemory) else "")
        told.write_text(f"{kind}: {error}", encoding="utf-8")
        raise


def _train(recipe: Recipe) -> dict[str, Any]:
    """Joins the other ranks, trains, and on the leading rank writes the package."""
    from equipoise.inference.hardware import half_of
    from equipoise.models.encoder import load_tokenizer
    from equipoise.training.augment import Augmenter
    from equipoise.training.checkpoint import Checkpoints
    from equipoise.training.loop import Training
    from equipoise.training.ranks import joined
    from equipoise.training.tracking import Tracker

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with joined(recipe.device, recipe.threads, grouped=recipe.sharded) as ranks:
        tracker = Tracker(recipe.logs, wandb=recipe.wandb) if ranks.leads else None
        streams = _Streams(recipe, ranks.rank, ranks.world_size)
        steps = min(streams.steps_per_epoch() * recipe.options.epochs, recipe.options.max_steps)
        recipe = replace(recipe, method=replace(recipe.method, total_steps=steps))
        model = _begun(recipe, ranks.device)
        half = half_of(recipe.precision, recipe.device)
        model.encoder.autocast = half if ranks.agree(half is not None) else None
        texts = recipe.augment
        trained = Training(
            model,
            train_batches=streams.epoch,
            validation_batches=streams.validation,
            steps_per_epoch=streams.steps_per_epoch(),
            options=recipe.options,
            ranks=ranks,
            tracker=tracker,
            checkpoints=Checkpoints(recipe.checkpoints, recipe.identity(ranks.world_size)),
            augment=Augmenter(texts, load_tokenizer(recipe.encoder_path), recipe.meta.max_tokens) if texts else None,
            spread=recipe.sharded,
        ).run()
        metrics = trained.metrics | recipe.start.figures
        metrics |= {"prior_dirichlet": recipe.start.prior.dirichlet, "prior_sharpening": recipe.start.prior.sharpening}
        if tracker is not None:
            progress = trained.progress
            tracker.say(f"training ended after {progress.seconds:.0f} s: {trained.ended}; best at step {progress.best_step}")
            for head in trained.reverted:
                tracker.say(f"the {head} head is published as it began: training made it worse on the validation examples")
            tracker.close()
            # Weights that are spread over ranks have no place in a package: an own model takes them in.
            _write_package(recipe, _begun(recipe, "cpu") if recipe.sharded else model, trained, metrics)
        return metrics


def _begun(recipe: Recipe, device: Any) -> Any:
    """The model of the recipe's route, untrained or as its predecessor was, with heads that know what counting says."""
    model = _untrained(recipe, device)
    start_heads(model.heads, recipe.start.statistics)
    start_counted(model.heads, load_file(recipe.start.counted))
    if recipe.warm:
        go_on(model, Path(recipe.warm))
    return model


def _untrained(recipe: Recipe, device: Any) -> Any:
    from equipoise.models import build, build_tower
    from equipoise.models.encoder import set_dropout
    from equipoise.models.items import ItemTable

    sizes: dict[str, Any] = {
        "features": len(recipe.start.statistics.feature_mean),
        "population": recipe.population,
        "dirichlet": recipe.start.prior.dirichlet,
        "sharpening": recipe.start.prior.sharpening,
        "adapter_width": recipe.task_adapter_width,
        "seed": recipe.options.seed,
    }
    if recipe.tower is None:
        path = encoder_of(Path(recipe.warm)) if recipe.warm else recipe.encoder_path
        model = build(path, **sizes, method=recipe.method, pooling=recipe.meta.pooling)
        if recipe.dropout is not None:
            set_dropout(model.encoder.backbone, recipe.dropout)
        return model
    tower = build_tower(recipe.encoder_path, recipe.tower, **sizes).to(device)
    tower.look_up(ItemTable.load(recipe.items))
    return tower


def threads_per_rank(spark: SparkSession, processes: int, *, cluster_mode: bool) -> int:
    """Cores that one rank may use: its Spark task's, or its share of the driver's machine."""
    if cluster_mode:
        return int(spark.conf.get("spark.task.cpus", "1") or "1")
    return max(1, len(os.sched_getaffinity(0)) // processes)


def widths_of(recipe: Recipe) -> Widths:
    """Values per row of the packed columns."""
    from equipoise.stream import Widths

    return Widths(recipe.meta.max_tokens, len(recipe.population), len(recipe.start.statistics.feature_mean))


class _Streams:
    """One rank's epochs and validation shards."""

    def __init__(self, recipe: Recipe, rank: int, world_size: int) -> None:
        self._recipe = recipe
        self._place = {"rank": rank, "world_size": world_size}
        self._columns = (*(("tokens", "length") if recipe.tower is None else ("events",)), *HEAD_COLUMNS)

    def steps_per_epoch(self) -> int:
        from equipoise.stream import plan, require_steps

        return require_steps(plan(self._recipe.train_files, self._place["world_size"], self._recipe.options.batch_size))

    def epoch(self, epoch: int, skip: int) -> AbstractContextManager[ExampleStream]:
        size = self._recipe.options.batch_size
        return self._open(self._recipe.train_files, size, epoch, drop_last=True, skip_batches=skip)

    def validation(self) -> AbstractContextManager[ExampleStream]:
        files, size = self._recipe.validation_files, VALIDATION_BATCH
        alike = {"rank": 0, "world_size": 1} if self._recipe.sharded else None
        return self._open(files, size, 0, drop_last=False, skip_batches=0, place=alike)

    def _open(
        self,
        files: list[str],
        batch_size: int,
        epoch: int,
        *,
        drop_last: bool,
        skip_batches: int,
        place: dict[str, int] | None = None,
    ) -> ExampleStream:
        from equipoise.stream import ExampleStream

        return ExampleStream(
            files,
            **(place or self._place),
            batch_size=batch_size,
            seed=self._recipe.options.seed,
            epoch=epoch,
            widths=widths_of(self._recipe),
            columns=self._columns,
            drop_last=drop_last,
            skip_batches=skip_batches,
        )


def _write_package(recipe: Recipe, model: Any, trained: Any, metrics: dict[str, float]) -> None:
    from equipoise.models import save_package
    from equipoise.training.card import model_card
    from equipoise.training.checkpoint import put_weights

    put_weights(model, trained.weights)
    start_counted(model.heads, load_file(recipe.start.fresh))
    meta = replace(recipe.meta, metrics=metrics)
    card = model_card(meta, recipe.sample, trained.progress.history, trained.ended, trained.reverted)
    shutil.rmtree(recipe.staging, ignore_errors=True)
    held_back = load_file(recipe.start.counted)
    save_package(Path(recipe.staging), model, tokenizer_path=recipe.encoder_path, meta=meta, card=card, held_back=held_back)


def _failures(recipe: Recipe) -> list[Path]:
    """What ranks left on failing, the first to fail first: the others then fail for want of it."""
    return sorted(Path(recipe.logs).glob(f"{_FAILURE}*.txt"), key=lambda p: p.stat().st_mtime_ns)

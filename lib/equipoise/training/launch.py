"""Distributed fine-tuning with TorchDistributor: the driver's call and each rank's work. Only this knows Spark and the stream."""

from __future__ import annotations

import os
import shutil
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow  # noqa: F401  # before torch, or their bundled libraries clash (petastorm's troubleshooting page)
from safetensors.torch import load_file

from equipoise.errors import ModelError
from equipoise.models.fit_pairs import start_counted
from equipoise.models.statistics import start_heads
from equipoise.training.recipe import Recipe

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from equipoise.stream import ExampleStream, Widths

VALIDATION_BATCH = 64
HEAD_COLUMNS = ("prior", "cells", "trends", "features", "label_counts", "label_value")
_FAILURE = "failed-rank-"


def fine_tune(spark: SparkSession, recipe: Recipe, *, processes: int, cluster_mode: bool) -> dict[str, Any]:
    """Trains on `processes` ranks and leaves a package in `recipe.staging`; returns the model's metrics, from the leading rank.

    Ranks run on the driver's machine, or with `cluster_mode` one per Spark task. There they need the same Python environment.

    Raises:
        ModelError: when a rank failed, with what the first one to fail said.
    """
    from pyspark.ml.torch.distributor import TorchDistributor

    # On the driver, use_gpu would ask Spark for GPUs that plain sessions do not declare; there ranks choose by local rank.
    use_gpu = cluster_mode and recipe.device == "cuda"
    distributor = TorchDistributor(num_processes=processes, local_mode=not cluster_mode, use_gpu=use_gpu)
    for stale in _failures(recipe):
        stale.unlink()
    try:
        metrics = distributor.run(train_rank, recipe)
    except Exception as error:  # RuntimeError on the driver's machine, a Spark error from a cluster
        said = [p.read_text(encoding="utf-8") for p in _failures(recipe)]
        raise ModelError(
            f"training failed on a rank: {said[0] if said else error}\nfix the cause and run again: it resumes"
        ) from error
    return cast(dict[str, Any], metrics)


def train_rank(recipe: Recipe) -> dict[str, Any]:
    """One rank's work in its own process; returns the metrics.

    What it fails with is left in a file for the driver: TorchDistributor tells only that something failed.
    """
    try:
        return _train(recipe)
    except Exception as error:
        told = Path(recipe.logs) / f"{_FAILURE}{os.environ.get('RANK', '0')}.txt"
        told.parent.mkdir(parents=True, exist_ok=True)
        told.write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        raise


def _train(recipe: Recipe) -> dict[str, Any]:
    """Joins the other ranks, trains, and on the leading rank writes the package."""
    from equipoise.inference.hardware import use_bfloat16
    from equipoise.training.checkpoint import Checkpoints
    from equipoise.training.loop import Training
    from equipoise.training.ranks import joined
    from equipoise.training.tracking import Tracker

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with joined(recipe.device, recipe.threads) as ranks:
        tracker = Tracker(recipe.logs) if ranks.leads else None
        model = _untrained(recipe, ranks.device)
        start_heads(model.heads, recipe.start.statistics)
        start_counted(model.heads, load_file(recipe.start.counted))
        model.encoder.use_bfloat16 = ranks.agree(use_bfloat16(recipe.bfloat16, recipe.device))
        streams = _Streams(recipe, ranks.rank, ranks.world_size)
        trained = Training(
            model,
            train_batches=streams.epoch,
            validation_batches=streams.validation,
            steps_per_epoch=streams.steps_per_epoch(),
            options=recipe.options,
            ranks=ranks,
            tracker=tracker,
            checkpoints=Checkpoints(recipe.checkpoints, recipe.identity(ranks.world_size)),
        ).run()
        metrics = trained.metrics | recipe.start.figures
        metrics |= {"prior_dirichlet": recipe.start.prior.dirichlet, "prior_sharpening": recipe.start.prior.sharpening}
        if tracker is not None:
            progress = trained.progress
            tracker.say(f"training ended after {progress.seconds:.0f} s: {trained.ended}; best at step {progress.best_step}")
            for head in trained.reverted:
                tracker.say(f"the {head} head is published as it began: training made it worse on the validation examples")
            tracker.close()
            _write_package(recipe, model, trained, metrics)
        return metrics


def _untrained(recipe: Recipe, device: Any) -> Any:
    """The model of the recipe's route, before its heads know what counting says."""
    from equipoise.models import build, build_tower
    from equipoise.models.items import ItemTable

    sizes: dict[str, Any] = {
        "features": len(recipe.start.statistics.feature_mean),
        "population": recipe.population,
        "dirichlet": recipe.start.prior.dirichlet,
        "sharpening": recipe.start.prior.sharpening,
        "seed": recipe.options.seed,
    }
    if recipe.tower is None:
        lora: dict[str, Any] = {n: getattr(recipe, n) for n in ("lora_rank", "lora_alpha", "lora_dropout")}
        return build(recipe.encoder_path, **sizes, **lora)
    model = build_tower(recipe.encoder_path, recipe.tower, **sizes).to(device)
    model.look_up(ItemTable.load(recipe.items))
    return model


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
        return self._open(self._recipe.validation_files, VALIDATION_BATCH, 0, drop_last=False, skip_batches=0)

    def _open(self, files: list[str], batch_size: int, epoch: int, *, drop_last: bool, skip_batches: int) -> ExampleStream:
        from equipoise.stream import ExampleStream

        return ExampleStream(
            files,
            rank=self._place["rank"],
            world_size=self._place["world_size"],
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

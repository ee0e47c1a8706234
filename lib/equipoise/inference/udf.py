"""Runs a predictor over whole tables in Spark's Python workers; the only file of this room that knows Spark."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.errors import ContractError
from equipoise.inference.interface import EVENTS_IN, FEATURES_IN, Trends
from equipoise.inference.worker import Setup
from equipoise.models.items import ItemTable
from equipoise.models.package import MANIFEST, load_meta
from equipoise.models.signature import manifest_sha256
from equipoise.tables.packing import TREND_VALUES, item_keys

PREDICTION_DDL = (
    "vector ARRAY<FLOAT>, category_probabilities ARRAY<FLOAT>, visit_probabilities ARRAY<FLOAT>, "
    "p_o DOUBLE, p_interest DOUBLE, p_buy DOUBLE, expected_spend DOUBLE"
)
"""PREDICTION as feature.user_vectors stores it: probabilities of categories in single precision."""


def threads_per_worker(spark: SparkSession, workers: int) -> int:
    """Cores ÷ workers on one machine; on a cluster the cores that Spark gives each task (spark.task.cpus)."""
    if not str(spark.sparkContext.master).startswith("local"):
        return max(1, int(spark.conf.get("spark.task.cpus", "1") or 1))
    cores = min(spark.sparkContext.defaultParallelism, os.cpu_count() or 1)
    return max(1, cores // min(workers, cores))


def trends_at(trends: DataFrame, as_of: date, categories: Sequence[str]) -> Trends:
    """TREND_VALUES of feature.category_trends at `as_of`, in the order of a model's categories; 0 for one that nobody visited.

    Raises:
        ContractError: when nothing was counted at `as_of`, or the model is of another catalogue: it knows none of the categories.
    """
    now = (F.col("as_of") == F.lit(as_of)) & (F.col("cut") == F.lit(as_of))
    rows = trends.filter(now).select("category", *TREND_VALUES).collect()
    if not rows:
        raise ContractError(f"feature.category_trends has no rows at {as_of}; run build_features --as-of {as_of} first")
    found = {r["category"]: tuple(float(r[name]) for name in TREND_VALUES) for r in rows}
    if found.keys().isdisjoint(categories):
        raise ContractError(
            f"the model knows {len(categories)} categories, such as {min(categories)!r}, and none of the {len(found)} that were "
            f"visited before {as_of}, such as {min(found)!r}: it is of another catalogue; run finetune_encoder on this one"
        )
    return tuple(found.get(c, (0.0,) * len(TREND_VALUES)) for c in categories)


def score_users(users: DataFrame, setup: Setup, *, expected: int | None = None) -> DataFrame:
    """user_id and PREDICTION_DDL, one row per row of `users`.

    Args:
        users: user_id and the columns of FEATURES_IN, for a tower those of EVENTS_IN too; user_id is unique.
        expected: rows of `users`, where known, for the lines of progress.
    """
    share = expected // setup.workers if expected else None

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from equipoise.inference.progress import Progress
        from equipoise.inference.worker import predictions

        yield from predictions(batches, setup, "user_id", Progress("score users", share))

    setup = _pinned(setup)
    events = EVENTS_IN.names if load_meta(setup.model_path).route == "tower" else ()
    asked = users.select("user_id", *FEATURES_IN.names, *events)
    return _spread(asked, setup, "user_id").mapInArrow(run, f"user_id STRING, {PREDICTION_DDL}")


def encode_texts(
    frame: DataFrame, setup: Setup, *, text: str = "text", max_tokens: int | None = None, expected: int | None = None
) -> DataFrame:
    """The rows of `frame` with text_sha256 and vector (unit length); each distinct text goes through the model once.

    Args:
        frame: any rows with a column of texts; null counts as empty.
        max_tokens: tokens of a text that are read; None: what the model was trained for with item texts.
        expected: distinct texts, where known, for the lines of progress.
    """
    share, setup = expected // setup.workers if expected else None, setup if setup.pretrained else _pinned(setup)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from equipoise.inference.progress import Progress
        from equipoise.inference.worker import vectors

        yield from vectors(batches, setup, "text_sha256", text, max_tokens, Progress("encode texts", share))

    keyed = frame.withColumn("text_sha256", text_sha256(text))
    # All texts of a group are the same one (or null and empty): min takes it without asking for an order.
    distinct = keyed.groupBy("text_sha256").agg(F.min(F.coalesce(F.col(text), F.lit(""))).alias(text))
    encoded = _spread(distinct, setup, "text_sha256").mapInArrow(run, "text_sha256 STRING, vector ARRAY<FLOAT>")
    # Left, so that a vector that got lost shows as a null in a NOT NULL column and not as an item less.
    return keyed.join(encoded, "text_sha256", "left")


def item_table(vectors: DataFrame) -> ItemTable:
    """The table of rows with item_id, text_sha256 and vector, on the driver: d floats per distinct text and 16 bytes per item.

    Raises:
        ModelError: when two items share a key.
    """
    once = vectors.dropDuplicates(["text_sha256"]).select("text_sha256", "vector").orderBy("text_sha256").toArrow()
    items = vectors.select("item_id", "text_sha256").toArrow()
    rows = pc.index_in(items["text_sha256"], value_set=once["text_sha256"].combine_chunks())
    flat = pc.list_flatten(once["vector"]).to_numpy().astype(np.float32, copy=False)
    keys = item_keys(items["item_id"].combine_chunks())
    return ItemTable.of(keys, np.asarray(rows.to_numpy()), flat.reshape(max(1, len(once)), -1)[: len(once)])


@contextmanager
def with_items(setup: Setup, route: str, vectors: DataFrame, scratch: Path) -> Iterator[Setup]:
    """The setup with the vectors of all items where the route reads them, in a file under `scratch`, which must be on a disk that
    all workers mount; the file goes at the end, so frames made with the setup must have been computed by then."""
    if route != "tower":
        yield setup
        return
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / "items.safetensors"
        item_table(vectors).save(path)
        yield replace(setup, items=str(path))


def text_sha256(text: str) -> Column:
    """Hash under which texts are told apart; null counts as empty."""
    return F.sha2(F.coalesce(F.col(text), F.lit("")), 256)


def _pinned(setup: Setup) -> Setup:
    """The setup with the manifest as the driver sees it: workers refuse another."""
    return replace(setup, manifest=manifest_sha256(setup.model_path)) if (Path(setup.model_path) / MANIFEST).is_file() else setup


def _spread(frame: DataFrame, setup: Setup, key: str) -> DataFrame:
    """One partition per worker. Sorted, so that which rows share a batch does not hang on which shuffle block came first.

    By a hash of the key: rows that lie by the key itself, in as many partitions, Spark would not move, and would then join the
    small partitions to fewer than there are workers.
    """
    return frame.repartition(setup.workers, F.xxhash64(key)).sortWithinPartitions(key)

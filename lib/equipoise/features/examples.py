"""Training examples: features before a cut, labels from the window that starts at it, drawn by a seed, packed for streaming."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from equipoise.errors import EquipoiseError
from equipoise.features.labels import value_label
from equipoise.features.pack import DDL, Dense, packer
from equipoise.features.placement import salts
from equipoise.tables.feature import H_FEATURES
from equipoise.tables.packing import TREND_VALUES, cell_type, event_record

ROW_GROUP_BYTES = 100_000_000
"""A file must stay one row group: Parquet starts the next at 128 MiB (parquet.block.size), with room for headers."""

JEFFREYS = 0.5
"""Pseudo-count per category in population_share (Jeffreys 1946, prior of a multinomial): no share is 0."""

MOST_CELLS = 1000
"""Categories visited by one user, for an upper bound of an example's size."""

EVENT_LISTS = ("item_ids", "event_types", "age_days")

POSITIONS = "array<int>"
VALUES = "array<double>"


def draw(pairs: DataFrame, *, size: int, files: int, seed: int) -> DataFrame:
    """At most `size` of the pairs: user_id, cut, file INT (the file it goes to, from 0), place INT (in the file, from 0).

    The order is a hash of (seed, user, cut): the same pairs give the same draw however they are partitioned, and every file is a
    fair mixture of users and cuts. Files get equally many rows: the last rows of that order, fewer than `files`, are left out.
    """
    order = _order(seed)
    drawn = pairs.select("user_id", "cut").orderBy(*order).limit(size)
    everything = Window.partitionBy()  # one partition: these are two narrow columns of a sample
    numbered = drawn.select(
        "*", F.row_number().over(everything.orderBy(*order)).alias("n"), F.count("*").over(everything).alias("rows")
    )
    whole = numbered.filter(F.col("n") <= F.col("rows") - F.col("rows") % files)
    number = F.col("n") - 1
    places = (number % files).cast("int").alias("file"), F.floor(number / files).cast("int").alias("place")
    return whole.select("user_id", "cut", *places)


def vocabulary(labels: DataFrame, weights: DataFrame) -> DataFrame:
    """One row per category (feature.example_spec): position INT from 0 in order of category, category, population_share.

    `labels`: training label windows. `weights`: decayed weights at the last training cut. A category is in when it has an event
    in either. population_share = (its label events + 1/2) ÷ (all + 1/2 per category): the Jeffreys estimate, never 0, sums to 1.
    """
    events = labels.select(F.explode("label_counts").alias("category", "events"))
    known = weights.select("category", F.lit(0.0).alias("events")).distinct()
    counted = events.unionByName(known).groupBy("category").agg((F.sum("events") + JEFFREYS).alias("n"))
    by_name = Window.partitionBy().orderBy("category")
    return counted.select(
        (F.row_number().over(by_name) - 1).cast("int").alias("position"),
        "category",
        (F.col("n") / F.sum("n").over(Window.partitionBy())).alias("population_share"),
    )


def examples(
    drawn: DataFrame,
    *,
    profiles: DataFrame,
    texts: DataFrame,
    weights: DataFrame,
    labels: DataFrame,
    values: DataFrame,
    spec: DataFrame,
    ladder: Literal["events", "spend"],
    threshold: float,
) -> DataFrame:
    """One row per row of `drawn`, everything an example is packed from, sparse.

    `spec` is the frame of `vocabulary`; history and label events in other categories are left out. `labels` gives the categories,
    `values` the value: the same frame of `label_windows` unless their windows differ in length. A user without a row in it did
    nothing in the window: empty counts, value O, spend 0.
    """
    on = ["user_id", "cut"]
    label_events = labels.select(*on, F.explode("label_counts").alias("category", "weight"))
    explicit = F.array(*[F.col(name) for name, _ in H_FEATURES]).alias("feature_values")
    joined = (
        drawn.join(profiles.select(*on, explicit), on)
        .join(texts.select(*on, "behaviour_text", "cell_categories", "cells", *EVENT_LISTS), on)
        .join(_sparse(weights, drawn, spec, "prior_positions", "prior_weights"), on, "left")
        .join(_sparse(label_events, drawn, spec, "label_positions", "label_events"), on, "left")
        .join(values.select(*on, "n_buy", "n_interest", "label_spend"), on, "left")
    )
    return value_label(joined, ladder=ladder, threshold=threshold).withColumns(
        {
            "label_spend": F.coalesce("label_spend", F.lit(0.0)),
            **{c: F.coalesce(c, F.array().cast(POSITIONS)) for c in ("prior_positions", "label_positions")},
            **{c: F.coalesce(c, F.array().cast(VALUES)) for c in ("prior_weights", "label_events")},
        }
    )


def packed(rows: DataFrame, *, encoder_path: str, max_tokens: int, dense: Dense, files: int) -> DataFrame:
    """The rows of `examples` as feature.examples, in exactly `files` partitions, each sorted by place.

    Raises:
        ModelError: when the encoder's directory has no tokenizer (in the worker; ask `check_tokenizer` before).
    """
    salt = F.element_at(F.array(*[F.lit(s) for s in salts(files)]), F.col("file") + 1)
    sparse = ["behaviour_text", "prior_positions", "prior_weights", "feature_values", "label_positions", "label_events"]
    sparse += ["cell_categories", "cells", *EVENT_LISTS]
    kept = [F.col(name) for name in (*sparse, "label_value", "label_spend")]
    flat = rows.select("user_id", F.unix_date("cut").alias("cut_day"), *kept, salt.alias("salt"), "place")
    done: DataFrame = flat.mapInArrow(packer(encoder_path, max_tokens, dense), DDL)
    placed = done.repartition(files, "salt").sortWithinPartitions("place")
    return placed.withColumn("user_id", F.unhex("user_id")).drop("salt", "place")


def items_of(rows: DataFrame, items: DataFrame) -> DataFrame:
    """feature.example_items of the rows of `examples`; `items` is silver.items."""
    named = rows.select(F.explode("item_ids").alias("item_id")).distinct()
    return named.join(items.select("item_id", "text"), "item_id", "left").withColumn("text", F.coalesce("text", F.lit("")))


def names_of(spec: DataFrame) -> tuple[str, ...]:
    """Categories in the order of the frame of `vocabulary`, on the driver."""
    return tuple(r["category"] for r in spec.orderBy("position").collect())


def trends_by_day(trends: DataFrame, names: Sequence[str]) -> dict[int, bytes]:
    """Cut, as days since 1970-01-01 → TREND_VALUES of each category in the vocabulary's order, packed little-endian float32.

    `trends` is the frame of `visits.trends`. The same for every example of a cut, so that Parquet's dictionary stores it once.
    """
    place = {name: i for i, name in enumerate(names)}
    rows = trends.select(F.unix_date("cut").alias("day"), "category", *TREND_VALUES).collect()
    known = [r for r in rows if r["category"] in place]
    out = {int(r["day"]): np.zeros((len(place), len(TREND_VALUES)), dtype="<f4") for r in known}
    for row in known:
        out[row["day"]][place[row["category"]]] = [row[name] for name in TREND_VALUES]
    return {day: matrix.tobytes() for day, matrix in out.items()}


def check_size(rows: int, files: int, max_tokens: int, max_items: int, categories: int, what: str) -> None:
    """Raises EquipoiseError when there are fewer rows than files, or a file would not fit one row group."""
    if rows < files:
        raise EquipoiseError(
            f"{what}: {rows} examples for {files} files (training.processes × training.files_per_rank); "
            "lower training.files_per_rank, or take a later --as-of or more users"
        )
    plain = max_tokens + (2 + len(TREND_VALUES)) * categories + len(H_FEATURES)
    listed = cell_type().itemsize * min(categories, MOST_CELLS) + event_record().itemsize * max_items
    row_bytes = 4 * plain + listed + 50
    if rows // files * row_bytes > ROW_GROUP_BYTES:
        enough = -(-rows * row_bytes // ROW_GROUP_BYTES)
        raise EquipoiseError(
            f"{what}: {rows // files:,} rows of about {row_bytes:,} bytes in each of {files} files pass one row group; "
            f"raise training.files_per_rank so that there are at least {enough} files"
        )


def _order(seed: int) -> list[Column]:
    return [F.xxhash64("user_id", F.unix_date("cut"), F.lit(seed)), F.col("user_id"), F.col("cut")]


def _sparse(cells: DataFrame, drawn: DataFrame, spec: DataFrame, positions: str, values: str) -> DataFrame:
    """user × cut of `drawn` with its cells (user_id, cut, category, weight) as two arrays in the vocabulary's order."""
    wanted = cells.join(drawn.select("user_id", "cut"), ["user_id", "cut"], "left_semi")
    placed = wanted.join(F.broadcast(spec.select("position", "category")), "category")
    gathered = placed.groupBy("user_id", "cut").agg(F.sort_array(F.collect_list(F.struct("position", "weight"))).alias("cells"))
    return gathered.select(
        "user_id",
        "cut",
        F.transform("cells", lambda c: c["position"]).alias(positions),
        F.transform("cells", lambda c: c["weight"]).alias(values),
    )

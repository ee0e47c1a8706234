"""Packs examples for the stream: token ids and dense vectors as bytes. Runs in Arrow workers; knows no Spark."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from equipoise.errors import ModelError
from equipoise.tables.packing import CELL_VALUES, TREND_VALUES, cell_type, event_records, places, sizes

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.txt", "vocab.json")
"""A tokenizer needs one of these. The list of models.encoder, which a test compares: importing it would import torch."""

PACKED = pa.schema(
    [
        ("user_id", pa.string()),
        ("cut_day", pa.int32()),
        ("tokens", pa.binary()),
        ("length", pa.int32()),
        ("prior", pa.binary()),
        ("cells", pa.binary()),
        ("events", pa.binary()),
        ("trends", pa.binary()),
        ("features", pa.binary()),
        ("label_counts", pa.binary()),
        ("label_value", pa.int32()),
        ("label_spend", pa.float64()),
        ("salt", pa.int32()),
        ("place", pa.int32()),
    ]
)
"""Columns of feature.examples, user_id in hex still, and where the row goes: the salt of its file, and its place in it."""

DDL = (
    "user_id STRING, cut_day INT, tokens BINARY, length INT, prior BINARY, cells BINARY, events BINARY, trends BINARY, "
    "features BINARY, label_counts BINARY, label_value INT, label_spend DOUBLE, salt INT, place INT"
)

Packer = Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]


@dataclass(frozen=True)
class Dense:
    """What turns names into places: categories in the vocabulary's order, and per cut day their TREND_VALUES, packed."""

    categories: tuple[str, ...]
    trends: Mapping[int, bytes]

    @property
    def width(self) -> int:
        return len(self.categories)


def packer(encoder_path: str, max_tokens: int, dense: Dense) -> Packer:
    """A function for mapInArrow: one packed row per row with user_id, cut_day, behaviour_text, prior_positions, prior_weights,
    cell_categories, cells, item_ids, event_types, age_days, feature_values, label_positions, label_events, label_value,
    label_spend, salt, place.

    tokens: max_tokens little-endian int32, padded on the right. prior and label_counts: one little-endian float32 per category,
    trends: TREND_VALUES per category. cells: one `cell_type` per category of the vocabulary that the user visited. events: one
    `event_record` per entry of item_ids.
    """

    def pack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pack_batch(batch, load_tokenizer(encoder_path), max_tokens, dense)

    return pack


def pack_batch(batch: pa.RecordBatch, tokenizer: Any, max_tokens: int, dense: Dense) -> pa.RecordBatch:
    """The batch, packed; one row out per row in, in the same order."""
    ids, lengths = encode(tokenizer, batch.column("behaviour_text").to_pylist(), max_tokens)
    none = bytes(4 * len(TREND_VALUES) * dense.width)  # a cut before which nobody visited anything
    packed = {
        "tokens": as_bytes(ids),
        "length": pa.array(lengths),
        "prior": as_bytes(spread(batch.column("prior_positions"), batch.column("prior_weights"), dense.width)),
        "cells": cells_as_bytes(batch.column("cell_categories"), batch.column("cells"), dense.categories),
        "events": events_as_bytes(batch.column("item_ids"), batch.column("event_types"), batch.column("age_days")),
        "trends": pa.array([dense.trends.get(day, none) for day in batch.column("cut_day").to_pylist()], pa.binary()),
        "features": as_bytes(_matrix(batch.column("feature_values"))),
        "label_counts": as_bytes(spread(batch.column("label_positions"), batch.column("label_events"), dense.width)),
    }
    columns = [packed[f.name] if f.name in packed else batch.column(f.name).cast(f.type) for f in PACKED]
    return pa.RecordBatch.from_arrays(columns, schema=PACKED)


def encode(tokenizer: Any, texts: list[str], max_tokens: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Token ids (n, max_tokens), padded on the right with the pad id, and lengths (n,) before the padding."""
    rows = tokenizer(texts, truncation=True, max_length=max_tokens, padding=False)["input_ids"] if texts else []
    ids = np.full((len(texts), max_tokens), pad_id(tokenizer), dtype="<i4")
    lengths = np.array([len(r) for r in rows], dtype=np.int32)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
    return ids, lengths


def pad_id(tokenizer: Any) -> int:
    """Id that fills the rest of a row; decoders without a pad token take their end token, which the length hides."""
    found = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return int(found) if found is not None else 0


def spread(positions: pa.Array, values: pa.Array, width: int) -> NDArray[np.float32]:
    """Sparse rows (list<int>, list<double>) as a matrix (n, width) of little-endian float32, 0 where nothing is named."""
    lengths = np.diff(positions.offsets.to_numpy())
    out = np.zeros((len(positions), width), dtype="<f4")
    rows = np.repeat(np.arange(len(positions)), lengths)
    out[rows, positions.flatten().to_numpy()] = values.flatten().to_numpy()
    return out


def cells_as_bytes(names: pa.Array, values: pa.Array, categories: tuple[str, ...]) -> pa.Array:
    """Per row one `cell_type` per entry of names (list<string>) in `categories`; values has CELL_VALUES per entry, flat.

    Raises:
        ValueError: when the lists do not fit each other.
    """
    flat = values.flatten().to_numpy(zero_copy_only=False)
    if (sizes(values) != sizes(names) * len(CELL_VALUES)).any():
        raise ValueError(f"cells: expected {len(CELL_VALUES)} values per entry of cell_categories; build feature.sequences again")
    row, position = places(names, categories)
    known = position >= 0
    cells = np.zeros(int(known.sum()), dtype=cell_type())
    cells["position"], cells["values"] = position[known], flat.reshape(-1, len(CELL_VALUES))[known]
    kept = np.bincount(row[known], minlength=len(names))
    offsets = np.concatenate([[0], np.cumsum(kept)]) * cells.itemsize
    return _binary(offsets, cells)


def events_as_bytes(items: pa.Array, types: pa.Array, ages: pa.Array) -> pa.Array:
    """Per row one `event_record` per entry of items (list<string>), in the order given.

    Raises:
        ValueError: when the lists do not fit each other.
    """
    records, counts = event_records(items, types, ages)
    return _binary(np.concatenate([[0], np.cumsum(counts)]) * records.itemsize, records)


def as_bytes(matrix: NDArray[Any]) -> pa.Array:
    """Each row of a matrix (n, k) as one binary value, without a copy per row."""
    data = np.ascontiguousarray(matrix)
    step = data.shape[1] * data.itemsize
    return _binary(np.arange(len(data) + 1, dtype=np.int64) * step, data)


def _binary(offsets: NDArray[Any], data: NDArray[Any]) -> pa.Array:
    """Rows data[offsets[i]:offsets[i + 1]], offsets in bytes."""
    rows = len(offsets) - 1
    if offsets[-1] > np.iinfo(np.int32).max:
        raise ValueError(
            f"a batch of {rows} rows and {offsets[-1]} bytes passes 2 GiB; lower spark.sql.execution.arrow.maxRecordsPerBatch"
        )
    return pa.Array.from_buffers(pa.binary(), rows, [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)])


def _matrix(rows: pa.Array) -> NDArray[np.float32]:
    matrix: NDArray[np.float32] = rows.flatten().to_numpy().reshape(len(rows), -1 if len(rows) else 0).astype("<f4")
    return matrix


@lru_cache(maxsize=2)
def load_tokenizer(encoder_path: str) -> Any:
    """The tokenizer of a local Hugging Face directory, once per worker process: the one that the trained model gets.

    Raises:
        ModelError: when the directory has none, or it does not load.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the workers already take all cores
    from equipoise.models.encoder import load_tokenizer as load  # imports torch, which the driver does without

    return load(encoder_path)


def check_tokenizer(encoder_path: str) -> None:
    """Raises ModelError unless the directory holds a tokenizer; reads no file, so that a job can ask before it works."""
    folder = Path(encoder_path)
    if not folder.is_dir():
        raise ModelError(f"encoder.path {encoder_path}: no such folder; expected a local Hugging Face directory")
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        there = ", ".join(sorted(p.name for p in folder.iterdir())) or "nothing"
        raise ModelError(
            f"encoder.path {encoder_path}: no tokenizer; expected one of {', '.join(TOKENIZER_FILES)}, found {there}; "
            "save it there with tokenizer.save_pretrained(folder)"
        )


def tokenizer_sha256(encoder_path: str) -> str:
    """Hash of every file that decides the tokens: part of a run's identity."""
    check_tokenizer(encoder_path)
    digest = hashlib.sha256()
    for file in sorted(Path(encoder_path).iterdir()):
        named = any(mark in file.name for mark in ("token", "vocab", "merges", "spiece", "sentencepiece"))
        if named and file.is_file():
            digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()

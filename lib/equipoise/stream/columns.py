"""Packed example columns as Arrow reads them → numpy views → torch batches, with every width checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from equipoise.errors import StreamError
from equipoise.tables.packing import CELL_VALUES, TREND_VALUES, cell_type, event_record, padded_events

Batch = dict[str, torch.Tensor]

USER_BYTES = 16
LEARNER_COLUMNS = (
    "tokens",
    "length",
    "prior",
    "cells",
    "events",
    "trends",
    "features",
    "label_counts",
    "label_value",
    "label_spend",
)
IDENTITY_COLUMNS = ("user_id", "cut_day")
_SCALARS: dict[str, type[np.generic]] = {
    "length": np.int64,
    "label_value": np.int64,
    "label_spend": np.float64,
    "cut_day": np.int64,
}


_LISTED = {"cells": cell_type(), "events": event_record()}
"""Columns with another number of records in each row."""


@dataclass(frozen=True)
class Widths:
    """Values per row of the packed columns: tokens s, categories C, explicit features F."""

    tokens: int
    categories: int
    features: int

    def packed(self, column: str) -> tuple[np.dtype[np.generic], int] | None:
        """Element type and number of elements of a packed column; None for a plain one."""
        known: dict[str, tuple[np.dtype[np.generic], int]] = {
            "tokens": (np.dtype("<i4"), self.tokens),
            "prior": (np.dtype("<f4"), self.categories),
            "label_counts": (np.dtype("<f4"), self.categories),
            "trends": (np.dtype("<f4"), self.categories * len(TREND_VALUES)),
            "features": (np.dtype("<f4"), self.features),
            "user_id": (np.dtype("u1"), USER_BYTES),
        }
        return known.get(column)


class Ragged(NamedTuple):
    """Records of many rows after one another; those of row i are data[ends[i] - counts[i] : ends[i]]."""

    data: NDArray[Any]
    counts: NDArray[np.int64]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.counts)

    @classmethod
    def of(cls, data: NDArray[Any], counts: NDArray[np.int64]) -> Ragged:
        """Rows that follow one another."""
        return cls(data, counts, np.cumsum(counts))

    def taken(self, rows: NDArray[np.int64] | slice) -> Ragged:
        """Some of the rows; their records are not moved."""
        return Ragged(self.data, self.counts[rows], self.ends[rows])

    def flat(self) -> NDArray[Any]:
        """The records of these rows alone, after one another."""
        first = np.repeat(self.ends - self.counts, self.counts)
        within = np.arange(len(first)) - np.repeat(np.cumsum(self.counts) - self.counts, self.counts)
        found: NDArray[Any] = self.data[first + within]
        return found


Column = NDArray[np.generic] | Ragged
Arrays = dict[str, Column]


def unpack(raw: Mapping[str, pa.Array], widths: Widths) -> Arrays:
    """One row group as read → columns with one row per example; packed columns become (rows, width) without a copy.

    cells and events, a different number per row, become `Ragged`.

    Raises:
        StreamError: a null, another type, another length of bytes, or columns of unequal length.
    """
    arrays = {name: _unpack_one(name, values, widths) for name, values in raw.items()}
    lengths = {name: len(a) for name, a in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise StreamError(f"columns of one row group have unequal lengths {lengths}: rows would be lost; run again")
    return arrays


def taken(columns: Arrays, rows: NDArray[np.int64] | slice) -> Arrays:
    """Some of the rows of every column."""
    return {name: c.taken(rows) if isinstance(c, Ragged) else c[rows] for name, c in columns.items()}


def in_order(blocks: Sequence[Arrays], order: NDArray[np.int64]) -> Arrays:
    """The rows of all blocks, row k being that which stands at order[k] when they follow one another. Each value is copied
    once."""
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    ends = np.cumsum([len(next(iter(b.values()))) for b in blocks])
    parts = np.split(place, ends[:-1])
    return {name: _in_order([b[name] for b in blocks], order, parts) for name in blocks[0]}


def _in_order(columns: Sequence[Column], order: NDArray[np.int64], parts: Sequence[NDArray[np.int64]]) -> Column:
    ragged = [c for c in columns if isinstance(c, Ragged)]
    if ragged:
        whole = ragged[0] if len(ragged) == 1 else Ragged.of(*(np.concatenate(x) for x in zip(*_flats(ragged), strict=True)))
        return whole.taken(order)
    plain = [c for c in columns if not isinstance(c, Ragged)]
    out = np.empty((len(order), *plain[0].shape[1:]), dtype=plain[0].dtype)
    for values, place in zip(plain, parts, strict=True):
        out[place] = values
    return out


def _flats(columns: Sequence[Ragged]) -> list[tuple[NDArray[Any], NDArray[np.int64]]]:
    return [(c.flat(), c.counts) for c in columns]


def _unpack_one(name: str, values: pa.Array, widths: Widths) -> Column:
    packed = widths.packed(name)
    if name not in _LISTED and packed is None:
        expected = _SCALARS[name]
        fits = pa.types.is_integer(values.type) if expected is np.int64 else pa.types.is_floating(values.type)
        if values.null_count or not fits:
            raise StreamError(
                f"column {name} came as {values.type} with {values.null_count} nulls, expected {expected.__name__} without "
                "nulls; build the examples again"
            )
        plain: NDArray[np.generic] = values.to_numpy(zero_copy_only=False).astype(expected)
        return plain
    if not pa.types.is_binary(values.type) or values.null_count:
        raise StreamError(
            f"column {name} came as {values.type} with {values.null_count} nulls, expected bytes without nulls; "
            "build the examples again"
        )
    ends = np.frombuffer(values.buffers()[1], dtype=np.int32)[values.offset : values.offset + len(values) + 1]
    sizes, step = np.diff(ends), _LISTED[name].itemsize if name in _LISTED else 0
    data = values.buffers()[2]
    whole = np.frombuffer(data, dtype=np.uint8)[ends[0] : ends[-1]] if data is not None and len(ends) else np.zeros(0, np.uint8)
    if packed is None:
        wrong = sorted({int(s) for s in sizes[sizes % step != 0]})
        if wrong:
            raise StreamError(
                f"column {name} holds values of {wrong[:3]} bytes, expected whole records of {step}; "
                "the examples were packed by another version; build them again"
            )
        return Ragged.of(whole.view(_LISTED[name]), (sizes // step).astype(np.int64))
    dtype, width = packed
    wrong = sorted({int(s) for s in sizes[sizes != width * dtype.itemsize]})
    if wrong:
        raise StreamError(
            f"column {name} holds values of {wrong[:3]} bytes, expected {width * dtype.itemsize} "
            f"({width} × {dtype}); the examples were packed with other settings; build them again"
        )
    return whole.view(dtype).reshape(len(values), width)


def dense_cells(cells: Ragged, categories: int) -> NDArray[np.float32]:
    """(b, C, K) values of packed cells, 0 where a user never visited the category.

    Raises:
        StreamError: when a cell names a place outside the vocabulary.
    """
    found = cells.flat()
    row = np.repeat(np.arange(len(cells)), cells.counts)
    place = found["position"]
    if len(place) and not 0 <= int(place.min()) <= int(place.max()) < categories:
        raise StreamError(
            f"cells name places {int(place.min())} to {int(place.max())} of {categories} categories; build the examples again"
        )
    out = np.zeros((len(cells), categories, len(CELL_VALUES)), dtype=np.float32)
    out[row, place] = found["values"]
    return out


def to_batch(columns: Arrays, widths: Widths) -> Batch:
    """Rows as tensors: tokens (b, s) int64 cut to the longest text, mask (b, s) int64, cells (b, C, K) and trends (b, C, T)
    float32, items, types and ages as `padded_events` says, the others as their column says."""
    arrays = {name: c for name, c in columns.items() if not isinstance(c, Ragged)}
    ragged = {name: c for name, c in columns.items() if isinstance(c, Ragged)}
    plain = (name for name in arrays if name not in ("tokens", "length", "trends"))
    batch = {name: torch.from_numpy(np.array(arrays[name])) for name in plain}
    if "cells" in ragged:
        batch["cells"] = torch.from_numpy(dense_cells(ragged["cells"], widths.categories))
    if "events" in ragged:
        padded = padded_events(ragged["events"].flat(), ragged["events"].counts)
        batch |= {name: torch.from_numpy(values) for name, values in padded.items()}
    if "trends" in arrays:
        batch["trends"] = torch.from_numpy(np.array(arrays["trends"])).view(-1, widths.categories, len(TREND_VALUES))
    if "tokens" in arrays and "length" in arrays:
        length = arrays["length"].astype(np.int64)
        longest = max(1, int(length.max()))
        batch["tokens"] = torch.from_numpy(arrays["tokens"][:, :longest].astype(np.int64))
        batch["mask"] = torch.from_numpy((np.arange(longest) < length[:, None]).astype(np.int64))
    return batch

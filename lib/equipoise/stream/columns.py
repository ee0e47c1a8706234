"""Packed example columns → numpy arrays → torch batches, with every width checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise.errors import StreamError
from equipoise.tables.packing import CELL_VALUES, TREND_VALUES, cell_type, event_record, padded_events

Arrays = dict[str, NDArray[np.generic]]
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


def unpack(raw: Mapping[str, NDArray[np.generic]], widths: Widths) -> Arrays:
    """One row group as read → arrays with one row per example; packed columns become (rows, width).

    cells and events, a different number per row, stay bytes until `to_batch`. Binary columns must arrive as object arrays
    of bytes: numpy's own bytes type cuts trailing zero bytes, that is small numbers.

    Raises:
        StreamError: a null, another type, another length of bytes, or columns of unequal length.
    """
    arrays = {name: _unpack_one(name, values, widths) for name, values in raw.items()}
    lengths = {name: len(a) for name, a in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise StreamError(f"columns of one row group have unequal lengths {lengths}: rows would be lost; run again")
    return arrays


def _unpack_one(name: str, values: NDArray[np.generic], widths: Widths) -> NDArray[np.generic]:
    packed = widths.packed(name)
    if name in _LISTED:
        return _whole_records(name, values, _LISTED[name].itemsize)
    if packed is None:
        expected = _SCALARS[name]
        if not np.issubdtype(values.dtype, np.integer if expected is np.int64 else np.floating):
            raise StreamError(
                f"column {name} came as {values.dtype}, expected {expected.__name__} without nulls; build the examples again"
            )
        return values.astype(expected)
    dtype, width = packed
    if values.dtype != object:
        raise StreamError(f"column {name} came as {values.dtype}, expected bytes objects; trailing zero bytes would be lost")
    wrong = {len(v) if isinstance(v, bytes) else type(v).__name__ for v in values} - {width * dtype.itemsize}
    if wrong:
        raise StreamError(
            f"column {name} holds values of {sorted(map(str, wrong))[:3]} bytes, expected {width * dtype.itemsize} "
            f"({width} × {dtype}); the examples were packed with other settings; build them again"
        )
    return np.frombuffer(b"".join(values), dtype=dtype).reshape(len(values), width)


def _whole_records(name: str, values: NDArray[np.generic], step: int) -> NDArray[np.generic]:
    wrong = {len(v) if isinstance(v, bytes) else type(v).__name__ for v in values if not isinstance(v, bytes) or len(v) % step}
    if wrong:
        raise StreamError(
            f"column {name} holds values of {sorted(map(str, wrong))[:3]} bytes, expected whole records of {step}; "
            "the examples were packed by another version; build them again"
        )
    return values


def dense_cells(rows: Sequence[bytes], categories: int) -> NDArray[np.float32]:
    """(b, C, K) values of packed cells, 0 where a user never visited the category.

    Raises:
        StreamError: when a cell names a place outside the vocabulary.
    """
    found = np.frombuffer(b"".join(rows), dtype=cell_type())
    row = np.repeat(np.arange(len(rows)), [len(r) // cell_type().itemsize for r in rows])
    place = found["position"]
    if len(place) and not 0 <= int(place.min()) <= int(place.max()) < categories:
        raise StreamError(
            f"cells name places {int(place.min())} to {int(place.max())} of {categories} categories; build the examples again"
        )
    out = np.zeros((len(rows), categories, len(CELL_VALUES)), dtype=np.float32)
    out[row, place] = found["values"]
    return out


def to_batch(arrays: Arrays, widths: Widths) -> Batch:
    """Rows as tensors: tokens (b, s) int64 cut to the longest text, mask (b, s) int64, cells (b, C, K) and trends (b, C, T)
    float32, items, types and ages as `padded_events` says, the others as their column says."""
    plain = (name for name in arrays if name not in ("tokens", "length", "cells", "events", "trends"))
    batch = {name: torch.from_numpy(np.array(arrays[name])) for name in plain}
    if "cells" in arrays:
        batch["cells"] = torch.from_numpy(dense_cells(list(arrays["cells"]), widths.categories))
    if "events" in arrays:
        rows = list(arrays["events"])
        counts = np.array([len(r) // event_record().itemsize for r in rows], dtype=np.int64)
        padded = padded_events(np.frombuffer(b"".join(rows), dtype=event_record()), counts)
        batch |= {name: torch.from_numpy(values) for name, values in padded.items()}
    if "trends" in arrays:
        batch["trends"] = torch.from_numpy(np.array(arrays["trends"])).view(-1, widths.categories, len(TREND_VALUES))
    if "tokens" in arrays and "length" in arrays:
        length = arrays["length"].astype(np.int64)
        longest = max(1, int(length.max()))
        batch["tokens"] = torch.from_numpy(arrays["tokens"][:, :longest].astype(np.int64))
        batch["mask"] = torch.from_numpy((np.arange(longest) < length[:, None]).astype(np.int64))
    return batch

"""What an example says of a user × category, of a category at a cut and of an event: names, order, bytes. No Spark, no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from equipoise.tables.vocabulary import EVENT_TYPES

HALF_LIVES = (7, 14, 28, 56, 112, 224)
"""Half-lives in days of the decayed visits of a cell."""

LINES_HALF_LIFE = 112

CELL_VALUES = (*(f"visits_{h}d" for h in HALF_LIVES), "lines", "days", "recency_days", "first_days", "trips_since")
"""Values of a cell, a user × category with a visit before the cut, in this order. A visit is a day with an event of the knowing types.

visits_Nd: Σ over visits of 2^(-age / N). lines: Σ of events by category weight × 2^(-age / LINES_HALF_LIFE). days: visits.
recency_days, first_days: days from the last and the first visit to the cut. trips_since: the user's days with any visit after
the last one to this category.
"""

TREND_VALUES = ("visitors_share", "visitors_share_before", "entry_rate")
"""What a category is at a cut, in this order: the share of the known users who visited it in the last window, in the window before,
and who first did so in the last window, of those who had not before."""


def cell_type(values: int = len(CELL_VALUES)) -> np.dtype[Any]:
    """One packed cell: place of the category in the vocabulary, int32, and its values, float32, little-endian, without padding."""
    return np.dtype([("position", "<i4"), ("values", "<f4", (values,))])


def event_record() -> np.dtype[Any]:
    """One packed event of a sequence: `item_keys` of its item, its `type_codes`, and days before the cut; little-endian."""
    return np.dtype([("item", "<i8"), ("type", "<i4"), ("age", "<i4")])


def event_records(items: pa.ListArray, types: pa.ListArray, ages: pa.ListArray) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The events of all rows after one another as `event_record`, and the number of each row.

    Raises:
        ValueError: when the lists of a row differ in length.
    """
    counts = sizes(items)
    for name, other in (("event_types", types), ("age_days", ages)):
        unequal = np.flatnonzero(sizes(other) != counts)
        if len(unequal):
            row = int(unequal[0])
            raise ValueError(
                f"item_ids and {name} differ in length in {len(unequal)} rows, first row {row}: {counts[row]} and "
                f"{sizes(other)[row]}; expected one entry per event; build feature.sequences again"
            )
    out = np.zeros(int(counts.sum()), dtype=event_record())
    out["item"], out["type"] = item_keys(items.flatten()), type_codes(types.flatten())
    out["age"] = np.asarray(ages.flatten().fill_null(0).to_numpy(zero_copy_only=False))
    return out, counts


def padded_events(records: NDArray[Any], counts: NDArray[np.int64], most: int | None = None) -> dict[str, NDArray[Any]]:
    """items (b, e) int64, types (b, e) int64, ages (b, e) float32 of the events of b rows, oldest first, 0 behind the last one.

    `records` are those of all rows after one another, `counts` (b,) how many each has; of a row the latest `most`. e: the longest
    row's, at least 1.
    """
    rows = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(records)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = counts if most is None else np.minimum(counts, most)
    place = place - np.repeat(counts - kept, counts)
    latest = place >= 0
    out = np.zeros((len(counts), int(kept.max(initial=1))), dtype=event_record())
    out[rows[latest], place[latest]] = records[latest]
    types = {"items": np.int64, "types": np.int64, "ages": np.float32}
    return {name: out[field].astype(kind) for field, (name, kind) in zip(("item", "type", "age"), types.items(), strict=True)}


def item_keys(items: pa.Array) -> NDArray[np.int64]:
    """A number for each item id, the same everywhere: 64 bits of its BLAKE2b, never 0, which stands for no item."""
    return _coded(
        items, lambda item: int.from_bytes(hashlib.blake2b(item.encode(), digest_size=8).digest(), "little", signed=True) or 1
    )


def type_codes(types: pa.Array) -> NDArray[np.int64]:
    """Place of each event type in EVENT_TYPES, from 1; 0 for a word that is not there."""
    places = {name: i for i, name in enumerate(EVENT_TYPES, start=1)}
    return _coded(types, lambda name: places.get(name, 0))


def _coded(words: pa.Array, code: Callable[[str], int]) -> NDArray[np.int64]:
    """`code` of every word, asked once per distinct one; 0 for null."""
    listed = words.dictionary_encode()
    known = np.array([0 if word is None else code(word) for word in listed.dictionary.to_pylist()] + [0], dtype=np.int64)
    found: NDArray[np.int64] = known[np.asarray(listed.indices.fill_null(len(known) - 1).to_numpy(zero_copy_only=False))]
    return found


def sizes(lists: pa.ListArray) -> NDArray[np.int64]:
    """Entries of each row's list, a null list counting as empty."""
    return np.asarray(pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)


def places(names: pa.ListArray, categories: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and place in `categories` of every entry of all lists, in order; place -1 for a name that is not among them."""
    found = pc.index_in(names.flatten(), value_set=pa.array(list(categories), pa.string()))
    counts = sizes(names)
    place = np.asarray(found.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)
    return np.repeat(np.arange(len(counts)), counts), place

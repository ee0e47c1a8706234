"""What an example says of a user × category, and of a category at a cut: names, order and bytes. Knows no Spark and no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

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


def sizes(lists: pa.ListArray) -> NDArray[np.int64]:
    """Entries of each row's list, a null list counting as empty."""
    return np.asarray(pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)


def places(names: pa.ListArray, categories: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and place in `categories` of every entry of all lists, in order; place -1 for a name that is not among them."""
    found = pc.index_in(names.flatten(), value_set=pa.array(list(categories), pa.string()))
    counts = sizes(names)
    place = np.asarray(found.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)
    return np.repeat(np.arange(len(counts)), counts), place

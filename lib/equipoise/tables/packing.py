"""What an example says of a user × category, and of a category at a cut: names, order and bytes. Knows no Spark and no torch."""

from __future__ import annotations

from typing import Any

import numpy as np

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

"""How relevant an item is to a user before any balancing: its value on a scale on which λ means the same for every user."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DECIMALS = 12
"""Relevance is rounded here, so that items equal on paper are equal in floating point and tie-breakers decide."""


def scales(value: Floats, user: Ints, users: int) -> Floats:
    """(users,) highest value among each user's candidates; 1 where all are 0. A value that is not finite counts as 0."""
    highest = np.zeros(users)
    np.maximum.at(highest, user, finite(value))
    return np.where(highest > 0, highest, 1.0)


def relevance(value: Floats, user: Ints, scale: Floats) -> Floats:
    """Value ÷ the user's highest: in [0, 1] with 1 for the best candidate, so that λ means the same for every user."""
    return np.round(np.minimum(finite(value) / scale[user], 1.0), DECIMALS)


def finite(value: Floats) -> Floats:
    """The values, 0 where one is not finite: it says nothing of the item, and the list needs it to be whole."""
    return np.where(np.isfinite(value), value, 0.0)

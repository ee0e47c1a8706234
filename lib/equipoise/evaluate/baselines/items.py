"""Lists of items (or categories) by counting: popular ones, the user's own by frequency, the user's own with decay.

A basket is a user × day. Rows are distinct user × day × code before the origin; user and code are numbers from 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from equipoise.evaluate.arrays import DAY_SPAN, Floats, Ints, summed
from equipoise.evaluate.metrics.ranking import EMPTY

Count = Callable[[Ints, Ints, Ints, int], tuple[Ints, Floats]]
"""(user, code, day, width) → keys and weights: `frequency` or `decayed`."""

HALF_LIFE_BASKETS = 10.0
"""Half-life of the personal decay in the user's own baskets, tuned on a validation window of Complete Journey."""


def baskets_ago(user: Ints, day: Ints) -> Ints:
    """How many later baskets the user of each row has: 0 for rows of the latest one."""
    basket, at = np.unique(user * DAY_SPAN + day, return_inverse=True)
    last = np.searchsorted(basket // DAY_SPAN, user, side="right") - 1
    out: Ints = last - at
    return out


def frequency(user: Ints, code: Ints, day: Ints, width: int) -> tuple[Ints, Floats]:
    """Keys user · width + code, ascending, and the number of baskets that hold each (P-TopFreq)."""
    keys, counts = np.unique(user * width + code, return_counts=True)
    return keys, counts.astype(np.float64)


def decayed(user: Ints, code: Ints, day: Ints, width: int) -> tuple[Ints, Floats]:
    """Keys as in `frequency` and Σ over baskets 2^(−baskets ago ÷ half-life) (personal decay)."""
    keys, at = np.unique(user * width + code, return_inverse=True)
    weight = 0.5 ** (baskets_ago(user, day) / HALF_LIFE_BASKETS)
    return keys, summed(at, weight, len(keys))


def own_lists(keys: Ints, weight: Floats, popularity: Floats | None, users: int, width: int, k: int) -> Ints:
    """(users, k) codes by falling weight, EMPTY where the user has fewer; ties by popularity where given, then by code."""
    user, code = keys // width, keys % width
    second = np.zeros(len(code)) if popularity is None else -popularity[code]
    order = np.lexsort((code, second, -weight, user))
    place = np.arange(len(order)) - np.searchsorted(user, user[order], side="left")
    kept = place < k
    lists = np.full((users, k), EMPTY, dtype=np.int64)
    lists[user[order][kept], place[kept]] = code[order][kept]
    return lists


def popular_lists(popularity: Floats, users: int, k: int) -> Ints:
    """(users, k): the same k most popular codes for everybody (G-TopFreq); ties by code."""
    top = np.argsort(-popularity, kind="stable")[:k]
    top = np.concatenate([top[popularity[top] > 0], np.full(k, EMPTY)])[:k]
    return np.tile(top, (users, 1))

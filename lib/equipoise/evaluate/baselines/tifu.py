"""TIFU-KNN: the user's baskets, weighted by how long ago, mixed with those of the users who are most alike.

Hu et al., Modeling Personalized Item Frequency Information for Next-basket Recommendation, SIGIR 2020, eq. 1–4. One departure:
baskets are grouped from the latest backwards, so that the oldest group is the one that may be short.
"""

from __future__ import annotations

import numpy as np

from equipoise.evaluate.arrays import Floats, Ints, summed
from equipoise.evaluate.baselines.items import baskets_ago

GROUP, WITHIN, BETWEEN, OWN, NEIGHBOURS = 7, 0.9, 0.6, 0.7, 300
"""Baskets per group, decay within a group, decay between groups, weight of the user's own vector, neighbours; tuned on a
validation window of Complete Journey."""


def vectors(user: Ints, code: Ints, day: Ints, users: int, width: int) -> Floats:
    """(users, width): mean over groups of BETWEEN^(groups ago) · mean over the group's baskets of WITHIN^(baskets ago in it).

    Rows are distinct user × code × day before the origin.
    """
    ago = baskets_ago(user, day)
    baskets = np.zeros(users, dtype=np.int64)
    np.maximum.at(baskets, user, ago + 1)
    groups = -(-baskets[user] // GROUP)
    group = ago // GROUP
    size = np.where(group == groups - 1, baskets[user] - (groups - 1) * GROUP, GROUP)
    weight = WITHIN ** (ago % GROUP) / size * BETWEEN**group / groups
    return summed(user * width + code, weight, users * width).reshape(users, width)


def scores(own: Floats) -> Floats:
    """(users, width): OWN · own + (1 − OWN) · mean vector of the nearest NEIGHBOURS by Euclidean distance, ties by number.

    Users without baskets (rows of zeros) have no neighbours and are nobody's.
    """
    out = np.zeros_like(own)
    active = np.flatnonzero(own.any(axis=1))
    most = min(NEIGHBOURS, len(active) - 1)
    if most < 1:
        return own.copy()
    mine = own[active]
    square = (mine * mine).sum(1)
    distance = square[:, None] + square - 2.0 * (mine @ mine.T)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :most]
    mixed = np.zeros((len(active), len(active)))
    np.put_along_axis(mixed, nearest, 1.0 / most, axis=1)
    out[active] = OWN * mine + (1.0 - OWN) * (mixed @ mine)
    return out

"""Several rankings of the same rows as one, by their ranks alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from equipoise.evaluate.arrays import Floats, Ints

RANK_SHIFT = 60.0
"""k of reciprocal rank fusion: the higher, the less the first places count beside the others (Cormack et al. 2009 use 60)."""


def rank_fusion(group: Ints, scores: Sequence[Floats], shift: float = RANK_SHIFT) -> Floats:
    """(n,) Σ over scores of 1 ÷ (shift + rank in the group), rank 1 the best, ties their mean (Cormack, Clarke & Büttcher, SIGIR
    2009). Values are comparable inside a group only.

    Args:
        group: (n,) number of each row's group, a user's.
        scores: each (n,).
    """
    out = np.zeros(len(group))
    for score in scores:
        out += 1.0 / (shift + ranks(group, np.asarray(score, np.float64)))
    return out


def ranks(group: Ints, score: Floats) -> Floats:
    """(n,) rank of each row in its group, 1 the highest score, ties the mean of their places."""
    if not len(group):
        return np.zeros(0)
    order = np.lexsort((-score, group))
    sorted_group, sorted_score = group[order], score[order]
    new_group = np.r_[True, sorted_group[1:] != sorted_group[:-1]]
    new_tie = new_group | np.r_[True, sorted_score[1:] != sorted_score[:-1]]
    place = np.arange(len(order))
    in_group = place - np.maximum.accumulate(np.where(new_group, place, 0))
    starts = np.flatnonzero(new_tie)
    sizes = np.diff(np.r_[starts, len(order)])
    out = np.empty(len(order))
    out[order] = np.repeat(in_group[starts] + 1 + (sizes - 1) / 2, sizes)
    return out

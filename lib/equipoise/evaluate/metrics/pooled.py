"""How well a score orders all user × category pairs at once; pairs are counted per user and score bin, users are drawn again.

Edges are quantiles of the score over all pairs, fine where it is high: the first of B bins holds about B^-2.5 of the pairs, since
average precision is decided there. Inside a bin every order of its pairs counts alike.
"""

from __future__ import annotations

import numpy as np

from equipoise.evaluate.arrays import Bools, Floats
from equipoise.evaluate.metrics.scores import ratio

BINS = 400
STEEPNESS = 2.5


def binned(label: Bools, score: Floats, among: Bools) -> tuple[Floats, Floats]:
    """(users, BINS) positive and negative pairs of each user per bin, best bin first; `among` marks the pairs that count.

    All arguments are (users, categories). Equal scores share a bin.
    """
    users = len(label)
    if not bool(among.any()):
        return np.zeros((users, BINS)), np.zeros((users, BINS))
    shares = 1.0 - (np.arange(1, BINS) / BINS) ** STEEPNESS
    edges = np.quantile(score[among], shares)  # falling
    place = BINS - 1 - np.searchsorted(edges[::-1], score, side="right")  # a score on an edge is above it
    cell = np.arange(users)[:, None] * BINS + np.clip(place, 0, BINS - 1)
    counted = [np.bincount(cell[among & of], minlength=users * BINS).reshape(users, BINS) for of in (label, ~label)]
    return counted[0].astype(np.float64), counted[1].astype(np.float64)


def average_precision(weights: Floats, positive: Floats, negative: Floats) -> Floats:
    """(r,) Σ recall step × precision over the bins, the mean over the orders inside a bin; NaN: no positive pair.

    With P positives of T pairs above a bin of p positives and t pairs, precision runs as (P + x·p) ÷ (T + x·t) for x from 0 to 1.
    """
    p, n = weights @ positive, weights @ negative
    t = p + n
    above, total = np.cumsum(p, axis=1) - p, np.cumsum(t, axis=1) - t
    some = np.maximum(t, 1e-300)
    slope = p / some
    tail = np.where(total > 0, (above - slope * total) / some * np.log1p(some / np.maximum(total, 1e-300)), 0.0)
    mean = np.where(t > 0, slope + tail, 0.0)
    return ratio((p * mean).sum(1), p.sum(1))


def auc(weights: Floats, positive: Floats, negative: Floats) -> Floats:
    """(r,) chance that a positive pair stands above a negative one, inside a bin half; NaN: one class only."""
    p, n = weights @ positive, weights @ negative
    won = (n * (np.cumsum(p, axis=1) - p / 2.0)).sum(1)
    return ratio(won, p.sum(1) * n.sum(1))

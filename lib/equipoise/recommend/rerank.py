"""Greedy calibrated re-ranking (Steck, "Calibrated recommendations", RecSys 2018), for a block of users at once.

Letters: u users, n candidates per user (padded), g categories per candidate (padded), c categories, m list length.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise.recommend.divergence import Divergence, divergence_terms, empty_bits

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DECIMALS = 12
"""Gains are rounded here before they are compared, so that ties on paper fall by candidate order in any floating point."""


class Bound(NamedTuple):
    """At most `most` items of a group in a list. group: (u, n) numbers of the candidates' groups, −1 for none: not bounded."""

    group: Ints
    most: int

    def of(self, users: NDArray[Any]) -> Bound:
        """The rows of some users."""
        return Bound(self.group[users], self.most)


def rerank_user_block(
    relevance: Floats,
    categories: Ints,
    weights: Floats,
    target: Floats,
    *,
    length: int,
    calibration: float | Floats,
    alpha: float,
    bound: Bound | None = None,
    kind: Divergence = "kl",
) -> tuple[Ints, Floats]:
    """Chooses a list for each user; returns the chosen candidates (u, m) in order and their gains (u, m).

    Each step takes the candidate with the largest gain in

        (1 − λ) · Σ_{i in list} relevance_i − λ · KL(p ‖ q̃),   q̃ = (1 − α) q + α p,   KL in bits,

    where q is the mean over the list of the items' category weights (Steck 2018, equations 3, 6 and 7, with equal rank
    weights). The empty list has q = 0, so its divergence is log2(1/α). Equal gains fall to the earlier candidate.

    The divergence is kept per category and a step adds only what a candidate's own categories change.

    Args:
        relevance: (u, n), −inf in the padding; what is not finite is never chosen. Order candidates so that the first should
            win a tie.
        categories: (u, n, g) positions in 0..c−1, different within a candidate wherever the weight is not 0.
        weights: (u, n, g) the category's part of the item, 0 in the padding.
        target: (u, c) p, sums to 1 per user (or is all 0: then only relevance counts).
        length: m; every user needs at least as many candidates. Where `bound` leaves fewer, the list ends with gains of −inf.
        calibration: λ in [0, 1], one for all users or (u,).
        alpha: α in (0, 1).
        bound: what may be chosen at most; a candidate of a full group is passed over.
        kind: js: Jensen-Shannon divergence in place of KL; see `divergence.divergence_bits`.
    """
    users = np.arange(len(relevance))
    weight = each(calibration, len(users))[:, None]
    open_ = np.where(np.isfinite(relevance), (1.0 - weight) * np.where(np.isfinite(relevance), relevance, 0.0), -np.inf)
    mass = np.zeros_like(target)  # (u, c) Σ over the list of category weights
    at = users[:, None, None]
    target_of = target[at, categories]  # (u, n, g)
    divergence = empty_bits(target, alpha, kind)
    chosen = np.empty((len(users), length), dtype=np.int64)
    gains = np.empty((len(users), length))
    held = None if bound is None else np.zeros(bound.group.shape, dtype=np.int64)  # how many of the candidate's group are in
    for step in range(length):
        size = step + 1
        terms = divergence_terms(target, mass / size, alpha, kind)  # (u, c) if the next item had no category
        before = terms[at, categories]
        after = divergence_terms(target_of, (mass[at, categories] + weights) / size, alpha, kind)
        changed = terms.sum(axis=1)[:, None] + np.where(weights > 0, after - before, 0.0).sum(axis=2)  # (u, n)
        gain = open_ - weight * (changed - divergence[:, None])
        best = np.argmax(np.round(gain, DECIMALS), axis=1)
        chosen[:, step], gains[:, step] = best, gain[users, best]
        np.add.at(mass, (users[:, None], categories[users, best]), weights[users, best])
        divergence = changed[users, best]
        open_[users, best] = -np.inf
        if bound is not None and held is not None:
            held += (bound.group == bound.group[users, best][:, None]) & (bound.group >= 0)
            open_[held >= bound.most] = -np.inf
    return chosen, gains


def each(calibration: float | Floats, users: int) -> Floats:
    """(u,) λ of each user."""
    return np.broadcast_to(np.asarray(calibration, dtype=np.float64), (users,))

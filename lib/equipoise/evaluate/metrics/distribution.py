"""Distance of a predicted distribution q (n, c) from a true one p (n, c): one value per row. Rows sum to 1.

KL and log loss are proper scores and lead; JS on sparse counts rewards a prediction that is too sharp (docs/evaluation.md).
"""

from __future__ import annotations

import numpy as np

from equipoise.evaluate.arrays import Floats

EPSILON = 1e-4
"""Share of the uniform distribution that every prediction is mixed with before KL and log loss, for all methods alike.

Without it a category that a method rules out costs infinitely much. On Complete Journey it moves the KL of EMA + Dirichlet
from 2.423 to 2.420 bits.
"""


def smoothed(q: Floats) -> Floats:
    """(1 − ε) q + ε · uniform."""
    return (1.0 - EPSILON) * q + EPSILON / q.shape[1]


def js_bits(p: Floats, q: Floats) -> Floats:
    """Jensen–Shannon divergence in bits, 0..1 (Lin 1991); not its root."""
    middle = (p + q) / 2.0
    return (_relative_bits(p, middle) + _relative_bits(q, middle)) / 2.0


def kl_bits(p: Floats, q: Floats) -> Floats:
    """Kullback–Leibler divergence of p from q in bits; infinite where q rules out what happens."""
    return _relative_bits(p, q)


def log_loss(p: Floats, q: Floats) -> Floats:
    """Cross-entropy −Σ p ln q in nats: the mean surprise per event."""
    with np.errstate(divide="ignore", invalid="ignore"):
        out: Floats = -np.where(p > 0, p * np.log(q), 0.0).sum(1)
        return out


def total_variation(p: Floats, q: Floats) -> Floats:
    """Half the sum of absolute differences, 0..1."""
    out: Floats = np.abs(p - q).sum(1) / 2.0
    return out


def graded_ndcg(p: Floats, q: Floats, k: int) -> Floats:
    """NDCG@k of the categories ordered by q with the true share as gain; ties in q fall by category order."""
    top = np.argsort(-q, axis=1, kind="stable")[:, :k]
    discounts = 1.0 / np.log2(np.arange(top.shape[1]) + 2.0)
    best = -np.sort(-p, axis=1)[:, :k]
    out: Floats = (np.take_along_axis(p, top, axis=1) @ discounts) / (best @ discounts)
    return out


def _relative_bits(p: Floats, q: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        out: Floats = np.where(p > 0, p * np.log2(p / q), 0.0).sum(1)
        return out

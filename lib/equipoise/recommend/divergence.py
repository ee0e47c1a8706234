"""How far the shares of a list are from the target: Kullback-Leibler (Steck 2018) or Jensen-Shannon, in bits."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Divergence = Literal["kl", "js"]


def divergence_bits(target: Floats, shares: Floats, alpha: float, kind: Divergence = "kl") -> Floats:
    """The divergence in bits along the last axis; 0 · log 0 = 0.

    kl: KL(p ‖ (1 − α) q + α p) (Steck, RecSys 2018, equations 6 and 7).
    js: ½ KL(p ‖ m) + ½ KL(q ‖ m), m = ½ (p + q) (Lin, IEEE Trans. Inf. Theory 37, 1991, equation 4.1 with equal weights); it
        is at most 1 bit without smoothing, so α plays no part, and it also counts shares in categories nobody wants.
    """
    return np.asarray(divergence_terms(target, shares, alpha, kind).sum(axis=-1))


def divergence_terms(target: Floats, shares: Floats, alpha: float, kind: Divergence = "kl") -> Floats:
    """What each category adds to `divergence_bits`: a convex function of its share, whichever the kind."""
    if kind == "js":
        middle = 0.5 * (target + shares)
        return 0.5 * (_weighed_log(target, middle) + _weighed_log(shares, middle))
    return _weighed_log(target, (1.0 - alpha) * shares + alpha * target)


def empty_bits(target: Floats, alpha: float, kind: Divergence = "kl") -> Floats:
    """The divergence of a list without items, all of whose shares are 0: log2(1/α) or ½ bit, times Σ p."""
    return np.asarray(target.sum(axis=-1) * (0.5 if kind == "js" else np.log2(1.0 / alpha)))


def _weighed_log(of: Floats, against: Floats) -> Floats:
    """of · log2(of ÷ against), 0 where `of` is 0."""
    there = of > 0
    ratio = np.divide(of, against, out=np.ones_like(against), where=there)
    return np.where(there, of * np.log2(ratio), 0.0)

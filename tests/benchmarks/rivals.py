"""Other ways to balance a list, from their papers, for comparison: each gives the chosen places (u, m)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def xquad(relevance: Floats, items: Floats, target: Floats, *, length: int, calibration: float) -> Ints:
    """(1 − λ) relevance + λ Σ_c p(c) w(c) Π_{j in list} (1 − w_j(c)) (Santos, Macdonald & Ounis, WWW 2010).

    Args:
        relevance: (u, n). items: (u, n, c) category weights. target: (u, c).
    """
    users = np.arange(len(relevance))
    open_, chosen, left = relevance.copy(), np.empty((len(relevance), length), np.int64), np.ones_like(target)
    for step in range(length):
        gain = (1 - calibration) * open_ + calibration * np.einsum("uc,unc->un", target * left, items)
        chosen[:, step] = np.argmax(gain, axis=1)
        left *= 1 - items[users, chosen[:, step]]
        open_[users, chosen[:, step]] = -np.inf
    return chosen


def mmr(relevance: Floats, items: Floats, *, length: int, calibration: float) -> Ints:
    """(1 − λ) relevance − λ · the highest cosine, by categories, with what is chosen (Carbonell & Goldstein, SIGIR 1998)."""
    users = np.arange(len(relevance))
    unit = items / np.linalg.norm(items, axis=2, keepdims=True)
    open_, chosen, nearest = relevance.copy(), np.empty((len(relevance), length), np.int64), np.zeros(relevance.shape)
    for step in range(length):
        chosen[:, step] = np.argmax((1 - calibration) * open_ - calibration * nearest, axis=1)
        taken = unit[users, chosen[:, step]]
        nearest = np.maximum(nearest, np.einsum("uc,unc->un", taken, unit))
        open_[users, chosen[:, step]] = -np.inf
    return chosen

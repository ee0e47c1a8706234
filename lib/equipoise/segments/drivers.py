"""Why a user's chance to buy is above or below that of the middle user: exact Shapley values over groups of signals."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import factorial

import numpy as np

from equipoise.segments.history import Floats
from equipoise.segments.signals import GROUPS, SIGNALS

ROWS = 1 << 18
"""Rows scored together: 90 MB of signals."""


def drivers(score: Callable[[Floats], Floats], x: Floats, reference: Floats) -> Floats:
    """(n, G) what each of GROUPS adds to score(x) over score(reference), in the unit of the score; rows sum to their
    difference.

    Baseline Shapley values (Sundararajan & Najmi 2020): the value of a set of groups is the score of the user with all other
    groups taken from the reference; a group's is its mean increment over all orders. Exact, with 2^G scorings of a user, for
    any model.

    Args:
        score: (n, S) → (n,).
        x: SIGNALS (n, S).
        reference: (S,), such as the median user.
    """
    names = list(GROUPS)
    group = np.array([next(g for g, of in enumerate(GROUPS.values()) if s in of) for s in SIGNALS])
    number, out = len(names), np.zeros((len(x), len(names)))
    at_once = max(1, ROWS >> number)
    for start in range(0, len(x), at_once):
        part = x[start : start + at_once]
        values = np.empty((1 << number, len(part)))
        masks = np.array([[(m >> g) & 1 for g in group] for m in range(1 << number)], dtype=bool)
        mixed = np.where(masks[:, None, :], part[None, :, :], reference[None, None, :])  # set of groups × user × signal
        values[:] = score(mixed.reshape(-1, x.shape[1])).reshape(values.shape)
        out[start : start + at_once] = _shapley(values, number).T
    return out


def _shapley(values: Floats, number: int) -> Floats:
    """(G, n) from the values of all sets (2^G, n)."""
    out = np.zeros((number, values.shape[1]))
    for g in range(number):
        others = [h for h in range(number) if h != g]
        for size in range(number):
            weight = factorial(size) * factorial(number - 1 - size) / factorial(number)
            for chosen in combinations(others, size):
                mask = sum(1 << h for h in chosen)
                out[g] += weight * (values[mask | 1 << g] - values[mask])
    return out

"""How far interest moved between two windows, and how far it would seem to have moved had it not moved at all. Pure numpy.

Legend: n days, c categories, b permutations. Drift and bands are in bits, 0 to 1.
"""

from __future__ import annotations

import hashlib
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

BAND = 0.95
"""Quantile of the noise that `p95` is."""

TIE_BITS = 1e-9
"""Drift counts as above the band from here on: the split that was seen is often among the random ones, up to rounding."""


class Noise(NamedTuple):
    """Drift between random halves of the same days: its mean and its 95th percentile."""

    mean: float
    p95: float


def js_bits(a: Floats, b: Floats) -> Floats:
    """Jensen-Shannon divergence between the distributions along the last axis, which need not sum to 1 but to more than 0.

    H(m) - (H(p) + H(q)) / 2 with m = (p + q) / 2 (Lin, Divergence measures based on the Shannon entropy, 1991, eq. 3.2 with
    equal weights), logarithms to base 2: 0 for equal distributions, 1 for distributions without a common category.
    """
    p, q = (x / x.sum(axis=-1, keepdims=True) for x in (a, b))
    found = 0.5 * (_plogp(p) + _plogp(q)) - _plogp(0.5 * (p + q))
    return np.asarray(np.clip(found.sum(axis=-1), 0.0, 1.0), dtype=np.float64)


def _plogp(p: Floats) -> Floats:
    """p · log2 p, 0 at p = 0."""
    return np.asarray(special.entr(p) / -np.log(2.0), dtype=np.float64)


def permutation_noise(days: Floats, first: int, permutations: int, rng: np.random.Generator) -> Noise:
    """Drift when the days are split at random into `first` and the rest, as if no shift lay between them.

    A permutation test under exchangeable visit days: whole days change sides, with everything bought together, so the band is
    as wide as real baskets make it. The percentile is the ceil(0.95 · (b + 1))-th smallest of b drifts; without a shift the
    seen drift exceeds it with probability at most 5 %, ties included (Phipson & Smyth, Permutation p-values should never be
    zero, 2010).

    Args:
        days: (n, c) weight per day and category; every day has some.
        first: days in the first of the two windows, 1 to n - 1.
    """
    whole = days.sum(axis=0)
    left = rng.random((permutations, len(days))).argsort(axis=1) < first  # (b, n), `first` true per row
    one = left.astype(np.float64) @ days  # (b, c)
    drifts = np.sort(js_bits(one, np.maximum(whole - one, 0.0)))
    return Noise(float(drifts.mean()), float(drifts[_place(permutations)]))


def change_point(days: Floats, cuts: NDArray[np.int64], permutations: int, rng: np.random.Generator) -> int | None:
    """Which of the cuts parts the days into before and after most clearly, as a place in `cuts`; None within chance.

    Each cut's drift is put on one scale by its mean and standard deviation over random orders of the days; the largest of them
    is held against the largest that each random order shows, which pays for the choice among cuts (Westfall & Young,
    Resampling-based multiple testing, 1993). Without a change a cut is named for at most 5 % of users.

    Args:
        days: (n, c) weight per day and category, oldest first.
        cuts: (k,) days before each cut, 1 to n - 1, rising.
    """
    ranks = rng.random((permutations, len(days))).argsort(axis=1)
    orders = np.concatenate([np.arange(len(days))[None, :], ranks])  # (b + 1, n), the true one first
    before = (orders[:, None, :] < cuts[None, :, None]).astype(np.float64) @ days  # (b + 1, k, c)
    drifts = js_bits(before, np.maximum(days.sum(axis=0) - before, 0.0))
    spread = drifts.std(axis=0)
    scaled = np.where(spread > TIE_BITS, (drifts - drifts.mean(axis=0)) / np.maximum(spread, TIE_BITS), 0.0)  # (b + 1, k)
    largest = scaled.max(axis=1)
    band = np.sort(largest[1:])[_place(permutations)]
    return int(scaled[0].argmax()) if largest[0] > band + TIE_BITS else None


def _place(permutations: int) -> int:
    """Place of the percentile among so many sorted values, from 0."""
    return ceil(BAND * (permutations + 1)) - 1


def generator(seed: int, user: str, window: int) -> np.random.Generator:
    """Random numbers of one user and window: the same wherever and beside whomever they are drawn.

    Window 0, which has no earlier one to be compared with, stands for the whole history.
    """
    digest = hashlib.blake2b(user.encode(), digest_size=16).digest()
    return np.random.default_rng([seed, window, int.from_bytes(digest, "little")])

"""Measures over rows of users, and their bootstrap: whole users are drawn again, the same draws for every method.

Draws are counts per user, so every statistic is computed with weights and for many resamples at once (Efron 1979, percentile
intervals). A user with several windows is drawn with all of them. Equal draws make differences between methods paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.evaluate.arrays import Bools, Floats, Ints
from equipoise.evaluate.metrics.scores import mean

Statistic = Callable[..., Floats]

CHUNK_CELLS = 4_000_000
"""Resamples × users held at once: 32 MB of weights."""

LEVELS = (0.025, 0.975)


@dataclass(frozen=True)
class Measure:
    """One number about rows of users: `statistic(weights (r, n), *arrays)`, each array with one entry per row."""

    metric: str
    cutoff: int
    statistic: Statistic
    arrays: tuple[NDArray[Any], ...]
    interval: bool = True

    def value(self) -> float:
        """The number itself; NaN where it is not defined."""
        return float(self.statistic(np.ones((1, len(self.arrays[0]))), *self.arrays)[0])

    def take(self, rows: NDArray[Any]) -> Measure:
        """The same measure over some of the rows."""
        return Measure(self.metric, self.cutoff, self.statistic, tuple(a[rows] for a in self.arrays), self.interval)

    def known(self) -> Bools:
        """Rows that count: no array is NaN there."""
        holes = [np.isnan(a).reshape(len(a), -1).any(1) for a in self.arrays if a.dtype.kind == "f"]
        return ~np.any(holes, axis=0) if holes else np.ones(len(self.arrays[0]), dtype=bool)


def per_user(metric: str, values: Floats, cutoff: int = 0) -> Measure:
    """The mean over users of a value per user; NaN: not defined for this user."""
    return Measure(metric, cutoff, mean, (np.asarray(values, dtype=np.float64),))


def averaged(measures: Sequence[Measure]) -> Measure:
    """The mean of one measure over training seeds."""
    first, width = measures[0], len(measures[0].arrays)

    def statistic(weights: Floats, *arrays: NDArray[Any]) -> Floats:
        parts = [first.statistic(weights, *arrays[i : i + width]) for i in range(0, len(arrays), width)]
        return np.asarray(np.mean(parts, axis=0))

    return Measure(first.metric, first.cutoff, statistic, tuple(a for m in measures for a in m.arrays), first.interval)


def draws(units: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Chunks (r, units) of how often each unit was drawn, with replacement, `units` times; the chunks hold `resamples` rows."""
    if resamples * units <= CHUNK_CELLS:
        yield _drawn(units, resamples, seed)
        return
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK_CELLS // max(units, 1))
    for start in range(0, resamples, step):
        yield _counts(rng, units, min(step, resamples - start))


@lru_cache(maxsize=1)
def _drawn(units: int, resamples: int, seed: int) -> Floats:
    """All draws at once; kept, since every comparison of an evaluation asks for the same."""
    found = _counts(np.random.default_rng(seed), units, resamples)
    found.flags.writeable = False
    return found


def _counts(rng: np.random.Generator, units: int, size: int) -> Floats:
    picked = rng.integers(0, units, size=(size, units)) + np.arange(size)[:, None] * units
    return np.bincount(picked.ravel(), minlength=size * units).reshape(size, units).astype(np.float64)


def resampled(measures: Sequence[Measure], unit: Ints, resamples: int, seed: int, units: int | None = None) -> Floats:
    """(resamples, measures): every measure on every resample of the units.

    Args:
        unit: unit (user) of each row, 0..units-1.
        units: how many are drawn from; None: those that have a row. A number beyond them makes the draws the same for
            comparisons on different users, so that their resamples go together.
    """
    units = int(unit.max(initial=-1)) + 1 if units is None else units
    means = [i for i, m in enumerate(measures) if m.statistic is mean]
    values = np.stack([measures[i].arrays[0] for i in means], axis=1) if means else np.empty((len(unit), 0))
    known = ~np.isnan(values)
    filled, counted = np.where(known, values, 0.0), known.astype(np.float64)
    plain = bool(np.array_equal(unit, np.arange(units)))
    blocks = []
    for counts in draws(units, resamples, seed):
        weights = counts if plain else counts[:, unit]
        block = np.empty((len(weights), len(measures)))
        below = weights @ counted
        block[:, means] = (weights @ filled) / np.where(below > 0, below, np.nan)
        for i, measure in enumerate(measures):
            if measure.statistic is not mean:
                block[:, i] = measure.statistic(weights, *measure.arrays) if measure.interval else np.nan
        blocks.append(block)
    return np.concatenate(blocks)


def interval(values: Floats) -> tuple[float, float] | None:
    """95 % percentile interval of resampled values; None when no resample gave a number."""
    good = values[~np.isnan(values)]
    if not len(good):
        return None
    low, high = np.quantile(good, LEVELS)
    return float(low), float(high)

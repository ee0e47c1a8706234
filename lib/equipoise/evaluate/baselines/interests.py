"""Distributions over categories for the next window, by counting: last window, all history, decay, popularity, mixtures.

counts: sparse rows (user, window, category, events); windows are numbered from 0, `origin` is the number of the window to
predict, and only windows before it are read. Every function gives (users, categories); rows may be all 0 where nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from equipoise.evaluate.arrays import Floats, Ints, shares, summed
from equipoise.evaluate.metrics import distribution

HALF_LIFE_WINDOWS = 4.0
DIRICHLET = 5.0
"""Half-life and pseudo-weight of EMA + Dirichlet, tuned on windows 8–10 of Complete Journey (project measurement)."""

STRENGTHS = (5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 150.0, 200.0)
"""Pseudo-weights that the tuned EMA + Dirichlet chooses from on the last closed window."""

MIXTURES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
"""Shares of popularity that EMA + popularity chooses from on the last closed window."""


@dataclass(frozen=True)
class Counts:
    """Events per user × window × category, sparse, with the sizes of the dense answer."""

    user: Ints
    window: Ints
    category: Ints
    events: Floats
    users: int
    categories: int

    def total(self, weight: Floats) -> Floats:
        """(users, categories): Σ events · weight, with a weight per sparse row."""
        cell = self.user * self.categories + self.category
        return summed(cell, self.events * weight, self.users * self.categories).reshape(self.users, self.categories)

    def of_window(self, window: int) -> Floats:
        """(users, categories) events of one window."""
        return self.total((self.window == window).astype(np.float64))

    def before(self, window: int) -> Floats:
        """(users,) events before a window."""
        return summed(self.user, self.events * (self.window < window), self.users)


def all_history(counts: Counts, origin: int) -> Floats:
    """Shares of all events before the origin."""
    return shares(counts.total((counts.window < origin).astype(np.float64)))


def last_window(counts: Counts, origin: int, min_events: float = 1.0) -> Floats:
    """Shares of the user's latest window before the origin with at least `min_events` events."""
    last: Floats = np.zeros((counts.users, counts.categories))
    for window in range(origin):
        events = counts.of_window(window)
        full = events.sum(1) >= min_events
        last[full] = events[full]
    return shares(last)


def ema(counts: Counts, origin: int) -> Floats:
    """Σ events · 2^(−windows before the last closed one ÷ half-life): decayed counts, not shares."""
    age = origin - 1 - counts.window
    return counts.total(np.where(age >= 0, 0.5 ** (np.maximum(age, 0) / HALF_LIFE_WINDOWS), 0.0))


def population(counts: Counts, origin: int) -> Floats:
    """(categories,): shares of all users' events in the last closed window, one event added to each category."""
    events = counts.of_window(origin - 1).sum(0) + 1.0
    out: Floats = events / events.sum()
    return out


def with_dirichlet(weights: Floats, base: Floats, strength: float = DIRICHLET) -> Floats:
    """Posterior mean of the shares: (weights + strength · base) ÷ sum."""
    return shares(weights + strength * base)


def best(
    counts: Counts, origin: int, least: float, options: Sequence[float], answer: Callable[[Floats, Floats, float], Floats]
) -> float:
    """The option that would have given the lowest KL in the last closed window, read as labels of the time before it, on users
    with `least` events there; the first where nothing tells.

    Args:
        answer: (own EMA, population, option) → shares.
    """
    events = counts.of_window(origin - 1)
    tested = np.flatnonzero(events.sum(1) >= least)
    if not len(tested) or origin < 2:
        return options[0]
    truth, own, base = shares(events[tested]), ema(counts, origin - 1)[tested], population(counts, origin - 1)
    lost = [distribution.kl_bits(truth, distribution.smoothed(answer(own, base, option))).mean() for option in options]
    return options[int(np.argmin(lost))]


def with_popularity(own: Floats, base: Floats, mixture: float) -> Floats:
    """(1 − m) · own share + m · popularity; popularity alone where nothing is known of the user."""
    known = own.sum(axis=1, keepdims=True) > 0
    out: Floats = np.where(known, (1.0 - mixture) * shares(own) + mixture * base, base)
    return out

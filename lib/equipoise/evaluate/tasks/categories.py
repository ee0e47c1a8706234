"""Task categories: which categories does each user visit in the next window, and which of them anew?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial

import numpy as np

from equipoise.evaluate.arrays import Bools, Floats, Ints
from equipoise.evaluate.baselines import pairs
from equipoise.evaluate.bootstrap import Measure
from equipoise.evaluate.metrics import pooled
from equipoise.evaluate.table import Comparison, Method
from equipoise.evaluate.tasks.interests import ENTRY_DAYS

BASELINE = "ema_popularity"
TRAINING_CUTS = 3
MIXTURES = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Weights of popularity that EMA + popularity and days + popularity choose from, on the last training cut."""
LOG_MIXTURES = (0.2, 0.3, 0.5, 0.7, 1.0)
"""The same for the logarithm of popularity."""


def cuts(origin: int, days: int, first_day: int) -> list[int]:
    """The latest TRAINING_CUTS cuts, `days` apart, whose windows end at or before the origin and that have `days` of history."""
    every = (origin - days * n for n in range(1, TRAINING_CUTS + 1))
    return [cut for cut in every if cut - days >= first_day]


def counting(at: Mapping[str, Floats], before: Mapping[str, Floats], seen: Bools) -> dict[str, Floats]:
    """(users, categories) scores of the baselines that only count; tuned on `seen`, the visits after the features `before`."""
    tuned = max(MIXTURES, key=lambda m: _ap(_mixed(m, before), seen))
    new = before["recency"] > ENTRY_DAYS
    ever = max(_EVER, key=lambda form: _ap(form(before), seen, new))
    return {"popularity": at["popular"], "ever_popularity": ever(at), BASELINE: _mixed(tuned, at)}


def _mixed(mixture: float, at: Mapping[str, Floats], own: str = "visits_112d") -> Floats:
    return at[own] + mixture * np.exp(at["popular"])


def _log_days_and(mixture: float, at: Mapping[str, Floats]) -> Floats:
    out: Floats = np.log1p(at["days"]) + mixture * at["popular"]
    return out


_EVER = (*(partial(_mixed, m, own="days") for m in MIXTURES), *(partial(_log_days_and, m) for m in LOG_MIXTURES))
"""Forms of ever bought + popularity: how many days the user visited the category, or the logarithm, and popularity in the same
scale. The one that orders (re-)entries best on the last training cut is taken."""


def comparison(
    log: pairs.Visits,
    answers: Mapping[str, Sequence[Floats]],
    trained: Sequence[str],
    users: Ints,
    origin: date,
    start: int,
    days: int,
    groups: Mapping[str, Ints],
) -> Comparison:
    """Scores (users, categories), one per training seed, against the visits of [start, start + days), pooled over all pairs.

    `users` are the numbers of the log's users; those without a visit before the start are left out.
    """
    tested = np.flatnonzero(log.any(pairs.BEGINNING, start).any(1))
    label = log.any(start, start + days)[tested]
    new = ~log.any(start - ENTRY_DAYS, start)[tested]
    methods = [
        Method(name, tuple(tuple(_measures(label, q[tested], new)) for q in runs), len(runs) if name in trained else None)
        for name, runs in answers.items()
    ]
    return Comparison("categories", origin.isoformat(), users[tested], tuple(methods), BASELINE, groups=groups)


def _measures(label: Bools, score: Floats, new: Bools) -> list[Measure]:
    out = []
    for name, among in (("", np.ones(label.shape, dtype=bool)), ("entry_", new)):
        counted = pooled.binned(label, score.astype(np.float64), among)
        out.append(Measure(f"{name}ap", 0, pooled.average_precision, counted))
        out.append(Measure(f"{name}auc", 0, pooled.auc, counted))
    return out


def _ap(score: Floats, label: Bools, among: Bools | None = None) -> float:
    counted = pooled.binned(label, score.astype(np.float64), np.ones(label.shape, dtype=bool) if among is None else among)
    return float(pooled.average_precision(np.ones((1, len(label))), *counted)[0])

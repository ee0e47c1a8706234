"""Linear and boosted models of user × category pairs, fitted on windows that end before the origin: what a learner must beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from equipoise.evaluate.arrays import Bools, Floats, Ints, distinct, summed
from equipoise.evaluate.behaviour import Behaviour, Catalogue
from equipoise.models.threads import tree_threads
from equipoise.tables.packing import HALF_LIVES

BEGINNING = -(1 << 40)
"""A day before any other."""

RECENT_DAYS = 28
LONG_DAYS = 112
NEVER_DAYS = 400
"""Days since the last visit where there was none, and the most that counts."""

RIDGES = (200.0, 100.0)
"""EASE's penalty on decayed visits and on yes-or-no of the last LONG_DAYS (Steck 2019, closed form)."""

NEW_SHARE = 0.1
"""Share of the never visited pairs that are fitted on, each counted 1 ÷ NEW_SHARE times: there are many and they are alike."""

BOOSTING = {"max_iter": 100, "learning_rate": 0.12, "max_leaf_nodes": 31, "min_samples_leaf": 200, "l2_regularization": 5.0}
"""Chosen on Complete Journey's validation cut: 200 slower rounds gain .001 average precision for three times the time."""


@dataclass(frozen=True)
class Visits:
    """One row per user × category × day with a trip event; `lines`: its events by category weight."""

    user: Ints
    category: Ints
    day: Ints
    lines: Floats
    users: int
    categories: int

    def total(self, rows: NDArray[Any], weight: Floats) -> Floats:
        """(users, categories): Σ weight over the chosen rows."""
        cell = self.user[rows] * self.categories + self.category[rows]
        return summed(cell, weight, self.users * self.categories).reshape(self.users, self.categories)

    def any(self, start: int, end: int) -> Bools:
        """(users, categories): a visit on a day in [start, end)."""
        rows = np.flatnonzero((self.day >= start) & (self.day < end))
        return np.asarray(self.total(rows, np.ones(len(rows))) > 0)


def visits(behaviour: Behaviour, catalogue: Catalogue, counted: Bools, chosen: Ints) -> Visits:
    """The visits of the chosen users (sorted numbers), renumbered from 0, from the `counted` rows of the log."""
    log = behaviour.where(counted & (behaviour.item >= 0) & np.isin(behaviour.user, chosen))
    row, category, weight = catalogue.expand(log.item)
    users, categories = len(chosen), len(catalogue.categories)
    first = int(log.day.min(initial=0))
    span = int(log.day.max(initial=0)) - first + 1
    key = (np.searchsorted(chosen, log.user[row]) * categories + category) * span + log.day[row] - first
    found, place = np.unique(key, return_inverse=True)
    cell, day = found // span, found % span + first
    return Visits(cell // categories, cell % categories, day, summed(place, weight, len(found)), users, categories)


def features(log: Visits, cut: int) -> dict[str, Floats]:
    """(users, categories) each, float32, from visits before `cut` alone; logs of counts, days, and scores over categories."""
    rows = np.flatnonzero(log.day < cut)
    age, shape = (cut - log.day[rows]).astype(np.float64), (log.users, log.categories)
    ones = np.ones(len(rows))
    out = {f"visits_{h}d": np.log1p(log.total(rows, 0.5 ** (age / h))) for h in HALF_LIVES}
    out["lines"] = np.log1p(log.total(rows, log.lines[rows] * 0.5 ** (age / LONG_DAYS)))
    out["share"] = out["lines"] - out["lines"].mean(axis=1, keepdims=True)
    days = out["days"] = log.total(rows, ones)
    first, last = _ends(log, rows, cut)
    recency = out["recency"] = np.where(days > 0, np.minimum(cut - last, NEVER_DAYS), NEVER_DAYS).astype(np.float64)
    gap = out["gap"] = np.where(days > 1, (last - first) / np.maximum(days - 1, 1), NEVER_DAYS)
    out["recency_over_gap"] = np.minimum(recency / np.maximum(gap, 1.0), 50.0)
    out |= {name: np.broadcast_to(value[:, None], shape) for name, value in _of_users(log, rows, cut).items()}
    out["trips_since"] = _trips_since(log, rows, cut, np.where(days > 0, last, -1))
    out["user_categories"] = np.broadcast_to((recency < LONG_DAYS).sum(1, keepdims=True), shape)
    recent, before = log.any(cut - RECENT_DAYS, cut), log.any(cut - 2 * RECENT_DAYS, cut - RECENT_DAYS)
    old = log.any(BEGINNING, cut - RECENT_DAYS)
    popular = recent.mean(0)
    entered = (recent & ~old).sum(0) / np.maximum((~old).sum(0), 1)
    per_category = {
        "popular": np.log(popular + 1e-4),
        "trend": np.log((popular + 1e-3) / (before.mean(0) + 1e-3)),
        "entry_rate": np.log(entered + 1e-4),
    }
    out |= {name: np.broadcast_to(value, shape) for name, value in per_category.items()}
    out["ease_decayed"] = ease(np.minimum(out[f"visits_{LONG_DAYS}d"], 2.0), RIDGES[0])
    out["ease_recent"] = ease(log.any(cut - LONG_DAYS, cut).astype(np.float64), RIDGES[1])
    return {name: value.astype(np.float32) for name, value in out.items()}


def ease(x: Floats, ridge: float) -> Floats:
    """x · B with B the linear model of each column by the others (Steck 2019, Embarrassingly Shallow Autoencoders, eq. 8)."""
    gram = x.T @ x + ridge * np.eye(x.shape[1])
    inverse = _inverse(gram)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    out: Floats = x @ weights
    return out


def _inverse(gram: Floats) -> Floats:
    """Of a positive definite matrix, by Cholesky: half the work of an ordinary inverse."""
    factor, wrong = lapack.dpotrf(gram, lower=1)
    lower, failed = lapack.dpotri(factor, lower=1)
    if wrong or failed:
        return np.linalg.inv(gram)
    out: Floats = np.tril(lower) + np.tril(lower, -1).T
    return out


def fitted(log: Visits, past: Mapping[int, Mapping[str, Floats]], days: int, seed: int) -> Mapping[str, Any]:
    """Logit and boosted trees on pairs at the cuts of `past` (cut → its `features`).

    Label: a visit in the `days` from the cut on. Both have predict_proba. Nothing where the windows hold one class only:
    there is nothing to tell apart then.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(seed)
    tables = [_sampled(at, log.any(cut, cut + days), rng) for cut, at in past.items()]
    x, y, weight = (np.concatenate(part) for part in zip(*tables, strict=True))
    if len(np.unique(y)) < 2:
        return {}
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    trees = HistGradientBoostingClassifier(**BOOSTING, random_state=seed)
    with tree_threads(len(x)):
        trees.fit(x, y, sample_weight=weight)
    return {"logit_pairs": linear.fit(x, y, logisticregression__sample_weight=weight), "boosted_pairs": trees}


def probabilities(model: Any, at: Mapping[str, Floats]) -> Floats:
    """(users, categories) probability of a visit."""
    shape = next(iter(at.values())).shape
    out: Floats = model.predict_proba(_matrix(at, np.ones(shape, dtype=bool)))[:, 1].reshape(shape)
    return out


def _sampled(at: Mapping[str, Floats], label: Bools, rng: np.random.Generator) -> tuple[NDArray[Any], Bools, Floats]:
    known = at["days"] > 0
    drawn = known | (rng.random(known.shape) < NEW_SHARE)
    drawn &= known.any(axis=1, keepdims=True)  # users without a visit yet are nobody's rows
    weight = np.where(known, 1.0, 1.0 / NEW_SHARE)
    return _matrix(at, drawn), label[drawn], weight[drawn]


def _matrix(at: Mapping[str, Floats], kept: Bools) -> NDArray[Any]:
    return np.stack([value[kept] for value in at.values()], axis=1)


def _ends(log: Visits, rows: Ints, cut: int) -> tuple[Floats, Floats]:
    """(users, categories) first and last day with a visit; cut and a day far back where there is none."""
    cell = log.user[rows] * log.categories + log.category[rows]
    first, last = np.full(log.users * log.categories, cut), np.full(log.users * log.categories, cut - NEVER_DAYS)
    np.minimum.at(first, cell, log.day[rows])
    np.maximum.at(last, cell, log.day[rows])
    shape = (log.users, log.categories)
    return first.reshape(shape).astype(np.float64), last.reshape(shape).astype(np.float64)


def _trip_days(log: Visits, rows: Ints) -> tuple[Ints, Ints]:
    """Distinct user × day, as (user, day)."""
    user, day = distinct(log.user[rows], log.day[rows])[0]
    return user, day


def _of_users(log: Visits, rows: Ints, cut: int) -> dict[str, Floats]:
    user, day = _trip_days(log, rows)
    last = np.full(log.users, cut - NEVER_DAYS)
    np.maximum.at(last, user, day)
    lines = summed(log.user[rows], log.lines[rows] * 0.5 ** ((cut - log.day[rows]) / 56.0), log.users)
    out = {"user_recency": (cut - last).astype(np.float64), "user_lines": np.log1p(lines)}
    for window in (RECENT_DAYS, LONG_DAYS):
        out[f"user_trips_{window}d"] = summed(user, (day >= cut - window).astype(np.float64), log.users)
    return out


def _trips_since(log: Visits, rows: Ints, cut: int, last: Floats) -> Floats:
    """(users, categories) trips of the user after the last visit to the category; all where there was none."""
    user, day = _trip_days(log, rows)
    start = int(day.min(initial=cut))
    made = np.zeros((log.users, cut - start + 2))
    made[user, day - start + 1] = 1.0
    until = np.cumsum(made, axis=1)  # [:, k]: trips on days before start + k
    upto = np.clip(last - start + 1, 0, cut - start + 1).astype(np.int64)
    out: Floats = until[:, -1:] - np.take_along_axis(until, upto, axis=1)
    return out

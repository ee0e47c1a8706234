"""What a user is worth in the coming horizon, learnt from what users did after earlier cuts: linear models and boosted trees
on SIGNALS.

Two chances are learnt, of the upper classes O < interest < buy taken together and of buy alone, and the money; each is half a
linear model and half boosted trees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from equipoise.models.threads import tree_threads
from equipoise.segments.history import Bools, Floats, History, Ints
from equipoise.segments.signals import known_at, signals_at

Ladder = Literal["events", "spend"]

BOOSTING: dict[str, Any] = {
    "max_iter": 200,
    "learning_rate": 0.04,
    "max_leaf_nodes": 8,
    "l2_regularization": 10.0,
    "max_features": 0.3,
    "early_stopping": False,
}
LEAF_ROWS, LEAF_SHARE = 80, 0.01
"""A leaf holds at least the lower of this many rows and this share of them."""

LOGIT_C, RIDGE = 0.05, 100.0
"""Chosen with BOOSTING on Complete Journey, origins of 2017-08-14, 09-11 and 10-09: see docs/benchmarks.md for those after
them."""

MOST_LOG_ODDS = 20.0


@dataclass(frozen=True)
class Told:
    """What is said of users: p (n, 3) of O, interest, buy; buys (n,) chance of a purchase; spend (n,) money, None without
    amounts."""

    p: Floats
    buys: Floats
    spend: Floats | None


@dataclass(frozen=True)
class Labels:
    """What users did in a window: class 0 O, 1 interest, 2 buy; whether they bought; money."""

    label: Ints
    buys: Bools
    spend: Floats

    def of(self, users: Bools) -> Labels:
        return Labels(self.label[users], self.buys[users], self.spend[users])


@dataclass(frozen=True)
class Chance:
    """Log-odds of a yes: the mean of a logit on log(1 + x) and of boosted trees; a constant where training saw one answer
    only."""

    constant: float
    linear: Any | None
    trees: Any | None

    def log_odds(self, x: Floats) -> Floats:
        """(n,) for SIGNALS (n, S)."""
        if self.linear is None or self.trees is None or not len(x):
            return np.full(len(x), self.constant)
        found: Floats = (self.linear.decision_function(_logs(x)) + self.trees.decision_function(x)) / 2
        return np.clip(found, -MOST_LOG_ODDS, MOST_LOG_ODDS)

    def probability(self, x: Floats) -> Floats:
        """(n,) the same as a chance."""
        found: Floats = 1.0 / (1.0 + np.exp(-self.log_odds(x)))
        return found


@dataclass(frozen=True)
class Money:
    """Expected money: the square of the mean of two roots, from a ridge on roots and from Poisson trees, scaled to the mean
    seen."""

    linear: Any
    trees: Any
    scale: float

    def expected(self, x: Floats) -> Floats:
        """(n,) ≥ 0."""
        if not len(x):
            return np.zeros(0)
        root = (np.maximum(self.linear.predict(_roots(x)), 0.0) + np.sqrt(np.maximum(self.trees.predict(x), 0.0))) / 2
        found: Floats = self.scale * root**2
        return found


@dataclass(frozen=True)
class WorthModel:
    """The fitted value of users."""

    ladder: Ladder
    acts: Chance
    """Of class interest or buy."""
    buys: Chance
    """Of class buy."""
    money: Money | None

    @property
    def explained(self) -> Chance:
        """What drivers speak of: the chance of class buy, or of interest or buy where training saw no difference in that."""
        return self.acts if self.buys.linear is None else self.buys

    def told(self, x: Floats) -> Told:
        """Of users with SIGNALS (n, S)."""
        acts, buy = self.acts.probability(x), self.buys.probability(x)
        buy = np.minimum(buy, acts)
        p = np.stack([1.0 - acts, acts - buy, buy], axis=1)
        return Told(p, acts if self.ladder == "spend" else buy, self.money.expected(x) if self.money else None)


def labels_at(history: History, cut: int, days: int, ladder: Ladder, threshold: float) -> Labels:
    """(U,) what every user did in [cut, cut + days), by the ladder of the settings.

    events: buy = a purchase, interest = any other event of one's own. spend: O = no spend, interest = below the threshold, buy
    = at or above it; then any spend counts as buying.
    """
    users = len(history.users)
    after = history.where((history.day >= cut) & (history.day < cut + days))
    spend: Floats = np.bincount(after.user, weights=after.spend, minlength=users).astype(np.float64)
    if ladder == "spend":
        label = np.where(spend <= 0, 0, np.where(spend >= threshold, 2, 1))
        return Labels(label, spend > 0, spend)
    bought = np.bincount(after.user, weights=after.lines, minlength=users) > 0
    acted = np.bincount(after.user, weights=after.own, minlength=users) > 0
    return Labels(np.where(bought, 2, np.where(acted, 1, 0)), bought, spend)


def threshold_of(history: History, cuts: Sequence[int], days: int) -> float:
    """Median spend of those who spend, over users × windows that start at the cuts; 0 when nobody does."""
    spends = [labels_at(history, cut, days, "spend", 0.0).spend for cut in cuts]
    spent = np.concatenate([s[s > 0] for s in spends]) if spends else np.zeros(0)
    return float(np.median(spent)) if len(spent) else 0.0


def training_cuts(first: int, origin: int, days: int, number: int) -> list[int]:
    """The latest `number` cuts, half a horizon apart, whose windows end at or before the origin and that a day lies before."""
    step = max(1, days // 2)
    return [cut for cut in range(origin - days, first, -step)][:number]


def fit(
    history: History, cuts: Sequence[int], *, days: int, ladder: Ladder, threshold: float, amounts: bool, seed: int
) -> WorthModel:
    """Fitted on the users known at each cut, by what they did in the `days` after it.

    Raises:
        ValueError: when nobody is known at any cut.
    """
    parts = [(x[known], seen.of(known)) for x, known, seen in (_at(history, c, days, ladder, threshold) for c in cuts)]
    if not sum(len(x) for x, _ in parts):
        raise ValueError(f"nobody is known at any of the {len(cuts)} cuts that value is to be learnt at")
    x = np.concatenate([part for part, _ in parts])
    label, spend = (np.concatenate([getattr(seen, name) for _, seen in parts]) for name in ("label", "spend"))
    money = _money(x, np.maximum(spend, 0.0), seed) if amounts and (spend > 0).any() else None
    return WorthModel(ladder, chance(x, label > 0, seed), chance(x, label > 1, seed), money)


def fit_staying(history: History, cuts: Sequence[int], *, days: int, seed: int) -> Chance:
    """The chance of any event of one's own in the `days` after a cut; 1 − it is the risk of churn.

    Raises:
        ValueError: when nobody is known at any cut.
    """
    parts = [(x[known], seen.label[known] > 0) for x, known, seen in (_at(history, c, days, "events", 0.0) for c in cuts)]
    if not sum(len(x) for x, _ in parts):
        raise ValueError(f"nobody is known at any of the {len(cuts)} cuts that churn is to be learnt at")
    return chance(np.concatenate([x for x, _ in parts]), np.concatenate([yes for _, yes in parts]), seed)


def backtest(
    history: History, origin: int, days: int, *, ladder: Ladder, threshold: float, amounts: bool, cuts: int, seed: int
) -> tuple[WorthModel, Told]:
    """The model of windows that end at or before the origin, and what it says there of every user (U,); days from the origin
    on are not looked at. Users that are not known there have the answer of a row of zeros.

    Raises:
        ValueError: when no cut lies before the origin, or nobody is known at any.
    """
    past = history.where(history.day < origin)
    if not past.own.any():
        raise ValueError(f"no day of behaviour before day {origin}")
    when = training_cuts(int(past.day[past.own].min()), origin, days, cuts)
    model = fit(past, when, days=days, ladder=ladder, threshold=threshold, amounts=amounts, seed=seed)
    return model, model.told(signals_at(past, origin))


def _at(history: History, cut: int, days: int, ladder: Ladder, threshold: float) -> tuple[Floats, Bools, Labels]:
    return signals_at(history, cut), known_at(history, cut), labels_at(history, cut, days, ladder, threshold)


def chance(x: Floats, yes: Bools, seed: int) -> Chance:
    """The chance of a yes, learnt from features (n, S) that are days, counts or money."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    share = (float(yes.sum()) + 0.5) / (len(yes) + 1)
    constant = float(np.log(share / (1 - share)))
    if yes.all() or not yes.any():
        return Chance(constant, None, None)
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=LOGIT_C, max_iter=1000)).fit(_logs(x), yes)
    trees = HistGradientBoostingClassifier(**BOOSTING, min_samples_leaf=_leaf(len(x)), random_state=seed)
    with tree_threads(len(x)):
        trees.fit(x, yes)
    return Chance(constant, linear, trees)


def _money(x: Floats, spend: Floats, seed: int) -> Money:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    linear = make_pipeline(StandardScaler(), Ridge(RIDGE)).fit(_roots(x), np.sqrt(spend))
    trees = HistGradientBoostingRegressor(**BOOSTING, loss="poisson", min_samples_leaf=_leaf(len(x)), random_state=seed)
    with tree_threads(len(x)):
        trees.fit(x, spend)
    raw = Money(linear, trees, 1.0)
    said = float(raw.expected(x).mean())
    return Money(linear, trees, float(spend.mean()) / said if said > 0 else 1.0)


def _leaf(rows: int) -> int:
    return max(1, int(min(LEAF_ROWS, LEAF_SHARE * rows)))


def _logs(x: Floats) -> Floats:
    """log(1 + x): days, counts and money are skewed; refunds can take money below zero."""
    found: Floats = np.log1p(np.maximum(x, 0.0))
    return found


def _roots(x: Floats) -> Floats:
    found: Floats = np.sqrt(np.maximum(x, 0.0))
    return found

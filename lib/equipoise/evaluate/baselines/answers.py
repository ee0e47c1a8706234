"""What the plain methods of customer value say of the users known at an origin, from days before it alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.cluster import KMeans
from sklearn.preprocessing import StandardScaler

from equipoise.evaluate.arrays import DAY_SPAN, Floats, Ints, distinct
from equipoise.evaluate.baselines import logit, trees
from equipoise.evaluate.baselines.value import SPEND_DAYS, Rfm, rfm_sum
from equipoise.evaluate.behaviour import Behaviour
from equipoise.evaluate.tasks.value import Answer, probability_of_buying
from equipoise.segments.buytilldie import customers_at, fit_buying, fit_spending
from equipoise.segments.cells import fit_cells
from equipoise.segments.history import History
from equipoise.segments.signals import SIGNALS, known_at, signals_at
from equipoise.segments.worth import Labels, Ladder, labels_at, training_cuts

TWELVE = (
    *("recency", "trips", "tenure", "trips_28d", "trips_112d", "spend_28d", "spend_112d", "spend"),
    *("gap_mean", "recency_over_gap", "lines_mean", "basket_mean"),
)
"""The 12 explicit features: what a good analyst takes without learning more."""

CLUSTERS = 3
STARTS = 10

CUTS = 12
"""Cuts that a method learns from at most, half a horizon apart."""

LEAST_HISTORY = 56
"""Days of behaviour before a cut: what users known for less did tells little of those known for longer."""

PRIOR = 10.0
"""Users of everybody that a cluster's mean is shrunk by."""


@dataclass(frozen=True)
class Question:
    """What do the known users do in [origin, origin + days)?

    history: days before the origin only. cuts: days to learn from, whose windows end at or before it. threshold: of ladder spend.
    """

    history: History
    origin: int
    days: int
    cuts: tuple[int, ...]
    ladder: Ladder
    threshold: float
    amounts: bool
    seed: int

    def __post_init__(self) -> None:
        late = [cut for cut in self.cuts if cut + self.days > self.origin]
        if late or (len(self.history.day) and int(self.history.day.max()) >= self.origin):
            raise ValueError(
                f"the question of day {self.origin} holds days from it on, or cuts {late} whose windows reach beyond it"
            )

    @cached_property
    def known(self) -> Ints:
        """Numbers of the users with an event of their own before the origin: answers are about them, in this order."""
        return np.flatnonzero(known_at(self.history, self.origin))

    @cached_property
    def signals(self) -> Floats:
        """(n, S) of the known users at the origin."""
        found: Floats = signals_at(self.history, self.origin)[self.known]
        return found

    @cached_property
    def past(self) -> tuple[Floats, Labels]:
        """SIGNALS and labels of the users known at each cut, one below the other."""
        parts = [(known_at(self.history, cut), cut) for cut in self.cuts]
        signals = [signals_at(self.history, cut)[known] for known, cut in parts]
        labels = [labels_at(self.history, cut, self.days, self.ladder, self.threshold).of(known) for known, cut in parts]
        whole = [np.concatenate([getattr(one, name) for one in labels]) for name in ("label", "buys", "spend")]
        return np.concatenate(signals), Labels(*whole)

    def column(self, name: str) -> Floats:
        """(n,) one signal of the known users."""
        found: Floats = self.signals[:, SIGNALS.index(name)]
        return found


Fitter = Callable[[Question], Answer]


def cuts_before(history: History, origin: int, days: int) -> list[int]:
    """The latest CUTS cuts whose windows end at or before the origin, after LEAST_HISTORY days of behaviour, else after any."""
    first = int(history.day[history.own].min(initial=origin))
    return training_cuts(first + LEAST_HISTORY, origin, days, CUTS) or training_cuts(first, origin, days, CUTS)


def history_of(behaviour: Behaviour, origin: int) -> History:
    """Days before the origin, one row per user × day; a day is a trip by the rule at the origin (`Behaviour.trips`)."""
    log = behaviour.where(behaviour.day < origin)
    (user, day), _ = distinct(log.user, log.day)
    row = np.searchsorted(user * DAY_SPAN + day, log.user * DAY_SPAN + log.day)

    def total(weights: Floats) -> Floats:
        return np.bincount(row, weights=weights, minlength=len(user)).astype(np.float64)

    shop = log.of("purchase", "expose", "redeem").astype(np.float64)
    return History(
        behaviour.users.astype(object),
        user,
        day,
        total(np.where(log.bought, log.amount, 0.0)),
        total(log.bought.astype(np.float64)),
        total(log.trips(origin).astype(np.float64)) > 0,
        total(1.0 - shop),
        total(log.of("expose").astype(np.float64)),
        total(log.of("redeem").astype(np.float64)),
    )


def spend_112d(asked: Question) -> Answer:
    """Money of the last 112 days goes on."""
    spent = asked.column("spend_112d")
    return Answer(spent, spent, money=spent * asked.days / SPEND_DAYS)


def recency_frequency_money(asked: Question) -> Answer:
    """Sum of three quintiles (Hughes 1994)."""
    recency, trips, spend, late = (asked.column(name) for name in ("recency", "trips", "spend", "spend_112d"))
    total = rfm_sum(Rfm(trips > 0, recency, trips, spend, late))
    return Answer(total, total)


def rfm_cells(asked: Question) -> Answer:
    """What users of the same of 125 recency × frequency × money cells did after earlier cuts; a cell of few leans on all."""
    how = {"ladder": asked.ladder, "threshold": asked.threshold, "amounts": asked.amounts}
    told = fit_cells(asked.history, asked.cuts, days=asked.days, **how).told(asked.signals)  # type: ignore[arg-type]
    return Answer(told.buys, told.buys if told.spend is None else told.spend, told.p, told.buys, told.p.argmax(1), told.spend)


def kmeans(asked: Question) -> Answer:
    """What users of the same of three clusters of log recency, frequency and money did after earlier cuts."""
    names = ["recency", "trips", "spend"] if asked.amounts else ["recency", "trips"]
    places = [SIGNALS.index(n) for n in names]
    past, seen = asked.past
    scaler = StandardScaler().fit(_logs(past[:, places]))
    x, y = (scaler.transform(_logs(rows[:, places])) for rows in (past, asked.signals))
    found = KMeans(min(CLUSTERS, len(np.unique(x, axis=0))), n_init=STARTS, random_state=asked.seed).fit(x)
    outcome = np.column_stack([np.eye(3)[seen.label], seen.buys, seen.spend])
    sums = np.stack([np.bincount(found.labels_, weights=column) for column in outcome.T], axis=1)
    means = (sums + PRIOR * outcome.mean(axis=0)) / (np.bincount(found.labels_)[:, None] + PRIOR)
    told = means[found.predict(y)] if len(y) else np.zeros((0, 5))
    money = told[:, 4] if asked.amounts else None
    return Answer(told[:, 3], told[:, 3] if money is None else money, told[:, :3], told[:, 3], told[:, :3].argmax(1), money)


def logit_12(asked: Question, **parameters: float) -> Answer:
    """Multinomial logit and ridge on TWELVE; see `logit.fit` for the parameters."""
    past, seen = asked.past
    fitted = logit.fit(_twelve(past), seen.label, seen.spend if asked.amounts else None, **parameters)
    mine = _twelve(asked.signals)
    return learnt(asked.ladder, fitted.probabilities(mine), fitted.expected_spend(mine), None)


def hgb_12(asked: Question, **boosting: object) -> Answer:
    """Boosted trees on TWELVE; see `trees.fit` for the parameters."""
    past, seen = asked.past
    fitted = trees.fit(_twelve(past), seen.label, seen.spend if asked.amounts else None, asked.seed, **boosting)
    mine = _twelve(asked.signals)
    worth = fitted.expected_spend(mine)
    return learnt(asked.ladder, fitted.probabilities(mine), worth, worth)


def bgnbd(asked: Question) -> Answer:
    """BG/NBD on days with a trip, gamma–gamma on their money; who has made no trip is said never to come."""
    at = asked.history.where(asked.history.trip)
    number = len(asked.history.users)
    buyers, customers = customers_at(at.user, at.day, asked.origin, number)
    model = fit_buying(customers)
    buys, purchases = np.zeros(number), np.zeros(number)
    buys[buyers], purchases[buyers] = model.returns(customers, asked.days), model.purchases(customers, asked.days)
    if not asked.amounts:
        return Answer(buys[asked.known], purchases[asked.known], buys=buys[asked.known])
    trips, spend = np.bincount(at.user, minlength=number), np.bincount(at.user, weights=at.spend, minlength=number)
    mean = spend / np.maximum(trips, 1)
    each = fit_spending(trips.astype(np.float64), mean).each(trips.astype(np.float64), mean)
    worth = (purchases * each)[asked.known]
    return Answer(buys[asked.known], worth, buys=buys[asked.known], money=worth)


METHODS: dict[str, Fitter] = {
    "rfm_sum": recency_frequency_money,
    "kmeans_3": kmeans,
    "rfm_cells": rfm_cells,
    "bgnbd": bgnbd,
    "logit_12": logit_12,
    "hgb_12": hgb_12,
}
"""Name in gold.evaluation → method; WITH_AMOUNTS needs money."""

WITH_AMOUNTS: dict[str, Fitter] = {"spend_112d": spend_112d}


def learnt(ladder: str, p: Floats, worth: Floats | None, money: Floats | None) -> Answer:
    """The answer of class probabilities (n, 3), of a score of spend, and of money where the score is in money."""
    buys = probability_of_buying(p, ladder)
    return Answer(buys, buys if worth is None else worth, p, buys, p.argmax(1), money)


def of(answer: Answer, asked: Question, users: Ints) -> Answer:
    """The answer about some users, by number; who was not known at the origin is said to do nothing."""

    def spread(values: Floats, unknown: float = 0.0) -> Floats:
        out = np.full((len(asked.history.users), *values.shape[1:]), unknown)
        out[asked.known] = values
        return out[users]

    score = spread(answer.score, float(answer.score.min(initial=0.0)))
    worth, buys, money = (None if x is None else spread(x) for x in (answer.worth, answer.buys, answer.money))
    if answer.p is None:
        return Answer(score, worth, buys=buys, money=money)
    p = spread(answer.p)
    p[p.sum(axis=1) == 0, 0] = 1.0
    return Answer(score, worth, p, buys, p.argmax(1), money)


def _twelve(signals: Floats) -> Floats:
    found: Floats = signals[:, [SIGNALS.index(name) for name in TWELVE]]
    return found


def _logs(x: Floats) -> Floats:
    found: Floats = np.log1p(np.maximum(x, 0.0))
    return found

"""Task interests: how far is a predicted distribution over categories from what the next window held?"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date

import numpy as np
from scipy.stats import rankdata

from equipoise.evaluate.arrays import Bools, Floats, Ints, shares, summed
from equipoise.evaluate.baselines import interests as ema
from equipoise.evaluate.behaviour import Behaviour, Catalogue
from equipoise.evaluate.bootstrap import Measure, per_user
from equipoise.evaluate.metrics import distribution
from equipoise.evaluate.table import Comparison, Method
from equipoise.tables.vocabulary import EVENT_TYPES

BASELINE = "ema_dirichlet"
MIN_EVENTS = 10.0
"""Events that a label window needs before its shares mean something (as in the published floors)."""

K = 10
ENTRY_DAYS = 84
"""A category is (re-)entered when it was not touched for so many days."""


def windows(behaviour: Behaviour, catalogue: Catalogue, origin: int, days: int, end: int) -> tuple[ema.Counts, int]:
    """Knowing events per user × window × category before `end`, and the number of the window that starts at `origin`."""
    log = behaviour.where(behaviour.knowing & (behaviour.item >= 0) & (behaviour.day < end))
    row, category, weight = catalogue.expand(log.item)
    window = (log.day - origin) // days
    number = -int(window.min(initial=-1))
    return ema.Counts(log.user[row], window[row] + number, category, weight, len(log.users), len(catalogue.categories)), number


def prior(
    behaviour: Behaviour,
    catalogue: Catalogue,
    origin: int,
    weights: Mapping[str, float],
    half_life_days: float,
    start: tuple[float, float],
    base: Floats,
) -> Floats:
    """(users, categories): where the model starts from. (decayed, weighted history + start[0] · base) ^ start[1], ÷ its sum."""
    log = behaviour.where((behaviour.item >= 0) & (behaviour.day < origin))
    row, category, share = catalogue.expand(log.item)
    of_type = np.array([weights.get(t, 0.0) for t in EVENT_TYPES])
    decayed = of_type[log.kind] * 0.5 ** ((origin - log.day) / half_life_days)
    users, width = len(log.users), len(catalogue.categories)
    history = summed(log.user[row] * width + category, decayed[row] * share, users * width).reshape(users, width)
    return shares(ema.with_dirichlet(history, base, start[0]) ** start[1])


def filled(own: Floats, base: Floats) -> Floats:
    """The shares, with popularity where nothing is known of a user."""
    return ema.with_popularity(own, base, 0.0)


def counting(counts: ema.Counts, number: int) -> dict[str, Floats]:
    """The baselines for window `number`: (users, categories) each, popularity where nothing is known of a user."""
    base, recent, past = ema.population(counts, number), ema.ema(counts, number), (counts, number, MIN_EVENTS)
    return {
        "population": np.tile(base, (counts.users, 1)),
        "last_window": filled(ema.last_window(counts, number), base),
        "all_history": filled(ema.all_history(counts, number), base),
        BASELINE: ema.with_dirichlet(recent, base),
        "ema_dirichlet_tuned": ema.with_dirichlet(recent, base, ema.best(*past, ema.STRENGTHS, ema.with_dirichlet)),
        "ema_popularity": ema.with_popularity(recent, base, ema.best(*past, ema.MIXTURES, ema.with_popularity)),
    }


def comparison(
    counts: ema.Counts,
    number: int,
    predictions: Mapping[str, Sequence[Floats]],
    trained: Collection[str],
    touched: Bools,
    known: Bools,
    origin: date,
    groups: Mapping[str, Ints],
) -> Comparison:
    """Distributions against the shares of window `number`, on users with MIN_EVENTS there.

    Args:
        predictions: name → one (users, categories) per training seed; one alone for what is not trained.
        trained: the names in which the model has a part.
        touched: (users, categories) touched in the ENTRY_DAYS before the origin.
        known: users that every method answers for.
    """
    events = counts.of_window(number)
    tested = np.flatnonzero((events.sum(1) >= MIN_EVENTS) & known)
    truth = shares(events[tested])
    methods = []
    for name, runs in predictions.items():
        measures = tuple(tuple(_measures(truth, shares(q[tested]), touched[tested])) for q in runs)
        methods.append(Method(name, measures, len(runs) if name in trained else None))
    return Comparison("interests", origin.isoformat(), tested, tuple(methods), BASELINE, groups=groups)


def recently_touched(behaviour: Behaviour, catalogue: Catalogue, origin: int) -> Bools:
    """(users, categories): a knowing event in the ENTRY_DAYS before the origin."""
    recent = (behaviour.day >= origin - ENTRY_DAYS) & (behaviour.day < origin)
    log = behaviour.where(behaviour.knowing & (behaviour.item >= 0) & recent)
    row, category, _ = catalogue.expand(log.item)
    out = np.zeros((len(log.users), len(catalogue.categories)), dtype=bool)
    out[log.user[row], category] = True
    return out


def _measures(truth: Floats, q: Floats, touched: Bools) -> list[Measure]:
    """Proper scores first; JS rewards too sharp a prediction where counts are sparse."""
    smooth = distribution.smoothed(q)
    everything = np.ones(truth.shape, dtype=bool)
    values = {
        "kl_bits": distribution.kl_bits(truth, smooth),
        "log_loss": distribution.log_loss(truth, smooth),
        "js_bits": distribution.js_bits(truth, q),
        "total_variation": distribution.total_variation(truth, q),
        "category_auc": auc_per_user(truth > 0, q, everything),
        "entry_auc": auc_per_user(truth > 0, q, ~touched),
    }
    ndcg = per_user("ndcg", distribution.graded_ndcg(truth, q, K), K)
    return [*(per_user(name, value) for name, value in values.items()), ndcg]


def auc_per_user(label: Bools, score: Floats, among: Bools) -> Floats:
    """(n,) AUC of each row over the columns marked in `among`, by mean ranks (Mann–Whitney); NaN: one class only."""
    # Columns outside stand below all others with label False; their ranks are then taken off.
    ranks = rankdata(np.where(among, score, -np.inf), axis=1)
    positive = label & among
    count, inside = positive.sum(1), among.sum(1)
    outside = label.shape[1] - inside
    total = np.where(positive, ranks, 0.0).sum(1) - count * outside
    pairs = count * (inside - count)
    out: Floats = (total - count * (count + 1) / 2.0) / np.where(pairs > 0, pairs, np.nan)
    return out

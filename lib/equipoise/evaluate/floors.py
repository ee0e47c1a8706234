"""The published floors on Complete Journey, reproduced: raw UTC dates, the protocol they were measured with.

Day 0 is 2017-01-01. A floor that comes out elsewhere means that the log, a metric or a baseline is wrong, so these stand
beside the published figures in gold.evaluation (method 'published …'), apart from every comparison with a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date

import numpy as np

from equipoise.evaluate.arrays import DAY_SPAN, Bools, Floats, Ints, counted, shares, summed
from equipoise.evaluate.baselines import interests as ema
from equipoise.evaluate.baselines import items as own
from equipoise.evaluate.baselines import tifu
from equipoise.evaluate.baselines import value as money
from equipoise.evaluate.behaviour import Behaviour, Catalogue, day_number
from equipoise.evaluate.bootstrap import Measure, per_user
from equipoise.evaluate.metrics import distribution, scores
from equipoise.evaluate.table import EVERYBODY, Comparison, Method, Row
from equipoise.evaluate.tasks import leaves
from equipoise.evaluate.tasks.next_basket import NextBasket, list_measures, next_basket
from equipoise.tables.vocabulary import UNKNOWN

DAY_0 = day_number(date(2017, 1, 1))
DROPPED = ("FUEL", "MISCELLANEOUS", "COUPON")
"""Departments that do not count; products without a type or category do not either."""

K = 10
ITEM_CUT, ITEM_ORIGIN, ITEM_END = DAY_0 + 281, DAY_0 + 309, DAY_0 + 365
MIN_ITEM_ROWS = 10
WINDOW_0, WINDOW_DAYS, WINDOWS = DAY_0 + 1, 28, (11, 12)
MIN_LINES = 10
VALUE_ORIGIN = DAY_0 + 336

PUBLISHED: dict[str, tuple[int, str, dict[str, dict[tuple[str, int], float]]]] = {
    "floors_items": (
        2160,
        "2017-11-06",
        {
            "g_top_freq": {("ndcg", K): 0.0845, ("recall", K): 0.0580, ("hit", K): 0.398},
            "p_top_freq": {("ndcg", K): 0.2081, ("recall", K): 0.1577, ("hit", K): 0.586},
            "personal_decay": {("ndcg", K): 0.2215, ("recall", K): 0.1630, ("hit", K): 0.594},
        },
    ),
    "floors_leaves": (
        2188,
        "2017-11-06",
        {
            "p_top_freq": {("ndcg", K): 0.3025, ("recall", K): 0.2343},
            "personal_decay": {("ndcg", K): 0.3115, ("recall", K): 0.2420},
            "tifu_knn": {("ndcg", K): 0.3141, ("recall", K): 0.2442},
        },
    ),
    "floors_interests": (
        3317,
        "pooled",
        {
            "last_window": {("js_bits", 0): 0.537},
            "population": {("js_bits", 0): 0.556, ("ndcg", K): 0.445},
            "all_history": {("js_bits", 0): 0.4448, ("ndcg", K): 0.577},
            "ema_dirichlet": {("js_bits", 0): 0.4391, ("kl_bits", 0): 2.348, ("ndcg", K): 0.588, ("total_variation", 0): 0.581},
        },
    ),
    "floors_value": (
        2463,
        "2017-12-03",
        {
            "recency": {("auc", 0): 0.829, ("ap_nonbuyers", 0): 0.569},
            "rfm_sum": {("auc", 0): 0.8625, ("ap_nonbuyers", 0): 0.535, ("ngini", 0): 0.742, ("decile_lift", 0): 2.77},
            "spend_112d": {("auc", 0): 0.845, ("ap_nonbuyers", 0): 0.563, ("ngini", 0): 0.836, ("decile_lift", 0): 3.58},
        },
    ),
}
"""task → users (or user-windows), origin, method → (metric, cutoff) → value; project measurements, seed 0, four digits."""


def published() -> list[Row]:
    """The published figures as rows: method 'published <name>'."""
    return [
        Row(task, f"published {method}", metric, cutoff, "test", origin, EVERYBODY, value, None, None, n, None)
        for task, (n, origin, methods) in PUBLISHED.items()
        for method, values in methods.items()
        for (metric, cutoff), value in values.items()
    ]


def comparisons(behaviour: Behaviour, catalogue: Catalogue) -> list[Comparison]:
    """The four floors, measured on this log."""
    log = behaviour.where(behaviour.bought & (behaviour.item >= 0))
    kept = ~np.isin(catalogue.top, DROPPED)[log.item]
    return [
        _items(behaviour, catalogue),
        *_leaves(behaviour, catalogue),
        _interests(log.where(kept & (catalogue.main != catalogue.unknown_category)[log.item]), catalogue),
        _value(log),
    ]


def _items(behaviour: Behaviour, catalogue: Catalogue) -> Comparison:
    """Next basket, product level: history before day 309, the first basket on days 309–364."""
    log, _ = _often_bought(behaviour, catalogue)
    basket = next_basket(log.user, log.item, log.utc_day, ITEM_ORIGIN, ITEM_END, len(log.users), len(catalogue.items))
    return Comparison("floors_items", "2017-11-06", basket.tested, _counting(basket), "p_top_freq")


def items_utc(
    behaviour: Behaviour,
    catalogue: Catalogue,
    as_of: date,
    lists: Callable[[Bools], Mapping[str, Ints]],
    groups: Mapping[str, Ints],
) -> Comparison | None:
    """The protocol of `_items` for the model: its products, its users, its window; None for another as_of than its origin.

    The model counts local days, so it has seen the evening before as_of, which is the window's first UTC day. For every method
    these lines are of the last day before the window.

    Args:
        lists: (items,) items that count there → name → (users, k) items that a model ranks highest among them.
    """
    start = day_number(as_of)
    if start != ITEM_ORIGIN:
        return None
    log, often = _often_bought(behaviour, catalogue)
    day = np.where(log.day < start, np.minimum(log.utc_day, ITEM_ORIGIN - 1), log.utc_day)
    basket = next_basket(log.user, log.item, day, ITEM_ORIGIN, ITEM_END, len(log.users), len(catalogue.items))
    if not len(basket.tested):
        return None
    mine = [Method(name, (tuple(list_measures(basket, shown)),), 1) for name, shown in lists(often).items()]
    methods = (*mine, *_counting(basket))
    return Comparison("items_utc", as_of.isoformat(), basket.tested, methods, "personal_decay", groups=groups)


def _often_bought(behaviour: Behaviour, catalogue: Catalogue) -> tuple[Behaviour, Bools]:
    """Purchases of the products that count at product level, and (items,) which these are: enough user-days before ITEM_CUT."""
    width = len(catalogue.items)
    counts = ~np.isin(catalogue.top, DROPPED) & (catalogue.leaf != UNKNOWN)
    bought = behaviour.where(behaviour.bought & (behaviour.item >= 0))
    log = bought.where(counts[bought.item])
    rows = np.unique((log.user * width + log.item) * DAY_SPAN + log.utc_day)
    often = counted(rows[rows % DAY_SPAN < ITEM_CUT] // DAY_SPAN % width, width) >= MIN_ITEM_ROWS
    return log.where(often[log.item]), often


def _counting(basket: NextBasket) -> tuple[Method, ...]:
    """The counting baselines on products; ties by item, as the published figures break them."""
    width = basket.width

    def lists(count: own.Count) -> Ints:
        return own.own_lists(*count(basket.user, basket.code, basket.day, width), None, basket.users, width, K)

    found = {
        "g_top_freq": own.popular_lists(basket.popularity, basket.users, K),
        "p_top_freq": lists(own.frequency),
        "personal_decay": lists(own.decayed),
    }
    return tuple(Method.fixed(name, list_measures(basket, shown)) for name, shown in found.items())


def _leaves(behaviour: Behaviour, catalogue: Catalogue) -> list[Comparison]:
    """Next basket, product types: as _items, types bought on MIN_ITEM_ROWS user-days before day 281."""
    utc = replace(behaviour, day=behaviour.utc_day)
    world = leaves.world(utc, catalogue, DROPPED, ITEM_ORIGIN, ITEM_END, ITEM_ORIGIN - ITEM_CUT, seed=0)
    if world is None:
        return []
    basket = world.basket(ITEM_ORIGIN, ITEM_END)
    rows = (basket.user, basket.code, basket.day)

    def own_lists(count: own.Count) -> Ints:
        return own.own_lists(*count(*rows, basket.width), None, basket.users, basket.width, K)

    found = {
        "p_top_freq": own_lists(own.frequency),
        "personal_decay": own_lists(own.decayed),
        "tifu_knn": leaves.top(tifu.scores(tifu.vectors(*rows, basket.users, basket.width)), K),
    }
    methods = tuple(Method.fixed(name, list_measures(basket, shown)) for name, shown in found.items())
    return [Comparison("floors_leaves", "2017-11-06", world.users[basket.tested], methods, "p_top_freq")]


def _interests(log: Behaviour, catalogue: Catalogue) -> Comparison:
    """Next window's category shares, windows 11 and 12 pooled; windows count with 10 lines or more, and need one such before."""
    counts = _counts(log, catalogue)
    lines = np.stack([counts.of_window(w).sum(1) for w in range(max(WINDOWS) + 1)], axis=1)
    full = lines >= MIN_LINES
    parts: dict[str, list[Floats]] = {}
    truths, units = [], []
    for w in WINDOWS:
        tested = np.flatnonzero(full[:, w] & full[:, :w].any(1))
        base = ema.population(counts, w)
        predictions = {
            "last_window": ema.last_window(counts, w, MIN_LINES),
            "population": np.tile(base, (counts.users, 1)),
            "all_history": ema.all_history(counts, w),
            "ema_dirichlet": ema.with_dirichlet(ema.ema(counts, w), base),
        }
        for name, q in predictions.items():
            parts.setdefault(name, []).append(q[tested])
        truths.append(shares(counts.of_window(w))[tested])
        units.append(tested)
    p = np.concatenate(truths)
    methods = tuple(Method.fixed(name, _distances(p, np.concatenate(q))) for name, q in parts.items())
    return Comparison("floors_interests", "pooled", np.concatenate(units), methods, "all_history")


def interests_utc(
    behaviour: Behaviour, catalogue: Catalogue, as_of: date, answers: Mapping[str, Sequence[Floats]], groups: Mapping[str, Ints]
) -> Comparison | None:
    """The protocol of `_interests` for the model: one window, its users and its lines; None where no window begins at as_of.

    The model counts local days, so what it has seen of the window's first UTC day (the evening before as_of) is left out of the
    truth, for every method. It also counts items that do not count here, and a category may hold both kinds: its share is taken
    as that of the lines that count, by their part of all its lines before as_of, and renormalised.

    Args:
        answers: name → (users, categories) shares, one per training seed.
    """
    log = behaviour.where(behaviour.bought & (behaviour.item >= 0))
    kept = ~np.isin(catalogue.top, DROPPED) & (catalogue.main != catalogue.unknown_category)
    everything, log, start = log, log.where(kept[log.item]), day_number(as_of)
    number, rest = divmod(start - WINDOW_0, WINDOW_DAYS)
    if rest or number not in WINDOWS:
        return None
    counts = _counts(log, catalogue)
    full = np.stack([counts.of_window(w).sum(1) for w in range(number + 1)], axis=1) >= MIN_LINES
    truth = _counts(log.where(log.day >= start), catalogue).of_window(number)
    tested = np.flatnonzero(full[:, number] & full[:, :number].any(1) & (truth.sum(1) > 0))
    if not len(tested):
        return None
    p, base, recent = shares(truth)[tested], ema.population(counts, number), ema.ema(counts, number)
    strength = ema.best(counts, number, MIN_LINES, ema.STRENGTHS, ema.with_dirichlet)
    counting = {
        "all_history": ema.all_history(counts, number),
        "ema_dirichlet": ema.with_dirichlet(recent, base),
        "ema_dirichlet_tuned": ema.with_dirichlet(recent, base, strength),
    }
    methods = [Method.fixed(name, _distances(p, q[tested])) for name, q in counting.items()]
    before = [counted(catalogue.main[one.where(one.day < start).item], counts.categories) for one in (log, everything)]
    part = before[0] / np.maximum(before[1], 1)
    for name, runs in answers.items():
        found = tuple(tuple(_distances(p, shares(q * part)[tested])) for q in runs)
        methods.append(Method(name, found, len(runs)))
    return Comparison("interests_utc", as_of.isoformat(), tested, tuple(methods), "ema_dirichlet", groups=groups)


def _counts(log: Behaviour, catalogue: Catalogue) -> ema.Counts:
    """Lines per user × UTC window × category, from window 0 to the last of WINDOWS."""
    window = (log.utc_day - WINDOW_0) // WINDOW_DAYS
    inside = (window >= 0) & (window <= max(WINDOWS))
    cells = (log.user[inside], window[inside], catalogue.main[log.item][inside], np.ones(int(inside.sum())))
    return ema.Counts(*cells, len(log.users), len(catalogue.categories))


def _distances(p: Floats, q: Floats) -> list[Measure]:
    plain = {"js_bits": distribution.js_bits(p, q), "kl_bits": distribution.kl_bits(p, distribution.smoothed(q))}
    values = [per_user(m, v) for m, v in {**plain, "total_variation": distribution.total_variation(p, q)}.items()]
    return [*values, per_user("ndcg", distribution.graded_ndcg(p, q, K), K)]


def _value(log: Behaviour) -> Comparison:
    """Who buys in the 28 days from 2017-12-03, and how much."""
    past = log.where(log.utc_day < VALUE_ORIGIN)
    later = log.where((log.utc_day >= VALUE_ORIGIN) & (log.utc_day < VALUE_ORIGIN + WINDOW_DAYS))
    users = len(log.users)
    scored = money.rfm(past.user, past.utc_day, past.amount, np.ones(len(past.user), dtype=bool), VALUE_ORIGIN, users)
    tested = np.flatnonzero(scored.known)
    kept = scored.of(tested)
    buys = (counted(later.user, users) > 0).astype(np.float64)[tested]
    spend = summed(later.user, later.amount, users)[tested]

    def method(name: str, score: Floats) -> Method:
        return Method.fixed(
            name,
            [
                Measure("auc", 0, scores.auc, (buys, score)),
                Measure("ap_nonbuyers", 0, scores.average_precision, (1.0 - buys, -score)),
                Measure("ngini", 0, scores.normalised_gini, (spend, score)),
                Measure("decile_lift", 0, scores.decile_lift, (spend, score)),
            ],
        )

    methods = (method("recency", -kept.recency), method("rfm_sum", money.rfm_sum(kept)), method("spend_112d", kept.spend_112))
    return Comparison("floors_value", "2017-12-03", tested, methods, "rfm_sum")

"""Task items: do the lists hold what the next basket holds, as items and as categories?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial

import numpy as np

from equipoise.evaluate.arrays import Bools, Floats, Ints, counted, summed
from equipoise.evaluate.baselines import items as own
from equipoise.evaluate.behaviour import Behaviour, Catalogue, countable_trips
from equipoise.evaluate.bootstrap import Measure, per_user
from equipoise.evaluate.metrics import lists as beyond
from equipoise.evaluate.metrics import ranking
from equipoise.evaluate.table import Comparison, Method
from equipoise.evaluate.tasks.next_basket import NextBasket, list_measures, next_basket

BASELINE = "personal_decay"
CATEGORY = "category_"
"""Prefix of the metrics that compare categories instead of items."""


@dataclass(frozen=True)
class Lists:
    """Published lists on the evaluation's numbers, each (users, k): items, the category each stands for, exploring slots."""

    item: Ints
    category: Ints
    explore: Bools

    @property
    def k(self) -> int:
        return int(self.item.shape[1])


def baskets(
    behaviour: Behaviour, catalogue: Catalogue, excluded: tuple[str, ...], origin: int, end: int
) -> tuple[NextBasket, NextBasket]:
    """The next basket of every user, as items and as categories; items that do not count are left out of history and truth."""
    log = countable_trips(behaviour, catalogue, excluded, origin, end)
    users = len(log.users)
    row, category, _ = catalogue.expand(log.item)
    as_items = next_basket(log.user, log.item, log.day, origin, end, users, len(catalogue.items))
    as_categories = next_basket(log.user[row], category, log.day[row], origin, end, users, len(catalogue.categories))
    return as_items, as_categories


def comparison(
    pair: tuple[NextBasket, NextBasket],
    catalogue: Catalogue,
    published: Mapping[str, Lists],
    category_scores: Mapping[str, Floats],
    origin: date,
    k: int,
    groups: Mapping[str, Ints],
) -> Comparison:
    """Published lists and counting baselines on the next basket.

    Args:
        published: name → lists in which the model has a part.
        category_scores: name → (users, categories): what the model says of categories alone; it gets the category metrics.
    """
    as_items, as_categories = pair
    width, users = as_items.width, as_items.users

    def from_items(name: str, lists: Ints) -> Method:
        category = np.where(lists == ranking.EMPTY, ranking.EMPTY, catalogue.main[lists])
        shape = Lists(lists, category, np.zeros(lists.shape, dtype=bool))
        return Method.fixed(name, list_method_measures(pair, shape, catalogue))

    def counting(count: own.Count) -> Ints:
        keys, weight = count(as_items.user, as_items.code, as_items.day, width)
        return own.own_lists(keys, weight, as_items.popularity, users, width, k)

    def from_categories(name: str, scores: Floats, seeds: int | None = None) -> Method:
        lists = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        lists = np.where(np.take_along_axis(scores, lists, axis=1) > 0, lists, ranking.EMPTY)
        return Method(name, (tuple(list_measures(as_categories, lists, prefix=CATEGORY)),), seeds)

    def category_counts(count: own.Count) -> Floats:
        out = np.zeros(users * as_categories.width)
        keys, weight = count(as_categories.user, as_categories.code, as_categories.day, as_categories.width)
        out[keys] = weight
        return out.reshape(users, as_categories.width)

    methods = [
        *(Method(name, (tuple(list_method_measures(pair, lists, catalogue)),), 1) for name, lists in published.items()),
        from_items("g_top_freq", own.popular_lists(as_items.popularity, users, k)),
        from_items("p_top_freq", counting(own.frequency)),
        from_items(BASELINE, counting(own.decayed)),
        from_categories("category_top_freq", category_counts(own.frequency)),
        from_categories("category_decay", category_counts(own.decayed)),
        *(from_categories(name, scores, 1) for name, scores in category_scores.items()),
    ]
    return Comparison("items", origin.isoformat(), as_items.tested, tuple(methods), BASELINE, groups=groups)


def list_method_measures(pair: tuple[NextBasket, NextBasket], lists: Lists, catalogue: Catalogue) -> list[Measure]:
    """Measures of lists as items, as categories, and of what all lists together cover, over the tested users."""
    as_items, as_categories = pair
    tested, slots = as_items.tested, lists.explore[as_items.tested]
    found = list_measures(as_items, lists.item, slots=lists.explore)
    found += list_measures(as_categories, distinct(lists.category), prefix=CATEGORY)
    if slots.any():  # a slot explores a category, so it is asked in its own place, not in the list of distinct categories
        hits = ranking.matches(lists.category, as_categories.truth, as_categories.width)[tested]
        found.append(per_user(f"{CATEGORY}explore_slot_precision", ranking.precision_within(hits, slots), lists.k))
    sizes = {
        "catalogue_coverage": (_covered, lists.item, len(catalogue.items)),
        "category_coverage": (_covered, lists.category, len(catalogue.categories)),
        "exposure_gini": (_unequal, lists.item, len(catalogue.items)),
    }
    found += _variety(as_items, lists.item, catalogue)
    return found + [
        Measure(name, lists.k, partial(statistic, size=size), (shown[tested],), interval=False)
        for name, (statistic, shown, size) in sizes.items()
    ]


def _variety(basket: NextBasket, lists: Ints, catalogue: Catalogue) -> list[Measure]:
    """What the lists are like beyond hits, over the tested users."""
    shown, k = lists[basket.tested], lists.shape[1]
    shares = category_shares(shown, catalogue)
    owners = counted(basket.history % basket.width, basket.width)
    obvious = own.popular_lists(basket.popularity, 1, k)[0]
    hits = ranking.matches(lists, basket.truth, basket.width)[basket.tested]
    values = {
        "category_entropy_bits": beyond.entropy_bits(shares),
        "largest_category_share": beyond.largest_share(shares),
        "categories_shown": beyond.shown_categories(shares),
        "ild": beyond.diversity(category_shares(shown, catalogue, unit=True), (shown != ranking.EMPTY).sum(1)),
        "novelty_bits": beyond.novelty_bits(shown, owners, basket.users),
        "serendipity": beyond.serendipity(hits, shown, obvious),
    }
    return [per_user(name, value, k) for name, value in values.items()]


def _covered(weights: Floats, shown: Ints, size: int) -> Floats:
    """Share of the codes that any list shows; not a mean over users, so it has no interval."""
    return np.full(len(weights), ranking.coverage(shown, size))


def _unequal(weights: Floats, shown: Ints, size: int) -> Floats:
    """How unequally the codes are shown."""
    return np.full(len(weights), beyond.exposure_gini(shown, size))


def category_shares(shown: Ints, catalogue: Catalogue, *, unit: bool = False) -> Floats:
    """(n, categories) mean category weights of the items of each list (n, k); unit: Σ of weights scaled to length 1 per item."""
    users, width = len(shown), len(catalogue.categories)
    row, category, weight = catalogue.expand(shown.ravel())
    if unit:
        weight = weight / np.sqrt(summed(row, weight * weight, shown.size))[row]
    total = summed(row // shown.shape[1] * width + category, weight, users * width).reshape(users, width)
    out: Floats = total if unit else total / np.maximum((shown != ranking.EMPTY).sum(1), 1)[:, None]
    return out


def distinct(lists: Ints) -> Ints:
    """Each list with later repeats of a code taken out and the rest moved up; EMPTY fills the end."""
    order = np.argsort(lists, axis=1, kind="stable")
    ordered = np.take_along_axis(lists, order, axis=1)
    again = np.zeros(lists.shape, dtype=bool)
    np.put_along_axis(again, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    keep = np.where(again | (lists == ranking.EMPTY), ranking.EMPTY, lists)
    return np.take_along_axis(keep, np.argsort(keep == ranking.EMPTY, axis=1, kind="stable"), axis=1)

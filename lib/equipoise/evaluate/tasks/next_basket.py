"""The next basket of each user: the first trip on or after an origin, and how well a list of codes meets it.

A basket is a user × day; a code is an item or a category by number. Rows are distinct user × day × code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.evaluate.arrays import DAY_SPAN, Bools, Floats, Ints, counted
from equipoise.evaluate.bootstrap import Measure, per_user
from equipoise.evaluate.metrics import lists as beyond
from equipoise.evaluate.metrics import ranking

MIN_BASKETS = 2
"""Baskets before the origin that a user needs to be counted; colder users are another task."""


@dataclass(frozen=True)
class NextBasket:
    """Histories and truths of `users` users over `width` codes; keys are user · width + code.

    tested: users with a basket in the label window and MIN_BASKETS before. size, repeats: codes in the truth of each tested
    user, and how many of them are in their history. later: keys of all baskets in the label window; again: those in two or more.
    """

    users: int
    width: int
    user: Ints
    code: Ints
    day: Ints
    truth: Ints
    history: Ints
    tested: Ints
    size: Ints
    repeats: Ints
    first_day: Ints
    later: Ints
    again: Ints

    @property
    def popularity(self) -> Floats:
        """(width,): baskets of the history that hold each code."""
        return counted(self.code, self.width).astype(np.float64)


def next_basket(user: Ints, code: Ints, day: Ints, origin: int, end: int, users: int, width: int) -> NextBasket:
    """History: days before `origin`. Truth: each user's first day in [origin, end)."""
    rows = np.unique((user * width + code) * DAY_SPAN + day)
    keys, day = rows // DAY_SPAN, rows % DAY_SPAN
    user, code = keys // width, keys % width
    past, later = day < origin, (day >= origin) & (day < end)
    first = np.full(users, end, dtype=np.int64)
    np.minimum.at(first, user[later], day[later])
    baskets = counted(np.unique(user[past] * DAY_SPAN + day[past]) // DAY_SPAN, users)
    tested = np.flatnonzero((first < end) & (baskets >= MIN_BASKETS))
    truth, history = keys[later & (day == first[user])], np.unique(keys[past])
    size = counted(truth // width, users)[tested]
    repeats = counted(truth[np.isin(truth, history)] // width, users)[tested]
    taken, times = np.unique(keys[later], return_counts=True)
    own = (user[past], code[past], day[past])
    return NextBasket(users, width, *own, truth, history, tested, size, repeats, first, taken, taken[times > 1])


def list_measures(basket: NextBasket, lists: Ints, *, prefix: str = "", slots: Bools | None = None) -> list[Measure]:
    """Measures of lists (users, k) of codes, over the tested users.

    `explore` counts codes that are not in the user's history. slots (users, k): places that the method itself calls
    exploring; their precision is then a measure of its own.
    """
    shown = lists[basket.tested]
    hits = ranking.matches(lists, basket.truth, basket.width)[basket.tested]
    known = ranking.matches(lists, basket.history, basket.width)[basket.tested]
    taken, again = (ranking.matches(lists, keys, basket.width)[basket.tested] for keys in (basket.later, basket.again))
    new = ~known & (shown != ranking.EMPTY)
    values = {
        "ndcg": ranking.ndcg(hits, basket.size),
        "ndcg_full": ranking.ndcg_full(hits, basket.size),
        "recall": ranking.recall(hits, basket.size),
        "precision": ranking.precision(hits),
        "hit": ranking.hit(hits),
        "f1": beyond.f1(hits, basket.size),
        "mrr": beyond.reciprocal_rank(hits),
        "conversion": ranking.hit(taken),
        "comes_back": ranking.precision_within(again, taken),
        "recall_repeat": ranking.recall_within(hits, known, basket.repeats),
        "recall_explore": ranking.recall_within(hits, new, basket.size - basket.repeats),
        "explore_precision": ranking.precision_within(hits, new),
        "explore_share": new.mean(1),
        "repeat_share": known.mean(1),
    }
    if slots is not None and slots.any():
        values["explore_slot_precision"] = ranking.precision_within(hits, slots[basket.tested])
    return [per_user(prefix + name, value, lists.shape[1]) for name, value in values.items()]

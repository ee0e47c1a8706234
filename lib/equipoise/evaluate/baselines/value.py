"""Scores of users by recency, frequency and money, for any origin.

Rows of the history: user number, day, amount, and whether the row is part of a trip (a purchase, or any behaviour where
nothing is bought). Days count from a fixed day 0; only rows with day < origin are given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from equipoise.evaluate.arrays import DAY_SPAN, Bools, Floats, Ints, counted, summed

FIFTHS = 5
SPEND_DAYS = 112


@dataclass(frozen=True)
class Rfm:
    """Per user: days since the last trip, number of trips (distinct days), money in all and in the last 112 days."""

    known: Bools
    recency: Floats
    frequency: Floats
    monetary: Floats
    spend_112: Floats

    def of(self, users: Ints) -> Rfm:
        """The same of some users, in that order."""
        money = self.monetary[users], self.spend_112[users]
        return Rfm(self.known[users], self.recency[users], self.frequency[users], *money)


def rfm(user: Ints, day: Ints, amount: Floats, trip: Bools, origin: int, users: int) -> Rfm:
    """RFM at the origin; `known` marks users with at least one trip, the others stand at 0 trips and the longest recency."""
    days = np.unique(user[trip] * DAY_SPAN + day[trip])
    last = np.full(users, -1, dtype=np.int64)
    np.maximum.at(last, days // DAY_SPAN, days % DAY_SPAN)
    late = day >= origin - SPEND_DAYS
    return Rfm(
        known=last >= 0,
        recency=(origin - last).astype(np.float64),
        frequency=counted(days // DAY_SPAN, users).astype(np.float64),
        monetary=summed(user, amount, users),
        spend_112=summed(user[late], amount[late], users),
    )


def fifth(values: Floats) -> Floats:
    """Quintile score 1..5 of each value by mean rank, 5 the highest; ties share a score."""
    out: Floats = np.ceil(rankdata(values) / len(values) * FIFTHS)
    return out


def rfm_sum(one: Rfm) -> Floats:
    """Sum of the three quintile scores, 3..15 (Hughes 1994)."""
    return fifth(-one.recency) + fifth(one.frequency) + fifth(one.monetary)


def classes_by_share(score: Floats, class_shares: Floats) -> Ints:
    """Classes 0, 1, 2, … by rising score so that each class gets its share of the users; equal scores get one class.

    Gives a bare score the class sizes of the last known label window, so that it can be compared as a segmentation.
    """
    place = (rankdata(score) - 0.5) / len(score)
    out: Ints = np.searchsorted(np.cumsum(class_shares)[:-1], place, side="right").astype(np.int64)
    return out

"""What lists are like beyond hits: variety within a list, novelty, and how exposure is spread; one value per user unless said.

Letters: n users, k places, c categories. A place left empty shows nothing and has no part in any of these.
"""

from __future__ import annotations

import numpy as np

from equipoise.evaluate.arrays import Bools, Floats, Ints, counted
from equipoise.evaluate.metrics.ranking import EMPTY, precision, recall


def f1(hits: Bools, truth: Ints) -> Floats:
    """Harmonic mean of precision and recall; 0 without a hit, NaN: empty truth (van Rijsbergen 1979)."""
    p, r = precision(hits), recall(hits, truth)
    out: Floats = 2 * p * r / np.where(p + r == 0, 1.0, p + r)
    return out


def reciprocal_rank(hits: Bools) -> Floats:
    """1 ÷ the first place that hits, 0 where none does; its mean is MRR (Voorhees 1999)."""
    return np.where(hits.any(1), 1.0 / (hits.argmax(1) + 1.0), 0.0)


def largest_share(shares: Floats) -> Floats:
    """Largest of a list's category shares (n, c); NaN: an empty list."""
    out: Floats = np.where(shares.any(1), shares.max(1, initial=0.0), np.nan)
    return out


def entropy_bits(shares: Floats) -> Floats:
    """−Σ s log2 s over a list's category shares (n, c); NaN: an empty list."""
    terms = shares * np.log2(np.where(shares > 0, shares, 1.0))
    return np.where(shares.any(1), -terms.sum(1) + 0.0, np.nan)


def shown_categories(shares: Floats) -> Floats:
    """How many categories have a part in a list (n, c)."""
    out: Floats = (shares > 0).sum(1).astype(np.float64)
    return out


def diversity(units: Floats, places: Ints) -> Floats:
    """Mean over pairs of a list's items of 1 − cosine of their category weights (Ziegler et al., WWW 2005, with this distance).

    Σ over pairs of the cosines follows from the length of the sum of the unit vectors, so no pair is looked at.

    Args:
        units: (n, c) Σ over the list of category weights, each item's scaled to length 1.
        places: (n,) items in the list; NaN below two.
    """
    pairs = places * (places - 1.0)
    cosines = ((units * units).sum(1) - places) / np.where(pairs > 0, pairs, 1.0)
    return np.where(pairs > 0, 1.0 - cosines, np.nan)


def novelty_bits(lists: Ints, owners: Ints, users: int) -> Floats:
    """Mean over places of −log2 of the share of users who had the item, (owners + 1) ÷ (users + 1) (Vargas & Castells, RecSys
    2011); NaN: an empty list.

    Args:
        owners: (items,) users with the item in their history.
    """
    information = -np.log2((owners + 1.0) / (users + 1.0))
    shown = lists != EMPTY
    total = np.where(shown, information[np.where(shown, lists, 0)], 0.0).sum(1)
    return np.where(shown.any(1), total / np.maximum(shown.sum(1), 1), np.nan)


def serendipity(hits: Bools, lists: Ints, obvious: Ints) -> Floats:
    """Share of the k places that hit with something not among the `obvious` codes, such as what is popular with everybody
    (Ge, Delgado-Battenfeld & Jannach, RecSys 2010)."""
    out: Floats = (hits & ~np.isin(lists, obvious)).mean(1)
    return out


def exposure_gini(lists: Ints, catalogue: int) -> float:
    """Gini coefficient of how often each code of the catalogue is shown, one number for all lists: 0 alike, 1 one alone."""
    counts = np.sort(counted(lists[lists != EMPTY], catalogue)).astype(np.float64)
    total = counts.sum()
    if not total:
        return float("nan")
    place = np.arange(1, catalogue + 1)
    return float((2 * place - catalogue - 1) @ counts / (catalogue * total))

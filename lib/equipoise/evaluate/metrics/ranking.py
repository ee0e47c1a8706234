"""Accuracy of ranked lists: one value per user.

hits (n, k) says which places of the list are in the truth; places beyond the end of a short list are False.
Both forms of NDCG are given, since public code divides by different ideals: RecBole by min(|T|, k) places (`ndcg`), the
next-basket papers by all |T| (`ndcg_full`).
"""

from __future__ import annotations

import numpy as np

from equipoise.evaluate.arrays import Bools, Floats, Ints

EMPTY = -1
"""Code of a place without an item."""


def ndcg(hits: Bools, truth: Ints) -> Floats:
    """Discounted gain ÷ the gain of the best list of k places. Järvelin & Kekäläinen 2002, binary gains; NaN: empty truth."""
    return _ndcg(hits, np.minimum(truth, hits.shape[1]))


def ndcg_full(hits: Bools, truth: Ints) -> Floats:
    """Discounted gain ÷ the gain of a list as long as the truth; below 1 even for the best k places when |T| > k."""
    return _ndcg(hits, truth)


def _ndcg(hits: Bools, places: Ints) -> Floats:
    discounts = 1.0 / np.log2(np.arange(max(hits.shape[1], int(places.max(initial=0)))) + 2.0)
    ideal = np.concatenate([[np.nan], np.cumsum(discounts)])
    out: Floats = (hits @ discounts[: hits.shape[1]]) / ideal[places]
    return out


def recall(hits: Bools, truth: Ints) -> Floats:
    """Share of the truth that the list holds; NaN: empty truth."""
    out: Floats = hits.sum(1) / _or_nan(truth)
    return out


def precision(hits: Bools) -> Floats:
    """Share of the k places that are in the truth; a place left empty counts as a miss."""
    out: Floats = hits.mean(1)
    return out


def hit(hits: Bools) -> Floats:
    """1 when any place is in the truth; its mean is the personal hit ratio (PHR)."""
    out: Floats = hits.any(1).astype(np.float64)
    return out


def recall_within(hits: Bools, kind: Bools, truth_of_kind: Ints) -> Floats:
    """Recall of one kind of item (repeat: in the user's history, or explore: new to the user); NaN: none in the truth.

    Li et al. 2023 (A Next Basket Recommendation Reality Check), Recall-rep and Recall-expl.
    """
    out: Floats = (hits & kind).sum(1) / _or_nan(truth_of_kind)
    return out


def precision_within(hits: Bools, kind: Bools) -> Floats:
    """Share of the places of one kind that are in the truth; NaN: no place of that kind."""
    out: Floats = (hits & kind).sum(1) / _or_nan(kind.sum(1))
    return out


def matches(lists: Ints, keys: Ints, width: int) -> Bools:
    """Which places (n, k) of the lists hold one of `keys` = row · width + code; EMPTY places hold nothing."""
    rows = np.arange(len(lists), dtype=np.int64)[:, None]
    out: Bools = np.isin(rows * width + lists, keys) & (lists != EMPTY)
    return out


def _or_nan(counts: Ints) -> Floats:
    return np.where(counts > 0, counts, np.nan)


def coverage(lists: Ints, catalogue: int) -> float:
    """Share of the catalogue (items or categories) that at least one list shows."""
    return float(len(np.unique(lists[lists != EMPTY])) / max(catalogue, 1))

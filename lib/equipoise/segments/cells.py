"""What users of an RFM cell did next: the usual segmentation as a predictor, and what is published where nothing beats it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from equipoise.segments.history import Floats, History, Ints
from equipoise.segments.signals import SIGNALS, known_at, signals_at
from equipoise.segments.worth import Ladder, Told, labels_at

FIFTHS = 5
PRIOR = 10.0
"""Users of everybody that a cell's mean is shrunk by: a cell of ten counts by half."""

OUTCOMES = 5
"""Columns of what is averaged: class O, interest, buy, a purchase, money."""


@dataclass(frozen=True)
class Cells:
    """means (125, OUTCOMES) per cell r · 25 + f · 5 + m."""

    means: Floats
    amounts: bool

    def told(self, x: Floats) -> Told:
        """Of users with SIGNALS (n, S), in the order of their ids, cut into fifths among themselves: x holds the whole
        population."""
        found = self.means[cells(x)]
        return Told(found[:, :3], found[:, 3], found[:, 4] if self.amounts else None)


def cells(x: Floats) -> Ints:
    """(n,) cell r · 25 + f · 5 + m of SIGNALS (n, S), fifths 0..4 among the rows, 4 the best; ties as in `rfm.rfm`, then by
    row."""
    column = {name: x[:, i] for i, name in enumerate(SIGNALS)}
    recent, often, money = -column["recency"], column["trips"], column["spend"]
    r, f, m = _fifth(recent, often, money), _fifth(often, money, recent), _fifth(money, often, recent)
    return np.asarray(r * 25 + f * 5 + m)


def fit_cells(history: History, cuts: Sequence[int], *, days: int, ladder: Ladder, threshold: float, amounts: bool) -> Cells:
    """Means of what happened after the cuts, per cell, shrunk to those of all.

    Raises:
        ValueError: when nobody is known at any cut.
    """
    cell, outcome = [], []
    for cut in cuts:
        known = known_at(history, cut)
        seen = labels_at(history, cut, days, ladder, threshold).of(known)
        cell.append(cells(signals_at(history, cut)[known]))
        outcome.append(np.column_stack([np.eye(3)[seen.label], seen.buys, seen.spend]))
    at, y = np.concatenate(cell), np.concatenate(outcome)
    if not len(at):
        raise ValueError(f"nobody is known at any of the {len(cuts)} cuts that RFM cells are to be judged at")
    sums = np.stack([np.bincount(at, weights=y[:, k], minlength=FIFTHS**3) for k in range(OUTCOMES)], axis=1)
    number = np.bincount(at, minlength=FIFTHS**3)[:, None]
    return Cells((sums + PRIOR * y.mean(axis=0)) / (number + PRIOR), amounts)


def captured(spend: Floats, score: Floats, share: float = 0.1) -> float:
    """Part of all spend that the highest `share` of users by score brings; users of one score count as in any order, on
    average.

    NaN where nobody spends.
    """
    order, most = np.argsort(-score, kind="stable"), share * len(score)
    ranked, sums = score[order], spend[order]
    edges = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    size = np.diff(np.r_[edges, len(ranked)])
    money = np.add.reduceat(sums, edges) if len(edges) else np.zeros(0)
    taken = np.clip(most - edges, 0, size)  # users of each tie that fit
    total = float(spend.sum())
    return float((money * taken / size).sum() / total) if total > 0 else float("nan")


def _fifth(*keys: Floats) -> Ints:
    """Fifth of a row by the first key, ties by the next."""
    out = np.empty(len(keys[0]), dtype=np.int64)
    out[np.lexsort(keys[::-1])] = FIFTHS * np.arange(len(out)) // max(1, len(out))
    return out

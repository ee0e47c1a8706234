"""How well a score per row orders or predicts an outcome: statistics of all rows, one value per resample.

weights (r, n): how often each row counts, 0 leaves it out. Tied scores are handled as the mean over their orders.
"""

from __future__ import annotations

import numpy as np

from equipoise.evaluate.arrays import Floats

ECE_BINS = 10
TOP_SHARE = 0.1


def mean(weights: Floats, values: Floats) -> Floats:
    """Weighted mean over the rows whose value is not NaN; NaN when there is none."""
    known = ~np.isnan(values)
    return ratio(weights @ np.where(known, values, 0.0), weights @ known.astype(np.float64))


def auc(weights: Floats, label: Floats, score: Floats) -> Floats:
    """Area under the ROC curve: the chance that a positive row outscores a negative one, ties half; NaN: one class only."""
    positive, negative = _grouped(weights, score, label, 1.0 - label)
    above = np.cumsum(positive, axis=1) - positive / 2.0
    return ratio((negative * above).sum(1), positive.sum(1) * negative.sum(1))


def average_precision(weights: Floats, label: Floats, score: Floats) -> Floats:
    """Σ (recall step × precision) over descending score thresholds, without interpolation; NaN: no positive row."""
    positive, negative = _grouped(weights, score, label, 1.0 - label)
    found = np.cumsum(positive, axis=1)
    precision = found / np.maximum(found + np.cumsum(negative, axis=1), 1e-300)
    return ratio((positive * precision).sum(1), positive.sum(1))


def normalised_gini(weights: Floats, amount: Floats, score: Floats) -> Floats:
    """Gini coefficient of `amount` in the order of the score ÷ that in its own order: 1 is a perfect ranking, 0 a random one.

    Wang, Liu & Miao 2019 (ZILN), §4; the areas are exact (trapezoids), so tied scores count as any order among them.
    """
    return ratio(_gini(weights, amount, score), _gini(weights, amount, amount))


def _gini(weights: Floats, amount: Floats, score: Floats) -> Floats:
    rows, total = _grouped(weights, score, np.ones_like(amount), amount)
    captured = np.cumsum(total, axis=1)
    area = (rows * (captured - total / 2.0)).sum(1)
    return 2.0 * ratio(area, rows.sum(1) * total.sum(1)) - 1.0


def captured(weights: Floats, amount: Floats, score: Floats, share: float) -> Floats:
    """Part of all `amount` that the `share` of rows with the highest score hold; a tied group enters in part."""
    rows, total = _grouped(weights, score, np.ones_like(amount), amount)
    room = share * rows.sum(1, keepdims=True) - (np.cumsum(rows, axis=1) - rows)
    part = np.clip(room, 0.0, rows) / np.maximum(rows, 1e-300)
    return ratio((part * total).sum(1), total.sum(1))


def decile_lift(weights: Floats, amount: Floats, score: Floats) -> Floats:
    """Mean amount in the tenth of rows with the highest score ÷ mean amount of all; a tied group enters in part."""
    return captured(weights, amount, score, TOP_SHARE) / TOP_SHARE


def mean_in_bin(weights: Floats, values: Floats, score: Floats, which: int) -> Floats:
    """Mean of the values over the rows in bin `which` (0..9) of `equal_mass_bins` by score; NaN: the bin is empty."""
    return mean(weights * (equal_mass_bins(score) == which), values)


def true_positive_rate(weights: Floats, label: Floats, score: Floats, at: float) -> Floats:
    """Height of the ROC curve at the false-positive rate `at`; straight lines join its corners."""
    positive, negative = _grouped(weights, score, label, 1.0 - label)
    room = at * negative.sum(1, keepdims=True) - (np.cumsum(negative, axis=1) - negative)
    part = np.where(negative > 0, np.clip(room, 0.0, negative) / np.where(negative > 0, negative, 1.0), room >= 0)
    return ratio((part * positive).sum(1), positive.sum(1))


def brier(weights: Floats, label: Floats, probability: Floats) -> Floats:
    """Mean squared error of a probability (Brier 1950, one class)."""
    return mean(weights, (probability - label) ** 2)


def calibration_error(weights: Floats, label: Floats, probability: Floats) -> Floats:
    """ECE: Σ over tenths of the rows by probability |Σ weights (p − y)| ÷ Σ weights.

    Read it beside `calibration_null`: a perfect model's is not 0.
    """
    member = (equal_mass_bins(probability)[:, None] == np.arange(ECE_BINS)).astype(np.float64)
    gaps = weights @ (member * (probability - label)[:, None])
    return ratio(np.abs(gaps).sum(1), weights.sum(1))


def equal_mass_bins(probability: Floats) -> Floats:
    """Bin 0..9 of each row: tenths of the rows by rising probability; equal probabilities share a bin."""
    ordered = np.sort(probability)
    out: Floats = np.floor(np.searchsorted(ordered, probability, side="left") * ECE_BINS / max(len(ordered), 1))
    return out


def calibration_null(probability: Floats, draws: int, seed: int) -> tuple[float, float]:
    """Mean and 95th percentile of the ECE that a perfect model would show: outcomes drawn from the probabilities themselves."""
    rng = np.random.default_rng(seed)
    bins = equal_mass_bins(probability)
    member = (bins[:, None] == np.arange(ECE_BINS)).astype(np.float64)
    errors = np.empty(draws)
    for i in range(draws):
        gap = probability - (rng.random(len(probability)) < probability)
        errors[i] = np.abs(gap @ member).sum() / len(probability)
    return float(errors.mean()), float(np.quantile(errors, 0.95))


def _grouped(weights: Floats, score: Floats, *values: Floats) -> list[Floats]:
    """Σ weights · value (r, g) per group of equal scores, highest score first."""
    order = np.argsort(-score, kind="stable")
    falling = score[order]
    starts = np.flatnonzero(np.concatenate([[True], falling[1:] != falling[:-1]]))
    sorted_weights = weights[:, order]
    if len(starts) == len(order):
        return [sorted_weights * v[order] for v in values]
    return [np.add.reduceat(sorted_weights * v[order], starts, axis=1) for v in values]


def ratio(above: Floats, below: Floats) -> Floats:
    """above ÷ below; NaN where below is 0."""
    out: Floats = above / np.where(below != 0, below, np.nan)
    return out

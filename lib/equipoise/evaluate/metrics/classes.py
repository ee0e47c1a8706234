"""How well one class of several is named: statistics of all rows, one value per resample."""

from __future__ import annotations

import numpy as np

from equipoise.evaluate.arrays import Floats


def confusion(weights: Floats, label: Floats, predicted: Floats, classes: int) -> Floats:
    """(r, true, predicted): weight of the rows of each true and predicted class."""
    cell = label * classes + predicted
    member = (cell[:, None] == np.arange(classes * classes)).astype(np.float64)
    out: Floats = (weights @ member).reshape(len(weights), classes, classes)
    return out


def class_precision(weights: Floats, label: Floats, predicted: Floats, classes: int, of: int) -> Floats:
    """Share of the rows called class `of` that are; 0 when none is called so (as scikit-learn's zero_division=0)."""
    table = confusion(weights, label, predicted, classes)
    return _or_zero(table[:, of, of], table[:, :, of].sum(1))


def class_recall(weights: Floats, label: Floats, predicted: Floats, classes: int, of: int) -> Floats:
    """Share of the rows of class `of` that are called so; 0 when there is none."""
    table = confusion(weights, label, predicted, classes)
    return _or_zero(table[:, of, of], table[:, of, :].sum(1))


def class_f1(weights: Floats, label: Floats, predicted: Floats, classes: int, of: int) -> Floats:
    """Harmonic mean of precision and recall of class `of`; 0 when it neither occurs nor is named."""
    table = confusion(weights, label, predicted, classes)
    return _or_zero(2.0 * table[:, of, of], table[:, :, of].sum(1) + table[:, of, :].sum(1))


def macro_f1(weights: Floats, label: Floats, predicted: Floats, classes: int) -> Floats:
    """Mean over the classes of their F1, every class alike."""
    out: Floats = np.mean([class_f1(weights, label, predicted, classes, of) for of in range(classes)], axis=0)
    return out


def accuracy(weights: Floats, label: Floats, predicted: Floats) -> Floats:
    """Share of the rows whose class is named rightly."""
    out: Floats = (weights @ (label == predicted).astype(np.float64)) / weights.sum(1)
    return out


def _or_zero(above: Floats, below: Floats) -> Floats:
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), 0.0)

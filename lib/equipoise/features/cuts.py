"""Cut dates: where features end and labels begin."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from equipoise.errors import EquipoiseError


@dataclass(frozen=True)
class Cuts:
    """Window boundaries that give examples: `train` rising, `validation` later than every training label."""

    train: list[date]
    validation: date


def cut_dates(origin: date, window_days: int, as_of: date, training_cuts: int, label_days: int | None = None) -> Cuts:
    """The cuts that an as-of date leaves, boundaries being origin + k · window_days with k ≥ 1.

    Validation: the last boundary whose label window of `label_days` (default: one window) ends at or before `as_of`.
    Training: the latest `training_cuts` boundaries whose label windows end at or before the validation cut, so that no
    label of training lies in validation and none of either at or after `as_of`.

    Raises:
        EquipoiseError: when `as_of` leaves no training cut.
    """
    labels = label_days or window_days
    validation = _boundary(origin, window_days, as_of - timedelta(days=labels))
    last = _boundary(origin, window_days, validation - timedelta(days=labels))
    steps = (last - origin).days // window_days
    if steps < 1:
        behind = -(-labels // window_days) * window_days
        earliest = origin + timedelta(days=window_days + behind + labels)
        raise EquipoiseError(
            f"as_of {as_of} leaves no training cut: with windows.origin {origin}, windows of {window_days} "
            f"and labels of {labels} days it must be {earliest} or later; "
            "take a later --as-of, an earlier windows.origin or a shorter windows.days"
        )
    first = max(1, steps - training_cuts + 1)
    return Cuts([origin + timedelta(days=k * window_days) for k in range(first, steps + 1)], validation)


def _boundary(origin: date, window_days: int, day: date) -> date:
    return origin + timedelta(days=(day - origin).days // window_days * window_days)

"""What a number usually is, how far it may stray, and what is said of it when it does. Knows no Spark."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MAD_TO_SIGMA = 1.4826
"""Median absolute deviation → standard deviation, where errors are normal (Rousseeuw & Croux 1993)."""

OK, WARN, FAIL, UNKNOWN = "ok", "warn", "fail", "unknown"
ASKS_TRAINING = frozenset({"category_mix", "score_drift", "calibration"})
"""Monitors that ask for a fine-tuning when they are not ok: users, or what is said of them, have changed."""


class Band(NamedTuple):
    """What is usual, and the ends beyond which warn and fail begin; None: no end on that side."""

    usual: float
    warn_low: float | None = None
    warn_high: float | None = None
    fail_low: float | None = None
    fail_high: float | None = None

    def judge(self, value: float) -> str:
        """ok, warn or fail; an end itself is still inside."""
        if _outside(value, self.fail_low, self.fail_high):
            return FAIL
        return WARN if _outside(value, self.warn_low, self.warn_high) else OK


def _outside(value: float, low: float | None, high: float | None) -> bool:
    return (low is not None and value < low) or (high is not None and value > high)


@dataclass(frozen=True)
class Reading:
    """One row of ops.monitors before its stamps; `band` None: there is too little to compare with, and `message` says what."""

    day: date
    monitor: str
    subject: str
    value: float | None
    band: Band | None
    message: str
    forced: str | None = None
    """Status where it does not come from a band."""
    trainable: bool = True
    """Whether a fine-tuning could mend it; not where it comes from a model that was just promoted."""

    @property
    def status(self) -> str:
        if self.forced is not None:
            return self.forced
        return UNKNOWN if self.band is None or self.value is None else self.band.judge(self.value)

    @property
    def alarms(self) -> bool:
        return self.status in (WARN, FAIL)

    @property
    def asks_training(self) -> bool:
        return self.alarms and self.trainable and self.monitor in ASKS_TRAINING


def around(usual: float, spread: float, sigmas: tuple[float, float], *, least: float | None = None) -> Band:
    """A band of warn and fail sigmas on both sides; ends below `least` fall away, since no value can be there."""
    warn, fail = sigmas

    def low(k: float) -> float | None:
        end = usual - k * spread
        return None if least is not None and end <= least else end

    return Band(usual, low(warn), usual + warn * spread, low(fail), usual + fail * spread)


def spread_of(residuals: Floats, floor: float) -> float:
    """Robust standard deviation of residuals around 0: MAD_TO_SIGMA · their median size, at least `floor`."""
    return max(MAD_TO_SIGMA * float(np.median(np.abs(residuals))), floor)

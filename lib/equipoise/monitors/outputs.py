"""Monitors of what goes out: scores against the night published before, predictions against what came of them. Knows no Spark."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from equipoise.monitors.bands import Band, Floats, Reading
from equipoise.monitors.inputs import ALL, js_bits

CALIBRATION_BINS = 10
NULL_DRAWS = 200
"""Draws of outcomes from the probabilities themselves: how far off a perfect model would look."""

FEWEST_USERS = 100
"""Users whose labels have matured that calibration needs."""


@dataclass(frozen=True)
class OutputLimits:
    """Ends beyond which warn and fail begin; every field is a setting of the same name."""

    score_bits: tuple[float, float]
    segment_change: tuple[float, float]
    calibration_gap: tuple[float, float]
    seed: int


def score_drift(
    now: pd.Series[float], before: pd.Series[float] | None, day: date, limits: OutputLimits, *, same_model: bool
) -> Reading:
    """Jensen–Shannon divergence (bits) of the mean predicted shares of categories from those of the night published before.

    Asks for a training only where both nights were scored by the `same_model`: what another one moved is no drift of the users.
    """
    if before is None or before.empty:
        return Reading(day, "score_drift", ALL, None, None, "no night was published before this one")
    both = pd.concat([now, before], axis=1).fillna(0.0).to_numpy(np.float64)
    value = js_bits(both[:, 0], both[:, 1])
    warn, fail = limits.score_bits
    why = "other users, by the same model" if same_model else "another model; look at make models"
    told = (
        f"mean predicted shares are {value:.4f} bits from those published before; expected at most {warn}: "
        f"{why}; compare gold.user_interests of both dates"
    )
    return Reading(day, "score_drift", ALL, value, Band(0.0, warn_high=warn, fail_high=fail), told, trainable=same_model)


def segment_mix(now: pd.Series[int], before: pd.Series[int] | None, day: date, limits: OutputLimits) -> Reading:
    """Total variation of the shares of segments from those of the night published before: users who would have to move."""
    if before is None or before.empty:
        return Reading(day, "segment_mix", ALL, None, None, "no night was published before this one")
    both = pd.concat([now / max(now.sum(), 1), before / max(before.sum(), 1)], axis=1).fillna(0.0).to_numpy(np.float64)
    value = float(0.5 * np.abs(both[:, 0] - both[:, 1]).sum())
    warn, fail = limits.segment_change
    told = f"{value:.1%} of the users would have to move for the segments to be as published before; expected at most {warn:.0%}"
    return Reading(day, "segment_mix", ALL, value, Band(0.0, warn_high=warn, fail_high=fail), told)


def coverage(users: int, there: int, table: str, day: date) -> Reading:
    """Share of the users of feature.user_profile who have a row in a gold table: all of them, or something got lost."""
    if not users:
        return Reading(day, "coverage", table, None, None, "feature.user_profile has no user", forced="fail")
    value = there / users
    told = f"{there:,} of {users:,} users have rows in {table}; expected all: run the job that writes it again"
    return Reading(day, "coverage", table, value, Band(1.0, fail_low=1.0, fail_high=1.0), told)


def calibration(p: Floats, happened: Floats, of: date, day: date, limits: OutputLimits) -> Reading:
    """Calibration error of the chance to buy that was published as of `of`, now that its horizon is over.

    Mean over tenths of the users of |said − seen|, less what a perfect model shows in one of twenty draws. Of a large base the
    users are a sample, see `counts.matured`.
    """
    if len(p) < FEWEST_USERS:
        told = f"labels of {len(p)} users as of {of} have matured; needs {FEWEST_USERS}"
        return Reading(day, "calibration", "p_buys", None, None, told)
    rng = np.random.default_rng(limits.seed)
    chance = float(np.quantile([_error(p, (rng.random(len(p)) < p).astype(np.float64)) for _ in range(NULL_DRAWS)], 0.95))
    value = _error(p, happened)
    warn, fail = (chance + gap for gap in limits.calibration_gap)
    told = (
        f"published as of {of}: {p.mean():.1%} of {len(p):,} users were said to buy, {happened.mean():.1%} did; calibration "
        f"error {value:.4f}, of a perfect model up to {chance:.4f}: learn the value anew, fine-tune anew"
    )
    return Reading(day, "calibration", "p_buys", value, Band(chance, warn_high=warn, fail_high=fail), told)


def _error(p: Floats, happened: Floats) -> float:
    """Expected calibration error over CALIBRATION_BINS bins of as many users each, by rising probability."""
    order = np.argsort(p, kind="stable")
    gaps = (p - happened)[order]
    return float(sum(abs(part.sum()) for part in np.array_split(gaps, CALIBRATION_BINS)) / len(p))

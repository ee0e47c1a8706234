"""Monitors of what comes in, day by day: does the latest day look like the days before it? Knows no Spark.

Letters: n days in a row, the last of them the one before as-of; c categories.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from equipoise.monitors.bands import Band, Floats, Reading, around, spread_of

WEEK, SAME_WEEKDAYS, FEWEST_WEEKDAYS = 7, 6, 3
"""A day is expected to be as the median of so many same weekdays before it; with fewer than the last nothing is expected."""

RESIDUAL_DAYS, FEWEST_RESIDUALS = 56, 14
"""Days whose own misses say how far a day may stray, and how few of them will do."""

REFERENCE_DAYS = 56
"""Days before a week that its mix of categories is compared with."""

VOLUME_FLOOR, NULL_FLOOR = 0.05, 0.002
"""Least spread: of the log of a count, of a share of nulls. Smaller ones are luck in a quiet stretch."""

FEWEST_ROWS = 30
"""Rows a day, in the middle, that an event type needs to be told of."""

SHUFFLES, NOISE = 200, 0.99
"""Draws of a week from its own and its reference days, and the quantile of their divergence that is taken for noise."""

ALL = "all"


@dataclass(frozen=True)
class Limits:
    """Sigmas (or days, or shares) beyond which warn and fail begin; every field is a setting of the same name."""

    told_days: int
    late_days: tuple[int, int]
    volume_sigmas: tuple[float, float]
    null_sigmas: tuple[float, float]
    null_change: float
    mix_sigmas: tuple[float, float]
    seed: int


def freshness(days: pd.Series[int], as_of: date, limits: Limits) -> Reading:
    """Days between the last day with events and the one before as-of. `days`: events by day, in order."""
    newest = days[days > 0].index.max() if (days > 0).any() else None
    yesterday = as_of - timedelta(days=1)
    if newest is None:
        told = f"no event before {as_of}; expected some: look at the source's path and at data_until"
        return Reading(yesterday, "freshness", ALL, None, None, told, forced="fail")
    late = (yesterday - newest).days
    band = Band(0.0, warn_high=float(limits.late_days[0]), fail_high=float(limits.late_days[1]))
    told = (
        f"newest event is of {newest}, {late} days before the last day; at most {limits.late_days[0]} expected: is the feed late?"
    )
    return Reading(yesterday, "freshness", ALL, float(late), band, told)


def volume(days: pd.Series[int], subject: str, limits: Limits) -> Iterator[Reading]:
    """Events of each told day against the same weekdays before it, on a log scale."""
    logs = np.log1p(days.to_numpy(np.float64))
    expected = _same_weekdays(logs)
    missed = logs - expected
    for at in _told(len(days), limits):
        day, seen = days.index[at], int(days.iloc[at])
        recent = missed[max(0, at - RESIDUAL_DAYS) : at]
        recent = recent[np.isfinite(recent)]
        if len(recent) < FEWEST_RESIDUALS or not np.isfinite(expected[at]):
            yield Reading(day, "volume", subject, float(seen), None, f"{seen:,} events; too few days before to expect a number")
            continue
        usual = float(np.expm1(expected[at]))
        spread = spread_of(recent, max(VOLUME_FLOOR, 1.0 / np.sqrt(usual + 1.0)))
        band = around(float(expected[at]), spread, limits.volume_sigmas)
        ends = (None if e is None else max(0.0, float(np.expm1(e))) for e in band[1:])
        told = f"{seen:,} events of {subject}; expected about {usual:,.0f}, as on the same weekdays before: look at the feed"
        yield Reading(day, "volume", subject, float(seen), Band(usual, *ends), told)


def nulls(rows: pd.Series[int], empty: pd.Series[int], subject: str, limits: Limits) -> Iterator[Reading]:
    """Share of rows without a value against the days before; days with fewer than FEWEST_ROWS rows are not judged.

    A share changes by at least `null_change` before anybody is told.
    """
    number = rows.to_numpy(np.float64)
    share = np.where(number > 0, empty.to_numpy(np.float64) / np.maximum(number, 1.0), np.nan)
    enough = number >= FEWEST_ROWS
    for at in _told(len(rows), limits):
        if not enough[at]:
            continue
        before = share[max(0, at - RESIDUAL_DAYS) : at][enough[max(0, at - RESIDUAL_DAYS) : at]]
        day, seen = rows.index[at], float(share[at])
        if len(before) < FEWEST_RESIDUALS:
            yield Reading(day, "nulls", subject, seen, None, f"{seen:.2%} without a value; too few days before to compare with")
            continue
        usual = float(np.median(before))
        chance = np.sqrt(max(usual * (1.0 - usual), 0.0) / number[at])
        spread = max(spread_of(before - usual, NULL_FLOOR), chance)
        spread = max(spread, limits.null_change / limits.null_sigmas[0])
        band = around(usual, spread, limits.null_sigmas, least=0.0)
        told = f"{seen:.2%} of {subject} without a value; expected about {usual:.2%}: has the source's schema changed?"
        yield Reading(day, "nulls", subject, seen, band, told)


def category_mix(counts: pd.DataFrame, limits: Limits) -> Iterator[Reading]:
    """Jensen–Shannon divergence (bits) of the last seven days' mix of categories from that of the REFERENCE_DAYS before.

    Told when it is above what weeks of the same days, shuffled, differ by (NOISE of SHUFFLES draws), and above what weeks
    lately did differ by. `counts`: (n days, c categories).
    """
    table = counts.to_numpy(np.float64)
    apart = np.array([_apart(table, at) for at in range(len(table))])
    rng = np.random.default_rng(limits.seed)
    for at in _told(len(table), limits):
        day, seen = counts.index[at], float(apart[at])
        before = apart[max(0, at - WEEK - RESIDUAL_DAYS) : max(0, at - WEEK + 1)]  # weeks that share no day with this one
        before = before[np.isfinite(before)]
        if not np.isfinite(seen) or len(before) < FEWEST_RESIDUALS:
            told = f"too few days: needs {REFERENCE_DAYS + 2 * WEEK + FEWEST_RESIDUALS} with events before"
            yield Reading(day, "category_mix", ALL, seen if np.isfinite(seen) else None, None, told)
            continue
        usual = float(np.median(before))
        drifted = around(usual, spread_of(before - usual, 0.05 * usual), limits.mix_sigmas)
        noise = _noise(table, at, rng)
        assert drifted.warn_high is not None and drifted.fail_high is not None
        warn = max(noise, drifted.warn_high)
        band = Band(usual, warn_high=warn, fail_high=max(drifted.fail_high, warn))
        told = (
            f"mix of categories of the last week is {seen:.4f} bits from the {REFERENCE_DAYS} days before; usually {usual:.4f}, "
            f"by chance up to {noise:.4f}: users have turned, or the catalogue has: look at v_current_interests, fine-tune anew"
        )
        yield Reading(day, "category_mix", ALL, seen, band, told)


def js_bits(a: Floats, b: Floats) -> float:
    """Jensen–Shannon divergence of two tables of counts or shares, in bits; NaN where one is empty."""
    if a.sum() <= 0 or b.sum() <= 0:
        return float("nan")
    p, q = a / a.sum(), b / b.sum()
    middle = 0.5 * (p + q)

    def part(x: Floats) -> float:
        some = x > 0
        return float(np.sum(x[some] * np.log2(x[some] / middle[some])))

    return max(0.0, 0.5 * part(p) + 0.5 * part(q))


def _same_weekdays(logs: Floats) -> Floats:
    """(n,) median of the same weekdays before each day; NaN where there are fewer than FEWEST_WEEKDAYS."""
    out = np.full(len(logs), np.nan)
    for at in range(WEEK * FEWEST_WEEKDAYS, len(logs)):
        out[at] = np.median(logs[at % WEEK : at : WEEK][-SAME_WEEKDAYS:])
    return out


def _told(days: int, limits: Limits) -> range:
    return range(max(0, days - limits.told_days), days)


def _apart(table: Floats, at: int) -> float:
    first = at + 1 - WEEK
    if first < REFERENCE_DAYS:
        return float("nan")
    return js_bits(table[first : at + 1].sum(0), table[first - REFERENCE_DAYS : first].sum(0))


def _noise(table: Floats, at: int, rng: np.random.Generator) -> float:
    """NOISE quantile of the divergence when the week is drawn from all the days that are compared."""
    days = table[at + 1 - WEEK - REFERENCE_DAYS : at + 1]
    whole = days.sum(0)
    found = np.empty(SHUFFLES)
    for i in range(SHUFFLES):
        week = days[rng.permutation(len(days))[:WEEK]].sum(0)
        found[i] = js_bits(week, whole - week)
    return float(np.quantile(found, NOISE))

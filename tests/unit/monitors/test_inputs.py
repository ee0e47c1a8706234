"""Planted anomalies are caught and ordinary days are not, on made days; divergence against a library."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon

from equipoise.monitors import counts
from equipoise.monitors.bands import Band, Reading, around, spread_of
from equipoise.monitors.inputs import REFERENCE_DAYS, Limits, category_mix, freshness, js_bits, nulls, volume
from equipoise.monitors.table import alarms, fresh, input_readings, since, summary

LIMITS = Limits(28, (1, 3), (5.0, 10.0), (6.0, 12.0), 0.02, (5.0, 10.0), 1)
AS_OF = date(2020, 7, 6)
YESTERDAY = AS_OF - timedelta(days=1)
DAYS = [AS_OF - timedelta(days=n) for n in range(200, 0, -1)]


def busy(seed: int, mean: float = 500.0) -> pd.Series[int]:
    """Weekly rhythm, slow growth and a little more than Poisson noise."""
    rng = np.random.default_rng(seed)
    level = mean * (1.0 + 0.3 * np.sin(2 * np.pi * np.arange(200) / 7)) * 1.001 ** np.arange(200)
    return pd.Series(rng.poisson(level * rng.lognormal(0.0, 0.04, 200)), index=DAYS)


def latest(found: list[Reading]) -> Reading:
    return found[-1]


@pytest.mark.parametrize(("factor", "status"), [(1.0, "ok"), (0.0, "fail"), (0.6, "warn"), (4.0, "fail")])
def test_a_day_of_another_size_is_told(factor: float, status: str) -> None:
    days = busy(1)
    days.iloc[-1] = int(days.iloc[-1] * factor)
    last = latest(list(volume(days, "all", LIMITS)))
    assert (last.day, last.value, last.status) == (DAYS[-1], float(days.iloc[-1]), status)
    assert f"{days.iloc[-1]:,}" in last.message


def test_a_day_doubled_is_told() -> None:
    days = busy(2)
    days.iloc[-1] *= 2
    assert latest(list(volume(days, "all", LIMITS))).status in ("warn", "fail")


def test_clean_days_stay_quiet() -> None:
    found = [r for seed in range(40) for r in volume(busy(seed), "all", LIMITS)]
    assert len(found) == 40 * 28
    assert sum(r.alarms for r in found) <= len(found) / 30


def test_volume_of_a_short_history_is_unknown_and_not_alarming() -> None:
    for n in (1, 7, 20, 30):
        found = list(volume(busy(1).head(n), "all", LIMITS))
        assert {r.status for r in found} == {"unknown"}
        assert len(found) == min(n, 28)


def test_a_shop_that_is_closed_on_sundays_is_not_told_every_sunday() -> None:
    days = busy(3)
    days[[d.weekday() == 6 for d in DAYS]] = 0
    assert not [r for r in volume(days, "all", LIMITS) if r.alarms]


@pytest.mark.parametrize(("late", "status"), [(0, "ok"), (1, "ok"), (2, "warn"), (3, "warn"), (4, "fail")])
def test_freshness_counts_days_without_events(late: int, status: str) -> None:
    days = busy(1)
    if late:
        days.iloc[-late:] = 0
    reading = freshness(days, AS_OF, LIMITS)
    assert (reading.value, reading.status) == (float(late), status)


def test_no_event_at_all_fails() -> None:
    assert freshness(busy(1) * 0, AS_OF, LIMITS).status == "fail"


@pytest.mark.parametrize(
    ("before", "now", "status"), [(0.1, 0.1, "ok"), (0.1, 0.4, "fail"), (0.001, 0.5, "fail"), (0.5, 0.0, "fail")]
)
def test_a_change_of_the_share_of_nulls_is_told(before: float, now: float, status: str) -> None:
    rows = pd.Series(1000, index=DAYS)
    empty = pd.Series(np.random.default_rng(1).binomial(1000, before, 200), index=DAYS)
    empty.iloc[-1] = int(1000 * now)
    found = list(nulls(rows, empty, "purchase.amount", LIMITS))
    assert latest(found).status == status
    assert not [r for r in found[:-1] if r.alarms]


def test_days_of_few_rows_have_no_share_of_nulls() -> None:
    rows, empty = pd.Series(1000, index=DAYS), pd.Series(100, index=DAYS)
    rows.iloc[-1], empty.iloc[-1] = 5, 5
    assert latest(list(nulls(rows, empty, "x", LIMITS))).day == DAYS[-2]


def mix(seed: int, turned: int = 0) -> pd.DataFrame:
    """Fifty categories; in the last `turned` days a third of what is bought goes to others."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(50, 0.5))
    other = 0.67 * shares + 0.33 * rng.permutation(shares)
    return pd.DataFrame([rng.multinomial(400, other if n >= 200 - turned else shares) for n in range(200)], index=DAYS)


def test_a_week_with_another_mix_is_told_and_one_without_is_not() -> None:
    assert latest(list(category_mix(mix(1, turned=7), LIMITS))).status == "fail"
    quiet = [r for seed in range(5) for r in category_mix(mix(seed), LIMITS)]
    assert len(quiet) == 140
    assert sum(r.alarms for r in quiet) <= len(quiet) / 30


def test_the_mix_of_few_days_is_unknown() -> None:
    found = list(category_mix(mix(1).head(REFERENCE_DAYS + 7), LIMITS))
    assert {r.status for r in found} == {"unknown"}


def test_divergence_is_that_of_a_library() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        a, b = rng.dirichlet(np.full(8, 0.4)) * 30, rng.dirichlet(np.full(8, 0.4)) * 7
        a[0] = 0.0
        assert js_bits(a, b) == pytest.approx(jensenshannon(a, b, base=2) ** 2)
    assert js_bits(a, a) == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(js_bits(a, np.zeros(8)))


def events(days: pd.Series[int], empty: int = 0) -> pd.DataFrame:
    index = pd.MultiIndex.from_product([["purchase"], DAYS], names=["event_type", "day"])
    table = pd.DataFrame(0, index=index, columns=[counts.ROWS, *counts.COLUMNS])
    table[counts.ROWS] = days.to_numpy()
    table["rating"] = days.to_numpy()
    table["amount"] = (0.1 * days).astype(int).to_numpy()
    table.iloc[-1, table.columns.get_loc("quantity")] = empty
    return table


def test_every_input_monitor_reads_a_day_once() -> None:
    found = list(input_readings(events(busy(1)), mix(1), AS_OF, LIMITS))
    keys = [(r.day, r.monitor, r.subject) for r in found]
    assert len(keys) == len(set(keys))
    assert {r.monitor for r in found} == {"freshness", "volume", "nulls", "category_mix"}
    assert not fresh(found, AS_OF, YESTERDAY, {})
    assert sum(summary(found, AS_OF).values()) == sum(k[0] == DAYS[-1] for k in keys)


def test_a_column_that_was_never_empty_and_now_is_raises_an_alarm() -> None:
    found = list(input_readings(events(busy(1), empty=300), mix(1), AS_OF, LIMITS))
    told = [(a.monitor, a.subject, a.status) for a in alarms(fresh(found, AS_OF, YESTERDAY, {}), AS_OF, "run")]
    assert told == [("nulls", "purchase.quantity", "fail")]


def test_an_alarm_is_raised_once_and_again_when_it_gets_worse() -> None:
    def night(status: str, day: date) -> Reading:
        return Reading(day, "volume", "all", 1.0, Band(1.0), "", forced=status)

    cases = (("ok", "warn", 1), ("warn", "warn", 0), ("warn", "fail", 1), ("fail", "warn", 0), ("unknown", "fail", 1))
    for then, now, told in cases:
        readings = [night(then, DAYS[-2]), night(now, DAYS[-1])]
        assert len(fresh(readings, AS_OF, YESTERDAY, {})) == told, (then, now)
    # After a night that was not watched, what began in it is still news.
    readings = [night("ok", DAYS[-3]), night("warn", DAYS[-2]), night("warn", DAYS[-1])]
    assert len(fresh(readings, AS_OF, YESTERDAY - timedelta(days=1), {})) == 1


def test_what_judges_only_the_last_day_is_compared_with_what_the_night_before_said() -> None:
    """Calibration, coverage and the like have no reading of the day before: what that night said stands in ops.monitors."""
    told: dict[tuple[str, str], str] = {}
    for n, (status, news) in enumerate((("warn", True), ("warn", False), ("fail", True))):
        night = AS_OF + timedelta(days=n)
        seen = Reading(night - timedelta(days=1), "calibration", "p_buys", 0.2, Band(0.0), "", forced=status)
        assert bool(fresh([seen], night, night - timedelta(days=1), told)) == news, (n, status)
        told = {("calibration", "p_buys"): status}


def test_days_before_the_first_event_do_not_count() -> None:
    days = busy(1)
    days.iloc[:120] = 0
    found = [r for r in input_readings(events(days), mix(1), AS_OF, LIMITS) if r.monitor == "volume"]
    assert not [r for r in found if r.alarms]
    assert since(AS_OF, 28) == AS_OF - timedelta(days=28 + 126)


def test_an_empty_log_fails_freshness_and_says_nothing_else() -> None:
    found = list(input_readings(events(busy(1) * 0), mix(1) * 0, AS_OF, LIMITS))
    assert [(r.monitor, r.status) for r in found] == [("freshness", "fail")]


def test_bands() -> None:
    band = around(10.0, 1.0, (2.0, 4.0))
    assert [band.judge(v) for v in (10.0, 12.0, 12.1, 7.9, 14.1, 5.9)] == ["ok", "ok", "warn", "warn", "fail", "fail"]
    assert around(1.0, 1.0, (2.0, 4.0), least=0.0).warn_low is None
    assert Band(0.0, warn_high=1.0).judge(-5.0) == "ok"
    assert spread_of(np.array([1.0, -1.0, 1.0]), 0.1) == pytest.approx(1.4826)
    assert spread_of(np.zeros(3), 0.1) == 0.1

"""Window shares by hand, and the law that decayed weights at a cut equal the decayed sum over the events themselves."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import date, timedelta

import pytest
from pyspark.sql import SparkSession

from equipoise.features.daily import daily_counts
from equipoise.features.shares import category_shares, decayed_weights
from tests.unit.features.world import CATALOGUE, DAILY, MIXED, ORIGIN, Event, day, events, item_categories, random_events, table

WEIGHTS = {"purchase": 1.0, "view": 0.1, "click": 0.3, "cart": 0.6, "rate": 1.0}
HALF = 20.0


def test_hand_table(spark: SparkSession) -> None:
    """Half-life 1 day: an event n days before the window's end weighs 2^-n."""
    daily = spark.createDataFrame(
        [
            ("u", day("01-29"), "A", "purchase", 1.0, 0.0, 0.0),  # last day of window 0: 1/2
            ("u", day("01-27"), "A", "view", 2.0, 0.0, 0.0),  # 2 · 0.1 · 2^-3
            ("u", day("01-29"), "B", "purchase", 0.5, 0.0, 0.0),  # 1/4
            ("u", day("01-30"), "B", "purchase", 1.0, 0.0, 0.0),  # first day of the open window [30 Jan, 2 Feb): 2^-3
            ("u", day("01-01"), "A", "purchase", 1.0, 0.0, 0.0),  # the day before the origin: a window of its own, 1/2
            ("u", day("01-29"), "C", "expose", 9.0, 0.0, 0.0),  # no weight
            ("u", day("01-29"), "(none)", "redeem", 9.0, 0.0, 0.0),  # no item
            ("u", day("02-02"), "A", "purchase", 1.0, 0.0, 0.0),  # at as_of: not before it
        ],
        DAILY,
    )
    weights = {"purchase": 1.0, "view": 0.1}
    shares = category_shares(daily, origin=ORIGIN, window_days=28, as_of=day("02-02"), event_weights=weights, half_life_days=1.0)
    found = table(shares, "window_end", "category")
    a, b = 0.5 + 0.025, 0.25
    assert found == {
        (day("01-30"), "A"): {
            "user_id": "u",
            "window_days": 28,
            "weight": a,
            "share": round(a / (a + b), 9),
            "events": 3.0,
            "closed": True,
        },
        (day("01-30"), "B"): {
            "user_id": "u",
            "window_days": 28,
            "weight": b,
            "share": round(b / (a + b), 9),
            "events": 0.5,
            "closed": True,
        },
        (day("02-02"), "B"): {"user_id": "u", "window_days": 3, "weight": 0.125, "share": 1.0, "events": 1.0, "closed": False},
        (day("01-02"), "A"): {"user_id": "u", "window_days": 28, "weight": 0.5, "share": 1.0, "events": 1.0, "closed": True},
    }
    boundary = category_shares(
        daily, origin=ORIGIN, window_days=28, as_of=day("01-30"), event_weights=weights, half_life_days=1.0
    )
    assert [r["closed"] for r in boundary.collect()] == [True] * 3, "no open window when as_of is a boundary"


def direct(log: list[Event], cut: date, since: date) -> dict[tuple[str, str], float]:
    """The decayed sum over raw events on [since, cut), one after the other."""
    total: dict[tuple[str, str], float] = defaultdict(float)
    for _, who, item, kind, _, when, *_ in log:
        if item is not None and since <= when < cut and kind in WEIGHTS:
            for category, part in MIXED.get(item, {CATALOGUE.get(item, ("", ""))[1]: 1.0}).items():
                total[who, category] += part * WEIGHTS[kind] * 2 ** (-(cut - when).days / HALF)
    return total


@pytest.mark.parametrize("as_of", [day("05-22"), day("05-25")])
def test_weights_at_cuts_equal_the_sum_over_events(spark: SparkSession, as_of: date) -> None:
    log = random_events(3, day("01-01"), 150, 300, users=4)
    daily = daily_counts(events(spark, [e for e in log if e[5] < as_of]), item_categories(spark))
    shares = category_shares(
        daily, origin=ORIGIN, window_days=28, as_of=as_of, event_weights=WEIGHTS, half_life_days=HALF
    ).persist()
    cuts = [day("01-30"), day("03-27"), day("05-22"), as_of]
    found = table(decayed_weights(shares, cuts=cuts, half_life_days=HALF, recent_days=28), "cut", "user_id", "category")
    expected = {(c, *k): w for c in set(cuts) for k, w in direct(log, c, date.min).items()}
    assert found.keys() == expected.keys() and len(found) > 50
    assert all(math.isclose(found[k]["weight"], w, abs_tol=1e-8) for k, w in expected.items())
    for cut in set(cuts):  # windows that end less than 28 days before the cut: from the last boundary but one for an open one
        last = ORIGIN + timedelta(days=(cut - ORIGIN).days // 28 * 28)
        recent = direct(log, cut, last - timedelta(days=28))
        assert all(
            math.isclose(v["recent"], recent.get((u, c), 0.0), abs_tol=1e-8) for (at, u, c), v in found.items() if at == cut
        )
    per_window = shares.groupBy("user_id", "window_end").agg({"share": "sum"}).collect()
    assert all(math.isclose(r["sum(share)"], 1.0, abs_tol=1e-9) for r in per_window)

"""Profiles by hand, and against a slow plain reference on random histories."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import date
from typing import Any

import pytest
from pyspark.sql import SparkSession

from equipoise.features.daily import daily_counts
from equipoise.features.profile import profiles, trip_types
from equipoise.features.shares import category_shares, decayed_weights
from equipoise.tables.feature import H_FEATURES
from equipoise.tables.vocabulary import EVENT_TYPES, KNOWING_EVENT_TYPES
from tests.unit.features.world import CATALOGUE, MIXED, ORIGIN, Event, day, event, events, item_categories, random_events, table

WEIGHTS = {"purchase": 1.0, "view": 0.1, "click": 0.3, "cart": 0.6, "rate": 1.0}
HALF = 112.0
CUT, LATER = day("03-27"), day("05-22")


def made(
    spark: SparkSession, log: list[Event], cuts: list[date], first_purchase: date | None, has_amounts: bool = True
) -> dict[Any, dict[str, Any]]:
    past = events(spark, [e for e in log if e[5] < max(cuts)])
    daily = daily_counts(past, item_categories(spark)).persist()
    shares = category_shares(daily, origin=ORIGIN, window_days=28, as_of=max(cuts), event_weights=WEIGHTS, half_life_days=HALF)
    weights = decayed_weights(shares, cuts=cuts, half_life_days=HALF)
    frame = profiles(daily, weights, cuts=cuts, trips=trip_types(cuts, first_purchase), has_amounts=has_amounts)
    assert [f.name for f in frame.schema][2:14] == [name for name, _ in H_FEATURES]
    return table(frame, "user_id", "cut")


def test_hand_table(spark: SparkSession) -> None:
    log = [
        # u: three trips (27 Feb twice), gaps 10 and 10 days, then nothing for 8
        event("u", "a1", "view", day("02-01")),
        event("u", "a1", "purchase", day("02-27"), amount=3.0),
        event("u", "b1", "purchase", day("02-27"), amount=2.0),
        event("u", "a1", "purchase", day("03-09"), amount=4.0),
        event("u", "a1", "purchase", day("03-19"), amount=1.0),
        event("u", None, "expose", day("03-26")),
        # one: a single purchase, the day before the cut
        event("one", "a1", "purchase", day("03-26"), amount=5.0),
        # looks: never bought; recency from the last look, mean gap = tenure
        event("looks", "c1", "view", day("02-25")),
        event("looks", "c1", "click", day("03-20")),
        event("looks", "c1", "cart", day("04-20"), n=1),
        # shown: only exposed, hence nobody
        event("shown", None, "expose", day("03-01")),
    ]
    found = made(spark, log, [CUT, LATER], day("02-27"))
    assert found.keys() == {(u, c) for u in ("u", "one", "looks") for c in (CUT, LATER)}
    features = [name for name, _ in H_FEATURES]
    u, one, looks = ({k: found[n, CUT][k] for k in features} for n in ("u", "one", "looks"))
    assert list(u.values())[:11] == [8.0, 3.0, 54.0, 3.0, 3.0, 10.0, 10.0, 10.0, 10.0, 0.8, 2.0]
    assert found["u", CUT]["n_purchase"] == 4 and found["u", CUT]["n_expose"] == 1 and found["u", CUT]["n_view"] == 1
    assert found["u", LATER]["trips_28d"] == 0.0 and found["u", LATER]["spend_112d"] == 10.0
    assert list(one.values()) == [1.0, 1.0, 1.0, 1.0, 1.0, 5.0, 5.0, 5.0, 1.0, 1.0, 1.0, 0.0]
    assert list(looks.values()) == [7.0, 0.0, 30.0, 0.0, 0.0, 0.0, 0.0, 0.0, 30.0, round(7 / 30, 9), 1.0, 0.0]
    without = made(spark, log, [CUT], day("02-27"), has_amounts=False)
    assert without["u", CUT]["monetary"] is None and without["u", CUT]["spend_total"] == 0.0


def test_trips_follow_what_was_bought_before_each_cut() -> None:
    found = trip_types([CUT, LATER], day("03-27"))
    assert found == {CUT: KNOWING_EVENT_TYPES, LATER: ("purchase",)}, "a purchase on the cut's day is not before it"
    assert trip_types([CUT], None) == {CUT: KNOWING_EVENT_TYPES}


def reference(log: list[Event], cut: date, trips: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """One user after the other, straight from the texts of H_FEATURES."""
    by_user: dict[str, list[Event]] = defaultdict(list)
    for e in log:
        if e[5] < cut:
            by_user[e[1]].append(e)
    return {u: _one(own, cut, trips) for u, own in by_user.items() if any(e[3] != "expose" for e in own)}


def _one(own: list[Event], cut: date, trips: tuple[str, ...]) -> dict[str, float]:
    def ago(when: date) -> int:
        return (cut - when).days

    active = sorted(e[5] for e in own if e[3] != "expose")
    days = sorted({e[5] for e in own if e[3] in trips})
    spend = [(ago(e[5]), e[7] or 0.0) for e in own if e[3] == "purchase"]
    tenure = float(ago(active[0]))
    recency = float(ago(days[-1] if days else active[-1]))
    gap = (days[-1] - days[0]).days / (len(days) - 1) if len(days) > 1 else tenure
    touched: set[str] = set()
    weights: dict[str, float] = defaultdict(float)
    for e in own:
        for category, part in MIXED.get(str(e[2]), {CATALOGUE[str(e[2])][1]: 1.0} if e[2] in CATALOGUE else {}).items():
            weights[category] += part * WEIGHTS.get(e[3], 0.0) * 2 ** (-ago(e[5]) / HALF)
            if ago(e[5]) <= 112 and e[3] != "expose":
                touched.add(category)
    total = sum(weights.values())
    return {
        "recency_days": recency,
        "frequency": float(len(days)),
        "tenure_days": tenure,
        "trips_28d": float(sum(ago(d) <= 28 for d in days)),
        "trips_112d": float(sum(ago(d) <= 112 for d in days)),
        "spend_28d": sum(s for a, s in spend if a <= 28),
        "spend_112d": sum(s for a, s in spend if a <= 112),
        "spend_total": sum(s for _, s in spend),
        "mean_gap_days": gap,
        "recency_over_gap": min(100.0, recency / gap),
        "categories_112d": float(len(touched)),
        "entropy_bits": -sum(w / total * math.log2(w / total) for w in weights.values() if w > 0) if total else 0.0,
        "monetary": sum(s for _, s in spend),
        **{f"n_{t}": sum(e[3] == t for e in own) for t in EVENT_TYPES},
    }


@pytest.mark.parametrize("bought", [True, False])
def test_against_the_reference(spark: SparkSession, bought: bool) -> None:
    log = [e for e in random_events(8, day("01-03"), 139, 250, users=9) if bought or e[3] != "purchase"]
    cuts = [day("01-30"), CUT, LATER]
    first = min((e[5] for e in log if e[3] == "purchase"), default=None)
    found = made(spark, log, cuts, first)
    expected = {(u, c): row for c in cuts for u, row in reference(log, c, trip_types([c], first)[c]).items()}
    assert found.keys() == expected.keys() and len(found) > 20
    for key, row in expected.items():
        wrong = {n: (v, found[key][n]) for n, v in row.items() if not math.isclose(v, found[key][n], abs_tol=1e-6)}
        assert not wrong, (key, wrong)

"""Cells and trends against a plain reading of the log, event by event."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from equipoise.features.daily import daily_counts
from equipoise.features.visits import cells, gathered, trends, visits
from equipoise.tables.packing import CELL_VALUES, HALF_LIVES
from equipoise.tables.vocabulary import KNOWING_EVENT_TYPES
from tests.unit.features.world import (
    CATALOGUE,
    MIXED,
    Event,
    day,
    event,
    events,
    item_categories,
    random_events,
    table,
    user,
)

CUTS = [day("03-01"), day("03-29"), day("04-26")]
Days = dict[tuple[str, str], dict[date, float]]


def visited(log: list[Event]) -> Days:
    """(user, category) → day → lines, of the knowing types."""
    out: Days = {}
    for _, who, item, kind, _, when, _, _ in log:
        if kind in KNOWING_EVENT_TYPES and item is not None:
            for category, weight in (MIXED[item] if item in MIXED else {CATALOGUE[item][1]: 1.0}).items():
                days = out.setdefault((who, category), {})
                days[when] = days.get(when, 0.0) + weight
    return out


def slow_cell(days: dict[date, float], trips: set[date], cut: date) -> dict[str, float]:
    ages = {(cut - d).days: lines for d, lines in days.items() if d < cut}
    return {
        **{f"visits_{h}d": sum(2 ** (-a / h) for a in ages) for h in HALF_LIVES},
        "lines": sum(lines * 2 ** (-a / 112) for a, lines in ages.items()),
        "days": len(ages),
        "recency_days": min(ages),
        "first_days": max(ages),
        "trips_since": sum(1 for d in trips if cut - timedelta(days=min(ages)) < d < cut),
    }


def made(spark: SparkSession, log: list[Event]) -> DataFrame:
    return visits(daily_counts(events(spark, log), item_categories(spark)))


@pytest.mark.parametrize("seed", [1, 2])
def test_cells_against_a_plain_reading(spark: SparkSession, seed: int) -> None:
    log = random_events(seed, day("01-03"), 120, 300, users=6)
    asked = [(user(f"u{u}"), cut) for u in range(5) for cut in CUTS[u % 2 :]]  # u5 is not asked for, odd users at two cuts
    found = table(cells(made(spark, log), spark.createDataFrame(asked, "user_id STRING, cut DATE")), "user_id", "cut", "category")
    days = visited(log)
    wanted: dict[Any, dict[str, float]] = {}
    for who, cut in asked:
        trips = {d for (u, _), of in days.items() if u == who for d in of}
        for (u, category), of in days.items():
            if u == who and any(d < cut for d in of):
                wanted[who, cut, category] = slow_cell(of, trips, cut)
    assert found.keys() == wanted.keys() and len(wanted) > 40
    for key, row in wanted.items():
        for name, value in row.items():
            assert found[key][name] == pytest.approx(value, abs=1e-8), (key, name)


def test_gathered_lists_are_flat_and_in_order(spark: SparkSession) -> None:
    log = [
        event("u", "b1", "purchase", day("02-01")),
        event("u", "a1", "click", day("02-03")),
        event("u", "c1", "view", day("02-04")),
    ]
    asked = spark.createDataFrame([("u", CUTS[0]), ("nobody", CUTS[0])], "user_id STRING, cut DATE")
    by_category = table(cells(made(spark, log), asked), "category")
    (row,) = gathered(cells(made(spark, log), asked)).collect()
    assert row["cell_categories"] == ["CHEESE", "SOFT DRINKS"], "a view is no visit"
    flat = [by_category[c][name] for c in row["cell_categories"] for name in CELL_VALUES]
    assert row["cells"] == pytest.approx(flat, rel=1e-6)


@pytest.mark.parametrize("seed", [3, 4])
def test_trends_against_a_plain_reading(spark: SparkSession, seed: int) -> None:
    log = random_events(seed, day("01-03"), 120, 200, users=9)
    known = [(user(f"u{u}"), cut) for u in range(10) for i, cut in enumerate(CUTS) if u >= 2 - i]  # more are known later
    found = table(
        trends(made(spark, log), spark.createDataFrame(known, "user_id STRING, cut DATE"), cuts=CUTS, days=28), "cut", "category"
    )
    days = visited(log)
    for cut in CUTS:
        users = sum(c == cut for _, c in known)
        for category in {c for _, c in days}:
            ages = [{(cut - d).days for d in of if d < cut} for (_, c), of in days.items() if c == category]
            recent = [a for a in ages if any(x <= 28 for x in a)]
            had = sum(any(x > 28 for x in a) for a in ages)
            row = found[cut, category]
            assert row["visitors_share"] == pytest.approx(len(recent) / users)
            assert row["visitors_share_before"] == pytest.approx(sum(any(28 < x <= 56 for x in a) for a in ages) / users)
            assert row["entry_rate"] == pytest.approx(sum(max(a) <= 28 for a in recent) / (users - had) if users > had else 0.0)
    assert len(found) == len(CUTS) * len({c for _, c in days})

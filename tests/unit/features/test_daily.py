"""feature.daily_counts against a hand table, and the message for an as-of before everything."""

from __future__ import annotations

from datetime import date

import pytest
from pyspark.sql import SparkSession

from equipoise.errors import EquipoiseError
from equipoise.features.daily import daily_counts, first_days, require_history
from tests.unit.features.world import day, event, events, item_categories, table

MONDAY, TUESDAY = day("02-27"), day("02-28")


def test_hand_table(spark: SparkSession) -> None:
    log = events(
        spark,
        [
            event("u", "a1", "purchase", MONDAY, amount=2.5, quantity=2.0, n=0),
            event("u", "a2", "purchase", MONDAY, amount=1.0, n=1),  # other item, same category: one row with the one above
            event("u", "a1", "view", MONDAY),  # other type: a row of its own
            event("u", "a1", "purchase", TUESDAY, amount=4.0, quantity=1.0),  # other day
            event("u", "m1", "purchase", TUESDAY, amount=10.0, quantity=3.0),  # two categories, half each
            event("u", None, "redeem", MONDAY),  # no item
            event("u", "gone", "click", MONDAY),  # item without a category row
            event("v", "a1", "purchase", MONDAY, amount=7.0, quantity=1.0),
        ],
    )
    expected = {
        ("u", MONDAY, "CHEESE", "purchase"): (2.0, 2.0, 3.5),
        ("u", MONDAY, "CHEESE", "view"): (1.0, 0.0, 0.0),
        ("u", TUESDAY, "CHEESE", "purchase"): (1.5, 2.5, 9.0),
        ("u", TUESDAY, "LAMPS", "purchase"): (0.5, 1.5, 5.0),
        ("u", MONDAY, "(none)", "redeem"): (1.0, 0.0, 0.0),
        ("u", MONDAY, "UNKNOWN", "click"): (1.0, 0.0, 0.0),
        ("v", MONDAY, "CHEESE", "purchase"): (1.0, 1.0, 7.0),
    }
    daily = daily_counts(log, item_categories(spark))
    found = table(daily, "user_id", "event_date", "category", "event_type")
    assert {k: (v["events"], v["quantity"], v["amount"]) for k, v in found.items()} == expected
    assert first_days(daily) == (MONDAY, MONDAY)
    assert first_days(daily.filter("event_type = 'view'")) == (MONDAY, None)
    assert first_days(daily.filter("false")) == (None, None)


def test_an_as_of_before_the_first_event_says_when_it_is(spark: SparkSession) -> None:
    log = events(spark, [event("u", "a1", "view", TUESDAY), event("u", "a1", "view", date(2017, 5, 1))])
    with pytest.raises(
        EquipoiseError, match=r"as_of 2017-02-28: no event .* the first is of 2017-02-28; take --as-of 2017-03-01"
    ):
        require_history(None, log, TUESDAY)
    with pytest.raises(EquipoiseError, match="no event at all; run ingest_events"):
        require_history(None, log.filter("false"), TUESDAY)
    require_history(TUESDAY, log, day("03-01"))

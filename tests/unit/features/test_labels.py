"""Labels by hand: what counts, where a window begins and ends, and both ladders."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from equipoise.errors import EquipoiseError
from equipoise.features.labels import label_windows, spend_threshold, value_label
from tests.unit.features.world import DAILY, day, table

CUT, NEXT = day("02-27"), day("03-27")


def test_hand_table(spark: SparkSession) -> None:
    daily = spark.createDataFrame(
        [
            ("u", day("02-26"), "A", "purchase", 1.0, 0.0, 99.0),  # the day before the cut
            ("u", CUT, "A", "purchase", 2.0, 0.0, 5.0),  # the cut's own day
            ("u", day("03-26"), "B", "rate", 0.5, 0.0, 0.0),  # last day of the window; one event on an item in B and C
            ("u", day("03-26"), "C", "rate", 0.5, 0.0, 0.0),
            ("u", day("03-26"), "B", "view", 3.0, 0.0, 7.0),  # no knowing type; an amount without a purchase is no spend
            ("u", day("03-26"), "(none)", "redeem", 1.0, 0.0, 0.0),  # without an item
            ("u", NEXT, "A", "purchase", 1.0, 0.0, 11.0),  # the next window
            ("v", CUT, "A", "expose", 1.0, 0.0, 0.0),  # only shown something: no row
            ("w", CUT, "A", "view", 1.0, 0.0, 0.0),
        ],
        DAILY,
    )
    found = table(label_windows(daily, cuts=[NEXT, CUT], days=28), "user_id", "cut")
    assert found == {
        ("u", CUT): {"label_counts": {"A": 2.0, "B": 0.5, "C": 0.5}, "label_spend": 5.0, "n_buy": 2, "n_interest": 5},
        ("u", NEXT): {"label_counts": {"A": 1.0}, "label_spend": 11.0, "n_buy": 1, "n_interest": 0},
        ("w", CUT): {"label_counts": {}, "label_spend": 0.0, "n_buy": 0, "n_interest": 1},
    }
    longer = table(label_windows(daily, cuts=[NEXT, CUT], days=29), "user_id", "cut")
    assert longer["u", CUT]["label_spend"] == 16.0, "windows may overlap: the event counts in both"
    assert longer["u", NEXT]["label_spend"] == 11.0


def test_ladders_and_threshold(spark: SparkSession) -> None:
    rows = [
        ("o", None, None, None),
        ("z", 0, 0, 0.0),
        ("i", 0, 2, 0.0),
        ("b", 1, 0, 4.0),
        ("c", 1, 1, 6.0),
        ("d", 2, 0, 20.0),
        ("f", 1, 0, 6.0),
    ]
    labels = spark.createDataFrame(rows, "user_id STRING, n_buy BIGINT, n_interest BIGINT, label_spend DOUBLE")
    threshold = spend_threshold(labels)
    assert threshold == 6.0, "median of 4, 6, 6, 20"
    by_events = table(value_label(labels, ladder="events", threshold=0.0), "user_id")
    assert {u: v["label_value"] for u, v in by_events.items()} == {"o": 0, "z": 0, "i": 1, "b": 2, "c": 2, "d": 2, "f": 2}
    by_spend = table(value_label(labels, ladder="spend", threshold=threshold), "user_id")
    assert {u: v["label_value"] for u, v in by_spend.items()} == {"o": 0, "z": 0, "i": 0, "b": 1, "c": 2, "d": 2, "f": 2}
    with pytest.raises(EquipoiseError, match=r"nobody spent there; use segments\.ladder = 'events'"):
        spend_threshold(labels.filter("user_id = 'i'"))

"""Rules against a table of rows made by hand, with the reason each is there; outlier bounds against numpy."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.quality.check import check, fill_missing
from equipoise.quality.outliers import outlier_bounds
from equipoise.quality.rules import MISSING, RULES, Limits, rules_for
from equipoise.sources.canonical import FIELDS, complete, keyed

LIMITS = Limits(data_until=date(2018, 1, 1), max_quantity=1000.0, max_amount=500.0, outlier_iqr_factor=20.0)
GOOD: dict[str, Any] = {
    "raw_user": "u1",
    "natural_key": "k",
    "item_id": "i1",
    "event_type": "view",
    "at": datetime(2017, 5, 1, 12),
}
NAN, INFINITE = float("nan"), float("inf")

TABLE: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"raw_user": None}, ["user_missing"]),
    ({"raw_user": "  "}, ["user_missing"]),
    ({"item_id": ""}, ["item_missing"]),
    ({"item_id": None, "event_type": "search", "text": "tent"}, []),
    ({"event_type": None}, ["event_type_missing"]),
    ({"event_type": "bought"}, ["event_type_unknown"]),
    ({"event_type": "bought", "item_id": None}, ["event_type_unknown", "item_missing"]),
    ({"at": None, "time_given": False}, ["time_missing"]),
    ({"at": None, "time_given": True}, ["time_unreadable"]),
    ({"at": datetime(2017, 12, 31, 23, 59)}, []),
    ({"at": datetime(2018, 1, 1)}, ["time_in_future"]),
    ({"unreadable": ["amount"]}, ["value_unreadable"]),
    ({"quantity": 0.0, "amount": 0.0}, []),
    ({"quantity": -1.0}, ["quantity_negative"]),
    ({"quantity": 1001.0}, ["quantity_absurd", "quantity_outlier"]),
    ({"quantity": NAN}, ["quantity_absurd", "quantity_outlier"]),
    ({"quantity": 41.0}, ["quantity_outlier"]),
    ({"quantity": 40.0}, []),
    ({"amount": -0.01}, ["amount_negative"]),
    ({"amount": INFINITE}, ["amount_absurd", "amount_outlier"]),
    ({"dwell_ms": -5}, ["dwell_negative"]),
    ({"rating": 0.5}, []),
    ({"rating": NAN}, ["rating_not_finite"]),
    ({"item_id": "strange"}, ["item_unknown"]),
    ({"bad_utf8": True}, ["not_utf8"]),
    ({"replaced": True}, ["damaged_text"]),
    ({"broken": True, "raw_user": None, "item_id": None, "line": "torn"}, ["broken_line"]),
    ({"quantity": -1.0, "amount": -1.0, "raw_user": None}, ["amount_negative", "quantity_negative", "user_missing"]),
]
COLUMNS = "n INT, at TIMESTAMP, " + ", ".join(
    f"{c} {t}" for c, t in FIELDS["events"].items() if c not in ("event_ts", "date_only")
)


def events(spark: SparkSession, rows: list[dict[str, Any]]) -> DataFrame:
    """Rows beside what the door adds: date, bounds of 40 and of 400, and a catalogue that knows i1."""
    names = [c.split()[0] for c in COLUMNS.split(", ")]
    flags = {"broken": False, "bad_utf8": False, "replaced": False, "unreadable": [], "time_given": True}
    full = [GOOD | flags | {"n": n, "natural_key": f"k{n}"} | row for n, row in enumerate(rows)]
    frame = spark.createDataFrame([tuple(r.get(c) for c in names) for r in full], COLUMNS)
    base = complete(frame.withColumns({"raw": F.struct("n"), "event_ts": F.col("at")}), "events")
    blank_users = base.withColumn("raw_user", F.nullif(F.trim("raw_user"), F.lit("")))  # the adapters' part
    return fill_missing(blank_users, "events").withColumns(
        {
            "event_date": F.to_date("event_ts"),
            "item_known": F.col("item_id").isNull() | (F.col("item_id") == "i1"),
            "quantity_bound": F.lit(40.0),
            "amount_bound": F.lit(400.0),
        }
    )


def test_every_rule_by_hand(spark: SparkSession) -> None:
    got = {
        r["n"]: r
        for r in check(events(spark, [r for r, _ in TABLE]), "events", LIMITS).select("raw.n", "violations", "rejected").collect()
    }
    rejecting = {r.id for r in RULES if r.level == "reject"}
    for n, (row, rules) in enumerate(TABLE):
        assert got[n]["violations"] == rules, row
        assert got[n]["rejected"] == bool(rejecting & set(rules)), row
    never = {r.id for r in rules_for("events")} - {rule for _, rules in TABLE for rule in rules}
    assert never == {"duplicate"}, "tested below"


def test_without_data_until_nothing_is_future(spark: SparkSession) -> None:
    limits = Limits(None, 1000.0, 500.0, 20.0)
    rows = check(events(spark, [{"at": datetime(2100, 1, 1)}]), "events", limits).collect()
    assert rows[0]["violations"] == []


def test_of_copies_the_first_good_one_stays(spark: SparkSession) -> None:
    late, early = datetime(2017, 5, 2), datetime(2017, 5, 1)
    rows = [
        {"natural_key": "a", "at": late},
        {"natural_key": "a", "at": early},  # stays: earlier
        {"natural_key": "b", "at": early, "amount": -1.0},  # rejected for itself, so it does not oust the next
        {"natural_key": "b", "at": late},
        {"natural_key": "c"},  # stays: the same in all but raw, whose order decides
        {"natural_key": "c"},
        {"natural_key": "a", "at": late, "raw_user": "u2"},  # somebody else's
        {"natural_key": None},  # without a key nothing can be called a copy
        {"natural_key": None},
    ]
    want = [["duplicate"], [], ["amount_negative", "duplicate"], [], [], ["duplicate"], [], [], []]
    for order in (1, 2):
        frame = events(spark, rows).orderBy(F.col("raw.n") * (1 if order == 1 else -1))
        got = check(frame, "events", LIMITS).select("raw.n", "violations").orderBy("n").collect()
        assert [r["violations"] for r in got] == want


def test_missing_values_of_items(spark: SparkSession) -> None:
    given = spark.createDataFrame([("7", " ", "food", None)], "item_id STRING, title STRING, category_1 STRING, brand STRING")
    raw = keyed(given, F.col("item_id")).select("*", "raw.*")
    row = fill_missing(complete(raw, "items"), "items").collect()[0]
    assert (row["title"], row["category_1"], row["category_2"], row["brand"], row["text"]) == (
        "item 7",
        "food",
        "UNKNOWN",
        None,
        "item 7",
    )
    assert row["defaulted"] == ["category_2", "category_3", "text", "title"]


def test_rules_and_missing_values_speak_of_true_columns() -> None:
    ids = [(r.id, kind) for r in RULES for kind in r.applies_to]
    assert len(set(ids)) == len(ids)
    assert all(m.column in FIELDS[m.applies_to] for m in MISSING)
    assert all((m.then == "default") == (m.default is not None) for m in MISSING)


@pytest.mark.parametrize("factor", [1.5, 20.0])
def test_outlier_bounds_against_numpy(spark: SparkSession, factor: float) -> None:
    rng = np.random.default_rng(5)
    values = {"a": rng.lognormal(1.0, 1.0, 201), "b": np.ones(50)}
    rows = [(d, float(v), float(v) if d == "a" else None) for d, vs in values.items() for v in vs]
    rows += [("a", -1.0, -1.0), ("a", 5000.0, 5000.0), ("a", None, None)]  # no part of the quartiles
    frame = spark.createDataFrame(rows, "department STRING, quantity DOUBLE, amount DOUBLE")
    limits = Limits(None, 1000.0, 1000.0, factor)
    got = {r["department"]: r for r in outlier_bounds(frame, limits).collect()}
    low, high = np.quantile(values["a"], [0.25, 0.75])
    assert got["a"]["quantity_bound"] == pytest.approx(high + factor * max(high - low, 1.0))
    assert got["a"]["amount_bound"] == pytest.approx(high + factor * max(high - low, 1.0))
    assert got["b"]["quantity_bound"] == pytest.approx(1.0 + factor)
    assert got["b"]["amount_bound"] is None


def test_a_row_is_json_with_the_pseudonym_in_place(spark: SparkSession) -> None:
    from equipoise.sources.canonical import fields_json

    frame = spark.createDataFrame([("u1", None, 2.5)], "uid STRING, note STRING, price DOUBLE").select(F.struct("*").alias("raw"))
    text = frame.select(fields_json(frame.schema["raw"].dataType, "uid")(F.col("raw"), F.lit("P"))).collect()[0][0]  # type: ignore[arg-type]
    assert json.loads(text) == {"uid": "P", "note": None, "price": 2.5}

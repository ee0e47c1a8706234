"""Summaries of big tables against hand tables."""

from __future__ import annotations

from datetime import date

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.report import aggregates, people

DAY = date(2017, 11, 6)
W1, W2, W3 = date(2017, 9, 11), date(2017, 10, 9), DAY


def rows(frame: DataFrame) -> list[tuple[object, ...]]:
    return [tuple(r) for r in frame.collect()]


def test_events_are_counted_before_the_date_too(spark: SparkSession) -> None:
    events = spark.createDataFrame(
        [("purchase", W1), ("purchase", DAY), ("purchase", W2), ("redeem", W3)], "event_type STRING, event_date DATE"
    )
    assert rows(aggregates.event_counts(events, DAY)) == [("purchase", 3, 2, W1, DAY), ("redeem", 1, 0, DAY, DAY)]


def test_a_user_without_the_category_counts_as_nought(spark: SparkSession) -> None:
    schema = (
        "user_id STRING, category STRING, observed_share DOUBLE, predicted_share DOUBLE, target_share DOUBLE, "
        "is_predicted_top BOOLEAN, evidence DOUBLE"
    )
    table = spark.createDataFrame(
        [
            ("u1", "a", 1.0, 0.5, 0.75, True, 12.0),
            ("u1", "b", 0.0, 0.5, 0.25, False, 0.0),
            ("u2", "b", 0.0, 1.0, 1.0, True, 0.0),
        ],
        schema,
    )
    assert rows(aggregates.category_means(table)) == [("b", 0.0, 0.75, 0.625, 1), ("a", 0.5, 0.25, 0.375, 1)]
    assert rows(aggregates.evidence_bins(table)) == [(0, 1), (4, 1)], "0 is none; 12 lies between 10 and 20, the fourth bin"


def test_shares_are_means_over_the_users_of_the_window(spark: SparkSession) -> None:
    table = spark.createDataFrame(
        [
            ("u1", W2, "a", 1.0, True),
            ("u2", W2, "b", 1.0, True),
            ("u1", W3, "a", 0.5, True),
            ("u1", W3, "b", 0.5, True),
            ("u2", date(2017, 11, 8), "a", 1.0, False),
            ("u2", date(2017, 12, 4), "a", 1.0, True),
        ],
        "user_id STRING, window_end DATE, category STRING, share DOUBLE, closed BOOLEAN",
    )
    assert sorted(rows(aggregates.window_shares(table, DAY))) == [
        (W2, "a", 0.5, 2.0),
        (W2, "b", 0.5, 2.0),
        (W3, "a", 0.5, 1.0),
        (W3, "b", 0.5, 1.0),
    ]


def test_group_sizes_leave_out_users_without_a_group(spark: SparkSession) -> None:
    table = spark.createDataFrame(
        [
            ("O", 1, 0.8, 0.1, 0.1, 2.0),
            ("buy", 5, 0.2, 0.2, 0.6, 40.0),
            ("O", 1, 0.6, 0.2, 0.2, 4.0),
            ("buy", None, 0.0, 0.0, 1.0, 9.0),
        ],
        "segment STRING, value_tier INT, p_o DOUBLE, p_interest DOUBLE, p_buy DOUBLE, expected_spend DOUBLE",
    )
    found = rows(aggregates.group_sizes(table, "value_tier"))
    assert found == [
        ("1", 2, pytest.approx(0.7), pytest.approx(0.15), pytest.approx(0.15), 3.0, 6.0),
        ("5", 1, 0.2, 0.2, 0.6, 40.0, 40.0),
    ]
    assert rows(aggregates.crossed(table, "value_tier")) == [("1", "O", 2), ("5", "buy", 1)]


LISTS = [
    ("u1", 1, "i1", "a", "exploit", 1.0, "bought_before", "i1", "r"),
    ("u1", 2, "i2", "a", "exploit", 1.0, "same_users", "i1", "like i1"),
    ("u1", 3, "i3", "b", "explore", 0.05, "unseen_category", "i3", "r"),
    ("u2", 1, "i1", "a", "exploit", 1.0, "similar_text", "i1", "r"),
    ("u2", 2, "i4", "c", "exploit", 1.0, "bought_before", "i4", "r"),
    ("u2", 3, "i5", "b", "explore", 0.06, "least_known", "i5", "r"),
]
SCHEMA = (
    "user_id STRING, rank INT, item_id STRING, category STRING, slot STRING, propensity DOUBLE, reason_code STRING, "
    "reason_key STRING, reason STRING"
)


def test_lists(spark: SparkSession) -> None:
    table = spark.createDataFrame(LISTS, SCHEMA)
    assert rows(aggregates.list_categories(table).select("category", "rows", "explored", "share")) == [
        ("a", 3, 0, 0.5),
        ("b", 2, 2, pytest.approx(1 / 3)),
        ("c", 1, 0, pytest.approx(1 / 6)),
    ]
    counts = aggregates.list_counts(table).collect()[0].asDict()
    assert counts == {
        "rows": 6,
        "items": 5,
        "categories": 3,
        "explored": 2,
        "users": 2,
        "categories_per_list": 2.5,
        "largest_share": pytest.approx((2 / 3 + 1 / 3) / 2),
    }
    assert rows(aggregates.propensity_bins(table)) == [(2, 1), (3, 1)], "0.05 is the third edge itself, 0.06 beyond it"
    assert rows(aggregates.reasons(table))[0] == ("bought_before", "exploit", 2)


MOVES = "user_id STRING, window_end DATE, drift_js_bits DOUBLE, noise_p95_bits DOUBLE"


def test_movement_is_what_drift_has_above_its_band_in_the_newest_window(spark: SparkSession) -> None:
    told = [("u1", W2, 0.9, 0.1), ("u1", W3, 0.5, 0.25), ("u2", W3, 0.5, 0.75), ("u3", W3, 0.9, None), ("u4", W2, 0.9, 0.1)]
    found = people.newest_moves(spark.createDataFrame(told, MOVES)).select("user_id", "moved")
    assert sorted(rows(found)) == [("u1", 0.25), ("u2", -0.25)], "without a band nothing is told"
    assert people.newest_moves(spark.createDataFrame([], MOVES)).count() == 0


def test_three_different_users_are_chosen_by_rule(spark: SparkSession) -> None:
    evidence = {"u1": 500.0, "u2": 3.0, "u3": 1.0, "u4": 40.0, "u5": 900.0, "u6": 0.5}
    interests = spark.createDataFrame(list(evidence.items()), "user_id STRING, evidence DOUBLE")
    lists = spark.createDataFrame([(u,) for u in ("u1", "u2", "u3", "u4")], "user_id STRING")
    moves = spark.createDataFrame([("u1", 0.9), ("u2", -0.2), ("u4", 0.5), ("u5", 1.0)], "user_id STRING, moved DOUBLE")
    assert people.chosen(interests, lists, moves) == [("well_known", "u1"), ("mover", "u4"), ("hardly_known", "u3")]
    assert people.chosen(interests, lists.limit(0), moves) == []


def test_titles_join_once_and_unknown_items_keep_their_id(spark: SparkSession) -> None:
    table = spark.createDataFrame(LISTS, SCHEMA)
    items = spark.createDataFrame([("i1", "MILK 1 GA"), ("i2", "Bread")], "item_id STRING, title STRING")
    found = rows(people.their_lists(table, items, ["u1"]).select("rank", "title", "reason"))
    assert found == [(1, "MILK 1 GA", "r"), (2, "Bread", "like Milk 1 ga"), (3, "i3", "r")]


def test_of_each_set_of_names_one_rule_is_told(spark: SparkSession) -> None:
    rows = [
        ("category", ["a"], "b", 0.10, 0.4, 2.0, 0.05),
        ("category", ["b"], "a", 0.10, 0.6, 2.0, 0.05),
        ("category", ["a", "b"], "c", 0.04, 0.4, 4.0, 0.03),
        ("category", ["a", "c"], "b", 0.04, 0.9, 3.0, 0.02),
        ("category", ["d"], "e", 0.02, 0.2, 9.0, 0.01),
        ("product_type", ["x"], "y", 0.10, 0.4, 2.0, 0.05),
    ]
    measures = ", ".join(f"{m} DOUBLE" for m in ("support", "confidence", "lift", "leverage"))
    ddl = f"level STRING, antecedent ARRAY<STRING>, consequent STRING, {measures}"
    rules = spark.createDataFrame(rows, ddl).withColumn("baskets", F.lit(1000))
    told = [(r["level"], r["antecedent"], r["consequent"], r["rules"]) for r in aggregates.strongest_rules(rules, 2).collect()]
    assert told == [
        ("category", ["b"], "a", 5),
        ("category", ["a", "b"], "c", 5),
        ("product_type", ["x"], "y", 1),
    ]


def test_rfm_cells_drivers_and_value_models_are_counted(spark: SparkSession) -> None:
    drivers = "array(named_struct('driver', 'trips', 'log_odds', {}D), named_struct('driver', 'spend', 'log_odds', 1D))"
    table = spark.createDataFrame(
        [("u1", "O", "5-4-1", 10.0, "-2"), ("u2", "O", "5-4-3", 30.0, "0"), ("u3", "buy", None, 80.0, "4")],
        "user_id STRING, segment STRING, rfm_cell STRING, expected_spend DOUBLE, x STRING",
    ).withColumns(
        {"value_model": F.lit("behaviour"), "buy_threshold": F.lit(9.5), "churn_risk": F.expr("expected_spend / 100"),
         "drivers": F.expr(drivers.format(0)).cast("array<struct<driver:string,log_odds:double>>")}
    )  # fmt: skip
    moved = F.transform(
        "drivers", lambda d: F.struct(d["driver"].alias("driver"), (d["log_odds"] * F.col("x")).alias("log_odds"))
    )
    assert rows(aggregates.rfm_grid(table)) == [(5, 4, 2, 20.0)]
    assert rows(aggregates.value_models(table)) == [("behaviour", 9.5, 3, pytest.approx(0.4))]
    found = rows(aggregates.segment_drivers(table.withColumn("drivers", moved)))
    assert found == [("O", "spend", -1.0), ("O", "trips", 0.0), ("buy", "spend", 4.0), ("buy", "trips", 0.0)]

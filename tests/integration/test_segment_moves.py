"""Groups of like interests, their numbers from night to night, and who moved: on made users."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.segments.before import lasting, moves
from equipoise.segments.groups import interest_groups
from equipoise.segments.history import day_number, packed, unpacked
from equipoise.segments.portraits import frame as portrait_frame
from equipoise.segments.portraits import portraits
from equipoise.segments.transitions import transitions
from equipoise.segments.valued import How, learnt
from equipoise.tables import CATALOGUE
from equipoise.tables.feature import H_FEATURES
from tests.integration.test_segments import AS_OF, bought, daily_of

__all__ = ["bought"]
BEFORE = date(2017, 10, 9)
STAMPS = {"as_of", "run_id", "model_id", "synthetic"}


def likes(spark: SparkSession, tastes: dict[str, int], seed: int = 1) -> DataFrame:
    """gold.user_interests of users who like two of six categories each, by taste 0, 1, 2, and the others a little."""
    rng = np.random.default_rng(seed)
    rows = []
    for user, taste in tastes.items():
        shares = 0.02 + 0.01 * rng.random(6)
        shares[[2 * taste, 2 * taste + 1]] += rng.dirichlet([5, 5])
        rows += [(user, f"C{c}", float(s)) for c, s in enumerate(shares / shares.sum())]
        rows += [(user, "UNKNOWN", 0.5), (user, "C9", 0.0)]
    return spark.createDataFrame(rows, "user_id string, category string, observed_share double")


@pytest.fixture(scope="module")
def tastes() -> dict[str, int]:
    return {f"u{i:03d}": (0 if i < 30 else 1 if i < 50 else 2) for i in range(60)}


def test_planted_tastes_are_found_and_numbered_by_size(spark: SparkSession, tastes: dict[str, int]) -> None:
    table = likes(spark, tastes)
    found = interest_groups(table, k=3, seed=1).toPandas().set_index("user_id")["interest_group"]
    assert {u: t + 1 for u, t in tastes.items()} == found.to_dict()
    again = interest_groups(table.repartition(7, "category"), k=3, seed=1).toPandas().set_index("user_id")["interest_group"]
    assert again.to_dict() == found.to_dict()
    sampled = interest_groups(table, k=3, seed=1, most_users=30).toPandas().set_index("user_id")["interest_group"]
    assert len(sampled) == 60
    assert len(set(zip(sampled, found.reindex(sampled.index), strict=True))) == 3, "the same groups, told from half of the users"
    assert interest_groups(table.filter("user_id < 'u002'"), k=3, seed=1).isEmpty()
    assert interest_groups(table.withColumn("observed_share", F.lit(0.0)), k=3, seed=1).isEmpty()


def test_groups_keep_their_numbers_and_moves_add_up(spark: SparkSession, tastes: dict[str, int]) -> None:
    old = {1: 4, 2: 7, 3: 5}  # the numbers of an earlier night; 8 was given once and is gone
    rows = [(u, old[t + 1], BEFORE, "buy", 10.0) for u, t in tastes.items() if u != "u000"]
    rows += [("u900", 8, date(2017, 9, 11), "O", 1.0), ("u901", 5, BEFORE, "O", 2.0)]
    ddl = "user_id string, interest_group int, as_of date, segment string, expected_spend double"
    earlier = spark.createDataFrame(rows, ddl)
    now = lasting(interest_groups(likes(spark, tastes, seed=2), k=3, seed=5), earlier)
    found = now.toPandas().set_index("user_id")["interest_group"]
    assert {u: old[t + 1] for u, t in tastes.items()} == found.to_dict()
    assert lasting(now, earlier.limit(0)).toPandas()["interest_group"].to_list() == now.toPandas()["interest_group"].to_list()
    table = now.withColumns({"segment": F.lit("interest"), "expected_spend": F.lit(25.0)})
    moved = transitions(table, earlier.filter(F.col("as_of") == F.lit(BEFORE)), BEFORE, retold=False)
    assert set(moved.columns) == set(CATALOGUE["gold.segment_transitions"].column_names) - STAMPS
    flow = {(r["segmentation"], r["from_segment"], r["to_segment"]): r for r in moved.collect()}
    assert set(flow) == {
        ("segment", "buy", "interest"), ("segment", "(new)", "interest"), ("segment", "O", "(gone)"),
        ("interest_group", "4", "4"), ("interest_group", "7", "7"), ("interest_group", "5", "5"),
        ("interest_group", "(new)", "4"), ("interest_group", "5", "(gone)"),
    }  # fmt: skip
    one = flow["segment", "buy", "interest"]
    assert (one["users"], one["previous_spend"], one["spend"], one["value_change"]) == (59, 590.0, 59 * 25.0, 59 * 15.0)
    new, gone = flow["segment", "(new)", "interest"], flow["segment", "O", "(gone)"]
    assert (new["users"], new["previous_spend"], new["value_change"]) == (1, None, 25.0)
    assert (gone["users"], gone["spend"], gone["value_change"]) == (1, None, -2.0)
    for name in ("segment", "interest_group"):
        assert sum(r["users"] for (s, _, to), r in flow.items() if s == name and to != "(gone)") == 60
        assert sum(r["users"] for (s, since, _), r in flow.items() if s == name and since != "(new)") == 60


def test_without_an_earlier_night_the_segments_before_are_told_from_what_was_known_then(
    spark: SparkSession, bought: object
) -> None:
    daily = daily_of(spark, bought)  # type: ignore[arg-type]
    days = packed(daily, as_of=AS_OF, trip_types=["purchase"])
    how = How(
        as_of=day_number(AS_OF), horizon_days=28, churn_days=56, ladder="spend", amounts=True, cuts=3,
        threshold_cuts=(day_number(AS_OF) - 100,), seed=1,
    )  # fmt: skip
    history = unpacked(days.toPandas().sort_values("user_id", ignore_index=True))
    worth = learnt(history, how)
    table = spark.createDataFrame(
        [(str(u), "O", 1, 2, "Champions", 3.0) for u in history.users],
        "user_id string, segment string, value_tier int, kmeans_cluster int, rfm_segment string, expected_spend double",
    )
    none = table.withColumn("as_of", F.lit(BEFORE)).withColumn("interest_group", F.lit(1)).limit(0)
    found = moves(table, none, days, worth, how, kmeans_seed=1).toPandas()
    assert found["retold"].all()
    assert (found["previous_as_of"] == BEFORE).all()
    assert set(found["segmentation"]) == {"segment", "value_tier", "kmeans_cluster", "rfm_segment"}
    until = packed(daily.filter(F.col("event_date") < F.lit(BEFORE)), as_of=AS_OF, trip_types=["purchase"])
    blind = moves(table, none, until, worth, how, kmeans_seed=1).toPandas()
    order = ["segmentation", "from_segment", "to_segment"]
    pd.testing.assert_frame_equal(
        found.sort_values(order, ignore_index=True), blind.sort_values(order, ignore_index=True), check_exact=False
    )
    assert moves(table, none, days, None, how, kmeans_seed=1).isEmpty()


def test_portraits_are_counted_from_the_tables(spark: SparkSession, tastes: dict[str, int]) -> None:
    rng = np.random.default_rng(3)
    people = pd.DataFrame({name: rng.gamma(2, 5, 60) for name, _ in H_FEATURES}).assign(user_id=list(tastes))
    ends = {"segment": "buy", "value_tier": 1, "kmeans_cluster": None, "rfm_segment": "At Risk", "p_buy": 0.4, "churn_risk": None}
    rows = [(u, t + 1, float(10 * t), *ends.values()) for u, t in tastes.items()]
    ddl = (
        "user_id string, interest_group int, expected_spend double, segment string, value_tier int, kmeans_cluster int, "
        "rfm_segment string, p_buy double, churn_risk double"
    )
    table = spark.createDataFrame(rows, ddl)
    found = portraits(table, spark.createDataFrame(people), likes(spark, tastes))
    written = portrait_frame(found, table)
    assert set(written.columns) == set(CATALOGUE["gold.segment_profiles"].column_names) - STAMPS
    got = {(r["segmentation"], r["segment"]): r for r in written.collect()}
    assert set(got) == {("interest_group", "1"), ("interest_group", "2"), ("interest_group", "3"), ("rfm_segment", "At Risk"),
                        ("segment", "buy"), ("value_tier", "1")}  # fmt: skip
    third = got["interest_group", "3"]
    mine = people[[tastes[u] == 2 for u in people["user_id"]]]
    assert third["users"] == 10
    assert third["spend_share"] == pytest.approx(200 / (200 + 200))
    assert set(third["name"].split(" and ")) == {"c4", "c5"}
    assert {f["feature"]: f["mean"] for f in third["features"]} == {n: pytest.approx(mine[n].mean()) for n, _ in H_FEATURES}
    assert "UNKNOWN" not in {c["category"] for r in got.values() for c in r["categories"]}

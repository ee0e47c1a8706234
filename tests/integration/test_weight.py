"""The tilt of each user's λ, from gold.user_interests to the rows of the blocks, against plain Python."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import median

import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.recommend.frontier import frontier
from equipoise.recommend.table import check, recommendations, rows_for_blocks
from equipoise.recommend.weight import personal, tilts
from tests.integration.recommend_world import POPULARITY, policy, shop
from tests.integration.test_recommend import on_spark

DDL = "user_id string, category string, observed_share double, evidence double"


def interests(spark: SparkSession, visits: dict[str, dict[str, float | None]]) -> DataFrame:
    """visits: user → category → evidence; None: predicted only."""
    rows = []
    for user, mine in visits.items():
        whole = sum(v or 0.0 for v in mine.values())
        rows += [(user, c, (v or 0.0) / whole if whole else 0.0, v) for c, v in mine.items()]
    return spark.createDataFrame(rows, DDL)


def slow(visits: dict[str, dict[str, float | None]]) -> dict[str, float]:
    """tilt of each user by its definition."""
    n = {u: sum(v or 0.0 for v in mine.values()) for u, mine in visits.items()}
    half, width = median(n.values()), len({c for mine in visits.values() for c, v in mine.items() if v})
    f = {}
    for user, mine in visits.items():
        shares = [v / n[user] for v in mine.values() if v]
        bits = -sum(s * math.log2(s) for s in shares)
        f[user] = n[user] / (n[user] + half) * bits / math.log2(max(width, 2)) if n[user] else 0.0
    mean = sum(f.values()) / len(f)
    return {u: x - mean for u, x in f.items()}


def found(frame: DataFrame) -> dict[str, float]:
    return {r["user_id"]: r["tilt"] for r in tilts(frame).collect()}


def test_tilts_are_their_definition_and_rise_with_evidence_and_width(spark: SparkSession) -> None:
    visits: dict[str, dict[str, float | None]] = {
        "nothing": {"a": None, "b": None},
        "once": {"a": 1.0, "b": None},
        "few": {"a": 1.0, "b": 1.0},
        "some": {"a": 3.0, "b": 3.0},
        "many": {"a": 40.0, "b": 40.0},
        "narrow": {"a": 79.0, "b": 1.0},
        "wide": {"a": 20.0, "b": 20.0, "c": 20.0, "d": 20.0},
    }
    mine = found(interests(spark, visits))
    assert mine == pytest.approx(slow(visits), abs=1e-9)
    assert mine["few"] < mine["some"] < mine["many"], "the more is known the more calibration"
    assert mine["nothing"] == mine["once"] < mine["narrow"] < mine["many"] < mine["wide"], "and the wider the taste"
    assert sum(mine.values()) == pytest.approx(0.0, abs=1e-9)
    weights = personal(0.3, pd.Series(mine).to_numpy())
    assert weights.mean() == pytest.approx(0.3)
    assert weights.min() >= 0.0 and weights.max() <= 1.0


def test_where_nobody_has_evidence_or_only_one_category_everybody_has_the_same(spark: SparkSession) -> None:
    assert set(found(interests(spark, {"u": {"a": None}, "v": {"b": None}})).values()) == {0.0}
    assert set(found(interests(spark, {"u": {"a": 3.0}, "v": {"a": 1.0}})).values()) == {0.0}


def test_the_tilt_reaches_the_lists_and_the_price(spark: SparkSession) -> None:
    made = shop()
    shares = made.interests["observed_share"]
    whole = shares.groupby(made.interests["user_id"]).transform("sum")
    made = replace(made, interests=made.interests.assign(observed_share=(shares / whole).where(whole > 0, 0.0)))
    sources = on_spark(spark, made)
    # As much evidence as the number in the user's name, spread as the observed shares are.
    amount = F.regexp_extract("user_id", r"\d+", 0).cast("double")
    sources = replace(sources, interests=sources.interests.withColumn("evidence", amount * F.col("observed_share")))
    how = policy(weight="personal")
    rows = rows_for_blocks(sources, how, POPULARITY, users=30).persist()
    visits: dict[str, dict[str, float | None]] = {}
    for r in made.interests.itertuples():
        visits.setdefault(r.user_id, {})[r.category] = int(r.user_id[1:]) * r.observed_share or None
    expected = slow(visits)
    told = {(r["user_id"], r["tilt"]) for r in rows.filter("kind = 'interest'").select("user_id", "tilt").collect()}
    assert len(told) == 30 and dict(told) == pytest.approx(expected, abs=1e-9)
    listed, level = recommendations(rows, how).persist(), recommendations(rows, policy())
    check(listed, sources, how)
    assert listed.select("user_id", "item_id").exceptAll(level.select("user_id", "item_id")).count() > 0
    prices = [frontier(rows, one, 0.4, 0.01).set_index("calibration") for one in (how, policy())]
    assert prices[0].loc[0.0, "expected_dcg"] == prices[1].loc[0.0, "expected_dcg"]
    assert prices[0].loc[0.4, "expected_dcg"] != prices[1].loc[0.4, "expected_dcg"]


def test_every_way_keeps_the_laws_of_the_lists(spark: SparkSession) -> None:
    sources, how = on_spark(spark, shop()), policy(most_per_brand=2)
    rows = rows_for_blocks(sources, how, POPULARITY, users=30).persist()
    for rerank in ("flow", "quota", "xquad", "mmr"):
        one = policy(most_per_brand=2, rerank=rerank)
        listed = recommendations(rows, one).persist()
        check(listed, sources, one)
        assert listed.count() == 30 * how.k, rerank
        listed.unpersist()

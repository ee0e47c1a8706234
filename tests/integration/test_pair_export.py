"""Shortlists of the pair benchmark: what happens at or after the tested cut moves labels and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from equipoise.recommend.pairs import FEATURES
from equipoise.recommend.values import Valuation
from tests.benchmarks.pair_export import shortlists
from tests.integration.recommend_world import AS_OF, LIMITS, Shop, shop
from tests.integration.test_values import on_spark

TESTED = AS_OF - timedelta(days=28)
KEY = ["user_id", "item_id"]


def made_at(spark: SparkSession, made: Shop) -> pd.DataFrame:
    valuation = Valuation(on_spark(spark, made), replace(LIMITS, value_cuts=2), AS_OF, 30, 50)
    found = shortlists(valuation, TESTED, seed=1)
    valuation.close()
    return found[found["cut"] == TESTED].set_index(KEY).sort_index()


@pytest.mark.slow
def test_what_happens_at_or_after_the_tested_cut_changes_no_pair(spark: SparkSession) -> None:
    plain = shop()
    rng, moved = np.random.default_rng(3), plain.events.copy()
    later = moved["event_date"] >= TESTED
    moved.loc[later, "item_id"] = [f"i{n:02d}" for n in rng.integers(0, 50, later.sum())]
    moved.loc[later, "event_date"] = [TESTED + timedelta(days=int(d)) for d in rng.integers(0, 28, later.sum())]
    one, other = made_at(spark, plain), made_at(spark, replace(plain, events=moved))
    assert len(one) > 100 and one["label"].any() and (one.index == other.index).all()
    columns = [*FEATURES, "p"]
    np.testing.assert_array_equal(one[columns].to_numpy(float), other[columns].to_numpy(float))
    assert (one["label"] != other["label"]).any(), "or the test shows nothing"

"""What evaluate_models compares with: whole label windows inside the log, and the model that said what is published."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from pyspark.sql import SparkSession

from equipoise.errors import ContractError
from equipoise.evaluate.protocol import Protocol
from equipoise.evaluate.published import item_texts
from equipoise.job.evaluation import judged, labels_until, protocol, unjudged, vectors_of
from equipoise.settings import Settings, parse_command_line
from tests.conftest import ROOT
from tests.unit.evaluate.test_new_items import catalogue

AS_OF = date(2017, 11, 6)


def settings(*flags: str) -> Settings:
    return parse_command_line(["--settings", str(ROOT / "conf" / "simulated.toml"), *flags], needs_as_of=False).settings


def told(spark: SparkSession, days: list[int], *flags: str) -> Protocol:
    """Of a log with an event on these days after as_of."""
    rows = [(AS_OF + timedelta(days=d),) for d in days]
    s = settings(*flags)
    return protocol(s, AS_OF, labels_until(s, AS_OF, spark.createDataFrame(rows, "event_date date")), {}, (0.0, {}))


def meta(seen: str = "2017-11-06") -> Any:
    return SimpleNamespace(model_id="m", dates={"seen_until": seen})


def test_windows_end_where_the_log_does(spark: SparkSession) -> None:
    """Two hours of tonight, and all but a day of the window, are not a window; what lies beyond the last whole one is cut off."""
    assert told(spark, [-1]).origins() == told(spark, [-1, 0]).origins() == told(spark, [-1, 26]).origins() == []
    assert told(spark, []).origins() == []
    assert told(spark, [-1, 27]).origins() == [AS_OF]
    asked = f"--evaluate.labels_until={AS_OF + timedelta(days=84)}"
    assert told(spark, [-1, 60], asked).origins() == [AS_OF, AS_OF + timedelta(days=28)]
    assert told(spark, [-1, 99], asked).labels_until == AS_OF + timedelta(days=84), "and where the settings say"


def test_why_nothing_is_compared_is_said_with_the_way_out(spark: SparkSession) -> None:
    early = AS_OF - timedelta(days=30)
    whole = told(spark, [-1, 27])
    assert unjudged(whole, None, meta()) == ""
    says = unjudged(told(spark, [-1, 0]), None, meta())
    assert "silver.events end before 2017-11-07" in says and "run evaluate_models --as-of 2017-11-06 again" in says
    says = unjudged(told(spark, [-1, 99], f"--evaluate.labels_until={early}"), early, meta())
    assert f"evaluate.labels_until = {early}" in says and "set it to 2017-12-04 or later" in says
    assert "model m has seen labels until 2017-12-04" in unjudged(whole, None, meta("2017-12-04"))


def test_the_model_is_the_one_that_scored(spark: SparkSession, tmp_path: Path) -> None:
    def of(*models: str) -> str:
        vectors = spark.createDataFrame([(m,) for m in models for _ in range(2)], "model_id string")
        return judged(vectors, cast(Any, SimpleNamespace(published="m".__eq__, root=tmp_path)), AS_OF)

    assert of("m") == "m"
    with pytest.raises(ContractError, match=r"of 2 models \(m, n\), expected one; run score_users --as-of 2017-11-06"):
        of("m", "n")
    with pytest.raises(ContractError, match=r"made by model 'n', which is not in .*; put its folder back, or run score_users"):
        of("n")


def test_items_have_vectors_of_the_judged_model_alone(spark: SparkSession) -> None:
    items = spark.createDataFrame([("i", "n")], "item_id string, model_id string")
    assert vectors_of(items, "n") is items
    assert vectors_of(items, "m") is None and vectors_of(items.limit(0), "m") is None
    silver = spark.createDataFrame([(f"i{n}", f"text {n}") for n in (2, 1)], "item_id string, text string")
    texts, vectors = item_texts(silver, None, catalogue(), np.array([1, 2]))
    assert texts.tolist() == ["text 1", "text 2"] and vectors is None
    with pytest.raises(ContractError, match=r"^silver\.items know 2 of 3 items; run ingest_events again"):
        item_texts(silver, None, catalogue(), np.array([1, 2, 3]))
    encoded = spark.createDataFrame([("i1", [1.0, 0.0])], "item_id string, vector array<float>")
    with pytest.raises(ContractError, match=r"^feature\.item_vectors and silver\.items .* 1 of 2 items; run score_users"):
        item_texts(silver, encoded, catalogue(), np.array([1, 2]))

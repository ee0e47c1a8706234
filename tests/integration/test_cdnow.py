"""CDNOW through the `files` source: the log comes in whole, and value told from the tables is that told from the file."""

from __future__ import annotations

import runpy
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from equipoise.evaluate.baselines.answers import hgb_12, logit_12
from equipoise.evaluate.tasks.value import measures
from equipoise.evaluate.tasks.value_origins import outcome, question
from equipoise.features.daily import daily_counts
from equipoise.job.run import run
from equipoise.segments.history import day_number, packed, unpacked
from equipoise.store import Store
from tests.benchmarks import value

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.mark.skipif(not (ROOT / ".cache" / "cdnow.csv").exists(), reason="CDNOW is not here: bash .ci/cdnow.sh fetches it")
def test_cdnow_comes_through_the_files_source_and_its_value_is_told(spark: SparkSession, tmp_path: Path) -> None:
    job = runpy.run_path(str(ROOT / "jobs" / "ingest_events.py"))
    argv = ["--settings", str(ROOT / "conf" / "cdnow.toml"), "--warehouse", str(tmp_path)]
    assert run(job["JOB"], job["run"], argv, ROOT / "jobs" / "ingest_events.py") == 0
    store = Store(spark, str(tmp_path))
    events, categories = store.read("silver.events"), store.read("silver.item_categories")
    kept, aside = events.count(), store.read("ops.quarantine").count()
    shop = value.cdnow()
    assert kept + aside == 69_659, "every row of the file is kept or set aside with its reason"
    assert events.select("user_id").distinct().count() == len(shop.history.users) == 23_570
    daily = daily_counts(events, categories)
    rows = packed(daily, as_of=date(1998, 7, 1), trip_types=["purchase"]).toPandas().sort_values("user_id", ignore_index=True)
    history = unpacked(rows)
    assert len(history.day) == pytest.approx(len(shop.history.day), rel=0.01)
    origin = day_number(date(1998, 1, 1))
    asked = question(history, origin, 28, ladder="spend", amounts=True, seed=1)
    truth = outcome(history, asked)
    ours, trees, logit = (
        {m.metric: float(m.value()) for m in measures(truth, method(asked)) if m.metric in ("auc", "ngini")}
        for method in (value.value_model, hgb_12, logit_12)
    )
    assert ours["auc"] >= max(trees["auc"], logit["auc"], 0.817) - 0.002
    assert ours["ngini"] >= max(trees["ngini"], logit["ngini"], 0.692) - 0.002

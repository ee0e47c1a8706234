"""Scores against the night before, predictions against what came of them, gates, durations and rejected rows."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from equipoise.monitors.outputs import OutputLimits, calibration, coverage, score_drift, segment_mix
from equipoise.monitors.runs import durations, gates, rejected

LIMITS = OutputLimits((0.02, 0.1), (0.05, 0.2), (0.03, 0.1), 1)
DAY = date(2020, 7, 5)
AS_OF = date(2020, 7, 6)


def shares(*values: float) -> pd.Series[float]:
    return pd.Series(values, index=list("abcd")[: len(values)], dtype="float64")


def test_scores_like_those_before_are_ok_and_others_are_not() -> None:
    before = shares(0.4, 0.3, 0.2, 0.1)
    assert score_drift(before, before, DAY, LIMITS, same_model=True).status == "ok"
    assert score_drift(shares(0.1, 0.2, 0.3, 0.4), before, DAY, LIMITS, same_model=True).status == "fail"
    assert score_drift(shares(0.4, 0.3, 0.2), before, DAY, LIMITS, same_model=True).status == "warn"
    told = score_drift(before, None, DAY, LIMITS, same_model=True)
    assert (told.status, told.asks_training) == ("unknown", False)
    assert score_drift(shares(0.1, 0.2, 0.3, 0.4), before, DAY, LIMITS, same_model=True).asks_training
    promoted = score_drift(shares(0.1, 0.2, 0.3, 0.4), before, DAY, LIMITS, same_model=False)
    assert (promoted.status, promoted.asks_training) == ("fail", False), "another training would move them again"


def test_segments_move() -> None:
    before = pd.Series({"O": 100, "interest": 300, "buy": 600})
    assert segment_mix(before, before * 3, DAY, LIMITS).status == "ok"
    moved = segment_mix(pd.Series({"O": 400, "buy": 600}), before, DAY, LIMITS)
    assert (moved.status, moved.value) == ("fail", pytest.approx(0.3))
    assert segment_mix(before, before.head(0), DAY, LIMITS).status == "unknown"


def test_whoever_lacks_a_row_is_told() -> None:
    assert coverage(100, 100, "gold.recommendations", DAY).status == "ok"
    assert coverage(100, 99, "gold.recommendations", DAY).status == "fail"
    assert coverage(0, 0, "gold.recommendations", DAY).status == "fail"


def test_a_perfect_model_is_calibrated_and_a_wrong_one_is_not() -> None:
    rng = np.random.default_rng(1)
    quiet = 0
    for _ in range(40):
        p = rng.beta(2, 2, 800)
        quiet += calibration(p, (rng.random(800) < p) * 1.0, DAY, DAY, LIMITS).status == "ok"
    assert quiet == 40
    assert calibration(p, (rng.random(800) < 0.5 * p) * 1.0, DAY, DAY, LIMITS).status == "fail"
    assert calibration(p, (rng.random(800) < np.clip(p - 0.1, 0, 1)) * 1.0, DAY, DAY, LIMITS).alarms
    assert calibration(p[:50], p[:50], DAY, DAY, LIMITS).status == "unknown"


def attempt(job: str, seconds: float, status: str = "done", as_of: date | None = AS_OF, night: int = 0) -> dict[str, object]:
    started = datetime(2020, 7, 6, 2) - timedelta(days=night)
    ended = started + timedelta(seconds=seconds)
    given = {"run_id": f"{job}{night}", "attempt": 1, "job": job, "as_of": as_of, "started_at": started, "finished_at": ended}
    return {**given, "status": status, "message": "because"}


def test_gates_say_how_the_newest_attempt_ended() -> None:
    runs = pd.DataFrame(
        [
            attempt("ingest_events", 9, "gated", None),
            attempt("finetune_encoder", 9, "failed", night=1),
            attempt("finetune_encoder", 9),
            attempt("score_users", 9, as_of=date(2020, 7, 5)),
        ]
    )
    jobs = ("ingest_events", "finetune_encoder", "score_users")
    found = {r.subject: r for r in gates(runs, AS_OF, DAY, jobs)}
    assert {k: r.status for k, r in found.items()} == dict(zip(jobs, ("warn", "ok", "unknown"), strict=True))
    assert "because" in found["ingest_events"].message


@pytest.mark.parametrize(("seconds", "status"), [(100, "ok"), (290, "ok"), (310, "warn"), (1100, "fail")])
def test_a_slow_job_is_told(seconds: float, status: str) -> None:
    rows = [attempt("score_users", 100, as_of=AS_OF - timedelta(days=n), night=n) for n in range(1, 6)]
    found = list(durations(pd.DataFrame([*rows, attempt("score_users", seconds)]), AS_OF, DAY, (3.0, 10.0)))
    assert [r.status for r in found] == [status]


def test_short_jobs_and_first_nights_are_not_told() -> None:
    rows = [attempt("fast", 2, as_of=AS_OF - timedelta(days=n), night=n) for n in range(1, 6)]
    assert [r.status for r in durations(pd.DataFrame([*rows, attempt("fast", 40)]), AS_OF, DAY, (3.0, 10.0))] == ["ok"]
    assert [r.status for r in durations(pd.DataFrame([attempt("new", 40)]), AS_OF, DAY, (3.0, 10.0))] == ["unknown"]


def test_rejected_rows_of_the_newest_ingest() -> None:
    runs = pd.DataFrame([attempt("ingest_events", 9, as_of=None, night=1), attempt("ingest_events", 9, as_of=None)])
    counted = [(n, m, v) for n, bad in ((1, 900.0), (0, 6.0)) for m, v in (("rows_in", 1000.0), ("rows_quarantined", bad))]
    rows = [(f"ingest_events{n}", "orders", m, v) for n, m, v in counted]
    metrics = pd.DataFrame(rows, columns=["run_id", "table_name", "metric", "value"])
    found = list(rejected(metrics, runs, DAY, 0.01))
    assert [(r.subject, r.value, r.status) for r in found] == [("orders", 0.006, "warn")]
    assert not list(rejected(metrics, runs.head(0), DAY, 0.01))

"""Monitors of how the night went: gates and rejected rows, and jobs that take far longer than they used to. Knows no Spark."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import numpy as np
import pandas as pd

from equipoise.monitors.bands import Band, Reading

LATEST, FEWEST_RUNS = 30, 3
"""Earlier runs of a job that a run is compared with at most, and at least."""

LEAST_SECONDS = 60.0
"""A job is slow only when it took so much longer than usual: of short ones a multiple says nothing."""

SAID = {"gated": "warn", "failed": "fail", "running": "fail"}


def gates(runs: pd.DataFrame, as_of: date, day: date, jobs: tuple[str, ...]) -> Iterator[Reading]:
    """How the newest attempt of each job that a gate may stop ended: 1 well, 0 not. `runs`: rows of ops.runs."""
    for job in jobs:
        mine = runs[(runs["job"] == job) & (runs["as_of"].isna() | (runs["as_of"] == as_of))]
        if mine.empty:
            yield Reading(day, "gate", job, None, None, "did not run for this date")
            continue
        last = mine.sort_values(["started_at", "attempt"]).iloc[-1]
        status = str(last["status"])
        told = f"{job} ended as {status}; expected done or skipped: {str(last['message'] or 'no message')[:300]}"
        yield Reading(day, "gate", job, 0.0 if status in SAID else 1.0, Band(1.0), told, forced=SAID.get(status, "ok"))


def durations(runs: pd.DataFrame, as_of: date, day: date, times: tuple[float, float]) -> Iterator[Reading]:
    """Seconds of each job's newest run that had work to do, against the median of the runs before it."""
    done = runs[runs["status"] == "done"].sort_values(["started_at", "attempt"])
    done = done.assign(seconds=(done["finished_at"] - done["started_at"]).dt.total_seconds())
    for job, mine in done.groupby("job", sort=True):
        tonight = mine[mine["as_of"].isna() | (mine["as_of"] == as_of)]
        if tonight.empty:
            continue
        seconds = float(tonight["seconds"].iloc[-1])
        before = mine[mine["started_at"] < tonight["started_at"].iloc[-1]]["seconds"].tail(LATEST).to_numpy(np.float64)
        if len(before) < FEWEST_RUNS:
            told = f"{seconds:.0f} s; {len(before)} earlier runs, needs {FEWEST_RUNS}"
            yield Reading(day, "duration", str(job), seconds, None, told)
            continue
        usual = float(np.median(before))
        warn, fail = (max(k * usual, usual + LEAST_SECONDS) for k in times)
        told = f"{seconds:.0f} s; the {len(before)} runs before took {usual:.0f} s in the middle: more data, or a busy cluster?"
        yield Reading(day, "duration", str(job), seconds, Band(usual, warn_high=warn, fail_high=fail), told)


def rejected(metrics: pd.DataFrame, runs: pd.DataFrame, day: date, most: float) -> Iterator[Reading]:
    """Share of rows that the newest ingest set aside, per input. `metrics`: rows of ops.quality_metrics."""
    ingests = runs[(runs["job"] == "ingest_events") & (runs["status"] != "skipped")].sort_values(["started_at", "attempt"])
    if ingests.empty:
        return
    mine = metrics[metrics["run_id"] == ingests["run_id"].iloc[-1]]
    wide = mine.pivot_table(index="table_name", columns="metric", values="value", aggfunc="sum", fill_value=0.0)
    for table in wide.index[wide.get("rows_in", pd.Series(0.0, wide.index)) > 0]:
        rows = float(wide.at[table, "rows_in"])
        value = float(wide.at[table, "rows_quarantined"]) / rows if "rows_quarantined" in wide else 0.0
        told = f"{value:.3%} of {rows:,.0f} rows of {table} set aside; expected at most {most:.1%}: ops.quarantine says why"
        yield Reading(day, "rejected", str(table), value, Band(0.0, warn_high=0.5 * most, fail_high=most), told)

"""What ran."""

from __future__ import annotations

import pandas as pd

from equipoise.report.charts import Series, bars
from equipoise.report.facts import Facts
from equipoise.report.page import Figure, Note, NumberTable, Section, empty
from equipoise.report.palette import AMBER, BLUE, ORANGE
from equipoise.report.words import count, plural, seconds

ANCHOR, TITLE = "runs", "What ran"
REPORTER = "publish_report"
"""The job that makes this page: still running while it is written."""


def attempts(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per job in order of start: its latest attempt that was not skipped, seconds, rows, skips since."""
    others = runs[runs["job"] != REPORTER].sort_values(["started_at", "attempt", "run_id"])
    worked = others[others["status"] != "skipped"].groupby("job").tail(1).copy()
    lasted = pd.to_datetime(worked["finished_at"]) - pd.to_datetime(worked["started_at"])
    worked["seconds"] = lasted.dt.total_seconds().fillna(0.0)
    worked["rows"] = [sum(int(v) for v in dict(r or {}).values()) for r in worked["rows_out"]]
    skips = [
        int(((others["job"] == job) & (others["status"] == "skipped") & (others["started_at"] > started)).sum())
        for job, started in zip(worked["job"], worked["started_at"], strict=True)
    ]
    return worked.assign(skips=pd.Series(skips, index=worked.index)).sort_values("started_at").reset_index(drop=True)


def section(facts: Facts) -> Section:
    """Jobs with their time, rows and status, and what went wrong."""
    if facts.runs.empty or (ran := attempts(facts.runs)).empty:
        return empty(ANCHOR, TITLE, "The ledger ops.runs has no finished run for this date.")
    good = ran["status"] == "done"
    slowest = ran.loc[ran["seconds"].idxmax()]
    finding = (
        f"{int(good.sum())} of {plural(len(ran), 'job')} ended well, in {seconds(ran['seconds'].sum())} altogether; "
        f"{slowest['job']} took longest, {seconds(float(ran['seconds'].max()))}"
    )
    parts = [Series("done", _where(ran, "done"), BLUE), Series("stopped by a gate", _where(ran, "gated"), AMBER)]
    parts.append(Series("failed or killed", _where(ran, "failed", "running"), ORANGE))
    used = [p for p in parts if any(p.values)] or parts[:1]
    figure = Figure(
        finding,
        bars(list(ran["job"]), used, "seconds", "Seconds per job", text=seconds),
        "The latest attempt of each job that had work to do, in order of start.",
        _table(ran),
    )
    wrong = [
        Note(f"{r['job']} ended as {r['status']}: {str(r['message'] or 'no message')[:400]}", "bad")
        for _, r in ran[~good].iterrows()
    ]
    return Section(ANCHOR, TITLE, blocks=(figure, *wrong))


def _where(ran: pd.DataFrame, *statuses: str) -> list[float]:
    return [float(s) if status in statuses else 0.0 for s, status in zip(ran["seconds"], ran["status"], strict=True)]


def _table(ran: pd.DataFrame) -> NumberTable:
    rows = [
        (r["job"], r["status"], seconds(r["seconds"]), count(r["rows"]), str(r["attempt"]), str(r["skips"]), str(r["run_id"])[:8])
        for _, r in ran.iterrows()
    ]
    return NumberTable("Runs as numbers", ("job", "status", "time", "rows written", "attempt", "skipped since", "run"), rows)

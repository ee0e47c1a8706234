"""Whether the night was as nights usually are."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd

from equipoise.report.facts import Facts
from equipoise.report.page import Block, Figure, Note, NumberTable, Section, empty
from equipoise.report.watch_charts import Watched, watched
from equipoise.report.words import count, listed, number, plural

ANCHOR, TITLE = "monitors", "As usual?"
ORDER = {"fail": 0, "warn": 1, "unknown": 2, "ok": 3}
TONES = {"fail": "bad", "warn": "warn"}
DRAWN = (("volume", "events", "Events a day"), ("category_mix", "bits", "How far a week's mix of categories is from before"))
"""Monitors of the subject "all" that are drawn over the days that were judged."""


def section(facts: Facts) -> Section:
    """What is wrong, the input day by day, then every reading of the last day."""
    told = facts.monitors
    if told.empty:
        return empty(ANCHOR, TITLE, "ops.monitors has no rows for this date; run watch_tables first.")
    last = told[told["day"] == facts.as_of - timedelta(days=1)]
    sizes = last["status"].value_counts()
    counted = listed([f"{count(sizes[s])} {s}" for s in ORDER if s in sizes])
    asks = sorted(last.loc[last["asks_training"], "monitor"].unique())
    lead = [f"Of {plural(len(last), 'reading')} of the last day: {counted}. Unknown: there is too little to compare with yet."]
    lead += [f"{listed(asks)} asked for the model to be fine-tuned anew."] if asks else []
    wrong = last[last["status"].isin(tuple(TONES))].sort_values(["status", "monitor", "subject"])
    blocks: list[Block] = [
        Note(f"{r['monitor']} {r['subject']}: {r['message']}", TONES[str(r["status"])]) for _, r in wrong.iterrows()
    ]
    drawn = [_drawn(told, *what) for what in DRAWN]
    return Section(ANCHOR, TITLE, tuple(lead), (*blocks, *(f for f in drawn if f is not None), _table(last)))


def _drawn(told: pd.DataFrame, monitor: str, unit: str, name: str) -> Figure | None:
    mine = told[(told["monitor"] == monitor) & (told["subject"] == "all") & told["value"].notna()].sort_values("day")
    if len(mine) < 2:
        return None
    days = [
        Watched(r["day"], float(r["value"]), _end(r["warn_low"]), _end(r["warn_high"]), r["status"] in TONES)
        for _, r in mine.iterrows()
    ]
    outside = sum(d.outside for d in days)
    finding = f"{name}: {outside if outside else 'none'} of the last {plural(len(days), 'day')} outside what is usual"
    note = "Grey: where nobody is told. Usual is what the same weekdays, or earlier weeks, were like, as widely as they differ."
    return Figure(finding, watched(days, unit, name), note)


def _end(value: float | None) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def _table(last: pd.DataFrame) -> NumberTable:
    ordered = last.assign(place=last["status"].map(ORDER)).sort_values(["place", "monitor", "subject"])
    names, values = ("monitor", "subject", "status"), ("value", "usual")
    rows = [
        (*(str(r[n]) for n in names), *(number(_end(r[v])) for v in values), str(r["message"])) for _, r in ordered.iterrows()
    ]
    return NumberTable("Every reading of the last day", ("monitor", "of", "status", "seen", "usual", "in words"), rows)

"""Whom planned campaigns should contact, and what that is expected to bring."""

from __future__ import annotations

from typing import Any

import pandas as pd

from equipoise.report.facts import Facts
from equipoise.report.page import Block, Figure, Note, NumberTable, Section, empty
from equipoise.report.palette import BLUE, GREEN, ORANGE, PINK
from equipoise.report.score_charts import Curve, curve
from equipoise.report.words import count, listed, number, percent, plural
from equipoise.tables.vocabulary import OK

ANCHOR, TITLE = "audiences", "Audiences"
COLOURS = (BLUE, ORANGE, GREEN, PINK)


def section(facts: Facts) -> Section:
    """The profit curve of each planned campaign, then all numbers."""
    told = facts.audiences.sort_values("audience_id")
    if told.empty:
        return empty(ANCHOR, TITLE, "No campaign is planned: describe one as [[audiences.campaigns]] in the settings.")
    lead = (
        "For each campaign of the settings: the users who bring the highest expected profit inside its budget. A response is no "
        "effect: who answers might have bought without being contacted.",
    )
    blocks: list[Block] = [
        Note(f"{row['audience_id']}: {row['status']}. {row['message']}.", "warn")
        for _, row in told[told["status"] != OK].iterrows()
    ]
    drawn = _curves(told[told["eligible"] > 0])
    return Section(ANCHOR, TITLE, lead, (*drawn, *blocks, _table(told), *_propensity(told)))


def _curves(told: pd.DataFrame) -> list[Block]:
    """Up to four campaigns, those that are expected to bring most."""
    if told.empty:
        return []
    shown = told.sort_values(["expected_profit", "audience_id"], ascending=[False, True]).head(len(COLOURS))
    best = shown.iloc[0]
    finding = (
        f"{best['audience_id']} is expected to bring {number(float(best['expected_profit']))} after its costs, from "
        f"{plural(best['reach'], 'user')} of {count(best['eligible'])}"
    )
    lines = [_line(row, colour) for (_, row), colour in zip(shown.iterrows(), COLOURS, strict=False)]
    svg = curve(lines, "share of the eligible users contacted, best first", "expected profit", finding)
    note = "Whatever the budget; where a line falls, a contact costs more than it is expected to bring: audiences end before it."
    return [Figure(finding, svg, note)]


def _line(row: pd.Series[Any], colour: str) -> Curve:
    points = [(0.0, 0.0), *((float(p["share"]), float(p["profit"])) for p in row["curve"])]
    blank: list[float | None] = [None] * len(points)
    x, y = zip(*points, strict=True)
    return Curve(str(row["audience_id"]), x, y, [""] * len(points), blank, blank, colour)


def _table(told: pd.DataFrame) -> NumberTable:
    heads = ("audience", "goal", "status", "eligible", "left out", "reach", "cost", "expected responses", "expected profit")
    rows = [
        (
            *(str(r["audience_id"]), str(r["goal"]), str(r["status"]), count(r["eligible"]), _left_out(r["left_out"])),
            *(count(r["reach"]), number(float(r["cost"])), number(float(r["expected_responses"]))),
            number(float(r["expected_profit"])),
        )
        for _, r in told.iterrows()
    ]
    return NumberTable("Audiences as numbers", heads, rows)


def _left_out(causes: object) -> str:
    found = dict(causes) if causes else {}  # type: ignore[call-overload]
    return listed([f"{count(n)} by {cause}" for cause, n in sorted(found.items())]) or "–"


def _propensity(told: pd.DataFrame) -> list[Block]:
    known = told[told["propensity_auc"].notna()]
    if known.empty:
        return []
    first = known.iloc[0]
    return [
        Note(
            f"Responses were learnt from {count(first['learnt_from'])} contacts of earlier campaigns. Whom the last chose "
            f"can be told from before with an AUC of {number(float(first['propensity_auc']))} (chance: {percent(0.5, 0)}): "
            "compare campaigns by it, but do not take response for effect."
        )
    ]

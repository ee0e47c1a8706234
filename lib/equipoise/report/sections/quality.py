"""What came in, what was kept, what was set aside and why."""

from __future__ import annotations

import pandas as pd

from equipoise.quality.rules import RULES
from equipoise.report.charts import Series, bars
from equipoise.report.facts import Facts
from equipoise.report.page import Block, Figure, Note, NumberTable, Section, empty
from equipoise.report.palette import AMBER, BLUE, ORANGE
from equipoise.report.words import count, number, percent, plural

ANCHOR, TITLE = "quality", "Data quality"
INGEST = "ingest_events"
RULE = "rule:"
LEVELS = {rule.id: rule.level for rule in RULES}
TEXTS = {rule.id: rule.text for rule in RULES}
ROWS_IN, ROWS_GOOD, ROWS_QUARANTINED = "rows_in", "rows_good", "rows_quarantined"


def of_latest_ingest(facts: Facts) -> pd.DataFrame:
    """The metrics that the latest ingest counted."""
    ingests = facts.runs[(facts.runs["job"] == INGEST) & (facts.runs["status"] != "skipped")].sort_values(
        ["started_at", "attempt"]
    )
    if ingests.empty or facts.quality.empty:
        return facts.quality.head(0)
    latest = str(ingests.iloc[-1]["run_id"])
    return facts.quality.loc[facts.quality["run_id"] == latest]


def totals(metrics: pd.DataFrame) -> dict[str, float]:
    """Rows in, good and quarantined, over all inputs."""
    return {m: float(metrics.loc[metrics["metric"] == m, "value"].sum()) for m in (ROWS_IN, ROWS_GOOD, ROWS_QUARANTINED)}


def section(facts: Facts) -> Section:
    """Rows by fate, then every rule that found something."""
    metrics = of_latest_ingest(facts)
    if metrics.empty:
        return empty(ANCHOR, TITLE, "ops.quality_metrics has no rows for the latest ingest.")
    rows = totals(metrics)
    adds_up = rows[ROWS_IN] == rows[ROWS_GOOD] + rows[ROWS_QUARANTINED]
    equation = f"{count(rows[ROWS_IN])} rows in = {count(rows[ROWS_GOOD])} kept + {count(rows[ROWS_QUARANTINED])} set aside"
    blocks: list[Block] = [] if adds_up else [Note(f"The sum does not hold: {equation}. Rows were lost or doubled.", "bad")]
    blocks += [_fates(metrics, equation), *_rules(metrics, rows[ROWS_IN])]
    others = metrics[~metrics["metric"].str.startswith(RULE)].sort_values(["table_name", "metric"])
    listed = [(r["table_name"], r["metric"], number(r["value"]), r["status"]) for _, r in others.iterrows()]
    blocks.append(NumberTable("Every other metric", ("table or input", "metric", "value", "status"), listed))
    lead = (
        "A row that breaks a reject rule goes to ops.quarantine whole, with every rule it broke; a warning only counts. "
        "Nothing is dropped silently."
    )
    return Section(ANCHOR, TITLE, (lead,), tuple(blocks))


def _fates(metrics: pd.DataFrame, equation: str) -> Figure:
    wide = metrics[metrics["metric"].isin((ROWS_IN, ROWS_GOOD, ROWS_QUARANTINED))].pivot_table(
        index="table_name", columns="metric", values="value", aggfunc="sum", fill_value=0.0
    )
    wide = wide.reindex(columns=[ROWS_IN, ROWS_GOOD, ROWS_QUARANTINED], fill_value=0.0).sort_values(ROWS_IN, ascending=False)
    wide = wide[wide[ROWS_IN] > 0]
    parts = [Series("kept", list(wide[ROWS_GOOD]), BLUE), Series("set aside", list(wide[ROWS_QUARANTINED]), ORANGE)]
    parts = [p for p in parts if any(p.values)]
    svg = bars([str(n) for n in wide.index], parts, "rows", "Rows kept and set aside per input", text=count)
    rows = [
        (
            str(name),
            count(r[ROWS_IN]),
            count(r[ROWS_GOOD]),
            count(r[ROWS_QUARANTINED]),
            percent(r[ROWS_QUARANTINED] / r[ROWS_IN], 3),
        )
        for name, r in wide.iterrows()
    ]
    return Figure(
        f"{equation}, to the row",
        svg,
        numbers=NumberTable("Rows as numbers", ("input", "in", "kept", "set aside", "share"), rows),
    )


def _rules(metrics: pd.DataFrame, rows_in: float) -> list[Block]:
    rules = metrics[metrics["metric"].str.startswith(RULE)].copy()
    if rules.empty:
        return [Note("No rule was counted.")]
    rules["rule"] = rules["metric"].str.removeprefix(RULE)
    found = rules[rules["value"] > 0].sort_values(["value", "rule", "table_name"], ascending=[False, True, True])
    quiet = int((rules["value"] <= 0).sum())
    if found.empty:
        return [Note(f"All {quiet} rules were checked and none found a row.")]
    found["level"] = [LEVELS.get(r, "warn") for r in found["rule"]]
    rejected = found[found["level"] == "reject"]
    worst = (
        f"; {rejected.iloc[0]['rule']} rejected most, {count(rejected.iloc[0]['value'])} rows"
        if len(rejected)
        else "; none rejected a row"
    )
    finding = f"{len(found)} of {len(rules)} checks found something{worst}"
    parts = [
        Series(level, [v if of == level else 0.0 for v, of in zip(found["value"], found["level"], strict=True)], colour)
        for level, colour in (("reject", ORANGE), ("warn", AMBER))
        if (found["level"] == level).any()
    ]
    names = [f"{r['rule']} ({r['table_name']})" for _, r in found.iterrows()]
    svg = bars(names, parts, "rows", "Rows found per rule", text=count)
    rows = [
        (
            r["rule"],
            r["table_name"],
            r["level"],
            count(r["value"]),
            percent(r["value"] / max(rows_in, 1.0), 3),
            TEXTS.get(r["rule"], ""),
        )
        for _, r in found.iterrows()
    ]
    table = NumberTable("Rules in words and numbers", ("rule", "input", "level", "rows", "of all rows", "what it says"), rows)
    note = (
        f"{plural(quiet, 'further check')} found nothing. A row may break several rules; rows that only break a warning are kept."
    )
    return [Figure(finding, svg, note, table)]

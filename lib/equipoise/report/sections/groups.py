"""Does it work alike for everybody? Leading metrics per user group."""

from __future__ import annotations

import pandas as pd

from equipoise.report import glossary, scores
from equipoise.report.facts import Facts
from equipoise.report.page import Block, Figure, NumberTable, Section, empty
from equipoise.report.score_charts import Panel, whiskers
from equipoise.report.scores import Key
from equipoise.report.sections.evaluation import leading, tasks
from equipoise.report.sections.floors import FLOORS
from equipoise.report.words import count, number, plural

ANCHOR, TITLE = "groups", "User groups"
SMALL = 100
"""Groups below this many users are named as small: their intervals are wide."""


def section(facts: Facts) -> Section:
    """One figure per task: the leading metric of the model and of the best method without training, per group."""
    grouped = (
        facts.evaluation[facts.evaluation["user_group"] != scores.EVERYBODY] if not facts.evaluation.empty else facts.evaluation
    )
    if grouped.empty:
        return empty(
            ANCHOR, TITLE, "gold.evaluation has no rows per user group; the source states no attributes, or groups are too small."
        )
    blocks: list[Block] = [f for t in tasks(facts.evaluation) if not t.startswith(FLOORS) for f in _figures(facts.evaluation, t)]
    lead = (
        "The same figures for each group that users state of themselves. Differences between small groups are mostly noise, "
        "so read the lines, not the dots."
    )
    return Section(ANCHOR, TITLE, (lead,), tuple(blocks))


def compared(rows: pd.DataFrame, key: Key) -> list[str]:
    """The best method with a trained part, and the best without."""
    ranked = scores.at(rows[scores.competes(rows)], key)
    ours, others = ranked[scores.is_ours(ranked)]["method"], ranked[~scores.is_ours(ranked)]["method"]
    return [*ours.head(1), *others.head(1)]


def _figures(evaluation: pd.DataFrame, task: str) -> list[Figure]:
    everybody = scores.of_task(evaluation, task)
    found = leading(scores.keys(everybody, task), task)
    if not found:
        return []
    key = found[0]
    methods = compared(everybody, key)
    mine = evaluation[(evaluation["task"] == task) & (evaluation["metric"] == key.metric) & (evaluation["cutoff"] == key.cutoff)]
    rows = scores.newest(mine[mine["method"].isin(methods)])
    groups = sorted(g for g in set(rows["user_group"]) if g != scores.EVERYBODY)
    if not groups or not methods:
        return []
    order = [scores.EVERYBODY, *groups]
    sizes = rows.groupby("user_group")["n"].max()
    panels = []
    for method in methods:
        by_group = rows[rows["method"] == method].set_index("user_group", drop=False)
        dots = [scores.whisker(by_group.loc[g], best_method=None) if g in by_group.index else None for g in order]
        panels.append(Panel(method, key.label, dots, None if dots[0] is None else dots[0].value))
    lead = rows[rows["method"] == methods[0]].set_index("user_group")["value"].drop(scores.EVERYBODY, errors="ignore")
    question = glossary.task(task)[0]
    asked = question if question.endswith("?") else f"{question}:"
    title = (
        f"{asked} {key.label} of {methods[0]} runs from {number(float(lead.min()))} ({lead.idxmin()}) to "
        f"{number(float(lead.max()))} ({lead.idxmax()})"
    )
    small = [g for g in groups if sizes[g] < SMALL]
    note = f"Dotted: all users. {plural(len(small), 'group')} of fewer than {SMALL} users."
    labels = [f"{g.replace('_', ' ')} ({count(float(sizes[g]))})" for g in order]
    return [Figure(title, whiskers(labels, panels, title, alike=True), note, _table(rows, order, methods, key))]


def _table(rows: pd.DataFrame, groups: list[str], methods: list[str], key: Key) -> NumberTable:
    cells = {(r["user_group"], r["method"]): r for _, r in rows.iterrows()}
    body = []
    for group in groups:
        line = [group]
        for method in methods:
            r = cells.get((group, method))
            low, high = (scores.end(r["ci_low"]), scores.end(r["ci_high"])) if r is not None else (None, None)
            line.append("–" if r is None else f"{number(float(r['value']))} [{number(low)}, {number(high)}]")
        n = max((int(cells[(group, m)]["n"]) for m in methods if (group, m) in cells), default=0)
        body.append([*line, count(n)])
    return NumberTable(f"{key.label} per group as numbers", ("group", *methods, "users"), body)

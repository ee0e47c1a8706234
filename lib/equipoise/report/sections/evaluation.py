"""How good every method is, winners and losers alike: a figure per task, and its differences from the main baseline."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from equipoise.report import glossary, scores
from equipoise.report.facts import Facts
from equipoise.report.page import Block, Figure, Fold, Heading, NumberTable, Section, empty
from equipoise.report.score_charts import Panel, whiskers
from equipoise.report.scores import Key
from equipoise.report.sections import curves, floors
from equipoise.report.sections.floors import FLOORS
from equipoise.report.words import count, number, plural

ANCHOR, TITLE = "evaluation", "How good is it?"
PANELS = 3
USUAL_CUTOFF = 10
WAITING = (
    "gold.evaluation has no rows for this date. Its label window may not be over: run evaluate_models and publish_report for it "
    "again once it is."
)
OTHERS = ("balance", "operating_points")
"""Tasks of the section on balance."""

READING = (
    "Dot: value on held-back windows. Line: 95 % interval over users drawn again. Blue: the trained model has a part in it. "
    "Bold green: best."
)


def tasks(evaluation: pd.DataFrame) -> list[str]:
    """Tasks of this section: the known ones first, floors last."""
    found = sorted(set(evaluation["task"]) - set(OTHERS))
    known = list(glossary.TASKS)
    return sorted(found, key=lambda t: (t.startswith(FLOORS), known.index(t) if t in known else len(known), t))


def section(facts: Facts) -> Section:
    """One part per task."""
    if facts.evaluation.empty:
        return empty(ANCHOR, TITLE, WAITING)
    blocks = [
        b
        for t in tasks(facts.evaluation)
        for b in (floors.blocks(facts.evaluation, t) if t.startswith(FLOORS) else _task(facts.evaluation, t))
    ]
    lead = (
        "Every method saw only what lay before the cut and is judged on what came after, on the same users. Methods that lose "
        "are shown like those that win.",
        READING,
    )
    return Section(ANCHOR, TITLE, lead, (_methods(facts.evaluation), *blocks))


def _methods(evaluation: pd.DataFrame) -> NumberTable:
    """Every method in words."""
    named = sorted({m for t in tasks(evaluation) for m in scores.of_task(evaluation, t)["method"]})
    rows = [(m, glossary.method(m)) for m in named if not m.startswith(scores.PUBLISHED)]
    return NumberTable("What the methods are", ("method", "in words"), rows)


def leading(found: list[Key], task: str) -> list[Key]:
    """One key per leading metric of the task, at the usual cut-off where there is one."""
    chosen: list[Key] = []
    for name in glossary.LEADING.get(task, ()) or dict.fromkeys(k.metric for k in found):
        alike = [k for k in found if k.metric == name]
        usual = [k for k in alike if k.cutoff in (USUAL_CUTOFF, 0)]
        chosen += (usual or alike)[:1]
    return chosen[:PANELS]


def _task(evaluation: pd.DataFrame, task: str) -> list[Block]:
    rows = scores.of_task(evaluation, task)
    found = scores.keys(rows, task)
    if not found:
        return []
    question, text = glossary.task(task)
    first = rows.iloc[0]
    origin = "pooled over label windows" if first["origin"] == scores.POOLED else f"label window from {first['origin']}"
    where = f"{first['split'].capitalize()}, {origin}, {plural(int(rows['n'].max()), 'user')}."
    front = leading(found, task)
    rest = [k for k in found if k not in front]
    blocks: list[Block] = [Heading(f"task-{task}", question, f"{text} {where}".strip())]
    blocks.append(_figure(rows, front, finding(rows, front[0]), _table(rows, found)))
    blocks += [*_differences(evaluation, task, front), *curves.roc(evaluation, task)]
    blocks += [*curves.gains(evaluation, task), *curves.tenths(evaluation, task)]
    chunks = [rest[i : i + PANELS] for i in range(0, len(rest), PANELS)]
    further = [_figure(rows, chunk, "; ".join(k.label for k in chunk)) for chunk in chunks]
    blocks += _elsewhere(evaluation, task, str(first["origin"]))
    return [*blocks, *([Fold(f"{plural(len(rest), 'further metric')} as pictures", further)] if further else [])]


def _elsewhere(evaluation: pd.DataFrame, task: str, origin: str) -> list[Block]:
    """Other splits and origins as tables."""
    rows = scores.plain(evaluation, task)
    found: list[Block] = []
    for (split, start), part in rows.groupby(["split", "origin"], sort=True):
        if start != origin or split != scores.newest(rows).iloc[0]["split"]:
            table = _table(part, scores.keys(part, task))
            found.append(replace(table, caption=f"{split.capitalize()}, label window from {start}: all numbers"))
    return found


def finding(rows: pd.DataFrame, key: Key) -> str:
    """Who is best in the first metric, and where the best method with a trained part stands."""
    ranked = scores.at(rows[scores.competes(rows)], key)
    if key.better is None or ranked.empty:
        return f"{key.label} of {plural(len(ranked), 'method')}"
    top = ranked.iloc[0]
    says = f"{key.label}: {top['method']} is best with {number(float(top['value']))}"
    ours = ranked[scores.is_ours(ranked)]
    if ours.empty:
        return says
    mine = ours.iloc[0]
    if mine["method"] == top["method"]:
        others = ranked[~scores.is_ours(ranked)]
        beaten = (
            f"; the best baseline, {others.iloc[0]['method']}, reaches {number(float(others.iloc[0]['value']))}"
            if len(others)
            else ""
        )
        return says + beaten
    place = list(ranked["method"]).index(mine["method"]) + 1
    return f"{says}; {mine['method']} comes {_ordinal(place)} of {len(ranked)} with {number(float(mine['value']))}"


def _ordinal(place: int) -> str:
    return f"{place}{'th' if place % 100 in (11, 12, 13) else {1: 'st', 2: 'nd', 3: 'rd'}.get(place % 10, 'th')}"


def _figure(rows: pd.DataFrame, front: list[Key], title: str, numbers: NumberTable | None = None) -> Figure:
    order = list(scores.at(rows, front[0])["method"])
    order += sorted(set(rows["method"]) - set(order))
    shown = [m for m in order if any(m in set(scores.at(rows, k)["method"]) for k in front)]
    panels = []
    for key in front:
        mine = scores.at(rows, key).set_index("method", drop=False)
        winner = scores.best(rows, key)
        dots = [scores.whisker(mine.loc[m], best_method=winner) if m in mine.index else None for m in shown]
        arrow = {"higher": "more is better →", "lower": "← less is better", None: ""}[key.better]
        panels.append(Panel(key.label, arrow, dots))
    label = f"{', '.join(k.label for k in front)} per method"
    notes = "; ".join(f"{k.label}: {glossary.metric(k.metric)[1].text}" for k in front if glossary.metric(k.metric)[1].text)
    return Figure(title, whiskers(shown, panels, f"{label}: {title}"), notes + "." if notes else "", numbers)


def _differences(evaluation: pd.DataFrame, task: str, front: list[Key]) -> list[Block]:
    """How far every method stands from the main baseline, with the interval of the paired difference."""
    by_key = {k: scores.differences(evaluation, task, k) for k in front}
    used = {k: d for k, d in by_key.items() if d}
    if not used:
        return []
    first = next(iter(used))
    baseline = used[first][0].baseline
    methods = list(dict.fromkeys(d.method for found in used.values() for d in found))
    trained = set(evaluation.loc[(evaluation["task"] == task) & evaluation["seeds"].notna(), "method"])
    panels = []
    for key, found in used.items():
        by_method = {d.method: d for d in found}
        rows = [scores.gap(by_method[m], key, ours=m in trained) if m in by_method else None for m in methods]
        panels.append(Panel(f"{key.label}, difference", {"higher": "better →", "lower": "← better", None: ""}[key.better], rows))
    sure = [d for d in used[first] if scores.is_better(d, first)]
    worse = [d for d in used[first] if scores.is_worse(d, first)]
    title = (
        f"Against {baseline} in {first.label}: {len(sure)} of {plural(len(used[first]), 'method')} better beyond doubt, "
        f"{len(worse)} worse, {len(used[first]) - len(sure) - len(worse)} undecided"
    )
    note = (
        "Differences are paired: both methods are judged on the same redrawn users. A line that crosses nought is undecided; "
        "bold green is better beyond doubt."
    )
    return [Figure(title, whiskers(methods, panels, title, zero=True), note)]


def _table(rows: pd.DataFrame, found: list[Key]) -> NumberTable:
    """All metrics of all methods; the best of each column is marked with a star."""
    first = scores.at(rows, found[0])
    methods = list(first["method"]) + sorted(set(rows["method"]) - set(first["method"]))
    cells: dict[str, list[str]] = {m: [m] for m in methods}
    for key in found:
        mine = scores.at(rows, key).set_index("method", drop=False)
        winner = scores.best(rows, key)
        for m in methods:
            cells[m].append(_cell(mine.loc[m], starred=m == winner) if m in mine.index else "–")
    users = rows.groupby("method")["n"].max()
    body = [[*cells[m], count(float(users[m]))] for m in methods]
    ours = set(rows.loc[scores.is_ours(rows), "method"])
    marked = frozenset(i for i, m in enumerate(methods) if m in ours)
    return NumberTable("All numbers, best starred", ("method", *(k.label for k in found), "users"), body, ours=marked)


def _cell(row: pd.Series[float], *, starred: bool) -> str:
    low, high = scores.end(row["ci_low"]), scores.end(row["ci_high"])
    span = "" if low is None or high is None else f" [{number(low)}, {number(high)}]"
    return f"{number(float(row['value']))}{span}{' ★' if starred else ''}"

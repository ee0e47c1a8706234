"""Published floors, measured again: does this pipeline reproduce figures that were measured elsewhere?"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from equipoise.report import scores
from equipoise.report.page import Block, Figure, Heading, NumberTable
from equipoise.report.score_charts import Panel, Whisker, whiskers
from equipoise.report.scores import PUBLISHED, Key
from equipoise.report.words import number, plural

FLOORS = "floors_"
"""Prefix of the tasks that reproduce published figures."""


def blocks(evaluation: pd.DataFrame, task: str) -> list[Block]:
    """The methods measured here, with the published value as an orange mark, in the metrics that were published."""
    rows = scores.of_task(evaluation, task)
    here, there = rows[~rows["method"].str.startswith(PUBLISHED)], rows[rows["method"].str.startswith(PUBLISHED)]
    found = scores.keys(there, task.removeprefix(FLOORS))
    if here.empty or not found:
        return []
    name = task.removeprefix(FLOORS).replace("_", " ")
    methods = list(scores.at(here, found[0])["method"])
    methods += sorted({m.removeprefix(PUBLISHED) for m in there["method"]} - set(methods))
    marked = {k: {m: _marked(here, there, k, m) for m in methods} for k in found}
    pairs = [w for by_method in marked.values() for w in by_method.values() if w is not None and w.mark is not None]
    inside = [w for w in pairs if w.low is not None and w.high is not None and w.mark is not None and w.low <= w.mark <= w.high]
    title = f"{len(inside)} of {plural(len(pairs), 'published figure')} lie within the 95 % interval of what is measured here"
    heading = Heading(
        f"task-{task}",
        f"Published floors, measured again: {name}",
        "On raw UTC dates, with the protocol the figures were published with; they check the pipeline, not the model.",
    )
    figures: list[Block] = []
    for start in range(0, len(found), 3):
        chunk = found[start : start + 3]
        shown = [m for m in methods if any(marked[k][m] for k in chunk)]
        svg = whiskers(shown, [Panel(k.label, "", [marked[k][m] for m in shown]) for k in chunk], f"{title} ({start})")
        told = title if not start else "; ".join(k.label for k in chunk)
        figures.append(
            Figure(told, svg, "Grey: measured here. Orange: published.", _table(methods, marked) if not start else None)
        )
    return [heading, *figures]


def _marked(here: pd.DataFrame, there: pd.DataFrame, key: Key, method: str) -> Whisker | None:
    mine = scores.at(here, key).set_index("method", drop=False)
    published = scores.at(there, key).set_index("method")
    if method not in mine.index:
        return None
    dot = scores.whisker(mine.loc[method], best_method=None)
    name = f"{PUBLISHED}{method}"
    return replace(dot, mark=float(published.at[name, "value"])) if name in published.index else dot


def _table(methods: list[str], marked: dict[Key, dict[str, Whisker | None]]) -> NumberTable:
    body = []
    for method in methods:
        for key, by_method in marked.items():
            one = by_method[method]
            if one is not None and one.mark is not None:
                body.append((method, key.label, number(one.mark), number(one.value), f"{number(one.low)} to {number(one.high)}"))
    return NumberTable(
        "Published and measured as numbers", ("method", "metric", "published", "measured here", "95 % interval"), body
    )

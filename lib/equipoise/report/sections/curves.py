"""ROC curves from their points in gold.evaluation."""

from __future__ import annotations

import pandas as pd

from equipoise.report import scores
from equipoise.report.glossary import ROC
from equipoise.report.page import Block, Figure
from equipoise.report.palette import BLUE, GREEN, ORANGE, PINK
from equipoise.report.score_charts import Curve, curve
from equipoise.report.words import number

SHOWN = 4
AUC = scores.Key("auc", 0)


def roc(evaluation: pd.DataFrame, task: str) -> list[Block]:
    """The curves of the methods with the highest AUC, the trained ones first; nothing where no points were computed."""
    everybody = evaluation[
        (evaluation["task"] == task) & (evaluation["user_group"] == scores.EVERYBODY) & (evaluation["metric"] == ROC)
    ]
    points = scores.newest(everybody)
    points = points[scores.competes(points)] if not points.empty else points
    if points.empty:
        return []
    ranked = scores.at(scores.of_task(evaluation, task), AUC)
    ranked = ranked[ranked["method"].isin(set(points["method"]))]
    chosen = [*ranked[scores.is_ours(ranked)]["method"].head(2), *ranked[~scores.is_ours(ranked)]["method"].head(2)][:SHOWN]
    lines = [_line(points[points["method"] == m], m, c) for m, c in zip(chosen, (BLUE, ORANGE, GREEN, PINK), strict=False)]
    if not lines:
        return []
    first = lines[0]
    tenth = dict(zip(first.x, first.y, strict=True)).get(0.1)
    says = (
        f": with one in ten non-buyers called buyers, {first.name} finds {number(100 * tenth)} % of the buyers"
        if tenth is not None
        else ""
    )
    title = f"ROC curves{says}"
    svg = curve(lines, "share of non-buyers called buyers", "share of buyers found", title, diagonal=True)
    return [Figure(title, svg, "Dashed: chance. Up to two methods with a trained part and two baselines, by AUC.")]


def _line(points: pd.DataFrame, method: str, colour: str) -> Curve:
    ordered = points.sort_values("cutoff")
    x, y = [0.0, *(ordered["cutoff"] / 100.0), 1.0], [0.0, *ordered["value"], 1.0]
    blank: list[float | None] = [None] * len(x)
    return Curve(method, [float(v) for v in x], [float(v) for v in y], [""] * len(x), blank, blank, colour)

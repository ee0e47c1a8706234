"""Curves from their points in gold.evaluation: ROC, gains, and what was said beside what came."""

from __future__ import annotations

import pandas as pd

from equipoise.report import scores
from equipoise.report.glossary import ROC
from equipoise.report.page import Block, Figure, NumberTable
from equipoise.report.palette import BLUE, GREEN, GREY, ORANGE, PINK
from equipoise.report.score_charts import Curve, curve
from equipoise.report.words import number, percent

SHOWN = 4
AUC, GINI = scores.Key("auc", 0), scores.Key("ngini", 0)
COLOURS = (BLUE, ORANGE, GREEN, PINK)


def roc(evaluation: pd.DataFrame, task: str) -> list[Block]:
    """The curves of the methods with the highest AUC, the trained ones first; nothing where no points were computed."""
    points = _points(evaluation, task, ROC)
    if points.empty:
        return []
    chosen = _chosen(evaluation, task, AUC, points)
    lines = [_line(points[points["method"] == m], m, c) for m, c in zip(chosen, COLOURS, strict=False)]
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


def gains(evaluation: pd.DataFrame, task: str) -> list[Block]:
    """What part of all spend the best part of the users by each method brought."""
    points = _points(evaluation, task, "gain")
    if points.empty:
        return []
    chosen = _chosen(evaluation, task, GINI, points)
    lines = [_line(points[points["method"] == m], m, c) for m, c in zip(chosen, COLOURS, strict=False)]
    if not lines:
        return []
    first = lines[0]
    tenth = dict(zip(first.x, first.y, strict=True)).get(0.1)
    says = f": the tenth that {first.name} puts first brought {number(100 * tenth)} % of it" if tenth is not None else ""
    title = f"Spend held by the users put first{says}"
    svg = curve(lines, "share of users, best first", "share of all spend", title, diagonal=True)
    return [
        Figure(title, svg, "Dashed: users in any order. Up to two methods with a trained part and two baselines, by spend Gini.")
    ]


def tenths(evaluation: pd.DataFrame, task: str) -> list[Block]:
    """What was said of each tenth of the users beside what came: spend, then the probability of buying."""
    return [
        block
        for name, key, what in (("spend", GINI, "spend per user"), ("p", AUC, "probability of buying"))
        for block in _said_and_seen(evaluation, task, name, key, what)
    ]


def _said_and_seen(evaluation: pd.DataFrame, task: str, name: str, key: scores.Key, what: str) -> list[Block]:
    points = _points(evaluation, task, f"{name}_said", f"{name}_seen")
    chosen = _chosen(evaluation, task, key, points)[:1] if not points.empty else []
    if not chosen:
        return []
    mine = points[points["method"] == chosen[0]].pivot_table(index="cutoff", columns="metric", values="value").sort_index()
    said, seen = ([float(v) for v in mine[f"{name}_{kind}"]] for kind in ("said", "seen"))
    far = max(abs(a - b) for a, b in zip(said, seen, strict=True))
    apart = f"{100 * far:.1f} points" if name == "p" else f"{far:,.2f}"
    title = f"{chosen[0]}, {what} by tenths of the users: said and seen are {apart} apart at most"
    blank: list[float | None] = [None] * len(said)
    line = Curve(chosen[0], said, seen, [""] * len(said), blank, blank, BLUE)
    top = max(*said, *seen)
    even = Curve("as said", [0.0, top], [0.0, top], ["", ""], [None, None], [None, None], GREY)
    svg = curve([line, even], f"{what}, mean of what was said", "mean of what came", title)
    text = percent if name == "p" else number
    rows = [(str(int(c)), text(a), text(b)) for c, a, b in zip(mine.index, said, seen, strict=True)]
    numbers = NumberTable(f"{what.capitalize()} by tenths", ("tenth, 10 the highest", "said", "seen"), rows)
    return [
        Figure(
            title, svg, "On the grey line what came is what was said. Tenths by what was said; equal ones stay together.", numbers
        )
    ]


def _points(evaluation: pd.DataFrame, task: str, *metrics: str) -> pd.DataFrame:
    """Points of the newest test window over all users, of methods that compete."""
    everybody = evaluation[
        (evaluation["task"] == task) & (evaluation["user_group"] == scores.EVERYBODY) & evaluation["metric"].isin(metrics)
    ]
    points = scores.newest(everybody)
    return points[scores.competes(points)] if not points.empty else points


def _chosen(evaluation: pd.DataFrame, task: str, key: scores.Key, points: pd.DataFrame) -> list[str]:
    """Two methods with a trained part and two without, the best by the key, the trained ones first."""
    ranked = scores.at(scores.of_task(evaluation, task), key)
    ranked = ranked[ranked["method"].isin(set(points["method"]))]
    return [*ranked[scores.is_ours(ranked)]["method"].head(2), *ranked[~scores.is_ours(ranked)]["method"].head(2)][:SHOWN]


def _line(points: pd.DataFrame, method: str, colour: str) -> Curve:
    ordered = points.sort_values("cutoff")
    x, y = [0.0, *(ordered["cutoff"] / 100.0), 1.0], [0.0, *ordered["value"], 1.0]
    blank: list[float | None] = [None] * len(x)
    return Curve(method, [float(v) for v in x], [float(v) for v in y], [""] * len(x), blank, blank, colour)

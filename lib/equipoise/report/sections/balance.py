"""What balance costs: accuracy of the lists against their distance from the targets, per weight λ and number of explore slots."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from equipoise.report import scores
from equipoise.report.facts import Facts
from equipoise.report.page import Block, Figure, NumberTable, Section, empty
from equipoise.report.palette import QUALITATIVE
from equipoise.report.score_charts import Curve, curve
from equipoise.report.scores import Key
from equipoise.report.words import count, number, percent

ANCHOR, TITLE, TASK = "balance", "Balance against accuracy", "balance"
OPERATING = "operating_points"
ACCURACY = ("ndcg", "recall", "hit")
DISTANCE = ("kl_bits", "js_bits", "total_variation")
DISCOVERY = ("category_recall_explore", "recall_explore")
WEIGHT = re.compile(r"(?:λ|lambda)\s*=?\s*([0-9.]+)")
SLOTS = re.compile(r"(?:slots?|explore)\s*=?\s*(\d+)")


@dataclass(frozen=True)
class Point:
    """One setting of the re-ranking: weight λ and slots as its method's name says, and its method."""

    method: str
    weight: float
    slots: int | None


def points(methods: list[str]) -> list[Point]:
    """Methods whose names carry a λ and no other way to draw than the published one, by slots and λ."""
    found = []
    for method in sorted({m for m in methods if "draw=" not in m}):
        weight, slots = WEIGHT.search(method), SLOTS.search(method)
        if weight:
            found.append(Point(method, float(weight[1].rstrip(".")), int(slots[1]) if slots else None))
    return sorted(found, key=lambda p: (p.slots if p.slots is not None else -1, p.weight, p.method))


def section(facts: Facts) -> Section:
    """The λ curve, then what explore slots find and cost, where the table has them."""
    rows = scores.of_task(facts.evaluation, TASK) if not facts.evaluation.empty else facts.evaluation
    blocks = _expected(facts.balance)
    if rows.empty:
        if not blocks:
            return empty(ANCHOR, TITLE, "gold.balance and task 'balance' of gold.evaluation have no rows for this date.")
        return Section(ANCHOR, TITLE, ("What lists cost is foretold here; what users then did is not known yet.",), tuple(blocks))
    found = scores.keys(rows, TASK)
    accuracy, distance, discovery = (_first(found, names) for names in (ACCURACY, DISTANCE, DISCOVERY))
    if accuracy and distance:
        blocks += _frontier(rows, accuracy, distance)
    if accuracy and discovery:
        blocks += _slots(rows, accuracy, discovery)
    blocks += [*_operating(facts.evaluation), _table(rows, found)]
    lead = (
        "λ is the weight of calibration against relevance in the re-ranking (Steck 2018): at 0 a list holds the most relevant "
        "items, at 1 only the match with the user's target shares counts. Each point is one setting, judged on what the users "
        "did next."
    )
    return Section(ANCHOR, TITLE, (lead,), tuple(blocks))


def _expected(balance: pd.DataFrame) -> list[Block]:
    """What every λ was expected to cost when the lists were made, and which one was taken."""
    if len(balance) < 2 or not balance["chosen"].any():
        return []
    one = balance[balance["chosen"]].iloc[0]
    title = (
        f"Before anybody saw them, λ={one['calibration']:g} was expected to cost {percent(float(one['accuracy_loss']))} of the "
        f"lists' DCG, for {number(float(balance['kl_bits'].iloc[0] - one['kl_bits']))} bits nearer to the targets"
    )
    nothing: list[float | None] = [None] * len(balance)
    line = Curve(
        "expected",
        [float(x) for x in balance["kl_bits"]],
        [1.0 - float(x) for x in balance["accuracy_loss"]],
        [f"λ={x:g}" for x in balance["calibration"]],
        nothing,
        nothing,
        QUALITATIVE[0],
    )
    svg = curve([line], "Divergence of list and target, bits (less is nearer)", "Part of the expected DCG kept", title)
    note = (
        "From the probabilities that the lists are ranked by (p_next_trip), without a look at what came next: gold.balance. "
        "With recommend.calibration = auto the largest λ is taken that keeps the loss within recommend.accuracy_loss. The figure "
        "below says what it did cost."
    )
    return [Figure(title, svg, note)]


def _operating(evaluation: pd.DataFrame) -> list[Block]:
    """What was foretold to stay inside a loss, and what it did lose and bring."""
    rows = evaluation[(evaluation["task"] == OPERATING) & (evaluation["user_group"] == "all")]
    if rows.empty:
        return []
    by = {(str(r["method"]), str(r["metric"])): r for _, r in rows.iterrows()}
    body = [
        (m, *(_with_ends(by[m, metric]) if (m, metric) in by else "–" for metric in ("ndcg_loss", "kl_cut", "hypervolume")))
        for m in sorted(dict.fromkeys(rows["method"]))
    ]
    heads = ("point", "NDCG lost", "divergence taken away", "area of the frontier")
    return [NumberTable("Points chosen by what they were foretold to cost, and what they did cost (95 %)", heads, body)]


def _with_ends(row: pd.Series[Any]) -> str:
    ends = [scores.end(row[c]) for c in ("ci_low", "ci_high")]
    told = " – ".join(percent(e, 2) if e is not None else "?" for e in ends)
    return f"{percent(float(row['value']), 2)} ({told})"


def _first(found: list[Key], names: tuple[str, ...]) -> Key | None:
    ranked = sorted((k for k in found if k.metric in names), key=lambda k: (names.index(k.metric), k.cutoff))
    return ranked[0] if ranked else None


def _frontier(rows: pd.DataFrame, accuracy: Key, distance: Key) -> list[Block]:
    lines: list[Curve] = []
    values = points(list(rows["method"]))
    for slots in dict.fromkeys(p.slots for p in values):
        mine = [p for p in values if p.slots == slots]
        if len({p.weight for p in mine}) < 2:
            continue
        name = "lists" if slots is None else f"{slots} explore slots"
        lines.append(_line(rows, mine, distance, accuracy, name, QUALITATIVE[len(lines) % len(QUALITATIVE)], by_weight=True))
    if not lines:
        return []
    first = lines[0]
    start, gains = first.y[0], [(x, y, label) for x, y, label in zip(first.x, first.y, first.labels, strict=True)]
    cheap = [g for g in gains if g[1] >= 0.99 * start]
    nearest = min(cheap, key=lambda g: g[0])
    saved = 1 - nearest[0] / first.x[0] if first.x[0] else 0.0
    title = (
        f"At {nearest[2]} the lists stand {percent(saved, 0)} nearer to the targets for "
        f"{percent(max(1 - nearest[1] / start, 0.0) if start else 0.0)} of accuracy"
    )
    svg = curve(lines, f"{distance.label} of list and target (less is nearer)", accuracy.label, title)
    return [
        Figure(
            title,
            svg,
            "Left is balanced, up is accurate: the best corner is the upper left. Lines: 95 % intervals of accuracy. The "
            f"title names the nearest point that keeps 99 % of the accuracy at {first.labels[0]}.",
        )
    ]


def _slots(rows: pd.DataFrame, accuracy: Key, discovery: Key) -> list[Block]:
    values = points(list(rows["method"]))
    weights = sorted({p.weight for p in values if p.slots is not None})
    most = max(weights, key=lambda w: (len({p.slots for p in values if p.weight == w}), -w), default=None)
    mine = [p for p in values if p.weight == most and p.slots is not None]
    if most is None or len(mine) < 2:
        return []
    lines = [_line(rows, mine, discovery, accuracy, f"λ={most:g}", QUALITATIVE[0], by_weight=False)]
    line = lines[0]
    steps = len(line.x) - 1
    title = (
        f"From {line.labels[0]} to {line.labels[steps]} (λ={most:g}), {discovery.label.lower()} goes from {number(line.x[0])} "
        f"to {number(line.x[steps])} and {accuracy.label} from {number(line.y[0])} to {number(line.y[steps])}"
    )
    return [
        Figure(
            title,
            curve(lines, discovery.label, accuracy.label, title),
            "Right finds more that is new to the user, up is accurate.",
        )
    ]


def _line(rows: pd.DataFrame, mine: list[Point], x: Key, y: Key, name: str, colour: str, *, by_weight: bool) -> Curve:
    across, up = (scores.at(rows, k).set_index("method") for k in (x, y))
    kept = [p for p in mine if p.method in across.index and p.method in up.index]
    return Curve(
        name,
        [float(across.at[p.method, "value"]) for p in kept],
        [float(up.at[p.method, "value"]) for p in kept],
        [f"λ={p.weight:g}" if by_weight else f"{p.slots} slots" for p in kept],
        [scores.end(up.at[p.method, "ci_low"]) for p in kept],
        [scores.end(up.at[p.method, "ci_high"]) for p in kept],
        colour,
    )


def _table(rows: pd.DataFrame, found: list[Key]) -> NumberTable:
    ordered = [p.method for p in points(list(rows["method"]))]
    methods = ordered + sorted(set(rows["method"]) - set(ordered))
    by_key = {k: scores.at(rows, k).set_index("method") for k in found}
    body = []
    for m in methods:
        cells = [number(float(by_key[k].at[m, "value"])) if m in by_key[k].index else "–" for k in found]
        body.append([m, *cells, count(float(rows.loc[rows["method"] == m, "n"].max()))])
    return NumberTable("All points as numbers", ("method", *(k.label for k in found), "users"), body)

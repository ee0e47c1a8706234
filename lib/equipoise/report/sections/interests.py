"""What users are interested in: history, prediction and target, and how much evidence stands behind it."""

from __future__ import annotations

from equipoise.report.aggregates import EVIDENCE_EDGES
from equipoise.report.charts import TICK, Series, columns, dots
from equipoise.report.facts import Facts
from equipoise.report.page import Block, Figure, NumberTable, Section, empty
from equipoise.report.palette import BLUE, GREEN, GREY, ORANGE
from equipoise.report.words import category, count, listed, percent, signed

ANCHOR, TITLE = "interests", "Interests"
SHOWN = 18
"""Categories in the figure; the table below it has them all."""


def section(facts: Facts) -> Section:
    """Population means per category, then the spread of evidence."""
    if facts.categories.empty:
        return empty(ANCHOR, TITLE, "gold.user_interests has no rows for this date.")
    lead = (
        "Three shares per user and category: what the user did so far (history: decayed and weighted), what the model expects "
        "in the next window (predicted), and what recommendations aim at (target), which trusts history more the more of it "
        "there is. The figure shows their means over all users, each user counted alike."
    )
    return Section(ANCHOR, TITLE, (lead,), (_shares(facts), *_evidence(facts)))


def _shares(facts: Facts) -> Figure:
    everything = facts.categories
    top = everything.head(SHOWN)
    gaps = sorted(zip(top["predicted"] - top["history"], top["category"], strict=True))
    (least, down), (most, up) = gaps[0], gaps[-1]
    leaders = listed([category(c) for c in top["category"].head(3)])
    finding = (
        f"{leaders} lead the targets; against history the model expects most more of {category(up)} ({signed(most, 2)} points) "
        f"and most less of {category(down)} ({signed(least, 2)} points)"
    )
    series = [
        Series("history", list(top["history"]), GREY, TICK),
        Series("predicted", list(top["predicted"]), ORANGE, "D"),
        Series("target", list(top["target"]), BLUE),
    ]
    svg = dots(
        [category(c) for c in top["category"]],
        series,
        "mean share over users",
        "History, predicted and target share per category",
    )
    rows = [
        (r["category"], percent(r["history"], 2), percent(r["predicted"], 2), percent(r["target"], 2), count(r["users_led"]))
        for _, r in everything.iterrows()
    ]
    table = NumberTable(
        f"All {len(rows)} categories as numbers",
        ("category", "history", "predicted", "target", "users it is the top prediction of"),
        rows,
    )
    note = (
        f"The {len(top)} categories with the highest mean target, which hold {percent(top['target'].sum(), 0)} of all targets. "
        "gold.user_interests keeps each user's likeliest and observed categories only, so a rare category's predicted mean is "
        "a lower bound, and targets, which sum to 1 over the kept ones, stand a little higher."
    )
    return Figure(finding, svg, note, table)


def _evidence(facts: Facts) -> list[Block]:
    labels = ["none", *(f"≤ {e:g}" for e in EVIDENCE_EDGES), f"> {EVIDENCE_EDGES[-1]:g}"]
    counts = dict(zip(facts.evidence["bin"], facts.evidence["users"], strict=True))
    users = [float(counts.get(i, 0)) for i in range(len(labels))]
    total = sum(users)
    if not total:
        return []
    thin = sum(users[: 1 + sum(e <= 10 for e in EVIDENCE_EDGES)])
    finding = f"{percent(thin / total)} of users have a history that weighs 10 or less, so their targets lean on the model"
    svg = columns(
        labels,
        [Series("users", users, GREEN)],
        "decayed weight of a user's history",
        "users",
        "Users by weight of their history",
    )
    return [Figure(finding, svg)]

"""What users are shown: balance of the lists, exploration and reasons."""

from __future__ import annotations

import pandas as pd

from equipoise.report.aggregates import PROPENSITY_EDGES
from equipoise.report.charts import TICK, Series, bars, columns, dots
from equipoise.report.facts import Facts
from equipoise.report.page import Block, Figure, Note, NumberTable, Section, empty
from equipoise.report.palette import AMBER, BLUE, GREEN, GREY, ORANGE
from equipoise.report.sections import exploration
from equipoise.report.words import category, count, number, percent, plural

ANCHOR, TITLE = "recommendations", "Recommendations"
SHOWN, EXPLORED = 18, 15
REASONS = {
    "bought_before": "bought before",
    "looked_before": "looked at before",
    "same_users": "had by users with the same items",
    "similar_text": "text like what the user buys",
    "popular_in_category": "popular in a target category",
    "unseen_category": "category the user has not seen",
    "least_known": "least known category",
}


def shares(facts: Facts) -> pd.DataFrame:
    """One row per category: shown, target and history (means over users, 0 where absent), rows and explored rows."""
    shown = facts.list_categories.rename(columns={"share": "shown"})
    both = shown.merge(facts.categories[["category", "target", "history"]], on="category", how="outer")
    filled = both.fillna({c: 0.0 for c in ("shown", "target", "history", "rows", "explored")})
    return filled.sort_values(["target", "category"], ascending=[False, True]).reset_index(drop=True)


def distance(one: pd.Series[float], other: pd.Series[float]) -> float:
    """Total variation: the share that would have to move to make one the other."""
    return float((one - other).abs().sum() / 2)


def section(facts: Facts) -> Section:
    """Shares shown against targets, exploration, propensities, reasons."""
    if facts.list_counts.empty or not facts.list_counts.iloc[0]["rows"]:
        return empty(ANCHOR, TITLE, "gold.recommendations has no rows for this date.")
    c = facts.list_counts.iloc[0]
    lead = (
        f"{plural(c['users'], 'list')} of {c['rows'] / c['users']:.0f} places show {count(c['items'])} different items from "
        f"{count(c['categories'])} categories. A list holds {c['categories_per_list']:.1f} categories on average, and its most "
        f"frequent one takes {percent(c['largest_share'], 0)} of the places."
    )
    shown = (_balance(facts), *_rules(facts), *_exploration(facts), *_propensity(facts), *_reasons(facts))
    return Section(ANCHOR, TITLE, (lead,), (*shown, *exploration.blocks(facts)))


def _balance(facts: Facts) -> Figure:
    table = shares(facts)
    exploit = (table["rows"] - table["explored"]) / max(float((table["rows"] - table["explored"]).sum()), 1.0)
    table = table.assign(exploit=exploit)
    to_target, to_history = distance(table["exploit"], table["target"]), distance(table["exploit"], table["history"])
    top = table.head(SHOWN)
    finding = (
        f"Without the explore places, {percent(to_target, 0)} of what is shown would have to move to match the targets, "
        f"{percent(to_history, 0)} to match history"
    )
    series = [
        Series("history", list(top["history"]), GREY, TICK),
        Series("target", list(top["target"]), BLUE),
        Series("shown, exploit places", list(top["exploit"]), ORANGE, "D"),
    ]
    svg = dots(
        [category(n) for n in top["category"]],
        series,
        "mean share over users",
        "Shares of history, targets and lists per category",
    )
    rows = [
        (
            r["category"],
            percent(r["history"], 2),
            percent(r["target"], 2),
            percent(r["exploit"], 2),
            percent(r["shown"], 2),
            count(r["explored"]),
        )
        for _, r in table.iterrows()
    ]
    heads = ("category", "history", "target", "shown, exploit", "shown, all", "explore rows")
    note = (
        f"The {len(top)} categories with the highest mean target. Short lists cannot match hundreds of small shares; per user, "
        "see Balance against accuracy."
    )
    return Figure(finding, svg, note, NumberTable(f"All {len(rows)} categories as numbers", heads, rows))


def _rules(facts: Facts) -> list[Block]:
    if facts.rules.empty:
        return []
    names = [r["rule"] if pd.isna(r["rule_key"]) else f"{r['rule']}: {r['rule_key']}" for _, r in facts.rules.iterrows()]
    numbers = [(count(r["users"]), count(r["places"]), number(float(r["dcg"]))) for _, r in facts.rules.iterrows()]
    body = [(name, *told) for name, told in zip(names, numbers, strict=True)]
    heads = ("rule", "users", "places", "expected DCG of what went")
    return [NumberTable("What the shop's own rules took from the lists", heads, body)]


def _exploration(facts: Facts) -> list[Block]:
    found = facts.list_categories[facts.list_categories["explored"] > 0].sort_values(
        ["explored", "category"], ascending=[False, True]
    )
    if found.empty:
        return [Note("No place explores: recommend.explore_slots is 0, or no candidate was left.")]
    total = found["explored"].sum()
    top = found.head(EXPLORED)
    finding = (
        f"Exploration shows {plural(len(found), 'category', 'categories')} to users who have not seen them, or know them least; "
        f"{category(str(top.iloc[0]['category']))} most often, in {percent(float(top.iloc[0]['explored']) / total)} of the "
        "explore places"
    )
    svg = bars(
        [category(n) for n in top["category"]],
        [Series("explore places", list(top["explored"]), AMBER)],
        "places in lists",
        "Explore places per category",
        text=count,
    )
    rows = [(r["category"], count(r["explored"]), percent(r["explored"] / total, 2)) for _, r in found.iterrows()]
    note = (
        f"The {len(top)} most frequent of {count(total)} explore places; they hold "
        f"{percent(float(top['explored'].sum() / total), 0)} of them."
    )
    return [Figure(finding, svg, note, NumberTable("Explored categories as numbers", ("category", "places", "share"), rows))]


def _propensity(facts: Facts) -> list[Block]:
    if facts.propensity.empty:
        return []
    labels = [f"≤ {e:g}" for e in PROPENSITY_EDGES]
    counts = dict(zip(facts.propensity["bin"], facts.propensity["rows"], strict=True))
    rows = [float(counts.get(i, 0)) for i in range(len(labels))]
    small = sum(n for n, e in zip(rows, PROPENSITY_EDGES, strict=True) if e <= 0.05) / max(sum(rows), 1.0)
    finding = (
        f"{percent(small, 0)} of explore places had a chance of 5 % or less to be drawn: they can be weighted later, at a "
        "price in variance"
    )
    svg = columns(
        labels,
        [Series("explore places", rows, AMBER)],
        "propensity: probability that this item is in this user's list",
        "places",
        "Explore places by propensity",
    )
    return [Figure(finding, svg, "Exploit places are chosen without chance; their propensity is 1 and they are left out.")]


def _reasons(facts: Facts) -> list[Block]:
    if facts.reasons.empty:
        return []
    wide = facts.reasons.pivot_table(index="reason_code", columns="slot", values="rows", fill_value=0.0, aggfunc="sum")
    wide = wide.loc[wide.sum(axis=1).sort_values(ascending=False).index]
    colours = {"exploit": BLUE, "explore": AMBER}
    parts = [Series(f"{slot} places", [float(v) for v in wide[slot]], colours.get(str(slot), GREEN)) for slot in wide.columns]
    total, first = float(wide.to_numpy().sum()), str(wide.index[0])
    finding = (
        f"{percent(float(wide.iloc[0].sum()) / total, 0)} of all places stand there for one reason: {REASONS.get(first, first)}"
    )
    labels = [REASONS.get(str(n), str(n)) for n in wide.index]
    return [Figure(finding, bars(labels, parts, "places", "Places per reason", text=count))]

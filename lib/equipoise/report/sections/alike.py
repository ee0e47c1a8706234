"""Which users are alike, what each group is worth, and who moved between segments."""

from __future__ import annotations

import pandas as pd

from equipoise.report.charts import Bubble, Series, bars, bubbles, heat
from equipoise.report.facts import Facts
from equipoise.report.page import Block, Figure, Heading, NumberTable
from equipoise.report.palette import BLUE
from equipoise.report.words import count, cut, number, percent, plural
from equipoise.tables.vocabulary import GONE, NEW, SEGMENTS

LOWER_FIRST = {"segment": SEGMENTS, "value_tier": ("1", "2", "3", "4", "5")}
"""Segmentations with an order, worst first."""

TITLES = {"segment": "segment", "value_tier": "value tier"}


def blocks(facts: Facts) -> list[Block]:
    """Interest groups as a map and in words, then the flow between segments."""
    found = [*_map(facts), *_flows(facts)]
    head = Heading(
        "segments-alike",
        "Who is alike, and who moves",
        "Interest groups gather users whose categories are alike; a group keeps its number from night to night.",
    )
    return [head, *found] if found else []


def _map(facts: Facts) -> list[Block]:
    groups = facts.portraits[facts.portraits["segmentation"] == "interest_group"].sort_values("users", ascending=False)
    if groups.empty:
        return []
    money = groups["expected_spend"].notna().all()
    rich = groups.sort_values(["expected_spend" if money else "p_buy", "segment"], ascending=[False, True]).iloc[0]
    worth = f"{number(float(rich['expected_spend']))} a head" if money else f"{percent(float(rich['p_buy']))} to buy"
    finding = (
        f"The group of {rich['name']} is expected to bring most, {worth}: {percent(float(rich['user_share']))} of the users"
        + (f" and {percent(float(rich['spend_share']))} of the spend" if not pd.isna(rich["spend_share"]) else "")
    )
    names, height = [cut(str(n)) for n in groups["name"]], groups["expected_spend" if money else "churn_risk"].astype(float)
    mapped = bool(height.notna().all())
    if mapped:
        whole = zip(names, groups["p_buy"].astype(float), height, groups["users"].astype(float), strict=True)
        points = [Bubble(*one) for one in whole]
        y_label = "mean expected spend" if money else "mean risk of churn"
        svg = bubbles(points, "mean probability to buy", y_label, finding)
    else:  # neither money nor churn is told of each
        svg = bars(names, [Series("users", [float(n) for n in groups["users"]], BLUE)], "users", finding, text=count)
    rows = [
        (
            str(r["segment"]),
            str(r["name"]),
            count(r["users"]),
            percent(float(r["user_share"])),
            "–" if pd.isna(r["spend_share"]) else percent(float(r["spend_share"])),
            percent(float(r["p_buy"])),
            str(r["description"]),
        )
        for _, r in groups.iterrows()
    ]
    heads = ("group", "name", "users", "share", "of spend", "mean p_buy", "in a sentence")
    note = "Names are the categories with the highest lift; gold.segment_profiles has those of every segmentation."
    note = f"Area: users. {note}" if mapped else note
    return [Figure(finding, svg, note, NumberTable("Interest groups", heads, rows))]


def _flows(facts: Facts) -> list[Block]:
    return [
        figure
        for segmentation in LOWER_FIRST
        for figure in _flow(facts.segment_flow[facts.segment_flow["segmentation"] == segmentation], segmentation)
    ]


def _flow(flow: pd.DataFrame, segmentation: str) -> list[Figure]:
    order = [s for s in LOWER_FIRST[segmentation] if s in {*flow["from_segment"], *flow["to_segment"]}]
    both = flow[~flow["from_segment"].isin([NEW]) & ~flow["to_segment"].isin([GONE])]
    if both.empty:
        return []
    place = {s: i for i, s in enumerate(order)}
    step = both["to_segment"].map(place) - both["from_segment"].map(place)
    up, down, all_ = (float(both.loc[which, "users"].sum()) for which in (step > 0, step < 0, step == step))
    worth = [both.loc[which, "value_change"].sum(min_count=1) for which in (step > 0, step < 0)]
    money = "" if pd.isna(worth).any() else f" (expected spend {worth[0]:+,.0f} and {worth[1]:+,.0f})"
    first = flow.iloc[0]
    since = f"{first['previous_as_of']}" + (", told afterwards from what was known then" if first["retold"] else "")
    finding = (
        f"Since {since}, {plural(up, 'user')} of {count(all_)} moved to a higher {TITLES[segmentation]} and "
        f"{plural(down, 'user')} to a lower one{money}"
    )
    wide = both.pivot_table(index="from_segment", columns="to_segment", values="users", aggfunc="sum", fill_value=0.0)
    wide = wide.reindex(index=order, columns=order, fill_value=0.0)
    shares = wide.div(wide.sum(axis=1).where(lambda s: s > 0, 1.0), axis=0)
    cells: list[list[float | None]] = [[float(x) if x else None for x in row] for row in shares.to_numpy()]
    svg = heat([f"from {s}" for s in order], [f"to {s}" for s in order], cells, finding, text=lambda v: percent(v, 0))
    rows = [
        (
            str(r["from_segment"]),
            str(r["to_segment"]),
            count(r["users"]),
            "–" if pd.isna(r["value_change"]) else f"{float(r['value_change']):+,.2f}",
        )
        for _, r in flow.sort_values(["from_segment", "to_segment"]).iterrows()
    ]
    numbers = NumberTable(f"Moves by {TITLES[segmentation]}", ("from", "to", "users", "change of expected spend"), rows)
    return [Figure(finding, svg, "Rows add up to 100 %: where the users of a segment are now.", numbers)]

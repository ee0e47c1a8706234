"""How many users are worth what, by the model and by the usual ways."""

from __future__ import annotations

import pandas as pd

from equipoise.report.charts import Series, bars, heat
from equipoise.report.facts import Facts
from equipoise.report.page import Block, Figure, Heading, Note, NumberTable, Section, empty
from equipoise.report.palette import BLUE, GREEN, GREY, ORANGE
from equipoise.report.sections import alike
from equipoise.report.words import count, number, percent, plural
from equipoise.tables.vocabulary import SEGMENTS

ANCHOR, TITLE = "segments", "Segments and value"
MEANING = {"O": "nothing bought", "interest": "some interest", "buy": "buys"}
SAID_BY = {
    "behaviour": "Probabilities and spend are those of linear models and boosted trees learnt from days of behaviour",
    "rfm_cells": "Probabilities and spend are what followed in the user's RFM cell: at the last horizon that picked a better "
    "tenth of users than the value model did",
    "language": "Probabilities and spend are those of the language model",
}
P = dict(zip(SEGMENTS, ("p_o", "p_interest", "p_buy"), strict=True))
COLOURS = dict(zip(SEGMENTS, (GREY, ORANGE, BLUE), strict=True))


def section(facts: Facts) -> Section:
    """The model's three classes, the value tiers, then RFM and K-means beside them."""
    sizes = facts.segments["segment"]
    if sizes.empty:
        return empty(ANCHOR, TITLE, "gold.user_segments has no rows for this date.")
    lead = (
        "Every user with some behaviour before the date gets a probability for each of three classes in the coming window: O "
        "(nothing), interest and buy. Their segment is the likeliest; value tiers are fifths of expected spend.",
        *_said_by(facts),
    )
    others = [
        *_grid(facts),
        *_beside(facts, "rfm_segment", "RFM segment"),
        *_beside(facts, "kmeans_cluster", "K-means cluster"),
    ]
    beside = (
        [
            Heading(
                "segments-beside",
                "The usual ways, beside the model",
                "RFM cuts recency, frequency and money at fifths; K-means groups the same three numbers. Neither sees what a "
                "user bought.",
            ),
            *others,
        ]
        if others
        else []
    )
    return Section(ANCHOR, TITLE, lead, (_sizes(sizes), *_drivers(facts), *_tiers(facts), *alike.blocks(facts), *beside))


def _said_by(facts: Facts) -> list[str]:
    """Which model said the value, and from which spend on a user counts as buying."""
    out = []
    for _, row in facts.value_models.iterrows():
        threshold, churn = row["buy_threshold"], row["churn"]
        ladder = "" if pd.isna(threshold) else f" Class buy begins at a spend of {number(float(threshold))} in the window."
        gone = "" if pd.isna(churn) else f" Their mean risk of falling silent (churn_risk) is {percent(float(churn))}."
        out.append(f"{SAID_BY[str(row['value_model'])]} ({plural(row['users'], 'user')}).{ladder}{gone}")
    return out


def _drivers(facts: Facts) -> list[Block]:
    """What moves the users of each segment away from the middle user."""
    told = facts.segment_drivers
    if told.empty:
        return []
    wide = told.pivot_table(index="segment", columns="driver", values="log_odds").reindex(
        [s for s in SEGMENTS if s in set(told["segment"])]
    )
    order = list(wide.abs().max().sort_values(ascending=False).index)
    top, bottom = str(wide.index[-1]), str(wide.index[0])
    up, down = wide.loc[top].astype(float).idxmax(), wide.loc[bottom].astype(float).idxmin()
    whose = (
        f"{up} lifts segment {top} and holds {bottom} down"
        if up == down
        else f"{up} lifts segment {top}, {down} holds {bottom} down"
    )
    finding = f"{whose[0].upper()}{whose[1:]} most"
    cells = [[float(wide.loc[s, d]) for d in order] for s in wide.index]
    svg = heat([str(s) for s in wide.index], order, cells, finding, text=lambda v: f"{v:+.2f}")
    note = (
        "Mean log-odds of class buy that each group of signals adds to the middle user's: exact Shapley values. "
        "Those of each user are in gold.user_segments, in the column drivers."
    )
    return [Figure(finding, svg, note)]


def _grid(facts: Facts) -> list[Block]:
    """Fifths of recency by fifths of frequency, by expected spend."""
    grid = facts.rfm_grid
    if grid.empty or grid["mean_spend"].isna().all():
        return []
    mean = float((grid["mean_spend"] * grid["users"]).sum() / grid["users"].sum())
    at = {(int(r), int(f)): float(v) for r, f, v in zip(grid["r"], grid["f"], grid["mean_spend"], strict=True)}
    fifths = range(5, 0, -1)
    best = max(at, key=lambda cell: at[cell])
    finding = (
        f"Users of recency {best[0]} and frequency {best[1]} (5 is best) are expected to spend most, {number(at[best])} a head "
        f"against {number(mean)} of all"
    )
    svg = heat(
        [f"recency {r}" for r in fifths],
        [f"frequency {f}" for f in range(1, 6)],
        [[at.get((r, f)) for f in range(1, 6)] for r in fifths],
        finding,
        middle=mean,
        text=count,
    )
    rows = [
        (str(int(r)), str(int(f)), count(n), number(float(v)))
        for r, f, n, v in zip(grid["r"], grid["f"], grid["users"], grid["mean_spend"], strict=True)
    ]
    numbers = NumberTable("RFM cells as numbers", ("recency", "frequency", "users", "mean expected spend"), rows)
    return [Figure(finding, svg, "Mean expected spend per cell; orange above the mean of all users, blue below.", numbers)]


def _sizes(sizes: pd.DataFrame) -> Figure:
    ordered = sizes.set_index("name").reindex([s for s in SEGMENTS if s in set(sizes["name"])])
    total = ordered["users"].sum()
    buy = float(ordered["users"].get("buy", 0)) / total
    expected = {s: float((ordered[P[s]] * ordered["users"]).sum()) / total for s in SEGMENTS}
    finding = (
        f"{percent(buy)} of {plural(total, 'user')} are likeliest to buy; by their probabilities {percent(expected['buy'])} "
        f"should land in that class, and {percent(expected['O'])} in O"
    )
    parts = [Series(f"probability of {s}", list(ordered[P[s]] * ordered["users"]), COLOURS[s]) for s in SEGMENTS]
    labels = [f"{s} ({MEANING[s]})" for s in ordered.index]
    svg = bars(labels, parts, "users", "Users per segment, split by what their probabilities say", text=count)
    rows = [
        (
            str(s),
            count(r["users"]),
            percent(r["users"] / total),
            *(percent(r[P[k]]) for k in SEGMENTS),
            number(r["mean_spend"]),
            number(r["total_spend"]),
        )
        for s, r in ordered.iterrows()
    ]
    heads = ("segment", "users", "share", "mean p_o", "mean p_interest", "mean p_buy", "mean expected spend", "sum of it")
    note = (
        "Length: users whose likeliest class this is. Colour: the sum of their probabilities, so a pure bar means a sure model."
    )
    return Figure(finding, svg, note, NumberTable("Segments as numbers", heads, rows))


def _tiers(facts: Facts) -> list[Block]:
    tiers = facts.segments["value_tier"].sort_values("name", ascending=False)
    if tiers.empty:
        return [Note("No value tiers: the source has no amounts, so expected spend is null.")]
    total = tiers["total_spend"].sum()
    first = tiers.iloc[0]
    share = float(first["total_spend"]) / total if total else 0.0
    finding = (
        f"The top fifth of users carries {percent(share, 0)} of all expected spend: {number(first['mean_spend'])} a head, "
        f"against {number(float(tiers.iloc[-1]['mean_spend']))} in the lowest fifth"
    )
    svg = bars(
        [f"tier {t}" for t in tiers["name"]],
        [Series("expected spend", list(tiers["total_spend"]), GREEN)],
        "expected spend in the coming window, in the source's currency",
        "Expected spend per value tier",
        text=count,
    )
    return [Figure(finding, svg, numbers=_table("Value tiers as numbers", "tier", tiers))]


def _beside(facts: Facts, column: str, name: str) -> list[Block]:
    sizes, cross = facts.segments[column], facts.crossed[column]
    if sizes.empty:
        return [Note(f"No {name}s: they need amounts and enough users.")]
    wide = cross.pivot_table(index="name", columns="segment", values="users", fill_value=0.0, aggfunc="sum")
    wide = wide.reindex(columns=[s for s in SEGMENTS if s in wide.columns], fill_value=0.0)
    shares = wide.div(wide.sum(axis=1), axis=0)
    by_buy = sizes.sort_values(["p_buy", "name"], ascending=[False, True])
    order = list(by_buy["name"])
    best, worst = by_buy.iloc[0], by_buy.iloc[-1]
    finding = (
        f"{name} {best['name']} has the highest mean probability to buy ({percent(best['p_buy'], 0)}), {worst['name']} the "
        f"lowest ({percent(worst['p_buy'], 0)})"
    )
    users = dict(zip(sizes["name"], sizes["users"], strict=True))
    parts = [
        Series(str(segment), [float(shares.loc[n, segment]) for n in order], COLOURS[str(segment)]) for segment in shares.columns
    ]
    labels = [f"{n} ({count(users[n])})" for n in order]
    svg = bars(
        labels,
        parts,
        "share of the users, by the model's segment",
        f"Share of each {name} in each segment of the model",
        text=lambda _: "",
        is_share=True,
    )
    return [Figure(finding, svg, numbers=_table(f"{name}s as numbers", name, by_buy))]


def _table(caption: str, name: str, sizes: pd.DataFrame) -> NumberTable:
    rows = [
        (
            str(r["name"]),
            count(r["users"]),
            percent(r["p_o"]),
            percent(r["p_interest"]),
            percent(r["p_buy"]),
            number(r["mean_spend"]),
            number(r["total_spend"]),
        )
        for _, r in sizes.iterrows()
    ]
    heads = (name, "users", "mean p_o", "mean p_interest", "mean p_buy", "mean expected spend", "sum of it")
    return NumberTable(caption, heads, rows)

"""How single users moved: drift beside the noise of their own visit days, what they gained and lost, where interest goes next."""

from __future__ import annotations

import pandas as pd

from equipoise.report.charts import Series, bars, columns, heat, lines
from equipoise.report.facts import Facts
from equipoise.report.moves import EXCESS_EDGES, KINDS
from equipoise.report.page import Block, Figure, Heading, Note, NumberTable
from equipoise.report.palette import BLUE, GREEN, GREY, ORANGE
from equipoise.report.words import category, count, cut, number, percent, plural

BY_CHANCE = 0.05
"""Share of users above their band when nobody moves."""

LEAST_TOLD = 20
"""Users with a band in a window before a share of them is shown."""

SHOWN_CATEGORIES = 14
COLUMN_LETTERS = 9


def blocks(facts: Facts) -> list[Block]:
    """Heading and figures; a note in their place where a table has no rows."""
    heading = Heading(
        "drift",
        "Users",
        "Drift is the Jensen-Shannon divergence between a user's category shares in one window and in the last one before with "
        "a visit. A few baskets never look alike, so part of it is there without any change of taste: the noise band is what "
        "the same visit days show when they are dealt out at random. A user has migrated when drift is above 95 % of these.",
    )
    told = facts.window_moves[facts.window_moves["told"] >= LEAST_TOLD]
    if told.empty:
        return [heading, Note("No window has enough users with enough visit days to tell drift from noise.")]
    return [heading, _above(told), _sizes(told), *_excess(facts), *_turned(facts, told), *_changed(facts), *_flows(facts)]


def _above(told: pd.DataFrame) -> Figure:
    shares = [float(m / t) for m, t in zip(told["migrated"], told["told"], strict=True)]
    overall = float(told["migrated"].sum() / told["told"].sum())
    more = "more than" if overall > BY_CHANCE else "no more than"
    finding = (
        f"{percent(overall)} of {count(float(told['told'].sum()))} user-windows are above their band, {more} the "
        f"{percent(BY_CHANCE, 0)} that chance alone would put there; {percent(shares[-1])} in the newest window"
    )
    svg = lines(
        _ends(told),
        [Series("above their band", shares, ORANGE)],
        "end of window",
        "share of users",
        "Share of users whose drift is above their noise band, per window",
        is_share=True,
        level=("by chance", BY_CHANCE),
    )
    rows = [
        (end, count(float(r["users"])), count(float(r["told"])), count(float(r["migrated"])), percent(s))
        for end, s, (_, r) in zip(_ends(told), shares, told.iterrows(), strict=True)
    ]
    headings = ("end of window", "active users", "with enough visit days", "above their band", "share")
    return Figure(finding, svg, "", NumberTable("As numbers", headings, rows))


def _sizes(told: pd.DataFrame) -> Figure:
    weights = told["told"] / told["told"].sum()
    drift, noise = (float((told[c] * weights).sum()) for c in ("drift_js_bits", "noise_mean_bits"))
    finding = f"Mean drift is {number(drift)} bits; the same visit days dealt out at random show {number(noise)}"
    parts = (("drift", "drift_js_bits", ORANGE), ("noise, mean", "noise_mean_bits", GREY), ("noise band", "noise_p95_bits", BLUE))
    series = [Series(name, [float(v) for v in told[column]], colour) for name, column, colour in parts]
    svg = lines(_ends(told), series, "end of window", "bits", "Mean drift, noise and band per window")
    return Figure(finding, svg, "Means over the users with enough visit days in both windows.")


def _excess(facts: Facts) -> list[Block]:
    edges = [f"{e:g}".replace("-", "−") for e in EXCESS_EDGES]
    labels = [*(f"≤ {e}" for e in edges), f"> {edges[-1]}"]
    counts = dict(zip(facts.excess["bin"], facts.excess["rows"], strict=True))
    rows = [float(counts.get(i, 0)) for i in range(len(labels))]
    inside = sum(rows[: 1 + EXCESS_EDGES.index(0.0)])
    finding = f"{percent(inside / sum(rows))} of user-windows stay inside their band"
    within = [r if i <= EXCESS_EDGES.index(0.0) else 0.0 for i, r in enumerate(rows)]
    parts = [Series("inside", within, GREY), Series("above", [a - b for a, b in zip(rows, within, strict=True)], ORANGE)]
    return [Figure(finding, columns(labels, parts, "drift less band, bits", "user-windows", "User-windows by drift less band"))]


def _turned(facts: Facts, told: pd.DataFrame) -> list[Block]:
    users, turned = (float(facts.turned.iloc[0][c] or 0) for c in ("told", "turned"))
    if not users:
        return []
    finding = (
        f"Over the whole history, the taste of {percent(turned / users)} of {plural(users, 'user')} changed at some window; "
        f"{percent(BY_CHANCE, 0)} would seem to by chance"
    )
    parts = [Series("users", [float(v) for v in told["change_point"]], GREEN)]
    svg = columns(_ends(told), parts, "end of the window with which it changed", "users", "Users by the window of their change")
    note = (
        "All visit days before a window against all from it on: many more days than two windows have, so slow changes show too. "
        "A season that moves everybody counts here as well."
    )
    return [Figure(finding, svg, note)]


def _changed(facts: Facts) -> list[Block]:
    if facts.changed.empty:
        return [Note("No user gained, lost or came back to a category with enough evidence.")]
    top = facts.changed.head(SHOWN_CATEGORIES)
    totals = {k: float(facts.changed[k].sum()) for k in KINDS}
    first = category(str(top.iloc[0]["category"]))
    finding = (
        f"With evidence, categories were gained {plural(totals['gained'], 'time')}, lost {plural(totals['lost'], 'time')} and "
        f"returned to {plural(totals['returning'], 'time')}; {first} changes hands most"
    )
    colours = (ORANGE, BLUE, GREEN)
    parts = [Series(k, [float(v) for v in top[k]], colour) for k, colour in zip(KINDS, colours, strict=True)]
    names = [category(str(c)) for c in top["category"]]
    svg = bars(names, parts, "users × windows", "Categories gained, lost and returned to", text=count)
    rows = [(str(r["category"]), *(count(float(r[k])) for k in KINDS)) for _, r in facts.changed.iterrows()]
    note = (
        "Evidence is counted in visit days against the user's own history and everybody's trend; two days at least. Tests are "
        "held to a false discovery rate per user and window, so a part of what is listed is chance too."
    )
    return [Figure(finding, svg, note, NumberTable("All categories as numbers", ("category", *KINDS), rows))]


def _flows(facts: Facts) -> list[Block]:
    if facts.flows.empty:
        return [Note("No category has enough users in two windows running for a table of transitions.")]
    flows = facts.flows.assign(lift=facts.flows["probability"] / facts.flows["population_share"])
    names = list(flows.sort_values(["population_share", "to_category"], ascending=[False, True])["to_category"].unique())
    known = {(r["from_category"], r["to_category"]): float(r["lift"]) for _, r in flows.iterrows()}
    own = {c: known[c, c] for c in names if (c, c) in known}
    cells = [[known.get((a, b)) for b in names] for a in names]
    svg = heat(
        [category(c) for c in names],
        [cut(category(c), COLUMN_LETTERS) for c in names],
        cells,
        "Where interest goes next, against the population",
        middle=1.0,
        text=lambda v: f"{v:.1f}",
        x_label="category in the next window · cell: its share after the row's category ÷ its share of everybody's next windows",
    )
    stays = max(own, key=lambda c: (own[c], c)) if own else None
    finding = f"{category(stays)} holds its users best: {own[stays]:.1f} times its usual share" if stays else "Interest moves on"
    if not facts.leads.empty:
        lead = facts.leads.iloc[0]
        finding += (
            f"; the strongest way from one category to another leads from {category(str(lead['from_category']))} to "
            f"{category(str(lead['to_category']))}"
        )
    rows = [
        (
            str(r["from_category"]),
            str(r["to_category"]),
            percent(r["probability"], 2),
            percent(r["population_share"], 2),
            count(r["users"]),
        )
        for _, r in facts.leads.iterrows()
    ]
    table = NumberTable("The strongest ways from one category to another", ("from", "to", "probability", "usual", "users"), rows)
    note = f"The {len(names)} largest categories; 1.0 is what everybody does. gold.category_transitions has all, per segment too."
    return [Figure(finding, svg, note, table)]


def _ends(told: pd.DataFrame) -> list[str]:
    return [pd.Timestamp(str(end)).strftime("%-d %b") for end in told["window_end"]]

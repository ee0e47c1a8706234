"""What exploring brought: responses to what users did not know, against what the model expected of them, and the ways to draw."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from equipoise.report import scores
from equipoise.report.charts import Series, bars, columns
from equipoise.report.facts import Facts
from equipoise.report.page import Block, Figure, Heading, Note, NumberTable
from equipoise.report.palette import AMBER, BLUE
from equipoise.report.words import category, count, listed, number, percent, plural
from equipoise.tables.vocabulary import ALL_CATEGORIES

SHOWN = 15
PRECISION = "category_explore_slot_precision"
DRAWN = re.compile(r"draw=(\w+)")
DRAWS = {
    "share": "in proportion to predicted share",
    "thompson": "Thompson sampling by feedback",
    "ucb": "upper bounds by feedback",
}


def blocks(facts: Facts) -> list[Block]:
    """Responses per category, the ways to draw where they were compared, and budgets where they differ."""
    told = facts.responses
    whole = told[told["category"] == ALL_CATEGORIES]
    trials = int(whole["trials"].sum())
    heading = Heading(
        "exploration",
        "What exploring brought",
        "An explore place is answered when the user buys, puts in the cart, clicks or rates an item of its category in the days "
        "after it was shown. Answers are held against what the model expected; the ratio, shrunk where little was shown, decides "
        "what is explored next.",
    )
    if not trials:
        silent = Note(
            "No exposure of a published list is settled yet, so there is no feedback: what is explored goes by what the model "
            "expects. Exposures come in as events of type expose with an item."
        )
        return [heading, silent, *_policies(facts), *_draws(facts), *_budgets(facts)]
    return [heading, _ratios(told, whole), *_policies(facts), *_draws(facts), *_budgets(facts)]


def _ratios(told: pd.DataFrame, whole: pd.DataFrame) -> Figure:
    one = whole.iloc[0]
    each = told[told["category"] != ALL_CATEGORIES].sort_values(["trials", "category"], ascending=[False, True])
    top = each.head(SHOWN)
    finding = (
        f"Users responded to {count(float(one['responses']))} of {plural(float(one['trials']), 'trial')}, {one['ratio']:.2f} "
        f"times as often as expected [{one['ratio_low']:.2f}, {one['ratio_high']:.2f}]"
    )
    svg = bars(
        [category(str(c)) for c in top["category"]],
        [Series("responses ÷ expected ones", [float(v) for v in top["ratio"]], AMBER)],
        "responses ÷ expected ones, shrunk",
        "Responses to exploring, per category",
        text=lambda v: f"{v:.2f}",
    )
    rows = [
        (
            str(r["category"]),
            count(float(r["trials"])),
            number(float(r["expected"])),
            count(float(r["responses"])),
            f"{r['ratio']:.2f}",
            f"{r['ratio_low']:.2f} – {r['ratio_high']:.2f}",
        )
        for _, r in each.iterrows()
    ]
    heads = ("category", "trials", "expected responses", "responses", "ratio", "90 %")
    note = f"The {len(top)} categories that were shown most; per segment in gold.exploration_response."
    return Figure(finding, svg, note, NumberTable("All explored categories as numbers", heads, rows))


def _policies(facts: Facts) -> list[Block]:
    """What each way to draw would have brought on the lists that were shown, beside what was brought."""
    rows = facts.policies
    if rows.empty:
        return []
    each = {
        d: {str(r["estimator"]): r for _, r in rows[rows["draw"] == d].iterrows()} for d in DRAWS if (rows["draw"] == d).any()
    }
    ran = next(iter(each.values()))["logged"]
    told = [f"{DRAWS[d]} {f['dr']['value']:.4f} {_range(f['dr'])}" for d, f in each.items()]
    finding = f"Explored places brought {ran['value']:.4f} responses per list {_range(ran)}; would have brought: {listed(told)}"
    svg = bars(
        ["as it was shown", *[DRAWS[d] for d in each]],
        [Series("responses per list", [float(ran["value"]), *[float(f["dr"]["value"]) for f in each.values()]], BLUE)],
        "responses of explored places per list, doubly robust",
        "Responses per list, by the way to explore",
        text=lambda v: f"{v:.4f}",
    )
    heads = ("draw", "published", "estimate", "responses per list", "95 %", "effective places", "not in the log")
    table = [
        (
            DRAWS[d],
            "yes" if r["published"] else "",
            name,
            f"{r['value']:.4f}",
            _range(r),
            "" if pd.isna(r["effective_places"]) else number(float(r["effective_places"])),
            "" if pd.isna(r["unsupported"]) else percent(float(r["unsupported"]), 1),
        )
        for d, f in each.items()
        for name, r in f.items()
    ]
    note = (
        f"{plural(float(ran['lists']), 'list')} with {plural(float(ran['places']), 'explored place')} that are settled. The "
        "ratios of feedback know these answers, so draws by feedback look somewhat better here than they will on new lists. What "
        "is not in the log is in none of the numbers."
    )
    return [Figure(finding, svg, note, NumberTable("Ways to explore as numbers", heads, table))]


def _range(row: pd.Series[Any]) -> str:
    ends = [scores.end(row[c]) for c in ("ci_low", "ci_high")]
    return f"[{', '.join(f'{e:.4f}' if e is not None else '?' for e in ends)}]"


def _draws(facts: Facts) -> list[Block]:
    """The ways to draw, from the settings of task balance that differ in nothing else."""
    rows = facts.evaluation
    rows = rows[(rows["task"] == "balance") & (rows["metric"] == PRECISION) & (rows["user_group"] == "all")]
    others = rows[rows["method"].str.contains("draw=", regex=False)]
    if others.empty:
        return []
    base = str(others.iloc[0]["method"]).split(" draw=")[0]
    published = rows[rows["method"] == base]
    left = set(DRAWS) - {DRAWN.findall(m)[0] for m in others["method"]}
    values = {DRAWN.findall(str(r["method"]))[0]: r for _, r in others.iterrows()}
    values |= {min(left): r for _, r in published.iterrows() if len(left) == 1}
    names = [d for d in DRAWS if d in values]
    told = [f"{DRAWS[d]} {percent(float(values[d]['value']), 2)}" for d in names]
    finding = f"Explore places whose category is in the next basket, at {base.removeprefix('calibrated ')}: {listed(told)}"
    svg = bars(
        [DRAWS[d] for d in names],
        [Series("explore places that hit", [float(values[d]["value"]) for d in names], BLUE)],
        "share of explore places whose category is in the next basket",
        "Explore places that hit, by the way they are drawn",
        text=lambda v: percent(v, 2),
    )
    table = [(DRAWS[d], percent(float(values[d]["value"]), 2), _interval(values[d])) for d in names]
    note = "Of users whose lists were made again for it. Without feedback all three go by the model alone."
    return [
        Figure(finding, svg, note, NumberTable("Ways to draw as numbers", ("draw", "explore places that hit", "95 %"), table))
    ]


def _interval(row: pd.Series[Any]) -> str:
    ends = [scores.end(row[c]) for c in ("ci_low", "ci_high")]
    return " – ".join(percent(e, 2) if e is not None else "?" for e in ends)


def _budgets(facts: Facts) -> list[Block]:
    found = facts.budgets.sort_values("slots")
    if len(found) < 2:
        return []
    users = [float(v) for v in found["users"]]
    usual = float(found.sort_values("users")["slots"].iloc[-1])
    finding = (
        f"{percent(max(users) / sum(users), 0)} of users have a budget of {plural(usual, 'explore place')}; others more or fewer"
    )
    labels = [str(int(v)) for v in found["slots"]]
    svg = columns(labels, [Series("users", users, AMBER)], "explore places of a list", "users", "Users by exploration budget")
    note = "Lists follow the budgets where recommend.explore_budget is personal."
    return [Figure(finding, svg, note)]

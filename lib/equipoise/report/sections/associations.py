"""What is bought together with what: the strongest rules of both levels."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from equipoise.report.charts import Series, bars
from equipoise.report.facts import Facts
from equipoise.report.page import Block, Figure, Note, NumberTable, Section, empty
from equipoise.report.palette import BLUE
from equipoise.report.words import category, count, percent, plural
from equipoise.tables.vocabulary import LEVELS

ANCHOR, TITLE = "associations", "Bought together"
NAMES = {"product_type": "product types", "category": "categories"}


def section(facts: Facts) -> Section:
    """A picture and a table per level."""
    if facts.associations.empty:
        return empty(
            ANCHOR, TITLE, "gold.item_rules has no rules for this date: nothing is together more often than chance has it."
        )
    lead = (
        "A basket is what one user took on one day. A rule says that baskets with the first things tend to hold the last one "
        "too. Kept are rules that a search among independent things would hardly show, and in which every thing adds something."
    )
    return Section(ANCHOR, TITLE, (lead,), [_level(facts.associations, level) for level in LEVELS])


def _level(found: pd.DataFrame, level: str) -> Block:
    rules = found[found["level"] == level]
    if rules.empty:
        return Note(f"No rule about {NAMES[level]}.")
    names = [_told(a, b) for a, b in zip(rules["antecedent"], rules["consequent"], strict=True)]
    first, highest = rules.iloc[0], int(rules["lift"].to_numpy().argmax())
    finding = (
        f"{names[0]}: {percent(first['confidence'], 0)} of the baskets with the one hold the other, {first['lift']:.1f} times "
        f"the usual share; of the strongest {len(rules)}, {names[highest]} is furthest from chance in proportion, "
        f"{rules['lift'].iloc[highest]:.1f} times"
    )
    svg = bars(
        names,
        [Series("above independence", [float(v) for v in rules["leverage"]], BLUE)],
        "leverage: share of baskets with both, less what independence would give",
        f"Strongest rules about {NAMES[level]}",
        text=lambda v: percent(v, 1),
    )
    rows = [
        (
            name,
            percent(r["support"], 2),
            percent(r["confidence"], 0),
            f"{r['lift']:.1f}",
            percent(r["leverage"], 2),
        )
        for name, (_, r) in zip(names, rules.iterrows(), strict=True)
    ]
    note = (
        f"One rule of each set of {NAMES[level]}, out of {plural(float(first['rules']), 'rule')} from "
        f"{count(float(first['baskets']))} baskets; gold.item_rules has all."
    )
    heads = ("rule", "support", "confidence", "lift", "leverage")
    return Figure(finding, svg, note, NumberTable(f"Rules about {NAMES[level]} as numbers", heads, rows))


def _told(antecedent: Iterable[str], consequent: str) -> str:
    return f"{' + '.join(category(name) for name in antecedent)} → {category(consequent)}"

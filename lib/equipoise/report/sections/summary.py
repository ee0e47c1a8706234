"""The overview: tiles, and five sentences with numbers from the tables."""

from __future__ import annotations

from equipoise.report import scores
from equipoise.report.facts import Facts
from equipoise.report.page import Tile
from equipoise.report.sections import quality
from equipoise.report.sections.evaluation import leading, tasks
from equipoise.report.sections.floors import FLOORS
from equipoise.report.sections.lists import distance, shares
from equipoise.report.words import count, listed, number, percent, plural, short_count

AGAIN = "_utc"
"""End of the tasks that ask the same as another on the protocol of published figures."""


def tiles(facts: Facts) -> list[Tile]:
    """The size of it all."""
    rows = [
        Tile(short_count(float(facts.events["events"].sum())), "events in silver.events"),
        Tile(short_count(facts.users), "users with an event"),
        Tile(short_count(facts.items), "items in the catalogue"),
        Tile(short_count(len(facts.categories)), "categories in interests"),
    ]
    sizes = facts.segments["segment"]
    if not sizes.empty:
        rows.append(Tile(short_count(float(sizes["users"].sum())), "users in segments"))
    if not facts.list_counts.empty and facts.list_counts.iloc[0]["rows"]:
        rows.append(Tile(short_count(float(facts.list_counts.iloc[0]["rows"])), "recommended places"))
    return rows


def sentences(facts: Facts, source: str) -> list[str]:
    """What was read, how clean it was, who is worth what, how balanced the lists are, how good it is."""
    return [_read(facts, source), _clean(facts), _worth(facts), _balanced(facts), _good(facts)]


def _read(facts: Facts, source: str) -> str:
    if facts.events.empty:
        return f"{source} has no events."
    events = facts.events
    before = int(events["events_before"].sum())
    return (
        f"{source} brought {plural(float(events['events'].sum()), 'event')} of {plural(facts.users, 'user')} from "
        f"{events['first'].min()} to {events['last'].max()}; only the {count(before)} before {facts.as_of} count for "
        "interests, segments and lists."
    )


def _clean(facts: Facts) -> str:
    rows = quality.totals(quality.of_latest_ingest(facts))
    came = rows[quality.ROWS_IN]
    if not came:
        return "No quality metrics were counted."
    aside = rows[quality.ROWS_QUARANTINED]
    if not aside:
        return f"All {plural(came, 'raw row')} passed the quality rules at the door; none was set aside."
    return (
        f"Of {plural(came, 'raw row')} {count(rows[quality.ROWS_GOOD])} were kept and {count(aside)} "
        f"({percent(aside / came, 3)}) set aside with their reasons; nothing was dropped silently."
    )


def _worth(facts: Facts) -> str:
    sizes = facts.segments["segment"].set_index("name")
    if sizes.empty:
        return "No segments were published for this date."
    total = float(sizes["users"].sum())
    buy = float((sizes["p_buy"] * sizes["users"]).sum()) / total
    nothing = float((sizes["p_o"] * sizes["users"]).sum()) / total
    tiers = facts.segments["value_tier"]
    says = (
        f"In the coming window {percent(buy, 0)} of users are expected in the buying class and {percent(nothing, 0)} to do "
        "nothing"
    )
    if tiers.empty or not tiers["total_spend"].sum():
        return says + "."
    top = tiers.sort_values("name").iloc[-1]
    return (
        f"{says}; the top fifth carries {percent(float(top['total_spend'] / tiers['total_spend'].sum()), 0)} of the expected "
        "spend."
    )


def _balanced(facts: Facts) -> str:
    if facts.list_counts.empty or not facts.list_counts.iloc[0]["rows"]:
        return "No lists were published for this date."
    c = facts.list_counts.iloc[0]
    table = shares(facts)
    return (
        f"Each of {plural(c['users'], 'user')} is shown {c['rows'] / c['users']:.0f} items, {c['explored'] / c['users']:.1f} "
        "of them from categories that are new to them, or that they know least; over everybody, "
        f"{percent(1 - distance(table['shown'], table['target']), 0)} of what is shown matches the target shares."
    )


def _good(facts: Facts) -> str:
    """Where the models stand, task by task, in the leading metric: against the best baseline, won or lost."""
    first: list[str] = []
    behind: list[str] = []
    for task in tasks(facts.evaluation) if not facts.evaluation.empty else []:
        rows = scores.of_task(facts.evaluation, task)
        found = leading(scores.keys(rows, task), task)
        if task.startswith(FLOORS) or task.endswith(AGAIN) or not found or found[0].better is None:
            continue
        ranked = scores.at(rows[scores.competes(rows)], found[0])
        ours, others = ranked[scores.is_ours(ranked)], ranked[~scores.is_ours(ranked)]
        if ours.empty:
            continue
        against = f" against {number(float(others.iloc[0]['value']))}" if len(others) else ""
        told = f"{task.replace('_', ' ')} ({found[0].label} {number(float(ours.iloc[0]['value']))}{against})"
        (first if ranked.iloc[0]["method"] == ours.iloc[0]["method"] else behind).append(told)
    if not first and not behind:
        return "No model was evaluated for this date."
    parts = [f"first in {len(first)} of {plural(len(first) + len(behind), 'task')}{f': {listed(first)}' if first else ''}"]
    if behind:
        parts.append(f"behind the best baseline in {len(behind)}: {listed(behind)}")
    return f"On held-back windows the models are {'; '.join(parts)}."

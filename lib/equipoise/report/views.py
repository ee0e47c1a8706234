"""SQL that gives an analyst's session every table, and views that show the last published date whole.

A view names the table *version* that ops.published holds for the date: a night that is being written, or that failed half-way,
is not seen. Views live in the default database, tables in one database per layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from equipoise.errors import ContractError
from equipoise.report.masked import Mask, masked_views, quoted
from equipoise.store import registration_sql, versioned
from equipoise.tables import CATALOGUE, Table
from equipoise.tables.schema import NAME

CURRENT = "v_current_"

DERIVED: dict[str, tuple[tuple[str, ...], str, str]] = {
    "segment_sizes": (
        ("gold.user_segments",),
        "Per segment of the last published date: users, share of users, mean probability of buying, expected spend.",
        "SELECT segment, count(*) AS users, count(*) / sum(count(*)) OVER () AS share, avg(p_buy) AS mean_p_buy, "
        "sum(expected_spend) AS expected_spend FROM v_current_segments GROUP BY segment",
    ),
    "category_balance": (
        ("gold.user_interests", "gold.recommendations"),
        "Per category of the last published date: mean share over users in their history, in their targets, in what they are "
        "shown.",
        "WITH wanted AS (SELECT category, sum(observed_share) AS history, sum(target_share) AS target FROM "
        "v_current_interests GROUP BY category), shown AS (SELECT category, count(*) AS rows_shown, count_if(slot = "
        "'explore') AS rows_explored FROM v_current_recommendations GROUP BY category), people AS (SELECT count(DISTINCT "
        "user_id) AS users FROM v_current_interests) SELECT category, coalesce(history, 0) / users AS history_share, "
        "coalesce(target, 0) / users AS target_share, coalesce(rows_shown, 0) / sum(rows_shown) OVER () AS shown_share, "
        "coalesce(rows_explored, 0) AS rows_explored FROM wanted FULL OUTER JOIN shown USING (category) CROSS JOIN people",
    ),
    "moves": (
        ("gold.interest_migration",),
        "Per window and category of the last published date: users who gained it, lost it, came back to it, with evidence.",
        "WITH told AS (SELECT window_start, window_end, 'gained' AS kind, explode(gained) AS category FROM "
        "v_current_interest_migration UNION ALL SELECT window_start, window_end, 'lost', explode(lost) FROM "
        "v_current_interest_migration UNION ALL SELECT window_start, window_end, 'returning', explode(returning) FROM "
        "v_current_interest_migration) SELECT window_start, window_end, category, count_if(kind = 'gained') AS gained, "
        "count_if(kind = 'lost') AS lost, count_if(kind = 'returning') AS returning FROM told GROUP BY window_start, "
        "window_end, category",
    ),
    "exploration": (
        ("gold.exploration_response",),
        "Per category of the last published date: how often users responded to it when they did not know it, against what was "
        "expected.",
        "SELECT category, trials, round(expected, 2) AS expected, responses, round(ratio, 3) AS ratio, round(ratio_low, 3) AS "
        "ratio_low, round(ratio_high, 3) AS ratio_high FROM v_current_exploration_response WHERE segment = 'all'",
    ),
    "bought_together": (
        ("gold.item_rules",),
        "Rules of the last published date as text: baskets with `if_basket_has` tend to hold `then_also` too, `lift` times as "
        "often as baskets usually do; the strongest of a level first by place.",
        "SELECT level, row_number() OVER (PARTITION BY level ORDER BY leverage DESC, antecedent, consequent) AS place, "
        "array_join(antecedent, ' + ') AS if_basket_has, consequent AS then_also, support, confidence, lift, leverage FROM "
        "v_current_item_rules",
    ),
    "lists": (
        ("gold.recommendations", "silver.items"),
        "The lists of the last published date with the items' names: who is shown what, in which place, and why.",
        "SELECT r.user_id, r.rank, r.item_id, i.title, r.category, r.slot, r.propensity, r.reason FROM "
        "v_current_recommendations r LEFT JOIN v_current_items i ON i.item_id = r.item_id",
    ),
}
"""Views over views, by name: tables that must be published, comment, query."""


def view_name(table: str) -> str:
    """Name of the view on a table: gold.user_segments → v_current_segments."""
    return CURRENT + table.split(".")[1].removeprefix("user_")


def latest(published: list[tuple[date, str, int]]) -> dict[str, tuple[date, int]]:
    """Per table its version on the newest date of ops.published: that date alone, so that all views speak of one night."""
    if not published:
        return {}
    newest = max(day for day, _, _ in published)
    return {table: (day, version) for day, table, version in published if day == newest}


def views_sql(warehouse: str, tables: list[str], published: Mapping[str, tuple[date, int]], mask: Mask | None = None) -> str:
    """The script for `spark-sql -i`: `tables` are the tables that exist, `published` is what `latest` gives; with `mask` the
    v_masked_ views too.

    Raises:
        ContractError: when a published table is not in the catalogue, or two views would have one name.
    """
    unknown = sorted({*tables, *published} - set(CATALOGUE))
    if unknown:
        raise ContractError(f"tables {unknown} are not in the catalogue; expected some of {', '.join(sorted(CATALOGUE))}")
    names = [view_name(t) for t in published] + [CURRENT + n for n in DERIVED]
    wrong = sorted({n for n in names if not NAME.match(n) or names.count(n) > 1})
    if wrong:
        raise ContractError(f"view names {wrong} are doubled or do not match {NAME.pattern}; rename the tables behind them")
    lines = registration_sql(warehouse, sorted(tables))
    lines += [_table_view(CATALOGUE[t], day, version) for t, (day, version) in sorted(published.items())]
    lines += [
        f"CREATE OR REPLACE VIEW {CURRENT}{name} COMMENT {quoted(comment)} AS {query}"
        for name, (needed, comment, query) in DERIVED.items()
        if set(needed) <= set(published)
    ]
    lines += masked_views({t: view_name(t) for t in published}, mask) if mask else []
    return "".join(f"{line};\n" for line in lines)


def _table_view(table: Table, day: date, version: int) -> str:
    """One table as it was published; column comments repeated, since views do not inherit them."""
    columns = ", ".join(f"`{c.name}` COMMENT {quoted(c.full_comment)}" for c in table.columns)
    names = ", ".join(f"`{c.name}`" for c in table.columns)
    comment = f"{table.comment} As published for {day}."
    where = f" WHERE as_of = DATE'{day.isoformat()}'" if "as_of" in table.slice_by else ""
    return (
        f"CREATE OR REPLACE VIEW {view_name(table.full_name)} ({columns}) COMMENT {quoted(comment)} AS SELECT {names} FROM "
        f"{versioned(table.full_name, version)}{where}"
    )

"""SQL of the v_masked_ views: the last published night without pseudonyms, and without rows about a few users only.

They are for what leaves the analysts' hands: screens, exports, somebody else's dashboard. A view is no lock: who may read the
files of gold reads pseudonyms there. Who must not gets an export of these views and no right on the warehouse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from equipoise.tables import CATALOGUE, Table

MASKED = "v_masked_"
ALIAS_DIGITS = 16
"""Hexadecimal: of a billion users two share an alias with a chance of 3 % (birthday bound over 64 bits)."""

LEFT_OUT = frozenset({"user_id", "attributes", "run_id"})
"""Columns of a user that no masked view has: what the source says of a person may tell who it is."""

COUNTED = "users"
"""The column of an aggregate that says how many users are behind a row."""


@dataclass(frozen=True)
class Mask:
    """How users are hidden: `salt` is new with every publishing; rows about fewer than `least` users are left out."""

    salt: str
    least: int


def masked_views(names: Mapping[str, str], mask: Mask) -> list[str]:
    """CREATE VIEW statements over the views of published gold tables; `names`: table → its v_current_ view."""
    gold = {t: v for t, v in sorted(names.items()) if t.startswith("gold.")}
    return [_view(CATALOGUE[t], v, mask) for t, v in gold.items() if {"user_id", COUNTED} & set(CATALOGUE[t].column_names)]


def _view(table: Table, current: str, mask: Mask) -> str:
    name = MASKED + current.removeprefix("v_current_")
    kept = [c for c in table.columns if c.name not in LEFT_OUT]
    columns = [(f"`{c.name}`", f"`{c.name}`", c.full_comment) for c in kept]
    if "user_id" in table.column_names:
        alias = f"substr(sha2(concat('{mask.salt}', user_id), 256), 1, {ALIAS_DIGITS})"
        columns.insert(0, (alias, "`alias`", "Stands for a user in all v_masked_ views of one publishing; another in the next."))
        where, told = "", "users under an alias"
    else:
        where, told = f" WHERE {COUNTED} >= {mask.least}", f"only rows about {mask.least} users or more"
    comment = f"{table.comment} Masked: {told}."
    listed = ", ".join(f"{name_} COMMENT {quoted(text)}" for _, name_, text in columns)
    chosen = ", ".join(f"{expression} AS {name_}" for expression, name_, _ in columns)
    return f"CREATE OR REPLACE VIEW {name} ({listed}) COMMENT {quoted(comment)} AS SELECT {chosen} FROM {current}{where}"


def quoted(text: str) -> str:
    """A string of SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

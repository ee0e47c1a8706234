"""What is wrong with a row, as data: every rule, and what happens to every missing value."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import Literal

from equipoise.sources.canonical import Kind
from equipoise.tables.vocabulary import EVENT_TYPES, ITEMLESS_EVENT_TYPES, UNKNOWN, sql_list

ALL: tuple[Kind, ...] = ("events", "items", "users")


@dataclass(frozen=True)
class Limits:
    """Numbers that rules compare with. `data_until`: first local date that counts as future; None: no limit."""

    data_until: date | None
    max_quantity: float
    max_amount: float
    outlier_iqr_factor: float

    def sql(self) -> dict[str, str]:
        """The numbers as SQL literals, by name."""
        until = f"DATE'{self.data_until.isoformat()}'" if self.data_until else "CAST(NULL AS DATE)"
        return {k: f"{v!r}D" for k, v in asdict(self).items() if isinstance(v, float)} | {"data_until": until}


@dataclass(frozen=True)
class Rule:
    """A row for which `violated` is true breaks the rule: it is rejected, or kept and counted as a warning.

    `violated` is SQL over the raw form of `applies_to` plus, for events, event_date, item_known and the outlier bounds of the
    item's department; `copy_number` is 1 for the first row of a natural key. {names} are Limits.
    """

    id: str
    level: Literal["reject", "warn"]
    violated: str
    applies_to: tuple[Kind, ...]
    text: str


RULES = (
    Rule("broken_line", "reject", "broken", ALL, "The line could not be split into its fields; no other rule speaks of it."),
    Rule("not_utf8", "reject", "bad_utf8", ALL, "The row holds bytes that are no UTF-8; it is shown as Latin-1."),
    Rule("damaged_text", "warn", "replaced", ALL, "The row holds U+FFFD: bytes were lost before it came here. Kept."),
    Rule("user_missing", "reject", "raw_user IS NULL", ("events", "users"), "No user id."),
    Rule("item_missing", "reject", "item_id IS NULL", ("items",), "No item id."),
    Rule(
        "item_missing",
        "reject",
        f"item_id IS NULL AND event_type NOT IN ({sql_list(ITEMLESS_EVENT_TYPES)})",
        ("events",),
        f"No item id, and the type needs one (all but {', '.join(ITEMLESS_EVENT_TYPES)}).",
    ),
    Rule("item_unknown", "warn", "NOT item_known", ("events",), "The catalogue lacks the item: it gets a stub. Kept."),
    Rule("event_type_missing", "reject", "event_type IS NULL", ("events",), "No event type."),
    Rule("event_type_unknown", "reject", f"event_type NOT IN ({sql_list(EVENT_TYPES)})", ("events",), "No event type of ours."),
    Rule("time_missing", "reject", "NOT time_given", ("events",), "No time."),
    Rule(
        "time_unreadable",
        "reject",
        "time_given AND event_ts IS NULL",
        ("events",),
        "The time cannot be read, or lies outside the years 1900 to 2199.",
    ),
    Rule("time_in_future", "reject", "event_date >= {data_until}", ("events",), "On or after data_until."),
    Rule(
        "value_unreadable",
        "reject",
        "size(unreadable) > 0",
        ("events",),
        "A column holds something that is no value of its type.",
    ),
    Rule("quantity_negative", "reject", "quantity < 0", ("events",), "Negative quantity."),
    Rule("quantity_absurd", "reject", "quantity > {max_quantity}", ("events",), "Quantity above quality.max_quantity, or NaN."),
    Rule("amount_negative", "reject", "amount < 0", ("events",), "Negative amount."),
    Rule("amount_absurd", "reject", "amount > {max_amount}", ("events",), "Amount above quality.max_amount, or NaN."),
    Rule("dwell_negative", "reject", "dwell_ms < 0", ("events",), "Negative dwell time."),
    Rule("rating_not_finite", "reject", "isnan(rating) OR abs(rating) = double('inf')", ("events",), "The rating is no number."),
    Rule(
        "quantity_outlier",
        "warn",
        "quantity > quantity_bound",
        ("events",),
        "Above Q3 + outlier_iqr_factor × max(IQR, 1) of the quantities in the item's department. Kept.",
    ),
    Rule(
        "amount_outlier",
        "warn",
        "amount > amount_bound",
        ("events",),
        "Above Q3 + outlier_iqr_factor × max(IQR, 1) of the amounts in the item's department. Kept.",
    ),
    Rule(
        "duplicate",
        "reject",
        "copy_number > 1 AND natural_key IS NOT NULL",
        ALL,
        "Another row has its natural key and comes first: rows that break no other reject rule do, then by time and every field.",
    ),
)

BROKEN_RULES = ("broken_line", "not_utf8", "damaged_text")
"""The rules that can speak of a line whose fields are unknown."""


@dataclass(frozen=True)
class Missing:
    """What an empty or blank value becomes: null kept as null, a stated default (SQL), or a rejected row (see RULES)."""

    column: str
    applies_to: Kind
    then: Literal["null", "default", "reject"]
    default: str | None = None


MISSING = (
    *(Missing(c, "events", "reject") for c in ("raw_user", "event_type", "event_ts")),
    Missing("item_id", "events", "null"),  # and a reject rule for the types that need one
    *(Missing(c, "events", "null") for c in ("quantity", "amount", "dwell_ms", "rating")),
    *(Missing(c, "events", "null") for c in ("basket_id", "campaign_id", "store_id", "channel", "text")),
    Missing("item_id", "items", "reject"),
    Missing("title", "items", "default", "concat('item ', item_id)"),
    *(Missing(f"category_{n}", "items", "default", f"'{UNKNOWN}'") for n in (1, 2, 3)),
    Missing("brand", "items", "null"),
    Missing("text", "items", "default", "lower(title)"),
    Missing("raw_user", "users", "reject"),
    Missing("attributes", "users", "default", "map()"),
)


def rules_for(kind: Kind) -> tuple[Rule, ...]:
    """The rules of one kind of input, by id."""
    return tuple(sorted((r for r in RULES if kind in r.applies_to), key=lambda r: r.id))

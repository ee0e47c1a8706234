"""Cleaned input tables."""

from __future__ import annotations

from equipoise.tables.schema import Column, Table
from equipoise.tables.vocabulary import EVENT_TYPES, ITEMLESS_EVENT_TYPES, sql_list

SOURCE = Column("source", "STRING", "Name of the source the row came from.")

EVENTS = Table(
    "silver",
    "events",
    "behaviour",
    "Everything a user did or was shown, cleaned and pseudonymised.",
    key=("event_id",),
    slice_by=("source",),
    checks={
        "event_type_known": f"event_type IN ({sql_list(EVENT_TYPES)})",
        "item_when_needed": f"item_id IS NOT NULL OR event_type IN ({sql_list(ITEMLESS_EVENT_TYPES)})",
        "quantity_not_negative": "quantity IS NULL OR quantity >= 0",
    },
    columns=(
        Column(
            "event_id", "STRING", "SHA-256 (first 32 hex digits) of the pseudonym and the natural key; stable from run to run."
        ),
        Column("user_id", "STRING", "Pseudonym: HMAC-SHA-256 of the source's user id, first 32 hex digits."),
        Column("item_id", "STRING", "The item.", "search, expose or redeem without an item"),
        Column("event_type", "STRING", f"One of {', '.join(EVENT_TYPES)}."),
        Column(
            "event_ts", "TIMESTAMP", "When it happened, UTC; a date-only event stands at the last microsecond of its local day."
        ),
        Column("event_date", "DATE", "Date of event_ts in the source's time zone."),
        Column("quantity", "DOUBLE", "Units.", "the source gives no quantity"),
        Column("amount", "DOUBLE", "Money paid, in the source's currency.", "the source gives no amount"),
        Column("dwell_ms", "BIGINT", "Time spent looking, in milliseconds.", "not a look, or not measured"),
        Column("basket_id", "STRING", "Order or visit the event belongs to.", "not part of a basket"),
        Column("campaign_id", "STRING", "Campaign of an exposure or redemption.", "no campaign"),
        Column("store_id", "STRING", "Store or site.", "unknown"),
        Column("channel", "STRING", "Channel, such as web, app or store.", "unknown"),
        Column("rating", "DOUBLE", "Rating given, on the source's scale.", "not a rating"),
        Column("text", "STRING", "Search query, review or comment text.", "no text"),
        SOURCE,
        Column("synthetic", "BOOLEAN", "True when a generator made the row."),
    ),
)

ITEMS = Table(
    "silver",
    "items",
    "item",
    "The catalogue; items seen only in events stand here as stubs of category UNKNOWN.",
    key=("item_id",),
    slice_by=("source",),
    columns=(
        Column("item_id", "STRING", "The item."),
        Column("title", "STRING", "Name for people."),
        Column("category_1", "STRING", "Top level of the category tree."),
        Column("category_2", "STRING", "Second level."),
        Column("category_3", "STRING", "Third level."),
        Column("brand", "STRING", "Brand.", "the source gives none"),
        Column("text", "STRING", "Every attribute as one text: what the encoder reads."),
        SOURCE,
    ),
)

ITEM_CATEGORIES = Table(
    "silver",
    "item_categories",
    "item × category",
    "Categories of each item at the level named in settings; weights sum to 1 per item.",
    key=("item_id", "category"),
    slice_by=("source",),
    checks={"weight_is_a_share": "weight > 0 AND weight <= 1.000001"},
    columns=(
        Column("item_id", "STRING", "The item."),
        Column("category", "STRING", "Bare category name: one category even where it sits under several parents."),
        Column("category_path", "STRING", "Place of the category in the tree, levels joined by ' > '."),
        Column("weight", "DOUBLE", "Share of the item that counts for this category; sums to 1 per item."),
        SOURCE,
    ),
)

USERS = Table(
    "silver",
    "users",
    "user",
    "Every user that occurs in the events or in the source's user file, with the attributes the source states.",
    key=("user_id",),
    slice_by=("source",),
    columns=(
        Column("user_id", "STRING", "Pseudonym."),
        Column(
            "attributes", "MAP<STRING, STRING>", "Stated attributes, such as age or income; empty when the source states none."
        ),
        SOURCE,
    ),
)

PROMOTIONS = Table(
    "silver",
    "promotions",
    "week × store × category",
    "Promotion placements; they have no user.",
    key=("week_start", "store_id", "category"),
    slice_by=("source",),
    columns=(
        Column("week_start", "DATE", "First day of the week."),
        Column("store_id", "STRING", "Store."),
        Column("category", "STRING", "Category of the promoted items."),
        Column("placements", "BIGINT", "Number of item placements (display or mailer) in that week and store."),
        SOURCE,
    ),
)

SILVER = (EVENTS, ITEMS, ITEM_CATEGORIES, USERS, PROMOTIONS)

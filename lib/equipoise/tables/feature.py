"""Tables that the learner and the ranking read."""

from __future__ import annotations

from equipoise.tables.packing import CELL_VALUES
from equipoise.tables.schema import Column, Table
from equipoise.tables.vocabulary import EVENT_TYPES

USER = Column("user_id", "STRING", "Pseudonym.")
AS_OF = Column("as_of", "DATE", "Only events with event_date < as_of count.")
MODEL_ID = Column("model_id", "STRING", "Model that made the row.")

DAILY_COUNTS = Table(
    "feature",
    "daily_counts",
    "user × date × category × event type",
    "Events per day; an item in several categories counts in each by its weight.",
    key=("user_id", "event_date", "category", "event_type"),
    columns=(
        USER,
        Column("event_date", "DATE", "Local date."),
        Column("category", "STRING", "Category; '(none)' for events without an item."),
        Column("event_type", "STRING", "Event type."),
        Column("events", "DOUBLE", "Events, each times the item's category weight."),
        Column("quantity", "DOUBLE", "Units, by category weight; 0 when none is given."),
        Column("amount", "DOUBLE", "Money, by category weight; 0 when none is given."),
    ),
)

CATEGORY_SHARES = Table(
    "feature",
    "category_shares",
    "user × window_end × category",
    "Decayed, weighted interest per category and window.",
    key=("user_id", "window_end", "category"),
    folders=("window_end",),
    columns=(
        USER,
        Column("window_end", "DATE", "End of the window, exclusive."),
        Column("window_days", "INT", "Length of the window in days; shorter for an open one."),
        Column("category", "STRING", "Category; UNKNOWN included, events without an item left out."),
        Column("weight", "DOUBLE", "Sum over events of event-type weight × 2^(-(days before window_end)/half-life)."),
        Column("share", "DOUBLE", "weight ÷ the user's weight in this window; sums to 1 per user and window."),
        Column("events", "DOUBLE", "Events by category weight, undecayed."),
        Column("closed", "BOOLEAN", "False for the open window that ends at as-of."),
    ),
)

H_FEATURES: tuple[tuple[str, str], ...] = (
    ("recency_days", "Days from the last purchase (last event where nothing is bought) to as_of."),
    ("frequency", "Distinct days with a purchase (with an event where nothing is bought)."),
    ("tenure_days", "Days from the first event to as_of."),
    ("trips_28d", "Distinct days as in frequency, last 28 days."),
    ("trips_112d", "Distinct days as in frequency, last 112 days."),
    ("spend_28d", "Money in the last 28 days; 0 when the source has no amounts."),
    ("spend_112d", "Money in the last 112 days; 0 when the source has no amounts."),
    ("spend_total", "Money over all history; 0 when the source has no amounts."),
    ("mean_gap_days", "Mean days between trips; tenure when there is one trip."),
    ("recency_over_gap", "recency_days ÷ mean_gap_days, at most 100."),
    ("categories_112d", "Distinct categories touched in the last 112 days."),
    ("entropy_bits", "Entropy of the decayed category shares, in bits."),
)
"""The explicit features H of a profile, in the order the model reads them: the 12 of the logit baseline."""

USER_PROFILE = Table(
    "feature",
    "user_profile",
    "user × as_of",
    "Explicit profile of every user with a non-expose event before as_of.",
    key=("user_id", "as_of"),
    slice_by=("as_of",),
    columns=(
        USER,
        AS_OF,
        *(Column(name, "DOUBLE", text) for name, text in H_FEATURES),
        Column("monetary", "DOUBLE", "Money over all history.", "the source has no amounts"),
        *(Column(f"n_{t}", "BIGINT", f"Number of {t} events before as_of.") for t in EVENT_TYPES),
    ),
)

SEQUENCES = Table(
    "feature",
    "sequences",
    "user × as_of",
    "What the encoder reads of a user: the latest behaviour, and a text of it.",
    key=("user_id", "as_of"),
    slice_by=("as_of",),
    columns=(
        USER,
        AS_OF,
        Column("behaviour_text", "STRING", "The user's behaviour as one text, most telling first."),
        Column("item_ids", "ARRAY<STRING>", "Latest items, oldest first."),
        Column("event_types", "ARRAY<STRING>", "Event type of each entry of item_ids."),
        Column("age_days", "ARRAY<INT>", "Days before as_of of each entry of item_ids."),
        Column("prior_categories", "ARRAY<STRING>", "Categories of the user's decayed history, sorted."),
        Column("prior_weights", "ARRAY<DOUBLE>", "Decayed weight at as_of of each entry of prior_categories."),
        Column(
            "cell_categories",
            "ARRAY<STRING>",
            "Categories visited before as_of (a day with an event of the knowing types), sorted.",
        ),
        Column("cells", "ARRAY<FLOAT>", f"For each entry of cell_categories in turn: {', '.join(CELL_VALUES)}."),
    ),
)


LATEST_EVENTS = Table(
    "feature",
    "latest_events",
    "event",
    "The latest events with an item, but exposures, of every user before the newest as-of: what the next night's sequences begin with.",
    key=("user_id", "event_id"),
    columns=(
        USER,
        Column("event_ts", "TIMESTAMP", "event_ts of silver.events."),
        Column("event_id", "STRING", "event_id of silver.events."),
        Column("item_id", "STRING", "The item."),
        Column("event_type", "STRING", "Event type."),
        Column("event_date", "DATE", "Local date."),
    ),
)


def _examples(name: str, which: str) -> Table:
    return Table(
        "feature",
        name,
        "user × cut",
        f"{which} examples: features before the cut, labels from the window that starts at the cut. Packed for streaming: "
        "no strings, no nulls, equal row groups.",
        key=("user_id", "cut_day"),
        slice_by=(),
        columns=(
            Column("user_id", "BINARY", "Pseudonym, 16 bytes."),
            Column("cut_day", "INT", "Cut date as days since 1970-01-01."),
            Column("tokens", "BINARY", "Token ids of the behaviour text: max_tokens little-endian int32, padded."),
            Column("length", "INT", "Tokens before the padding."),
            Column("prior", "BINARY", "Decayed weight per category, float32, in the category vocabulary's order."),
            Column(
                "cells",
                "BINARY",
                "One record per visited category: its place, int32, and the values of feature.sequences.cells, float32.",
            ),
            Column(
                "events",
                "BINARY",
                "One record per entry of feature.sequences.item_ids at the cut, oldest first: key of the item, int64, place of the "
                "event type from 1, int32, days before the cut, int32.",
            ),
            Column("trends", "BINARY", "The values of feature.category_trends at the cut per category, float32."),
            Column("features", "BINARY", "The 12 explicit features, float32, raw units."),
            Column("label_counts", "BINARY", "Events per category in the label window, float32; all 0 when it is empty."),
            Column("label_value", "INT", "0 O, 1 interest, 2 buy."),
            Column("label_spend", "DOUBLE", "Money in the label window; 0 when the source has no amounts."),
        ),
    )


EXAMPLES = _examples("examples", "Training")
EXAMPLES_VALIDATION = _examples("examples_validation", "Validation")

EXAMPLE_SPEC = Table(
    "feature",
    "example_spec",
    "category",
    "How the examples are packed: the category vocabulary, fitted on training data only.",
    key=("position",),
    columns=(
        Column("position", "INT", "Place of the category in prior and label_counts, from 0."),
        Column("category", "STRING", "The category."),
        Column("population_share", "DOUBLE", "Share of the category in all training label windows; sums to 1."),
    ),
)

EXAMPLE_ITEMS = Table(
    "feature",
    "example_items",
    "item",
    "Items in the events of the examples: what the tower route encodes before it trains.",
    key=("item_id",),
    columns=(
        Column("item_id", "STRING", "The item."),
        Column("text", "STRING", "Its text in silver.items; empty for an item that is not there."),
    ),
)

CATEGORY_TRENDS = Table(
    "feature",
    "category_trends",
    "as_of × cut × category",
    "What each category is at as_of and at every earlier cut that gives examples: how many visit it, and who is new to it.",
    key=("as_of", "cut", "category"),
    slice_by=("as_of",),
    columns=(
        AS_OF,
        Column("cut", "DATE", "Nothing of this day or later counts; the last cut is as_of."),
        Column("category", "STRING", "The category."),
        Column("visitors_share", "DOUBLE", "Share of the users known before the cut who visited it in the last window; 0 to 1."),
        Column("visitors_share_before", "DOUBLE", "The same in the window before that."),
        Column("entry_rate", "DOUBLE", "Share of the users new to it who first visited it in the last window; 0 to 1."),
    ),
)

USER_VECTORS = Table(
    "feature",
    "user_vectors",
    "user × as_of",
    "What the model says of each user.",
    key=("user_id", "as_of"),
    slice_by=("as_of",),
    columns=(
        USER,
        AS_OF,
        MODEL_ID,
        Column("vector", "ARRAY<FLOAT>", "Encoding of the behaviour text, length 1."),
        Column(
            "category_probabilities",
            "ARRAY<FLOAT>",
            "Softmax over the model's category list, given a non-empty window; sums to 1.",
        ),
        Column(
            "visit_probabilities",
            "ARRAY<FLOAT>",
            "Probability of at least one event of the knowing types in the next window, per category of the model's list.",
        ),
        Column("p_o", "DOUBLE", "Probability of nothing in the next window."),
        Column("p_interest", "DOUBLE", "Probability of class interest."),
        Column("p_buy", "DOUBLE", "Probability of class buy."),
        Column("expected_spend", "DOUBLE", "Expected money in the next window.", "the source has no amounts"),
    ),
)

ITEM_VECTORS = Table(
    "feature",
    "item_vectors",
    "item",
    "Encoding of each item's text by the fine-tuned encoder.",
    key=("item_id",),
    columns=(
        Column("item_id", "STRING", "The item."),
        MODEL_ID,
        Column("text_sha256", "STRING", "Hash of the text; items that share it share the vector."),
        Column("vector", "ARRAY<FLOAT>", "Encoding of the item text, length 1."),
    ),
)

FEATURE = (
    DAILY_COUNTS,
    CATEGORY_SHARES,
    USER_PROFILE,
    SEQUENCES,
    LATEST_EVENTS,
    EXAMPLES,
    EXAMPLES_VALIDATION,
    EXAMPLE_SPEC,
    EXAMPLE_ITEMS,
    CATEGORY_TRENDS,
    USER_VECTORS,
    ITEM_VECTORS,
)

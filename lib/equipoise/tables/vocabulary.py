"""Words that tables share: event types, segments, slots and reserved categories."""

from __future__ import annotations

EVENT_TYPES = (
    "expose",
    "view",
    "click",
    "search",
    "favourite",
    "cart",
    "redeem",
    "purchase",
    "rate",
    "review",
    "comment",
    "share",
    "play",
)
ITEMLESS_EVENT_TYPES = ("search", "expose", "redeem")
"""Event types that may come without an item."""

SEGMENTS = ("O", "interest", "buy")
"""Value classes in label order: 0 nothing in the window, 1 interest, 2 buy."""

KNOWING_EVENT_TYPES = ("purchase", "cart", "click", "rate")
"""A category with one of these before as-of is *seen* by the user."""

BEHAVIOURS = {
    "buy": ("purchase",),
    "look": ("view", "click", "search", "favourite", "cart", "play"),
    "review": ("rate", "review", "comment", "share"),
}
"""What a behaviour is, and the event types of each kind; the others are the shop's doing, or a coupon's, and are of none."""

SLOTS = ("exploit", "explore")
UNKNOWN = "UNKNOWN"
"""Category of an item that the catalogue does not know or has no category for."""

NO_CATEGORY = "(none)"
"""Category of an event without an item in feature.daily_counts."""


ALL_SEGMENTS, REST = "all", "(rest)"
"""In gold.category_transitions: everybody, and the categories that are too rare to stand alone."""

ALL_CATEGORIES = "(all)"
"""In gold.exploration_response: every category together."""

NEVER = {"never_items": "item_id", "never_brands": "brand", "never_categories": "category"}
"""Settings that forbid items, and the column whose values they name; of several the first is the one that is told."""

MOST_PER_BRAND, GAVE_WAY = "most_per_brand", "gave_way"
RULES = (*NEVER, MOST_PER_BRAND, GAVE_WAY)
"""What took an item from a list; gave_way: no rule is about it, it made room for one that came in."""

LEVELS = ("product_type", "category")
"""In gold.item_rules: the finest category of an item, and its category at the level of the settings."""

ESTIMATORS = ("logged", "ips", "snips", "dr")
"""In gold.policy_estimates: the mean of what ran, inverse propensity scores, the same self-normalised, doubly robust."""

OUTCOMES = ("buy", "look", "ignore")
"""What came of an exposure."""


def sql_list(values: tuple[str, ...]) -> str:
    """The values as a SQL IN list."""
    return ", ".join(f"'{v}'" for v in values)


SEGMENTATIONS = ("segment", "value_tier", "kmeans_cluster", "rfm_segment", "interest_group")
"""Columns of gold.user_segments by which users are told apart."""

NEW, GONE = "(new)", "(gone)"
"""In gold.segment_transitions: in no segment before; in none now."""

DAY_PARTS = ("night", "morning", "afternoon", "evening")
"""Quarters of the local day, from midnight on."""

GOALS = ("respond", "spend", "category", "seed")
"""What a planned campaign wants of a user."""

OK, NOTHING_LEARNT, NOBODY, UNPROFITABLE, NO_BUDGET, TOO_FEW = (
    *("ok", "nothing to learn from", "no eligible user", "no profitable user"),
    *("budget below one contact", "group too small"),
)
AUDIENCE_STATES = (OK, NOTHING_LEARNT, NOBODY, UNPROFITABLE, NO_BUDGET, TOO_FEW)
"""What became of an audience."""

MONITORS = (
    *("freshness", "volume", "nulls", "rejected", "category_mix"),
    *("score_drift", "segment_mix", "coverage", "calibration", "gate", "duration"),
)
"""In ops.monitors: of what comes in; of what goes out and how it went."""

MONITOR_STATES = ("ok", "warn", "fail", "unknown")

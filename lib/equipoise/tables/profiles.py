"""One readable row per user."""

from __future__ import annotations

from equipoise.tables.feature import USER
from equipoise.tables.schema import Column, Table
from equipoise.tables.stamps import STAMPS
from equipoise.tables.vocabulary import DAY_PARTS, SEGMENTS, sql_list

NO_AMOUNTS, NO_OWN = "the source has no amounts", "no event of the user's own states one"

USER_PROFILES = Table(
    "gold",
    "user_profiles",
    "user",
    "Who each user is, in one row that a person can read: what they stated, how they shop, what they like, where they move, what they are worth. One row per user of gold.user_segments.",
    key=("user_id", "as_of"),
    slice_by=("as_of",),
    checks={
        "segment_known": f"segment IN ({sql_list(SEGMENTS)})",
        "day_part_known": f"favourite_day_part IS NULL OR favourite_day_part IN ({sql_list(DAY_PARTS)})",
        "price_level_range": "price_level IS NULL OR price_level BETWEEN 0 AND 1",
    },
    columns=(
        USER,
        Column(
            "attributes", "MAP<STRING, STRING>", "Attributes that the source states, such as age or income; empty without any."
        ),
        Column("tenure_days", "INT", "Days from the first event of the user's own to as_of."),
        Column("is_new", "BOOLEAN", "True when that is fewer than 28 days."),
        Column("recency_days", "INT", "Days from the last purchase (last event where nothing is bought) to as_of."),
        Column("trips", "INT", "Distinct days with a purchase (with an event where nothing is bought)."),
        Column("trips_28d", "INT", "The same, last 28 days."),
        Column("spend", "DOUBLE", "Money over all history.", NO_AMOUNTS),
        Column("spend_28d", "DOUBLE", "Money in the last 28 days.", NO_AMOUNTS),
        Column("mean_basket", "DOUBLE", "Money per trip.", f"{NO_AMOUNTS}, or no trip"),
        Column("segment", "STRING", "O, interest or buy; see gold.user_segments."),
        Column("p_buy", "DOUBLE", "Probability of class buy."),
        Column("expected_spend", "DOUBLE", "Expected money in the horizon.", NO_AMOUNTS),
        Column("value_tier", "INT", "Fifth of expected_spend, 5 the highest.", NO_AMOUNTS),
        Column("churn_risk", "DOUBLE", "Probability of falling silent; see gold.user_segments.", "not told of the user"),
        Column("rfm_segment", "STRING", "Usual name of the RFM cell.", NO_AMOUNTS),
        Column("interest_group", "STRING", "Name of the user's group of like interests.", "the user is in none"),
        Column(
            "top_interests",
            "ARRAY<STRUCT<category: STRING, share: DOUBLE>>",
            "Up to three categories with the highest observed share.",
        ),
        Column("next_interest", "STRING", "The category that is most probable next.", "the user has no interests"),
        Column("next_share", "DOUBLE", "Its share of the next window, predicted.", "the user has no interests"),
        Column("categories_112d", "INT", "Distinct categories touched in the last 112 days."),
        Column("entropy_bits", "DOUBLE", "Entropy of the decayed category shares: 0 one category alone; higher is more varied."),
        Column(
            "moved_in",
            "DATE",
            "First day of the latest window of gold.interest_migration, which the next four columns speak of.",
            "the user did nothing in any window",
        ),
        Column("gained", "ARRAY<STRING>", "Categories gained in it, with evidence."),
        Column("lost", "ARRAY<STRING>", "Categories lost in it, with evidence."),
        Column("returning", "ARRAY<STRING>", "Categories come back to in it."),
        Column(
            "migrated",
            "BOOLEAN",
            "True when the user's interests moved beyond their own noise in it.",
            "too few visit days to say",
        ),
        Column("favourite_weekday", "STRING", "Weekday with most decayed days of the user's own (half-life 112 days).", NO_OWN),
        Column("weekend_share", "DOUBLE", "Share of those days that are Saturdays or Sundays.", NO_OWN),
        Column(
            "favourite_day_part",
            "STRING",
            "night (0 to 6), morning (to 12), afternoon (to 18) or evening, by the source's time zone, counted the same way.",
            "the user's events state a date alone",
        ),
        Column("favourite_store", "STRING", "Store or site, counted the same way.", NO_OWN),
        Column("store_share", "DOUBLE", "Share of that store in the user's days with one.", NO_OWN),
        Column("favourite_channel", "STRING", "Channel, counted the same way.", NO_OWN),
        Column(
            "price_level",
            "DOUBLE",
            "Mean place of the user's unit prices among all purchases of the same finest category, in tenths: below .5 the user buys the cheaper half.",
            "fewer than five lines with an amount and a quantity",
        ),
        Column(
            "promotion_share",
            "DOUBLE",
            "Share of the user's purchased lines whose category was promoted in that store and week.",
            "the source has no promotions, or no line has a store",
        ),
        Column(
            "promotion_lift",
            "DOUBLE",
            "That beside what everybody's lines of the same stores and categories have, five lines of everybody's added: above 1 the user buys what is promoted more often than others there.",
            "as for promotion_share",
        ),
        Column("exposed", "BIGINT", "Exposures before as_of."),
        Column("redeemed", "BIGINT", "Offers redeemed before as_of."),
        Column("summary", "STRING", "The row in two sentences."),
        *STAMPS,
    ),
)

"""Tables that people query."""

from __future__ import annotations

from equipoise.tables.feature import AS_OF, USER
from equipoise.tables.ops import RUN_ID
from equipoise.tables.schema import Column, Table
from equipoise.tables.vocabulary import SEGMENTS, SLOTS, sql_list

STAMPS = (
    AS_OF,
    RUN_ID,
    Column("model_id", "STRING", "Model behind the row.", "no model had a part in it"),
    Column("synthetic", "BOOLEAN", "True when the source is a generator."),
)
CATEGORY = Column("category", "STRING", "Category.")

USER_INTERESTS = Table(
    "gold",
    "user_interests",
    "user × category",
    "What each user is interested in now, what comes next, and the share to aim at: the top categories by prediction and all observed ones.",
    key=("user_id", "category", "as_of"),
    slice_by=("as_of",),
    checks={
        "shares_in_range": "observed_share BETWEEN 0 AND 1.000001 AND predicted_share BETWEEN 0 AND 1.000001 "
        "AND target_share BETWEEN 0 AND 1.000001"
    },
    columns=(
        USER,
        CATEGORY,
        Column("rank", "INT", "1 = highest target_share."),
        Column("observed_share", "DOUBLE", "Decayed, weighted share over all history before as_of; 0 when never touched."),
        Column(
            "predicted_share", "DOUBLE", "Softmax probability of the category in the next window, given that it is not empty."
        ),
        Column(
            "visit_probability",
            "DOUBLE",
            "Probability that the user does anything in the category (an event of the knowing types) in the next window.",
            "the model does not know the category",
        ),
        Column("is_predicted_top", "BOOLEAN", "True for the user's most probable category."),
        Column("target_share", "DOUBLE", "Share that recommendations aim at; sums to 1 over the user's rows."),
        Column("evidence", "DOUBLE", "Decayed weight behind observed_share."),
        Column("reason", "STRING", "Why the share is what it is, in words."),
        *STAMPS,
    ),
)

USER_SEGMENTS = Table(
    "gold",
    "user_segments",
    "user",
    "What each user is worth: one row per user with a non-expose event before as_of.",
    key=("user_id", "as_of"),
    slice_by=("as_of",),
    checks={
        "segment_known": f"segment IN ({sql_list(SEGMENTS)})",
        "probabilities_sum_to_1": "abs(p_o + p_interest + p_buy - 1) <= 0.000001",
        "value_tier_range": "value_tier IS NULL OR value_tier BETWEEN 1 AND 5",
    },
    columns=(
        USER,
        Column("segment", "STRING", "Most probable class: O (nothing), interest, buy."),
        Column("p_o", "DOUBLE", "Probability of nothing in the horizon."),
        Column("p_interest", "DOUBLE", "Probability of class interest."),
        Column("p_buy", "DOUBLE", "Probability of class buy."),
        Column("horizon_days", "INT", "Length of the window the probabilities speak of, from as_of."),
        Column("expected_spend", "DOUBLE", "Expected money in the horizon.", "the source has no amounts"),
        Column("value_tier", "INT", "Fifth of expected_spend: 5 is the highest.", "the source has no amounts"),
        Column(
            "rfm_cell",
            "STRING",
            "Quintiles of recency, frequency and money, such as 5-4-5 (5 is best).",
            "the source has no amounts",
        ),
        Column("rfm_segment", "STRING", "Usual name of the RFM cell, such as Champions.", "the source has no amounts"),
        Column(
            "kmeans_cluster", "INT", "K-means cluster on RFM, numbered by rising mean spend from 1.", "too few users to cluster"
        ),
        Column("reason", "STRING", "Why, in words, from feature.user_profile."),
        *STAMPS,
    ),
)

USER_ITEM_VALUES = Table(
    "gold",
    "user_item_values",
    "user × item (candidates)",
    "What each user could be shown, and what each of these items is worth to the user: candidates from the own history, by cosine and by popularity.",
    key=("user_id", "item_id", "as_of"),
    slice_by=("as_of",),
    checks={
        "segment_known": f"segment IN ({sql_list(SEGMENTS)})",
        "probabilities_sum_to_1": "abs(p_o + p_interest + p_buy - 1) <= 0.000001",
        "next_trip_is_a_probability": "p_next_trip BETWEEN 0 AND 1",
    },
    columns=(
        USER,
        Column("item_id", "STRING", "The item."),
        Column("horizon_days", "INT", "Length of the window the probabilities speak of, from as_of."),
        Column("segment", "STRING", "Most probable class: O (nothing), interest, buy."),
        Column("p_o", "DOUBLE", "Probability that the user does nothing with the item in the horizon."),
        Column(
            "p_interest",
            "DOUBLE",
            "Probability of events other than exposures, but no purchase; 0 where a source has purchases only.",
        ),
        Column("p_buy", "DOUBLE", "Probability of a purchase; 0 where the source has none."),
        Column(
            "p_next_trip",
            "DOUBLE",
            "Probability that the item is in the user's next trip, given that there is one in the horizon; lists are ranked by it. A trip is a day with a purchase, or with an event of the knowing types where the source has no purchases.",
        ),
        Column("source", "STRING", "Candidate source that brought the item: of several the first of history, cosine, popular."),
        Column("known_events", "BIGINT", "Purchases, carts, clicks and ratings of the item by the user before as_of."),
        Column("purchases", "BIGINT", "Purchases among them."),
        Column("events", "BIGINT", "All events but exposures; 0: the item is new to the user."),
        Column("cosine", "DOUBLE", "Cosine of the user's and the item's vector.", "the vectors did not bring the item"),
        *STAMPS,
    ),
)

RECOMMENDATIONS = Table(
    "gold",
    "recommendations",
    "user × rank",
    "What to show each user: K items, calibrated to the user's target shares, some of them exploring.",
    key=("user_id", "rank", "as_of"),
    slice_by=("as_of",),
    checks={
        "slot_known": f"slot IN ({sql_list(SLOTS)})",
        "propensity_is_a_probability": "propensity > 0 AND propensity <= 1.000001",
    },
    columns=(
        USER,
        Column("rank", "INT", "1..K, no gaps."),
        Column("item_id", "STRING", "The item; no item twice in one list."),
        CATEGORY,
        Column("slot", "STRING", "exploit, or explore (a category the user has not seen, or the least known)."),
        Column("score", "DOUBLE", "Marginal gain of the re-ranking when the item was chosen; for explore the draw's weight."),
        Column(
            "relevance",
            "DOUBLE",
            "p_next_trip of gold.user_item_values ÷ the user's highest; 0 for an item outside the candidates, as explored ones are.",
        ),
        Column(
            "propensity",
            "DOUBLE",
            "Probability that the item is in this user's list under the policy's draw; 1 for exploit rows.",
        ),
        Column("source", "STRING", "Candidate source that brought the item: history, cosine, popular or explore."),
        Column(
            "reason_code",
            "STRING",
            "Kind of reason: bought_before, looked_before, similar_text, popular_in_category, unseen_category, least_known.",
        ),
        Column("reason_key", "STRING", "Where to look it up: item or category in the reason's source table."),
        Column("reason_value", "DOUBLE", "The number found there."),
        Column("reason", "STRING", "The reason in words."),
        *STAMPS,
    ),
)

EVALUATION = Table(
    "gold",
    "evaluation",
    "source × task × method × metric × cutoff × split × origin × user_group",
    "How good every method is, winners and losers alike.",
    key=("source", "task", "method", "metric", "cutoff", "split", "origin", "user_group", "as_of"),
    slice_by=("as_of",),
    columns=(
        Column("source", "STRING", "Source of the data."),
        Column("task", "STRING", "items, interests, value, balance, or a floors_* reproduction."),
        Column("method", "STRING", "Method; λ and slots in the name."),
        Column("metric", "STRING", "Metric, such as ndcg, ndcg_full, recall, js_bits, kl_bits, auc, ngini."),
        Column("cutoff", "INT", "K of a ranking metric; 0 = none."),
        Column("split", "STRING", "validation or test."),
        Column("origin", "STRING", "First date of the label window, or 'pooled' over several."),
        Column("user_group", "STRING", "'all' or attribute=value."),
        Column("value", "DOUBLE", "The value."),
        Column("ci_low", "DOUBLE", "Lower end of the 95 % bootstrap interval over users.", "not bootstrapped"),
        Column("ci_high", "DOUBLE", "Upper end.", "not bootstrapped"),
        Column("n", "BIGINT", "Users behind the value."),
        Column("seeds", "INT", "Training seeds averaged.", "nothing stochastic in the method"),
        *STAMPS,
    ),
)

GOLD = (USER_INTERESTS, USER_SEGMENTS, USER_ITEM_VALUES, RECOMMENDATIONS, EVALUATION)

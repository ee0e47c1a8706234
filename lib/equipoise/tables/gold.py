"""Tables that people query."""

from __future__ import annotations

from equipoise.tables.feature import USER
from equipoise.tables.lists import (
    BALANCE,
    EXPLORATION_BUDGETS,
    EXPLORATION_RESPONSE,
    ITEM_RULES,
    POLICY_ESTIMATES,
    RECOMMENDATIONS,
    RULE_EFFECTS,
    USER_ITEM_VALUES,
)
from equipoise.tables.marketing import AUDIENCE_SUMMARY, AUDIENCES
from equipoise.tables.profiles import USER_PROFILES
from equipoise.tables.schema import Column, Table
from equipoise.tables.segments import SEGMENT_PROFILES, SEGMENT_TRANSITIONS
from equipoise.tables.stamps import CATEGORY, STAMPS
from equipoise.tables.vocabulary import SEGMENTS, sql_list

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
        "churn_risk_range": "churn_risk IS NULL OR churn_risk BETWEEN 0 AND 1",
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
            "value_model",
            "STRING",
            "What said the probabilities and the spend: behaviour (linear models and boosted trees on days), rfm_cells (what followed in the user's RFM cell: where that picked the better tenth one horizon earlier) or language (the language model: by setting, or where history is short).",
        ),
        Column(
            "buy_threshold",
            "DOUBLE",
            "Spend in the horizon from which a user is of class buy: the median of those who spent, at earlier cuts.",
            "the ladder goes by events (any purchase is of class buy), or value_model is language",
        ),
        Column(
            "churn_risk",
            "DOUBLE",
            "Probability of no event of the user's own in segments.churn_days from as_of.",
            "value_model is not behaviour, or no window so long lies behind as_of",
        ),
        Column(
            "drivers",
            "ARRAY<STRUCT<driver: STRING, log_odds: DOUBLE>>",
            "What moved the user's log-odds of class buy away from those of the middle user, the strongest first: exact Shapley values over groups of signals, which add up to the difference. Empty when value_model is not behaviour.",
        ),
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
        Column(
            "interest_group",
            "INT",
            "Group of users with like interests (K-means on the roots of observed shares). A group keeps its number from night to night; gold.segment_profiles names it.",
            "no observed interest, or fewer users than groups",
        ),
        Column("reason", "STRING", "Why, in words, from feature.user_profile."),
        *STAMPS,
    ),
)

USER_CATEGORY_VALUES = Table(
    "gold",
    "user_category_values",
    "user × category",
    "What each user does next in each category that the model knows: nothing, something, or a purchase. The categories of gold.user_interests.",
    key=("user_id", "category", "as_of"),
    slice_by=("as_of",),
    checks={
        "segment_known": f"segment IN ({sql_list(SEGMENTS)})",
        "probabilities_sum_to_1": "abs(p_o + p_interest + p_buy - 1) <= 0.000001",
    },
    columns=(
        USER,
        CATEGORY,
        Column("horizon_days", "INT", "Length of the window the probabilities speak of, from as_of."),
        Column("segment", "STRING", "Most probable class: O (nothing), interest, buy."),
        Column("p_o", "DOUBLE", "Probability of no event of the knowing types in the category in the window."),
        Column("p_interest", "DOUBLE", "Probability of such events without a purchase; 0 where a source has purchases only."),
        Column(
            "p_buy",
            "DOUBLE",
            "Probability of a purchase in it: that of any such event times the share of earlier windows with one in which the user bought, shrunk to the category's and everybody's.",
        ),
        *STAMPS,
    ),
)

INTEREST_MIGRATION = Table(
    "gold",
    "interest_migration",
    "user × window",
    "What each user moved towards and away from: every closed window since the origin in which the user did something that weighs. Counted in visit days, days with weight in a known category; UNKNOWN is left out.",
    key=("user_id", "window_start", "as_of"),
    slice_by=("as_of",),
    checks={
        "window_is_closed": "window_start < window_end AND window_end <= as_of",
        "bits_in_range": "(drift_js_bits IS NULL OR drift_js_bits BETWEEN 0 AND 1) AND (noise_p95_bits IS NULL OR noise_p95_bits BETWEEN 0 AND 1)",
        "migrated_needs_a_band": "(migrated IS NULL) = (noise_p95_bits IS NULL)",
    },
    columns=(
        USER,
        Column("window_start", "DATE", "First day of the window."),
        Column("window_end", "DATE", "End of the window, exclusive."),
        Column("days", "INT", "Visit days in the window; 0 when everything in it is UNKNOWN."),
        Column(
            "previous_start",
            "DATE",
            "First day of the window compared with: the user's latest earlier one with a visit day, not always the one before.",
            "no visit day in this window, or in none before it",
        ),
        Column("previous_days", "INT", "Visit days in that window.", "no window to compare with"),
        Column(
            "drift_js_bits",
            "DOUBLE",
            "Jensen-Shannon divergence between the category shares of the two windows, in bits: 0 the same, 1 nothing in common. Shares by event weights, not decayed. Most of it is noise: read it against the band.",
            "no window to compare with",
        ),
        Column(
            "noise_mean_bits",
            "DOUBLE",
            "Mean drift when the visit days of both windows are dealt out at random: what the same taste would show.",
            "either window has fewer visit days than migration.min_days",
        ),
        Column(
            "noise_p95_bits",
            "DOUBLE",
            "95th percentile of that drift: without a shift, drift is above it in at most 5 of 100 windows.",
            "either window has fewer visit days than migration.min_days",
        ),
        Column("migrated", "BOOLEAN", "True when drift is above the band.", "too few visit days to say, as for the band"),
        Column(
            "change_point",
            "BOOLEAN",
            "True in the window with which the user's taste most clearly changed: of all ways to part the visit days into those before a window and those from it on, this one differs most, and more than random orders of the days do in 95 of 100 cases. At most one per user and as_of; slow changes too.",
            "fewer than migration.min_days visit days before the window, or from it on",
        ),
        Column(
            "gained",
            "ARRAY<STRING>",
            "Categories on more visit days than the user's earlier windows and the population's trend explain (exact test, false discovery rate migration.level per user and window), on at least migration.min_hits of them. Sorted; empty when none.",
        ),
        Column(
            "lost",
            "ARRAY<STRING>",
            "Categories absent from the last migration.absent_windows windows of the user, more often than the earlier windows and the trend explain (same test); in the first window where that is so. Sorted; empty when none.",
        ),
        Column(
            "returning",
            "ARRAY<STRING>",
            "Categories that had been lost and are back on at least migration.min_hits visit days. Sorted; empty when none.",
        ),
        *STAMPS,
    ),
)

CATEGORY_TRANSITIONS = Table(
    "gold",
    "category_transitions",
    "segment × from × to",
    "Where the interest in a category goes in the next window: of users active in two closed windows running, since the origin.",
    key=("segment", "from_category", "to_category", "as_of"),
    slice_by=("as_of",),
    checks={
        "segment_known": f"segment IN ('all', {sql_list(SEGMENTS)})",
        "probability_in_range": "probability BETWEEN 0 AND 1.000001",
    },
    columns=(
        Column("segment", "STRING", "all, or the segment of gold.user_segments at as_of: O, interest, buy."),
        Column(
            "from_category",
            "STRING",
            "Category in a window; '(rest)': all with fewer than migration.min_support users of the segment together.",
        ),
        Column(
            "to_category",
            "STRING",
            "Category in the next window; '(rest)': rare ones, and what shrinkage gives to those where nobody of the row went.",
        ),
        Column(
            "probability",
            "DOUBLE",
            "Share of `to` in the next window of a unit of interest in `from`, given that the next window is not empty; a segment is shrunk towards all, all towards the population. Sums to 1 over `to`.",
        ),
        Column(
            "population_share",
            "DOUBLE",
            "Share of `to` in all next windows of everybody; of '(rest)': of all that the row does not list. probability ÷ population_share above 1: `from` leads there.",
        ),
        Column("users", "BIGINT", "Users with `from` in a window and `to` in the next; 0 where '(rest)' is shrinkage alone."),
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
        Column(
            "task",
            "STRING",
            "What was asked: items, new_items, candidates, leaves, explore, interests, categories, value, campaigns, balance, "
            "operating_points; arms of an experiment; interests_utc and items_utc, on the protocol of published figures; a floors_* "
            "reproduction; other_shop and label_share, measured by a benchmark.",
        ),
        Column("method", "STRING", "Method; λ and slots in the name."),
        Column("metric", "STRING", "Metric, such as ndcg, ndcg_full, recall, js_bits, kl_bits, auc, ngini."),
        Column("cutoff", "INT", "K of a ranking metric; 0 = none."),
        Column("split", "STRING", "validation or test; held_out_users: on users that one of the models never trained on."),
        Column("origin", "STRING", "First date of the label window, or 'pooled' over several."),
        Column(
            "user_group",
            "STRING",
            "'all'; attribute=value of silver.users; history= by days with a trip before as_of, visited= by a trip lately, interests= "
            "moved or stayed.",
        ),
        Column("value", "DOUBLE", "The value."),
        Column("ci_low", "DOUBLE", "Lower end of the 95 % bootstrap interval over users.", "not bootstrapped"),
        Column("ci_high", "DOUBLE", "Upper end.", "not bootstrapped"),
        Column("n", "BIGINT", "Users behind the value."),
        Column("seeds", "INT", "Training seeds averaged.", "nothing stochastic in the method"),
        Column(
            "resampled",
            "STRING",
            "Mark of the users that were drawn again; rows of one mark can be paired, over tasks and origins.",
            "draws are not kept",
        ),
        Column("draws", "ARRAY<FLOAT>", "The value on each of those resamples, in their order.", "kept for leading metrics only"),
        *STAMPS,
    ),
)

GOLD = (
    USER_INTERESTS,
    USER_SEGMENTS,
    USER_CATEGORY_VALUES,
    SEGMENT_TRANSITIONS,
    SEGMENT_PROFILES,
    INTEREST_MIGRATION,
    CATEGORY_TRANSITIONS,
    USER_PROFILES,
    AUDIENCES,
    AUDIENCE_SUMMARY,
    ITEM_RULES,
    EXPLORATION_RESPONSE,
    EXPLORATION_BUDGETS,
    USER_ITEM_VALUES,
    POLICY_ESTIMATES,
    BALANCE,
    RECOMMENDATIONS,
    RULE_EFFECTS,
    EVALUATION,
)

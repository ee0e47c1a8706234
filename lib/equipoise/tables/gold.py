"""Tables that people query."""

from __future__ import annotations

from equipoise.tables.feature import AS_OF, USER
from equipoise.tables.ops import RUN_ID
from equipoise.tables.schema import Column, Table
from equipoise.tables.vocabulary import ALL_CATEGORIES, ALL_SEGMENTS, SEGMENTS, SLOTS, sql_list

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
        Column(
            "score",
            "DOUBLE",
            "What the item adds to the objective of the list (relevance less divergence); for explore the draw's weight.",
        ),
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
        Column(
            "expected_response",
            "DOUBLE",
            "visit_probability of the category in gold.user_interests: what feedback on an explore row is compared with.",
            "an exploit row, or a category that the model does not know",
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

EXPLORATION_RESPONSE = Table(
    "gold",
    "exploration_response",
    "segment × category",
    "How readily users of a segment responded to a category they did not know, against what the model expected of them.",
    key=("segment", "category", "as_of"),
    slice_by=("as_of",),
    columns=(
        Column("segment", "STRING", f"O, interest, buy, or {ALL_SEGMENTS} of them."),
        Column("category", "STRING", f"Category that was explored, or {ALL_CATEGORIES} of them."),
        Column(
            "trials", "BIGINT", "Users × spans of response days in which the category was shown to users who did not know it."
        ),
        Column("expected", "DOUBLE", "Responses to expect by expected_response of the lists."),
        Column("responses", "BIGINT", "Trials in which the user responded: see responded of ops.feedback."),
        Column(
            "strength",
            "DOUBLE",
            "Weight, in expected responses, of what the ratio is shrunk towards; fitted for categories and segments.",
        ),
        Column("shape", "DOUBLE", "Shape of the gamma posterior of responses ÷ expected ones."),
        Column("rate", "DOUBLE", "Its rate, in expected responses; 1 over its scale."),
        Column(
            "ratio", "DOUBLE", "Its mean: 1 = as often as expected; shrunk towards the category's, and that towards everybody's."
        ),
        Column("ratio_low", "DOUBLE", "Its 5 % quantile."),
        Column("ratio_high", "DOUBLE", "Its 95 % quantile."),
        *STAMPS,
    ),
)

EXPLORATION_BUDGETS = Table(
    "gold",
    "exploration_budgets",
    "user",
    "How much of a list is for finding something out about the user, and from what that follows.",
    key=("user_id", "as_of"),
    slice_by=("as_of",),
    columns=(
        USER,
        Column("segment", "STRING", "The user's segment in gold.user_segments, whose responses decide what is explored."),
        Column("entropy_bits", "DOUBLE", "Entropy of observed_share, bits."),
        Column("evidence", "DOUBLE", "Decayed weight of everything the user did."),
        Column("trials", "BIGINT", "Categories × spans of response days shown to the user to explore."),
        Column("expected", "DOUBLE", "Responses to expect of them."),
        Column("responses", "BIGINT", "Responses there were."),
        Column("ratio", "DOUBLE", "Responses ÷ expected ones against everybody's, shrunk towards 1."),
        Column("factor", "DOUBLE", "What the usual number of slots is multiplied by, before the users' mean is taken out."),
        Column("slots", "INT", "Explore slots; lists follow it with recommend.explore_budget = personal."),
        *STAMPS,
    ),
)

BALANCE = Table(
    "gold",
    "balance",
    "as_of × calibration",
    "What every weight λ of calibration is expected to cost, and which one the lists were made with.",
    key=("as_of", "calibration"),
    slice_by=("as_of",),
    columns=(
        Column("calibration", "DOUBLE", "λ, the weight of calibration against relevance, 0 to 1."),
        Column("users", "BIGINT", "Users whose lists were made for it: everybody, or a sample by hash."),
        Column(
            "expected_dcg", "DOUBLE", "Mean over users of Σ p_next_trip ÷ log2(place + 1) over the places that do not explore."
        ),
        Column("accuracy_loss", "DOUBLE", "1 − expected_dcg ÷ that of λ = 0; 0 where nothing is expected of any list."),
        Column("kl_bits", "DOUBLE", "Mean divergence of these places' categories from the target shares, bits."),
        Column("chosen", "BOOLEAN", "The λ of the lists."),
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

GOLD = (
    USER_INTERESTS,
    USER_SEGMENTS,
    INTEREST_MIGRATION,
    CATEGORY_TRANSITIONS,
    EXPLORATION_RESPONSE,
    EXPLORATION_BUDGETS,
    USER_ITEM_VALUES,
    BALANCE,
    RECOMMENDATIONS,
    EVALUATION,
)

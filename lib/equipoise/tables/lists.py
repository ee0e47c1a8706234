"""Tables of what each user is shown: what items are worth, what balance costs, lists, rules, and what exploring found out."""

from __future__ import annotations

from equipoise.tables.feature import USER
from equipoise.tables.schema import Column, Table
from equipoise.tables.stamps import CATEGORY, STAMPS
from equipoise.tables.vocabulary import ALL_CATEGORIES, ALL_SEGMENTS, RULES, SEGMENTS, SLOTS, sql_list

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

RULE_EFFECTS = Table(
    "gold",
    "rule_effects",
    "user × item",
    "What the shop's own rules (recommend.never_*, always_items, most_per_brand) took from the lists: each item that the user's list would hold without them and does not. No rows where no rule is set.",
    key=("user_id", "item_id", "as_of"),
    slice_by=("as_of",),
    checks={
        "rule_known": f"rule IN ({sql_list(RULES)})",
        "slot_known": f"slot IN ({sql_list(SLOTS)})",
        "a_rule_names_what_it_is_about": "(rule = 'gave_way') = (rule_key IS NULL)",
    },
    columns=(
        USER,
        Column("item_id", "STRING", "The item that is not in the list."),
        Column("rank", "INT", "Its place in the list without the rules."),
        Column("slot", "STRING", "Kind of that place: exploit or explore."),
        Column(
            "rule",
            "STRING",
            "never_items, never_brands or never_categories; most_per_brand; or gave_way: no rule is about the item, it made room for one that came in.",
        ),
        Column("rule_key", "STRING", "The item, brand or category that the rule names.", "gave_way"),
        Column("p_next_trip", "DOUBLE", "What the item was worth: see gold.user_item_values.", "not among the user's candidates"),
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

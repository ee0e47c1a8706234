"""Tables of what each user is shown: what items are worth, what balance costs, lists, rules, and what exploring found out."""

from __future__ import annotations

from equipoise.tables.feature import USER
from equipoise.tables.schema import Column, Table
from equipoise.tables.stamps import CATEGORY, STAMPS
from equipoise.tables.vocabulary import ALL_CATEGORIES, ALL_SEGMENTS, ESTIMATORS, LEVELS, RULES, SEGMENTS, SLOTS, sql_list

USER_ITEM_VALUES = Table(
    "gold",
    "user_item_values",
    "user × item (candidates)",
    "What each user could be shown, and what each of these items is worth to the user: candidates from the own history, from users with the same items, by cosine and by popularity.",
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
        Column(
            "source",
            "STRING",
            "Candidate source that brought the item: of several the first of history, neighbour, cosine, popular.",
        ),
        Column("sources", "ARRAY<STRING>", "Every source that brought it, in that order."),
        Column("known_events", "BIGINT", "Purchases, carts, clicks and ratings of the item by the user before as_of."),
        Column("purchases", "BIGINT", "Purchases among them."),
        Column("events", "BIGINT", "All events but exposures; 0: the item is new to the user."),
        Column("cosine", "DOUBLE", "Cosine of the user's and the item's vector.", "the vectors did not bring the item"),
        Column(
            "neighbour_id",
            "STRING",
            "The user's item that most speaks for this one.",
            "users with the same items did not bring it",
        ),
        Column(
            "similarity",
            "DOUBLE",
            "Cosine over users of the two items: users of both ÷ √(users of one · users of the other), each with 10 more.",
            "users with the same items did not bring it",
        ),
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
            "What the item adds to the objective of the list (relevance less divergence); its gain when it was chosen by xquad and mmr, "
            "its relevance by quota; for explore the draw's weight.",
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
        Column("source", "STRING", "Candidate source that brought the item: history, neighbour, cosine, popular or explore."),
        Column(
            "reason_code",
            "STRING",
            "Kind of reason: bought_before, looked_before, same_users, similar_text, popular_in_category, unseen_category, least_known.",
        ),
        Column(
            "reason_key",
            "STRING",
            "Where to look it up: item or category in the reason's source table; of same_users the item that the user has.",
        ),
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

POLICY_ESTIMATES = Table(
    "gold",
    "policy_estimates",
    "as_of × draw × estimator",
    "What each way to draw what is explored would have brought on the lists that were shown, from their answers. No rows without answers of two users.",
    key=("draw", "estimator", "as_of"),
    slice_by=("as_of",),
    checks={
        "estimator_known": f"estimator IN ({sql_list(ESTIMATORS)})",
        "unsupported_is_a_share": "unsupported IS NULL OR unsupported BETWEEN 0 AND 1",
        "interval_holds_the_value": "ci_low IS NULL OR (ci_low <= value AND value <= ci_high)",
    },
    columns=(
        Column("draw", "STRING", "Way to draw: share, thompson or ucb (recommend.explore_draw), as it would draw tonight."),
        Column(
            "estimator",
            "STRING",
            "logged (what was shown brought; the same for every draw), ips (inverse propensity), snips (self-normalised), dr (doubly robust).",
        ),
        Column("published", "BOOLEAN", "Whether the lists of this as_of were drawn so."),
        Column("value", "DOUBLE", "Responses of explored places per list that was shown."),
        Column("ci_low", "DOUBLE", "Lower end of its 95 % interval, users drawn whole.", "it was not estimated"),
        Column("ci_high", "DOUBLE", "Upper end.", "it was not estimated"),
        Column("lists", "BIGINT", "Lists with explored places that are settled."),
        Column("places", "BIGINT", "Their explored places that are settled."),
        Column("effective_places", "DOUBLE", "(Σ w)² ÷ Σ w² of their weights (Kish): as many equal ones tell as much.", "logged"),
        Column(
            "unsupported",
            "DOUBLE",
            "Share of the draw's probability that the log could not show, estimated as what the weights lack of it; no estimate knows of it.",
            "logged, or nothing can be drawn",
        ),
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
        Column("calibration", "DOUBLE", "λ, 0 to 1, on the scale of recommend.rerank; the mean where weights are personal."),
        Column("users", "BIGINT", "Users whose lists were made for it: everybody, or a sample by hash."),
        Column(
            "expected_dcg", "DOUBLE", "Mean over users of Σ p_next_trip ÷ log2(place + 1) over the places that do not explore."
        ),
        Column("accuracy_loss", "DOUBLE", "1 − expected_dcg ÷ that of λ = 0; 0 where nothing is expected of any list."),
        Column("kl_bits", "DOUBLE", "Mean KL divergence of these places' categories from the target shares, bits; of any way."),
        Column("chosen", "BOOLEAN", "The λ of the lists."),
        *STAMPS,
    ),
)

ITEM_RULES = Table(
    "gold",
    "item_rules",
    "level × antecedent → consequent",
    "What is bought together with what: baskets with all of the antecedent tend to hold the consequent too. A basket is what one user bought on one local day (where the source has no purchases: clicked, put in a cart or rated) in the associations.days before as_of.",
    key=("level", "antecedent", "consequent", "as_of"),
    slice_by=("as_of",),
    checks={
        "level_known": f"level IN ({sql_list(LEVELS)})",
        "antecedent_is_sorted": "size(antecedent) > 0 AND antecedent = sort_array(antecedent)",
        "consequent_is_something_else": "NOT array_contains(antecedent, consequent)",
        "shares_in_range": "support > 0 AND support <= confidence AND confidence <= 1",
        "no_conviction_where_certain": "(conviction IS NULL) = (confidence = 1)",
    },
    columns=(
        Column(
            "level",
            "STRING",
            "product_type: the deepest known category of silver.items; category: the level of source.category_level.",
        ),
        Column("antecedent", "ARRAY<STRING>", "What is in the basket, sorted; up to associations.max_items names."),
        Column("consequent", "STRING", "What tends to be in it too."),
        Column("support", "DOUBLE", "Share of all baskets that hold both sides."),
        Column("confidence", "DOUBLE", "Share of the antecedent's baskets that hold the consequent."),
        Column("lift", "DOUBLE", "confidence ÷ the consequent's share of all baskets; 1 = independent."),
        Column(
            "leverage",
            "DOUBLE",
            "Share of baskets with both sides, above what independence would give (Piatetsky-Shapiro 1991); rules are kept in its order.",
        ),
        Column(
            "conviction",
            "DOUBLE",
            "How many times more often the rule would fail if the sides were independent (Brin et al. 1997).",
            "confidence is 1",
        ),
        Column("baskets", "BIGINT", "All baskets of the level."),
        Column("baskets_antecedent", "BIGINT", "Baskets with the antecedent."),
        Column("baskets_consequent", "BIGINT", "Baskets with the consequent."),
        Column("baskets_both", "BIGINT", "Baskets with both."),
        Column(
            "p_adjusted",
            "DOUBLE",
            "Bound on the chance that the whole search finds any such rule where baskets are independent draws and some name of the antecedent adds nothing (exact test, Bonferroni in layers by length: Webb 2007, 2008); at most associations.level.",
        ),
        *STAMPS,
    ),
)

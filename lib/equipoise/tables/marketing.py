"""Tables of audiences: whom a planned campaign should contact, and what that would bring."""

from __future__ import annotations

from equipoise.tables.feature import USER
from equipoise.tables.schema import Column, Table
from equipoise.tables.stamps import STAMPS
from equipoise.tables.vocabulary import AUDIENCE_STATES, GOALS, sql_list

AUDIENCE = Column("audience_id", "STRING", "Campaign of the settings.")

AUDIENCES = Table(
    "gold",
    "audiences",
    "audience × user",
    "Whom each planned campaign should contact: the users that bring the highest expected profit inside its budget. Empty where no campaign is planned, or none has an audience.",
    key=("audience_id", "user_id", "as_of"),
    slice_by=("as_of",),
    checks={"chance_in_range": "p_response BETWEEN 0 AND 1", "rank_from_1": "rank >= 1"},
    columns=(
        AUDIENCE,
        USER,
        Column("rank", "INT", "1 = highest expected profit."),
        Column(
            "p_response",
            "DOUBLE",
            "Chance of what the goal is: a redemption, a visit, to be of the seed among all users; 1 for goal spend.",
        ),
        Column("expected_value", "DOUBLE", "Money that contacting the user is expected to bring, before its cost."),
        Column("cost", "DOUBLE", "Money that the contact costs."),
        Column("expected_profit", "DOUBLE", "expected_value − cost; above 0."),
        Column("reason", "STRING", "Why, with the user's own numbers."),
        *STAMPS,
    ),
)

AUDIENCE_SUMMARY = Table(
    "gold",
    "audience_summary",
    "audience",
    "What each planned campaign reaches, costs and is expected to bring, and why an audience is empty.",
    key=("audience_id", "as_of"),
    slice_by=("as_of",),
    checks={"goal_known": f"goal IN ({sql_list(GOALS)})", "status_known": f"status IN ({sql_list(AUDIENCE_STATES)})"},
    columns=(
        AUDIENCE,
        Column("goal", "STRING", f"{', '.join(GOALS)}."),
        Column("status", "STRING", f"{', '.join(AUDIENCE_STATES)}; but for ok the audience is empty."),
        Column("message", "STRING", "The status in words, with its numbers."),
        Column("eligible", "BIGINT", "Users whom the goal speaks of, less those left out."),
        Column(
            "left_out",
            "MAP<STRING, BIGINT>",
            "Users left out by the first cause that holds: segment, attribute, file, frequency.",
        ),
        Column("reach", "BIGINT", "Users in the audience."),
        Column("cost", "DOUBLE", "What contacting them costs."),
        Column("expected_responses", "DOUBLE", "Sum of p_response over the audience."),
        Column("expected_value", "DOUBLE", "Sum of expected_value over it."),
        Column("expected_profit", "DOUBLE", "Sum of expected_profit over it."),
        Column(
            "curve",
            "ARRAY<STRUCT<share: DOUBLE, users: BIGINT, profit: DOUBLE>>",
            "Expected profit of contacting the best tenth, two tenths … of the eligible users, whatever the budget.",
        ),
        Column(
            "learnt_from",
            "BIGINT",
            "Goal respond: contacts of closed campaigns; goal seed: known ids of the seed.",
            "the goal is not learnt from a list",
        ),
        Column(
            "propensity_auc",
            "DOUBLE",
            "Goal respond: how well it can be foretold whom the last campaign contacted; .5 would be chance. Far above it, a response is no effect of the contact.",
            "other goals; fewer than two earlier campaigns",
        ),
        Column(
            "seed_found",
            "DOUBLE",
            "Goal seed: of seed users held out, the share found in the best tenth of all.",
            "other goals; fewer than ten known seed users",
        ),
        *STAMPS,
    ),
)

"""Tables about segments: who moved between them, and what they are like."""

from __future__ import annotations

from equipoise.tables.schema import Column, Table
from equipoise.tables.stamps import STAMPS
from equipoise.tables.vocabulary import GONE, NEW, SEGMENTATIONS, sql_list

SEGMENTATION = Column("segmentation", "STRING", f"Column of gold.user_segments: {', '.join(SEGMENTATIONS)}.")
NO_AMOUNTS = "the source has no amounts"

SEGMENT_TRANSITIONS = Table(
    "gold",
    "segment_transitions",
    "segmentation × from × to",
    "Who moved from which segment to which since the previous published as_of, and what that means in expected spend.",
    key=("segmentation", "from_segment", "to_segment", "as_of"),
    slice_by=("as_of",),
    checks={
        "segmentation_known": f"segmentation IN ({sql_list(SEGMENTATIONS)})",
        "previous_is_earlier": "previous_as_of < as_of",
        "users_are_there": "users > 0",
    },
    columns=(
        SEGMENTATION,
        Column(
            "previous_as_of",
            "DATE",
            "The date moved from: the latest published before, else one horizon before, told afterwards.",
        ),
        Column("from_segment", "STRING", f"Segment then; {NEW}: in none of it."),
        Column("to_segment", "STRING", f"Segment now; {GONE}: in none of it."),
        Column("users", "BIGINT", "Users who went this way, or stayed."),
        Column("previous_spend", "DOUBLE", "Their expected spend then, summed.", f"{NO_AMOUNTS}, or from {NEW}"),
        Column("spend", "DOUBLE", "Their expected spend now, summed.", f"{NO_AMOUNTS}, or to {GONE}"),
        Column("value_change", "DOUBLE", "Expected spend now less then; what is not there counts 0.", NO_AMOUNTS),
        Column(
            "retold",
            "BOOLEAN",
            "True: nothing was published before, so the segments of previous_as_of were made afterwards, from what was known then.",
        ),
        *STAMPS,
    ),
)

SEGMENT_PROFILES = Table(
    "gold",
    "segment_profiles",
    "segmentation × segment",
    "What each segment is like, what sets it apart from everybody, and a name that says so.",
    key=("segmentation", "segment", "as_of"),
    slice_by=("as_of",),
    checks={"segmentation_known": f"segmentation IN ({sql_list(SEGMENTATIONS)})", "users_are_there": "users > 0"},
    columns=(
        SEGMENTATION,
        Column("segment", "STRING", "The segment, as in that column."),
        Column("name", "STRING", "A name from what sets it apart; unique within the segmentation."),
        Column("users", "BIGINT", "Users in it."),
        Column("user_share", "DOUBLE", "Of all users of the segmentation."),
        Column("expected_spend", "DOUBLE", "Mean expected spend of its users in the horizon.", NO_AMOUNTS),
        Column("spend_share", "DOUBLE", "Its part of all expected spend.", f"{NO_AMOUNTS}, or nobody is expected to spend"),
        Column("p_buy", "DOUBLE", "Mean probability of class buy."),
        Column("churn_risk", "DOUBLE", "Mean risk of churn.", "churn_risk is not told of its users"),
        Column(
            "features",
            "ARRAY<STRUCT<feature: STRING, mean: DOUBLE, population_mean: DOUBLE, effect: DOUBLE>>",
            "Features of feature.user_profile, the one that sets the segment apart most first. effect: its mean of log(1 + x) less everybody's, in standard deviations of everybody.",
        ),
        Column(
            "categories",
            "ARRAY<STRUCT<category: STRING, share: DOUBLE, population_share: DOUBLE, lift: DOUBLE>>",
            "Ten categories with the highest lift: share of its users' interest ÷ everybody's share, .005 added to both. Empty without observed interests.",
        ),
        Column("description", "STRING", "The same in a sentence, with numbers."),
        *STAMPS,
    ),
)

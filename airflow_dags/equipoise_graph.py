"""The night as data: each job, what it waits for and which assets it renews. Any environment can import it."""

from __future__ import annotations

from dataclasses import dataclass

TRAINING = "finetune_encoder"


@dataclass(frozen=True)
class Step:
    """One job of the night; `after` names the jobs that make what it reads, without those that another one implies."""

    job: str
    after: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    takes_as_of: bool = True


STEPS = (
    Step("ingest_events", takes_as_of=False),
    Step("build_features", ("ingest_events",)),
    Step("mine_associations", ("ingest_events",), ("gold.item_rules",)),
    Step(TRAINING, ("build_features",)),
    Step("score_users", (TRAINING,), ("gold.user_interests",)),
    Step(
        "segment_users",
        ("score_users",),
        ("gold.user_segments", "gold.user_category_values", "gold.segment_transitions", "gold.segment_profiles"),
    ),
    Step("track_migration", ("segment_users",), ("gold.interest_migration", "gold.category_transitions")),
    Step("profile_users", ("track_migration",), ("gold.user_profiles",)),
    Step("build_audiences", ("segment_users",), ("gold.audiences", "gold.audience_summary")),
    Step("collect_feedback", ("segment_users",), ("gold.exploration_response", "gold.exploration_budgets")),
    Step("value_items", ("score_users",), ("gold.user_item_values",)),
    Step(
        "recommend_items",
        ("collect_feedback", "value_items"),
        ("gold.balance", "gold.policy_estimates", "gold.recommendations", "gold.rule_effects"),
    ),
    Step("watch_tables", ("recommend_items", "profile_users"), ("ops.monitors",)),
    Step("evaluate_models", ("recommend_items", "track_migration"), ("gold.evaluation",)),
    Step("publish_report", ("mine_associations", "build_audiences", "watch_tables", "evaluate_models"), ("ops.published",)),
)
"""In the order of the chain; two jobs that share no path may run side by side."""

GATES = {"ingest_events": "quality_gate", TRAINING: "promotion_gate"}
"""Jobs that a gate may stop, and the task that says so; who waits for the job waits for that task."""

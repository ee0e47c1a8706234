"""Facts made by hand: empty ones, and a small evaluation."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pandas as pd

from equipoise.report.facts import SEGMENTATIONS, Facts
from equipoise.tables import CATALOGUE

SIZES = ("name", "users", "p_o", "p_interest", "p_buy", "mean_spend", "total_spend")
WINDOW_MOVES = ("window_end", "users", "told", "migrated", "change_point", "drift_js_bits", "noise_mean_bits", "noise_p95_bits")
FLOWS = ("from_category", "to_category", "probability", "population_share", "users")
RULES = ("level", "antecedent", "consequent", "support", "confidence", "lift", "leverage", "baskets", "rules")
LIST_COUNTS = ("rows", "items", "categories", "explored", "users", "categories_per_list", "largest_share")


def frame(columns: tuple[str, ...], *rows: tuple[Any, ...]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(columns))


def of_table(name: str) -> pd.DataFrame:
    return pd.DataFrame(columns=CATALOGUE[name].column_names)


def nothing(**known: Any) -> Facts:
    """Facts of a night whose tables have no rows, but for the frames given."""
    people = {
        "person_profiles": of_table("feature.user_profile"),
        "person_segments": of_table("gold.user_segments"),
        "person_interests": of_table("gold.user_interests"),
        "person_moves": of_table("gold.interest_migration"),
        "person_windows": frame(("user_id", "window_end", "category", "share", "events")),
        "person_lists": frame(("user_id", "rank", "item_id", "title", "category", "slot", "propensity", "reason_code", "reason")),
    }
    facts = Facts(
        as_of=date(2017, 11, 6),
        events=frame(("event_type", "events", "events_before", "first", "last")),
        users=0,
        items=0,
        runs=of_table("ops.runs"),
        monitors=of_table("ops.monitors"),
        quality=of_table("ops.quality_metrics"),
        categories=frame(("category", "history", "predicted", "target", "users_led")),
        evidence=frame(("bin", "users")),
        windows=frame(("window_end", "category", "share", "users")),
        window_moves=frame(WINDOW_MOVES),
        turned=frame(("users", "told", "turned"), (0, 0, None)),
        excess=frame(("bin", "rows")),
        changed=frame(("category", "gained", "lost", "returning")),
        flows=frame(FLOWS),
        leads=frame(FLOWS),
        segments={c: frame(SIZES) for c in SEGMENTATIONS},
        crossed={c: frame(("name", "segment", "users")) for c in SEGMENTATIONS[2:]},
        rfm_grid=frame(("r", "f", "users", "mean_spend")),
        value_models=frame(("value_model", "buy_threshold", "users", "churn")),
        segment_drivers=frame(("segment", "driver", "log_odds")),
        portraits=of_table("gold.segment_profiles").drop(columns=["features", "categories"]),
        segment_flow=of_table("gold.segment_transitions"),
        audiences=of_table("gold.audience_summary"),
        list_categories=frame(("category", "rows", "explored", "share")),
        list_counts=frame(LIST_COUNTS, (0, 0, 0, None, 0, None, None)),
        reasons=frame(("reason_code", "slot", "rows")),
        propensity=frame(("bin", "rows")),
        responses=of_table("gold.exploration_response"),
        budgets=frame(("slots", "users")),
        policies=of_table("gold.policy_estimates"),
        balance=of_table("gold.balance"),
        rules=frame(("rule", "rule_key", "users", "places", "dcg")),
        associations=frame(RULES),
        evaluation=of_table("gold.evaluation"),
        chosen=[],
        **people,
    )
    return replace(facts, **known)


def score(task: str, method: str, metric: str, value: float, **more: Any) -> dict[str, Any]:
    """One row of gold.evaluation; an interval of ± 0.01 and no seeds unless said."""
    usual = {
        "source": "s",
        "cutoff": 0,
        "split": "test",
        "origin": "2017-11-06",
        "user_group": "all",
        "ci_low": value - 0.01,
        "ci_high": value + 0.01,
        "n": 100,
        "seeds": None,
        "as_of": date(2017, 11, 6),
        "run_id": "r",
        "model_id": "m",
        "synthetic": False,
    }
    return usual | {"task": task, "method": method, "metric": metric, "value": value} | more


def evaluation(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=CATALOGUE["gold.evaluation"].column_names)

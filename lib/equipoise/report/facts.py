"""Everything the report says, as small frames on the driver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.report import aggregates, moves, people
from equipoise.tables.vocabulary import ALL_SEGMENTS

Read = Callable[[str], DataFrame]
"""A table by its name; gold tables whole, all dates."""


@dataclass(frozen=True)
class Facts:
    """What was counted; see `aggregates`, `moves` and `people` for the columns of each frame. Empty where a table is."""

    as_of: date
    events: pd.DataFrame
    users: int
    items: int
    runs: pd.DataFrame
    monitors: pd.DataFrame
    quality: pd.DataFrame
    categories: pd.DataFrame
    evidence: pd.DataFrame
    windows: pd.DataFrame
    window_moves: pd.DataFrame
    turned: pd.DataFrame
    excess: pd.DataFrame
    changed: pd.DataFrame
    flows: pd.DataFrame
    leads: pd.DataFrame
    segments: dict[str, pd.DataFrame]
    crossed: dict[str, pd.DataFrame]
    rfm_grid: pd.DataFrame
    value_models: pd.DataFrame
    segment_drivers: pd.DataFrame
    portraits: pd.DataFrame
    segment_flow: pd.DataFrame
    audiences: pd.DataFrame
    list_categories: pd.DataFrame
    list_counts: pd.DataFrame
    reasons: pd.DataFrame
    propensity: pd.DataFrame
    responses: pd.DataFrame
    budgets: pd.DataFrame
    policies: pd.DataFrame
    balance: pd.DataFrame
    rules: pd.DataFrame
    associations: pd.DataFrame
    evaluation: pd.DataFrame
    chosen: list[tuple[str, str]]
    person_profiles: pd.DataFrame
    person_segments: pd.DataFrame
    person_interests: pd.DataFrame
    person_moves: pd.DataFrame
    person_windows: pd.DataFrame
    person_lists: pd.DataFrame
    published: list[tuple[str, int]] = field(default_factory=list)


SEGMENTATIONS = ("segment", "value_tier", "rfm_segment", "kmeans_cluster")


def gather(read: Read, as_of: date) -> Facts:
    """All facts of one date. `read` gives tables of one pinned version each, so that every frame speaks of the same night."""

    def gold(name: str) -> DataFrame:
        return read(name).filter(F.col("as_of") == F.lit(as_of))

    interests, lists = gold("gold.user_interests").persist(), gold("gold.recommendations").persist()
    segments, shares = gold("gold.user_segments").persist(), read("feature.category_shares").persist()
    moved, transitions = gold("gold.interest_migration").persist(), gold("gold.category_transitions").persist()
    events = read("silver.events")
    try:
        newest = people.newest_moves(moved)
        chosen = people.chosen(interests, lists, newest)
        users = [u for _, u in chosen]
        return Facts(
            as_of=as_of,
            events=aggregates.event_counts(events, as_of).toPandas(),
            users=int(events.agg(F.count_distinct("user_id")).collect()[0][0]),
            items=read("silver.items").count(),
            runs=read("ops.runs").filter(F.col("as_of").isNull() | (F.col("as_of") == F.lit(as_of))).toPandas(),
            monitors=gold("ops.monitors").toPandas(),
            quality=read("ops.quality_metrics").toPandas(),
            categories=aggregates.category_means(interests).toPandas(),
            evidence=aggregates.evidence_bins(interests).toPandas(),
            windows=aggregates.window_shares(shares, as_of).toPandas(),
            window_moves=moves.window_moves(moved).toPandas(),
            turned=moves.turned_users(moved).toPandas(),
            excess=moves.excess_bins(moved).toPandas(),
            changed=moves.changed_categories(moved).toPandas(),
            flows=moves.largest_flows(transitions).toPandas(),
            leads=moves.leads(transitions).toPandas(),
            segments={c: aggregates.group_sizes(segments, c).toPandas() for c in SEGMENTATIONS},
            crossed={c: aggregates.crossed(segments, c).toPandas() for c in SEGMENTATIONS[2:]},
            rfm_grid=aggregates.rfm_grid(segments).toPandas(),
            value_models=aggregates.value_models(segments).toPandas(),
            segment_drivers=aggregates.segment_drivers(segments).toPandas(),
            portraits=gold("gold.segment_profiles").drop("features", "categories").orderBy("segmentation", "segment").toPandas(),
            segment_flow=gold("gold.segment_transitions").toPandas(),
            audiences=gold("gold.audience_summary").toPandas(),
            list_categories=aggregates.list_categories(lists).toPandas(),
            list_counts=aggregates.list_counts(lists).toPandas(),
            reasons=aggregates.reasons(lists).toPandas(),
            propensity=aggregates.propensity_bins(lists).toPandas(),
            responses=gold("gold.exploration_response").filter(F.col("segment") == ALL_SEGMENTS).toPandas(),
            budgets=gold("gold.exploration_budgets").groupBy("slots").agg(F.count("*").alias("users")).toPandas(),
            policies=gold("gold.policy_estimates").toPandas(),
            balance=gold("gold.balance").orderBy("calibration").toPandas(),
            rules=aggregates.rule_counts(gold("gold.rule_effects")).toPandas(),
            associations=aggregates.strongest_rules(gold("gold.item_rules")).toPandas(),
            evaluation=gold("gold.evaluation").toPandas(),
            chosen=chosen,
            person_profiles=_of(gold("feature.user_profile"), users).toPandas(),
            person_segments=_of(segments, users).toPandas(),
            person_interests=_of(interests, users).toPandas(),
            person_moves=_of(newest, users).toPandas(),
            person_windows=people.their_shares(shares, users, as_of).toPandas(),
            person_lists=people.their_lists(lists, read("silver.items"), users).toPandas(),
        )
    finally:
        for frame in (interests, lists, segments, shares, moved, transitions):
            frame.unpersist()


def _of(frame: DataFrame, users: list[str]) -> DataFrame:
    return frame.filter(F.col("user_id").isin(*users)).orderBy("user_id")

"""Every reading of one night, from its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.monitors import counts, outputs, runs, table
from equipoise.monitors.bands import Reading
from equipoise.monitors.inputs import Limits
from equipoise.monitors.outputs import OutputLimits

INTERESTS, SEGMENTS = "gold.user_interests", "gold.user_segments"
PER_USER = (INTERESTS, SEGMENTS, "gold.user_profiles", "gold.recommendations")
GATED = ("ingest_events", "finetune_encoder")


@dataclass(frozen=True)
class Rules:
    """What is usual enough. ladder, horizon_days: of the segments; quarantined: share of rows that may be set aside at most;
    slow_times: multiples of a job's usual seconds."""

    inputs: Limits
    outputs: OutputLimits
    ladder: str
    horizon_days: int
    quarantined: float
    slow_times: tuple[float, float]


@dataclass(frozen=True)
class Night:
    """The tables of one as_of. per_user: PER_USER at as_of; earlier: INTERESTS and SEGMENTS of the nights that were published
    before, at the dates `published`; ledger, metrics: rows of ops.runs (without this job's) and ops.quality_metrics."""

    as_of: date
    events: DataFrame
    daily: DataFrame
    profile: DataFrame
    per_user: Mapping[str, DataFrame]
    earlier: Mapping[str, DataFrame]
    published: Mapping[str, list[date]]
    ledger: pd.DataFrame
    metrics: pd.DataFrame

    @property
    def last(self) -> date:
        """The last day before as_of."""
        return self.as_of - timedelta(days=1)


def readings(night: Night, rules: Rules) -> list[Reading]:
    """What every monitor saw."""
    return [*_inputs(night, rules), *_outputs(night, rules), *_calibration(night, rules), *_runs(night, rules)]


def _inputs(night: Night, rules: Rules) -> Iterator[Reading]:
    since = table.since(night.as_of, rules.inputs.told_days)
    events = counts.event_days(night.events, since, night.as_of)
    mix = counts.category_days(night.daily, since, night.as_of)
    yield from table.input_readings(events, mix, night.as_of, rules.inputs)


def _outputs(night: Night, rules: Rules) -> Iterator[Reading]:
    users, limits = night.profile.count(), rules.outputs
    for name in PER_USER:
        yield outputs.coverage(users, night.per_user[name].select("user_id").distinct().count(), name, night.last)
    before = max(night.published[INTERESTS], default=None)
    shares, sizes = counts.mean_shares(night.per_user[INTERESTS]), counts.segment_sizes(night.per_user[SEGMENTS])
    old = {n: frame.filter(F.col("as_of") == F.lit(before)) for n, frame in night.earlier.items()} if before else None
    old_shares = counts.mean_shares(old[INTERESTS]) if old else None
    same_model = not old or _model(old[INTERESTS]) == _model(night.per_user[INTERESTS])
    yield outputs.score_drift(shares, old_shares, night.last, limits, same_model=same_model)
    yield outputs.segment_mix(sizes, counts.segment_sizes(old[SEGMENTS]) if old else None, night.last, limits)


def _model(interests: DataFrame) -> str | None:
    """The model that scored a night: one, since publish_report refuses a mix."""
    found: str | None = interests.agg(F.max("model_id")).collect()[0][0]
    return found


def _calibration(night: Night, rules: Rules) -> Iterator[Reading]:
    """Of the newest published night whose horizon is over by as_of."""
    horizon = timedelta(days=rules.horizon_days)
    over = [d for d in night.published[SEGMENTS] if d + horizon <= night.as_of]
    if not over:
        told = f"no published night lies {horizon.days} days back"
        yield Reading(night.last, "calibration", "p_buys", None, None, told)
        return
    of = max(over)
    p = 1.0 - F.col("p_o") if rules.ladder == "spend" else F.col("p_buy")  # by spend, whoever is not of class O buys
    said = night.earlier[SEGMENTS].filter(F.col("as_of") == F.lit(of)).withColumn("p_buys", p)
    found = counts.matured(said, night.events, of, of + horizon)
    p_buys, happened = found["p"].to_numpy("float64"), found["happened"].to_numpy("float64")
    yield outputs.calibration(p_buys, happened, of, night.last, rules.outputs)


def _runs(night: Night, rules: Rules) -> Iterator[Reading]:
    yield from runs.gates(night.ledger, night.as_of, night.last, GATED)
    yield from runs.rejected(night.metrics, night.ledger, night.last, rules.quarantined)
    yield from runs.durations(night.ledger, night.as_of, night.last, rules.slow_times)

"""Every reading of a night, and ops.monitors of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from equipoise.monitors.alerts import Alert
from equipoise.monitors.bands import FAIL, WARN, Band, Reading
from equipoise.monitors.counts import COLUMNS, ROWS
from equipoise.monitors.inputs import (
    ALL,
    FEWEST_ROWS,
    REFERENCE_DAYS,
    RESIDUAL_DAYS,
    WEEK,
    Limits,
    category_mix,
    freshness,
    nulls,
    volume,
)
from equipoise.tables.monitors import MONITORS

SEVERITY = {WARN: 1, FAIL: 2}
States = Mapping[tuple[str, str], str]
"""Status by monitor and subject."""

LOOK_BACK_DAYS = REFERENCE_DAYS + RESIDUAL_DAYS + 2 * WEEK
"""Days before the first told one that some monitor looks at."""


def since(as_of: date, told_days: int) -> date:
    """First day that has to be counted."""
    return as_of - timedelta(days=told_days + LOOK_BACK_DAYS)


def input_readings(events: pd.DataFrame, mix: pd.DataFrame, as_of: date, limits: Limits) -> Iterator[Reading]:
    """Freshness, volume, nulls and mix of categories. `events`, `mix`: see `counts`; days before the first event do not count."""
    rows = events[ROWS].unstack("event_type")
    total = rows.sum(axis=1)
    yield freshness(total, as_of, limits)
    if not (total > 0).any():
        return
    first = total[total > 0].index[0]
    rows, total = rows.loc[first:], total.loc[first:]
    yield from volume(total, ALL, limits)
    for event_type in rows.columns:
        number = rows[event_type]
        if number.median() < FEWEST_ROWS:
            continue
        if len(rows.columns) > 1:
            yield from volume(number, str(event_type), limits)
        for column in COLUMNS:
            empty = events.loc[event_type][column].loc[first:]
            if 0 < empty.sum() < number.sum():  # never null, or always: a change shows as neither
                yield from nulls(number, empty, f"{event_type}.{column}", limits)
            elif number.iloc[-1] >= FEWEST_ROWS:
                yield _constant(number, empty, f"{event_type}.{column}")
    yield from category_mix(mix.loc[first:], limits)


def _constant(number: pd.Series[int], empty: pd.Series[int], subject: str) -> Reading:
    """A column that was never null in any day that was looked at, or always."""
    share = float(empty.iloc[-1] / number.iloc[-1])
    return Reading(number.index[-1], "nulls", subject, share, Band(share), f"{share:.0%} without a value, as on every day before")


def frame(spark: SparkSession, readings: Iterable[Reading], asking: Iterable[Reading]) -> DataFrame:
    """Rows of ops.monitors but as_of and run_id. `asking`: those that ask for a training, of the readings that are `fresh`."""
    mine = [f for f in MONITORS.struct_type().fields if f.name not in ("as_of", "run_id")]
    empty = Band(0.0)._replace(usual=None)  # type: ignore[arg-type]
    asked = {_key(r) for r in asking if r.asks_training}
    rows = [(*_key(r), r.value, *(r.band or empty), r.status, r.message, _key(r) in asked) for r in readings]
    return spark.createDataFrame(rows, StructType(mine))


def fresh(readings: Sequence[Reading], as_of: date, before: date, told: States) -> list[Reading]:
    """What is wrong with the last day and was not yet, or not as badly, with the last day of the night `before`: an alarm is
    raised once, not every night that it lasts. `told`: what that night said, for monitors that do not judge its day again."""
    last, earlier = as_of - timedelta(days=1), before - timedelta(days=1)
    then = {**told, **{(r.monitor, r.subject): r.status for r in readings if r.day == earlier}}
    worse = {(m, s): SEVERITY.get(status, 0) for (m, s), status in then.items()}
    return [r for r in readings if r.day == last and SEVERITY.get(r.status, 0) > worse.get((r.monitor, r.subject), 0)]


def told_before(monitors: DataFrame, as_of: date) -> tuple[date, States]:
    """As-of of the newest night before this one in ops.monitors, and what it said of its last day; where there is none, the day
    before, and nothing."""
    older = monitors.filter(F.col("as_of") < F.lit(as_of))
    before = older.agg(F.max("as_of")).collect()[0][0]
    if before is None:
        return as_of - timedelta(days=1), {}
    rows = older.filter((F.col("as_of") == F.lit(before)) & (F.col("day") == F.lit(before - timedelta(days=1))))
    return before, {(r["monitor"], r["subject"]): r["status"] for r in rows.select("monitor", "subject", "status").collect()}


def alarms(readings: Iterable[Reading], as_of: date, run_id: str) -> list[Alert]:
    """The readings as sinks get them."""
    day = as_of.isoformat()
    return [Alert(day, r.monitor, r.subject, r.status, r.message, r.asks_training, run_id) for r in readings]


def summary(readings: Sequence[Reading], as_of: date) -> Mapping[str, int]:
    """Readings of the last day per status."""
    last = as_of - timedelta(days=1)
    found = pd.Series([r.status for r in readings if r.day == last], dtype="object").value_counts()
    return {str(k): int(v) for k, v in found.items()}


def _key(reading: Reading) -> tuple[date, str, str]:
    return reading.day, reading.monitor, reading.subject

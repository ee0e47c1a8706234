"""Times as sources give them → instants in UTC. The session's time zone must be UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DateType, StringType, TimestampNTZType, TimestampType

from equipoise.errors import SettingsError

EARLIEST, LATEST = "1900-01-01", "2200-01-01"
"""Outside these a time is unreadable: mostly an epoch in another unit, and days past 9999 break every reader."""

ISO_DATE = r"^\s*\d{4}-\d{1,2}-\d{1,2}\s*$"
ISO_START = r"^\s*\d{4}-\d{1,2}-\d{1,2}"  # a bare '12:30' would be cast to today's date: the clock
STATED_ZONE = r":\d{1,2}(?:\.\d*)?\s*[A-Za-z+-]"  # whatever stands behind the clock time: Spark's cast reads it or gives null
COMPACT_OFFSET = r"(:\d{2}(?:\.\d*)?\s*[+-]\d{2})(\d{2})\s*$"  # +0200, which Spark's cast refuses
EPOCH_MICROSECONDS = {"epoch_s": 1e6, "epoch_ms": 1e3}


@dataclass(frozen=True)
class ParsedTime:
    """The instant (null: unreadable), and whether the source states a day only."""

    event_ts: Column
    date_only: Column


def end_of_day(day: Column, zone: str) -> Column:
    """The last microsecond of a local day, as an instant."""
    return F.to_utc_timestamp(F.date_add(day, 1).cast("timestamp"), zone) - F.expr("INTERVAL 1 MICROSECOND")


def local_date(instant: Column, zone: str) -> Column:
    """The date of an instant in a zone."""
    return F.to_date(F.from_utc_timestamp(instant, zone))


def parse_time(value: Column, given: DataType, time_format: str, *, naive_zone: str, zone: str) -> ParsedTime:
    """The time in `value`, a column of type `given`; days end in `zone`, times without a zone are of `naive_zone`.

    `time_format` matters for text and numbers: iso, epoch_s, epoch_ms, date (ISO date), or a Spark pattern.
    """
    if isinstance(given, TimestampType):
        return _bounded(value, F.lit(False), zone)
    if isinstance(given, TimestampNTZType):
        return _bounded(F.to_utc_timestamp(value.cast("timestamp"), naive_zone), F.lit(False), zone)
    if isinstance(given, DateType):
        return _bounded(value.cast("timestamp"), F.lit(True), zone)
    if time_format in EPOCH_MICROSECONDS:
        micros = (value.try_cast("double") * EPOCH_MICROSECONDS[time_format]).try_cast("bigint")
        return _bounded(F.timestamp_micros(micros), F.lit(False), zone)
    text = F.trim(value if isinstance(given, StringType) else value.cast("string"))
    if time_format == "date":
        return _bounded(F.when(text.rlike(ISO_DATE), text.try_cast("timestamp")), F.lit(True), zone)
    if time_format == "iso":
        return _iso(text, naive_zone, zone)
    return _pattern(text, time_format, naive_zone, zone)


def _iso(text: Column, naive_zone: str, zone: str) -> ParsedTime:
    spelled = F.regexp_replace(text, COMPACT_OFFSET, "$1:$2")
    instant = F.when(text.rlike(ISO_START), spelled.try_cast("timestamp"))
    date_only = text.rlike(ISO_DATE)
    stated = text.rlike(STATED_ZONE)
    return _bounded(F.when(stated | date_only, instant).otherwise(F.to_utc_timestamp(instant, naive_zone)), date_only, zone)


def _pattern(text: Column, pattern: str, naive_zone: str, zone: str) -> ParsedTime:
    letters = re.sub(r"'[^']*'", "", pattern)
    if not re.search(r"[yu]", letters) or not re.search(r"[MLD]", letters):
        raise SettingsError(
            f"time_format {pattern!r} has no year or no day; "
            "expected iso, epoch_s, epoch_ms, date, or a pattern such as dd/MM/yyyy HH:mm:ss"
        )
    instant = F.try_to_timestamp(text, F.lit(pattern))
    if not re.search(r"[HhKk]", letters):
        return _bounded(instant, F.lit(True), zone)
    stated = re.search(r"[VzOXxZ]", letters) is not None
    return _bounded(instant if stated else F.to_utc_timestamp(instant, naive_zone), F.lit(False), zone)


def _bounded(instant: Column, date_only: Column, zone: str) -> ParsedTime:
    """`instant` of a date-only time is its midnight in UTC."""
    within = F.when((instant >= F.lit(EARLIEST).cast("timestamp")) & (instant < F.lit(LATEST).cast("timestamp")), instant)
    return ParsedTime(
        F.when(date_only, end_of_day(within.cast("date"), zone)).otherwise(within), F.coalesce(date_only, F.lit(False))
    )

"""What tells one day of events from another: which days have to be counted again, and which windows they lie in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

EVENT = ("event_id", "user_id", "item_id", "event_type", "event_ts", "quantity", "amount")
"""What features read of an event, beside its day."""

WORDS = ("title", "category_1", "category_2", "category_3", "text")
"""What features read of an item, beside its categories."""


@dataclass(frozen=True)
class Day:
    """Checksums of the events of one day: `counted` changes when an event or the categories of its item do, `worded` when the
    words of its item do."""

    events: int
    counted: str
    worded: str


def day_marks(events: DataFrame, items: DataFrame, item_categories: DataFrame) -> dict[date, Day]:
    """Day → its checksums, of every day with an event; the order of rows and files does not matter.

    Each row is hashed to 64 bits (xxHash64) and the two halves are summed apart, so that no sum overflows below two thousand
    million events a day. One pass over the events; nothing but one row per day is shuffled, unless the catalogue is too
    large to be sent around.
    """
    placed = item_categories.groupBy("item_id").agg(
        F.xxhash64(F.sort_array(F.collect_list(F.struct("category", "weight")))).alias("placed")
    )
    worded = items.select("item_id", _hash(WORDS).alias("words"))
    joined = events.select("event_date", *EVENT).join(placed, "item_id", "left").join(worded, "item_id", "left")
    hashed = joined.select("event_date", _hash((*EVENT, "placed")).alias("h"), _hash(("event_id", "words")).alias("w"))
    sums = [
        half.alias(f"{name}_{side}") for name in ("h", "w") for side, half in zip(("high", "low"), _halves(name), strict=True)
    ]
    rows = hashed.groupBy("event_date").agg(F.count(F.lit(1)).alias("events"), *sums).collect()
    return {
        r["event_date"]: Day(int(r["events"]), f"{r['h_high']:x}.{r['h_low']:x}", f"{r['w_high']:x}.{r['w_low']:x}") for r in rows
    }


def touched(before: Mapping[date, Day], now: Mapping[date, Day]) -> list[date]:
    """Days whose events or categories differ, or that only one of the two has; rising."""
    either = sorted(set(before) | set(now))
    return [d for d in either if d not in before or d not in now or _count(before[d]) != _count(now[d])]


def window_starts(days: Iterable[date], origin: date, window_days: int) -> list[date]:
    """First day of every window with one of the days; rising."""
    return sorted({_start(d, origin, window_days) for d in days})


def open_starts(as_of: date, origin: date, window_days: int) -> list[date]:
    """First day of the window that is open at as_of; none when as_of is a boundary."""
    start = _start(as_of, origin, window_days)
    return [] if start == as_of else [start]


def ends_of(starts: Iterable[date], window_days: int, cut_off: Iterable[date]) -> list[date]:
    """Every window_end that the windows with these first days have, whole or cut off at one of the days `cut_off`; rising."""
    found: set[date] = set()
    for start in starts:
        end = start + timedelta(days=window_days)
        found |= {end, *(d for d in cut_off if start < d < end)}
    return sorted(found)


def inside(column: str, starts: Iterable[date], window_days: int) -> Column:
    """Whether a day lies in one of the windows with these first days."""
    found = F.lit(False)
    for start in starts:
        end = start + timedelta(days=window_days)
        found = found | ((F.col(column) >= F.lit(start)) & (F.col(column) < F.lit(end)))
    return found


def _start(day: date, origin: date, window_days: int) -> date:
    return origin + timedelta(days=(day - origin).days // window_days * window_days)


def _count(day: Day) -> tuple[int, str]:
    return day.events, day.counted


def _hash(columns: Iterable[str]) -> Column:
    """xxHash64 of the columns, which leaves nulls out: which of them are null is hashed too."""
    named = list(columns)
    return F.xxhash64(*[F.col(c) for c in named], *[F.col(c).isNull() for c in named])


def _halves(name: str) -> tuple[Column, Column]:
    return F.sum(F.shiftrightunsigned(F.col(name), 32)), F.sum(F.col(name).bitwiseAND(F.lit(0xFFFFFFFF)))

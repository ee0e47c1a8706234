"""What a user did on which day, as one row of arrays per user: what the value of users is learnt from and told by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

EPOCH = date(1970, 1, 1)
MEASURES = ("spend", "lines", "trip", "looks", "exposed", "redeemed")
"""Per day: money of purchases, purchased lines, 1 on a trip, other events of the user's own, exposures, redeemed offers."""

PACKED = {"user_id": "string", "day": "array<int>", **dict.fromkeys(MEASURES, "array<float>")}


@dataclass(frozen=True)
class History:
    """Days of behaviour, one row per user × day with any event, sorted by user and day; arrays are of equal length.

    users: ids (U,). user: index into users. day: days since 1970-01-01. The rest: MEASURES.
    """

    users: NDArray[np.object_]
    user: Ints
    day: Ints
    spend: Floats
    lines: Floats
    trip: Bools
    looks: Floats
    exposed: Floats
    redeemed: Floats

    @property
    def own(self) -> Bools:
        """Days with anything but exposures."""
        return np.asarray(self.trip | (self.lines > 0) | (self.looks > 0) | (self.redeemed > 0))

    def where(self, rows: Bools) -> History:
        """The same users with some of their rows."""
        return History(self.users, *(getattr(self, name)[rows] for name in ("user", "day", *MEASURES)))


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


def packed(daily: DataFrame, *, as_of: date, trip_types: Sequence[str]) -> DataFrame:
    """One row per user with any event before as_of: PACKED, arrays sorted by day.

    Args:
        daily: feature.daily_counts.
        trip_types: event types whose days are trips; see `features.profile.trip_types`.
    """
    before = daily.filter(F.col("event_date") < F.lit(as_of))

    def total(types: Sequence[str], column: str = "events") -> Column:
        return F.sum(F.when(F.col("event_type").isin(*types), F.col(column)).otherwise(0.0))

    shop = ("purchase", "expose", "redeem")
    looked = F.sum(F.when(F.col("event_type").isin(*shop), 0.0).otherwise(F.col("events")))
    days = before.groupBy("user_id", "event_date").agg(
        total(["purchase"], "amount").alias("spend"),
        total(["purchase"]).alias("lines"),
        F.max(F.when(F.col("event_type").isin(*trip_types), 1.0).otherwise(0.0)).alias("trip"),
        looked.alias("looks"),
        total(["expose"]).alias("exposed"),
        total(["redeem"]).alias("redeemed"),
    )
    row = F.struct(F.datediff("event_date", F.lit(EPOCH)).alias("day"), *[F.col(m).cast("float").alias(m) for m in MEASURES])
    whole = days.groupBy("user_id").agg(F.sort_array(F.collect_list(row)).alias("rows"))
    return whole.select("user_id", F.col("rows.day").alias("day"), *[F.col(f"rows.{m}").alias(m) for m in MEASURES])


def unpacked(rows: pd.DataFrame) -> History:
    """The history of a frame of PACKED; users in its order."""
    lengths = np.array([len(d) for d in rows["day"]], dtype=np.int64)

    def joined(name: str, kind: type) -> NDArray[np.generic]:
        parts = [np.asarray(a) for a in rows[name]]
        return (np.concatenate(parts) if parts else np.zeros(0)).astype(kind)

    user = np.repeat(np.arange(len(rows)), lengths)
    kinds = {**dict.fromkeys(MEASURES, np.float64), "trip": bool, "day": np.int64}
    arrays = {name: joined(name, kinds[name]) for name in ("day", *MEASURES)}
    return History(rows["user_id"].to_numpy(dtype=object), user, **arrays)  # type: ignore[arg-type]

"""When and where users come: favourite weekday, part of the day, store and channel."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from equipoise.tables.vocabulary import DAY_PARTS

WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
WEEKDAY, DAY_PART, STORE, CHANNEL = "weekday", "day_part", "store", "channel"
KINDS = (WEEKDAY, DAY_PART, STORE, CHANNEL)


def habits(events: DataFrame, *, as_of: date, timezone: str, half_life_days: float) -> DataFrame:
    """One row per user with an event of their own: user_id, favourite_weekday, weekend_share, favourite_day_part?,
    favourite_store?, store_share?, favourite_channel?, exposed, redeemed.

    A favourite has the highest Σ 2^(−age ÷ half-life) over the distinct days on which the user did anything there; of equals
    the last by name.

    Args:
        events: silver.events before as_of.
        timezone: of the source's days.
    """
    own = F.col("event_type") != "expose"
    local = F.from_utc_timestamp("event_ts", timezone)
    # An event that states a date alone stands at the last microsecond of its day, which no clock would say.
    after = local + F.expr("INTERVAL 1 MICROSECOND")
    timed = after != F.date_trunc("day", after)
    part = F.when(timed, F.element_at(F.array(*map(F.lit, DAY_PARTS)), (F.floor(F.hour(local) / 6) + 1).cast("int")))
    at = events.select(
        "user_id",
        "event_date",
        F.when(own, part).alias(DAY_PART),
        F.when(own, F.col("store_id")).alias(STORE),
        F.when(own, F.col("channel")).alias(CHANNEL),
        own.cast("int").alias("own"),
        (F.col("event_type") == "expose").cast("int").alias("exposed"),
        (F.col("event_type") == "redeem").cast("int").alias("redeemed"),
    )
    places = ["user_id", "event_date", DAY_PART, STORE, CHANNEL]
    sums = [F.sum(c).alias(c) for c in ("own", "exposed", "redeemed")]
    days = at.groupBy(*places).agg(*sums)
    totals = days.groupBy("user_id").agg(*[F.sum(c).cast("bigint").alias(c) for c in ("exposed", "redeemed")])
    day = F.element_at(F.array(*map(F.lit, WEEKDAYS)), F.dayofweek("event_date"))
    named = [F.struct(F.lit(k).alias("kind"), (day if k == WEEKDAY else F.col(k)).alias("name")) for k in KINDS]
    long = days.filter("own > 0").select("user_id", "event_date", F.explode(F.array(*named)).alias("n"))
    once = long.filter("n.name IS NOT NULL").select("user_id", "event_date", "n.kind", "n.name").distinct()
    decay = F.pow(F.lit(2.0), -F.datediff(F.lit(as_of), "event_date") / F.lit(half_life_days))
    weighed = once.groupBy("user_id", "kind", "name").agg(F.round(F.sum(decay), 9).alias("weight"))
    best = weighed.groupBy("user_id").agg(
        *[F.max(_of(k, F.struct("weight", "name"))).alias(k) for k in KINDS],
        *[F.sum(_of(k, F.col("weight"))).alias(f"{k}_total") for k in KINDS],
        F.sum(_of(WEEKDAY, F.when(F.col("name").isin("Saturday", "Sunday"), F.col("weight")).otherwise(0.0))).alias("weekend"),
    )
    told = best.select(
        "user_id",
        F.col(f"{WEEKDAY}.name").alias("favourite_weekday"),
        (F.col("weekend") / F.nullif(f"{WEEKDAY}_total", F.lit(0.0))).alias("weekend_share"),
        F.col(f"{DAY_PART}.name").alias("favourite_day_part"),
        F.col(f"{STORE}.name").alias("favourite_store"),
        (F.col(f"{STORE}.weight") / F.nullif(f"{STORE}_total", F.lit(0.0))).alias("store_share"),
        F.col(f"{CHANNEL}.name").alias("favourite_channel"),
    )
    return told.join(totals, "user_id")


def _of(kind: str, value: Column) -> Column:
    return F.when(F.col("kind") == kind, value)

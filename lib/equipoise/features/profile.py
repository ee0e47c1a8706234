"""The explicit profile of a user at a cut: recency, frequency, money, rhythm, breadth and counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from equipoise.tables.feature import H_FEATURES
from equipoise.tables.vocabulary import EVENT_TYPES, KNOWING_EVENT_TYPES, NO_CATEGORY

LONG_DAYS = 112
SHORT_DAYS = 28
MOST_GAPS = 100.0
"""Ceiling of recency_over_gap: beyond a hundred gaps of silence more says nothing."""

Pairs = ["user_id", "cut"]


def trip_types(cuts: Sequence[date], first_purchase: date | None) -> dict[date, tuple[str, ...]]:
    """Per cut the event types whose days are trips: purchases where anybody bought before the cut, else the knowing types.

    Decided per cut, because a purchase after a cut must not change what is known at it.
    """
    return {c: ("purchase",) if first_purchase is not None and first_purchase < c else KNOWING_EVENT_TYPES for c in cuts}


def profiles(
    daily: DataFrame,
    weights: DataFrame,
    *,
    cuts: Sequence[date],
    trips: Mapping[date, Sequence[str]],
    has_amounts: bool,
) -> DataFrame:
    """One row per user × cut for every user with a non-expose event before the cut: the 12 H_FEATURES, monetary?, n_<event_type>.

    `daily` is feature.daily_counts, `weights` the frame of `decayed_weights` at the same cuts, `trips` that of `trip_types`.
    A trip is a distinct day with an event of the cut's trip types; money is the amount of purchases, 0 (and monetary null)
    without amounts. A user without a trip has recency from the last event of any kind but expose, and mean_gap_days = tenure.
    All rows of a user lie in one partition when those of `daily` and `weights` do; then nothing is shuffled but the last joins.
    """
    ordered = sorted(set(cuts))
    base = _rhythm_and_money(daily, ordered, trips)
    joined = base.join(_categories_touched(daily, ordered), Pairs, "left").join(_entropy(weights), Pairs, "left")
    spend = {name: F.col(name) if has_amounts else F.lit(0.0) for name in ("spend_28d", "spend_112d", "spend_total")}
    filled = joined.withColumns(
        {
            **spend,
            "categories_112d": F.coalesce("categories_112d", F.lit(0)),
            "entropy_bits": F.coalesce("entropy_bits", F.lit(0.0)),
            "monetary": F.col("spend_total") if has_amounts else F.lit(None).cast("double"),
        }
    )
    features = [F.col(name).cast("double").alias(name) for name, _ in H_FEATURES]
    return filled.select(*Pairs, *features, "monetary", *[f"n_{t}" for t in EVENT_TYPES])


def _rhythm_and_money(daily: DataFrame, cuts: Sequence[date], trips: Mapping[date, Sequence[str]]) -> DataFrame:
    """user × cut: everything that days are enough for."""
    counts = [F.sum(_if_type(t, "events")).alias(f"n_{t}") for t in EVENT_TYPES]
    days = daily.groupBy("user_id", "event_date").agg(*counts, F.sum(_if_type("purchase", "amount")).alias("spend"))
    at = days.withColumn("cut", F.explode(_cuts_after("event_date", cuts)))  # user × day × later cut
    age = F.datediff("cut", "event_date")
    own = F.when(_any_of([t for t in EVENT_TYPES if t != "expose"]), F.col("event_date"))
    trip = F.when(_is_trip(trips), F.col("event_date"))
    totals = at.groupBy(*Pairs).agg(
        F.min(own).alias("first_own"),
        F.max(own).alias("last_own"),
        F.min(trip).alias("first_trip"),
        F.max(trip).alias("last_trip"),
        F.count(trip).alias("frequency"),
        F.count(F.when(age <= SHORT_DAYS, trip)).alias("trips_28d"),
        F.count(F.when(age <= LONG_DAYS, trip)).alias("trips_112d"),
        F.sum(F.when(age <= SHORT_DAYS, F.col("spend")).otherwise(0.0)).alias("spend_28d"),
        F.sum(F.when(age <= LONG_DAYS, F.col("spend")).otherwise(0.0)).alias("spend_112d"),
        F.sum("spend").alias("spend_total"),
        *[F.round(F.sum(f"n_{t}")).cast("bigint").alias(f"n_{t}") for t in EVENT_TYPES],
    )
    tenure = F.datediff("cut", "first_own")
    gaps = F.nullif(F.greatest(F.col("frequency") - 1, F.lit(0)), F.lit(0))
    gap = F.coalesce(F.datediff("last_trip", "first_trip") / gaps, tenure.cast("double"))
    recency = F.datediff("cut", F.coalesce("last_trip", "last_own"))
    return (
        totals.filter("first_own IS NOT NULL")
        .withColumns({"tenure_days": tenure, "recency_days": recency, "mean_gap_days": gap})
        .withColumn("recency_over_gap", F.least(F.col("recency_days") / F.col("mean_gap_days"), F.lit(MOST_GAPS)))
    )


def _categories_touched(daily: DataFrame, cuts: Sequence[date]) -> DataFrame:
    """user × cut: distinct categories with an event but expose in the last LONG_DAYS days.

    A category counts at a cut when its last day before the cut lies in that span: one conditional maximum per cut.
    """
    touched = daily.filter((F.col("event_type") != "expose") & (F.col("category") != NO_CATEGORY))
    last = [F.max(F.when(F.col("event_date") < F.lit(c), F.col("event_date"))).alias(f"last_{i}") for i, c in enumerate(cuts)]
    wide = touched.groupBy("user_id", "category").agg(*last)
    cells = [F.when(F.datediff(F.lit(c), f"last_{i}") <= LONG_DAYS, F.lit(c)) for i, c in enumerate(cuts)]
    long = wide.select("user_id", F.explode(F.array(*cells)).alias("cut"))  # user × category × cut; null where not touched
    return long.filter("cut IS NOT NULL").groupBy(*Pairs).agg(F.count(F.lit(1)).alias("categories_112d"))


def _entropy(weights: DataFrame) -> DataFrame:
    """user × cut: entropy of the shares p = w / W in bits, as log2 W - (Σ w · log2 w) / W, which needs one pass."""
    whole = F.sum("weight")
    bits = F.log2(whole) - F.sum(F.col("weight") * F.log2("weight")) / F.nullif(whole, F.lit(0.0))
    return weights.groupBy(*Pairs).agg(F.greatest(bits, F.lit(0.0)).alias("entropy_bits"))


def _cuts_after(day: str, cuts: Sequence[date]) -> Column:
    return F.filter(F.array(*[F.lit(c) for c in cuts]), lambda c: c > F.col(day))


def _is_trip(trips: Mapping[date, Sequence[str]]) -> Column:
    """True on a trip day of the row's cut."""
    found = F.lit(False)
    for types in sorted({tuple(t) for t in trips.values()}):
        of_types = F.col("cut").isin([c for c, t in trips.items() if tuple(t) == types])
        found = found | (of_types & _any_of(types))
    return found


def _any_of(event_types: Sequence[str]) -> Column:
    total = F.lit(0.0)
    for event_type in event_types:
        total = total + F.col(f"n_{event_type}")
    return total > 0


def _if_type(event_type: str, column: str) -> Column:
    return F.when(F.col("event_type") == event_type, F.col(column)).otherwise(0.0)

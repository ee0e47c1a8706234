"""Interest per category: decayed, weighted events, window by window, and at any cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from equipoise.tables.vocabulary import NO_CATEGORY


def category_shares(
    daily: DataFrame,
    *,
    origin: date,
    window_days: int,
    as_of: date,
    event_weights: Mapping[str, float],
    half_life_days: float,
) -> DataFrame:
    """One row per user × window_end × category with weight above 0 (feature.category_shares), windows before `as_of` only.

    Windows are [origin + k · window_days, origin + (k + 1) · window_days) for whole k, negative ones too. The last one is cut
    off at `as_of` and open (closed = false) unless `as_of` is a boundary, where no open one exists.
    Weight of an event: its type's weight × 2^(-(window_end - event_date) / half_life_days), so its first day away counts too.
    Types of weight 0 and events without an item leave no row.
    """
    boundary = origin + timedelta(days=(as_of - origin).days // window_days * window_days)
    number = F.floor(F.datediff("event_date", F.lit(origin)) / F.lit(window_days)).cast("int")
    full_end = F.date_add(F.lit(origin), (number + 1) * F.lit(window_days))
    end = F.least(full_end, F.lit(as_of))
    per_event = weight_of_type(event_weights)
    counted = (
        daily.filter((F.col("event_date") < F.lit(as_of)) & (F.col("category") != NO_CATEGORY) & (per_event > 0))
        .withColumn("window_end", end)
        .withColumn("decayed", F.col("events") * per_event * half_lives(F.datediff("window_end", "event_date"), half_life_days))
        .groupBy("user_id", "window_end", "category")
        .agg(F.sum("decayed").alias("weight"), F.sum("events").alias("events"))
        .filter("weight > 0")  # a half-life of minutes decays a day to exactly 0, and 0 / 0 raises
    )
    whole = F.sum("weight").over(Window.partitionBy("user_id", "window_end"))
    closed = F.col("window_end") <= F.lit(boundary)
    return counted.select(
        "user_id",
        "window_end",
        F.when(closed, F.lit(window_days)).otherwise(F.lit((as_of - boundary).days)).alias("window_days"),
        "category",
        "weight",
        (F.col("weight") / whole).alias("share"),
        "events",
        closed.alias("closed"),
    )


def decayed_weights(
    shares: DataFrame, *, cuts: Sequence[date], half_life_days: float, recent_days: int | None = None
) -> DataFrame:
    """One row per user × cut × category with history: user_id, cut DATE, category, weight (and recent, when asked for).

    weight = Σ over windows with window_end ≤ cut of their weight × 2^(-(cut - window_end) / half_life_days), which is the sum
    over the events themselves of type weight × 2^(-(cut - event_date) / half_life_days): exponential decay composes.
    Cuts are window boundaries, or the as_of that `shares` was made for; between them whole windows would be missing.
    With `recent_days`, `recent` is the part of the weight from windows that end less than so many days before the cut.

    One pass over `shares`, with conditional sums per cut: nothing is exploded before it is summed.
    """
    ordered = sorted(set(cuts))
    cells, sums = [], []
    for i, cut in enumerate(ordered):
        fields = [F.lit(cut).alias("cut"), F.col(f"at_{i}").alias("weight")]
        sums.append(_sum_at(cut, half_life_days, None).alias(f"at_{i}"))
        if recent_days is not None:
            fields.append(F.coalesce(f"recent_{i}", F.lit(0.0)).alias("recent"))
            sums.append(_sum_at(cut, half_life_days, recent_days).alias(f"recent_{i}"))
        cells.append(F.struct(*fields))
    wide = shares.groupBy("user_id", "category").agg(*sums)
    long = wide.select("user_id", "category", F.explode(F.array(*cells)).alias("cell"))  # user × category × cut
    recent = ["cell.recent"] if recent_days is not None else []
    return long.filter("cell.weight > 0").select("user_id", "cell.cut", "category", "cell.weight", *recent)


def half_lives(days: Column, half_life_days: float) -> Column:
    """2^(-days / half_life_days)."""
    return F.pow(F.lit(2.0), -days / F.lit(float(half_life_days)))


def _sum_at(cut: date, half_life_days: float, within_days: int | None) -> Column:
    age = F.datediff(F.lit(cut), "window_end")
    counts = age >= 0 if within_days is None else (age >= 0) & (age < within_days)
    # The age is clamped before it is used: a GPU evaluates both branches, and 2^(+years) would be huge for later windows.
    return F.sum(F.when(counts, F.col("weight") * half_lives(F.greatest(age, F.lit(0)), half_life_days)))


def weight_of_type(event_weights: Mapping[str, float]) -> Column:
    weight = F.lit(0.0)
    for event_type, value in sorted(event_weights.items()):
        weight = F.when(F.col("event_type") == event_type, F.lit(float(value))).otherwise(weight)
    return weight

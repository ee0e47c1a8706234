"""What a model reads of a user at a cut: the latest items, the decayed history and a text of both."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from equipoise.features.text import Parts, behaviour_text, plain_words, rhythm_words
from equipoise.tables.vocabulary import UNKNOWN

LATEST_COLUMNS = ("user_id", "event_ts", "event_id", "item_id", "event_type", "event_date")
PRIOR = "array<struct<category:string,weight:double>>"
RANKED = "array<struct<minus_weight:double,name:string>>"
CELL_NAMES, CELLS = "array<string>", "array<float>"
LATEST = "array<struct<event_ts:timestamp,event_id:string,item_id:string,event_type:string,event_date:date,name:string>>"
LISTS = {"prior": PRIOR, "top": RANKED, "late": RANKED, "latest": LATEST, "cell_categories": CELL_NAMES, "cells": CELLS}
"""What a user without history has none of."""


def sequences(
    newest: DataFrame,
    names: DataFrame,
    *,
    pairs: DataFrame,
    profiles: DataFrame,
    weights: DataFrame,
    cells: DataFrame,
    max_items: int,
    parts: Parts,
) -> DataFrame:
    """One row per user × cut of `pairs`: behaviour_text, item_ids, event_types, age_days, prior_categories, prior_weights,
    cell_categories, cells.

    newest: the frame of `latest` at the cuts of `pairs`. pairs: user_id, cut. profiles: that of every user at those cuts, since
    spend words compare users. weights: `decayed_weights` at the cuts with recent_days of one window. names: that of `item_names`.
    cells: `visits.gathered`.
    item_ids: the latest `max_items` events with an item but expose, oldest first, ties by event_id.
    """
    joined = (
        pairs.select("user_id", "cut")
        .join(_interests(weights, pairs, parts), ["user_id", "cut"], "left")
        .join(_latest_at(newest, names, pairs, max_items), ["user_id", "cut"], "left")
        .join(rhythm_words(profiles), ["user_id", "cut"], "left")
        .join(cells, ["user_id", "cut"], "left")
        .withColumns({column: _or_empty(column, kind) for column, kind in LISTS.items()})
        .withColumn("names", F.transform("latest", lambda e: e["name"]))
    )
    oldest_first = F.reverse("latest")
    return behaviour_text(joined, parts).select(
        "user_id",
        "cut",
        "behaviour_text",
        F.transform(oldest_first, lambda e: e["item_id"]).alias("item_ids"),
        F.transform(oldest_first, lambda e: e["event_type"]).alias("event_types"),
        F.transform(oldest_first, lambda e: F.datediff("cut", e["event_date"])).alias("age_days"),
        F.transform("prior", lambda p: p["category"]).alias("prior_categories"),
        F.transform("prior", lambda p: p["weight"]).alias("prior_weights"),
        "cell_categories",
        "cells",
    )


def item_names(items: DataFrame, category_level: int) -> DataFrame:
    """One row per item: item_id, name? in plain words.

    The name is the item's type, the finest category where that is finer than `category_level`; else its title. Null for a stub,
    whose title is its id.
    """
    fine, own = F.col("category_3"), F.col(f"category_{category_level}")
    typed = (fine != UNKNOWN) & (fine != own)
    titled = F.col("title") != F.concat(F.lit("item "), F.col("item_id"))
    return items.select("item_id", plain_words(F.when(typed, fine).when(titled, F.col("title"))).alias("name"))


def latest(events: DataFrame, cuts: Sequence[date], most: int) -> DataFrame:
    """One row per event that can be among a user's last `most` with an item but expose at any of the cuts: user_id, event_ts,
    event_id, item_id, event_type, event_date.

    Between two cuts only the last `most` events of a user can be among the last `most` at any cut, so the rest goes
    before anything is gathered: an array never holds more than `most` × cuts events, however long a history is.
    """
    ordered = sorted(set(cuts))
    stretch = sum((F.when(F.col("event_date") >= F.lit(c), 1).otherwise(0) for c in ordered), F.lit(0))
    newest_first = Window.partitionBy("user_id", "stretch").orderBy(F.desc("event_ts"), F.desc("event_id"))
    return (
        events.filter(
            F.col("item_id").isNotNull() & (F.col("event_type") != "expose") & (F.col("event_date") < F.lit(ordered[-1]))
        )
        .select(*LATEST_COLUMNS, stretch.alias("stretch"))
        .repartition("user_id")
        .withColumn("place", F.row_number().over(newest_first))
        .filter(F.col("place") <= most)
        .select(*LATEST_COLUMNS)
    )


def _latest_at(newest: DataFrame, names: DataFrame, pairs: DataFrame, most: int) -> DataFrame:
    """One row per user × cut of `pairs` with history: user_id, cut, latest (newest first, at most `most`)."""
    entry = F.struct("event_ts", "event_id", "item_id", "event_type", "event_date", "name")
    by_user = (
        newest.join(names.select("item_id", "name"), "item_id", "left")
        .groupBy("user_id")
        .agg(F.sort_array(F.collect_list(entry), asc=False).alias("all"))
    )
    before = F.filter("all", lambda e: e["event_date"] < F.col("cut"))
    return (
        pairs.select("user_id", "cut").join(by_user, "user_id").select("user_id", "cut", F.slice(before, 1, most).alias("latest"))
    )


def _interests(weights: DataFrame, pairs: DataFrame, parts: Parts) -> DataFrame:
    """user × cut of `pairs`: whole, prior (sorted by category), top and late (heaviest first, without UNKNOWN).

    Ranks go by rounded weights and then by name, so that the last bit of a sum decides no order.
    """
    wanted = weights.join(pairs.select("user_id", "cut"), ["user_id", "cut"], "left_semi")
    named = F.col("category") != UNKNOWN
    heavy = F.when(named, _ranked("weight"))
    late = F.when(named & (F.col("recent") > 0), _ranked("recent"))
    return wanted.groupBy("user_id", "cut").agg(
        F.sum("weight").alias("whole"),
        F.sort_array(F.collect_list(F.struct("category", "weight"))).alias("prior"),
        F.slice(F.sort_array(F.collect_list(heavy)), 1, parts.top).alias("top"),
        F.slice(F.sort_array(F.collect_list(late)), 1, parts.top + parts.lately).alias("late"),
    )


def _ranked(weight: str) -> Column:
    return F.struct((-F.round(weight, 6)).alias("minus_weight"), F.col("category").alias("name"))


def _or_empty(name: str, kind: str) -> Column:
    return F.coalesce(name, F.array().cast(kind))

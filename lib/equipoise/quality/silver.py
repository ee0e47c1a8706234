"""Checked rows → the silver tables."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.sources.canonical import EVENT_VALUES
from equipoise.tables.vocabulary import UNKNOWN

EVENT_COLUMNS = ("event_id", "user_id", "event_ts", "event_date", *EVENT_VALUES)
STUB_TEXT = "unknown item"


def events(checked: list[DataFrame], *, source: str, synthetic: bool, has_amounts: bool) -> DataFrame:
    """One row per good behaviour of all inputs: silver.events."""
    good = reduce(DataFrame.unionByName, [c.filter("NOT rejected").select(*EVENT_COLUMNS) for c in checked])
    priced = good if has_amounts else good.withColumn("amount", F.lit(None).cast("double"))
    return priced.withColumns({"source": F.lit(source), "synthetic": F.lit(synthetic)})


def items(catalogue: DataFrame | None, good_events: DataFrame) -> DataFrame:
    """One row per item of the catalogue, or of the events alone (a stub): silver.items without source, and `categories`."""
    seen = good_events.filter("item_id IS NOT NULL").select("item_id").distinct()
    strange = seen if catalogue is None else seen.join(catalogue.select("item_id"), "item_id", "left_anti")
    stubs = strange.select(
        "item_id",
        F.concat(F.lit("item "), F.col("item_id")).alias("title"),
        *[F.lit(UNKNOWN).alias(f"category_{n}") for n in (1, 2, 3)],
        F.lit(None).cast("string").alias("brand"),
        F.lit(STUB_TEXT).alias("text"),
        F.lit(None).cast("array<string>").alias("categories"),
    )
    return stubs if catalogue is None else catalogue.select(*stubs.columns).unionByName(stubs)


def item_categories(all_items: DataFrame, level: int) -> DataFrame:
    """One row per item × category at the level: silver.item_categories without source. Several categories weigh the same.

    The path of a listed category is the category alone: a list says nothing of its place in the tree.
    """
    own = F.struct(
        F.col(f"category_{level}").alias("category"),
        F.concat_ws(" > ", *[f"category_{n}" for n in range(1, level + 1)]).alias("category_path"),
    )
    listed = F.transform("categories", lambda c: F.struct(c.alias("category"), c.alias("category_path")))
    places = F.when(F.size("categories") > 0, listed).otherwise(F.array(own))
    return (
        all_items.select("item_id", F.explode(places).alias("place"), (1.0 / F.size(places)).alias("weight"))
        # item × place
        .select("item_id", "place.category", "place.category_path", "weight")
    )


def users(good_events: DataFrame, listed: DataFrame | None) -> DataFrame:
    """One row per user of the good events or the user file: silver.users without source."""
    seen = good_events.select("user_id").distinct()
    if listed is None:
        return seen.withColumn("attributes", F.create_map().cast("map<string,string>"))
    whole = seen.join(listed.select("user_id", "attributes"), "user_id", "full_outer")
    return whole.select("user_id", F.coalesce("attributes", F.create_map().cast("map<string,string>")).alias("attributes"))


def promotions(placements: DataFrame, all_items: DataFrame, level: int) -> DataFrame:
    """Placements per week × store × category: silver.promotions without source. An item of several categories counts in each.

    Ids keep the source's type until the sums are made: casting them row by row would double the cost of 20.9 M rows.
    """
    key_type = placements.schema["item_id"].dataType
    places = (
        item_categories(all_items, level)
        .select(F.col("item_id").try_cast(key_type).alias("item_id"), "category")
        .filter("item_id IS NOT NULL")
    )
    named = placements.join(places, "item_id", "left").withColumn("category", F.coalesce("category", F.lit(UNKNOWN)))
    summed = named.groupBy("week_start", "store_id", "category").agg(F.sum("placements").cast("bigint").alias("placements"))
    return summed.withColumn("store_id", F.col("store_id").cast("string"))

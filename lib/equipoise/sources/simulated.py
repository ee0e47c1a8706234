"""A made-up shop: every event type of the catalogue from planted tastes, drifts, hidden interests and value classes.

Users are made in chunks on the workers, each a pure function of (world, user), so that size is a setting and memory is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pandas as pd
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.sources.behaviour import COLUMNS, Shelves, frame, user_events
from equipoise.sources.canonical import EVENT_VALUES, RawSource, keyed, raw_input
from equipoise.sources.world import World, plant_items, plant_users

USERS_PER_CHUNK = 50
EVENT_DDL = "raw_user STRING, number BIGINT, " + ", ".join(f"{c} {EVENT_VALUES.get(c, 'STRING')}" for c in COLUMNS)


def read(spark: SparkSession, world: World, zone: str) -> RawSource:
    """The shop in the raw form; local times of `zone`."""
    items = plant_items(world)
    users = plant_users(world)
    shown = items[["item_id", "title", "category_1", "category_2", "category_3", "brand"]].assign(
        text=items["title"] + ", " + items["category_3"] + ", " + items["category_2"] + ", " + items["brand"],
        categories=items[f"categories_{world.category_level}"],
    )
    item_rows = keyed(spark.createDataFrame(shown), F.col("item_id")).select("*", *_of_raw(list(shown.columns)))
    stated = spark.createDataFrame(users[["raw_user", "age", "region"]])
    attributes = F.create_map(F.lit("age"), F.col("raw.age"), F.lit("region"), F.col("raw.region"))
    user_rows = keyed(stated, F.col("raw_user"), F.col("raw_user")).withColumn("attributes", attributes)
    return RawSource(
        events=(raw_input(_event_rows(spark, world, zone), "events", "events", user_field="raw_user"),),
        items=raw_input(item_rows, "items", "items"),
        users=raw_input(user_rows, "users", "users", user_field="raw_user"),
        synthetic=True,
    )


def _event_rows(spark: SparkSession, world: World, zone: str) -> DataFrame:
    chunks = -(-world.users // USERS_PER_CHUNK)
    ids = spark.range(0, chunks, 1, numPartitions=min(chunks, 2 * spark.sparkContext.defaultParallelism))
    made = ids.mapInPandas(_maker(world), EVENT_DDL)
    time = F.col("raw.time")
    return keyed(made, F.col("number"), F.col("raw_user")).select(
        "*",
        *_of_raw([c for c in COLUMNS if c != "time"]),
        time.isNotNull().alias("time_given"),
        F.to_utc_timestamp(time.cast("timestamp"), zone).alias("event_ts"),
    )


def _of_raw(names: list[str]) -> list[Column]:
    return [F.col(f"raw.{n}").alias(n) for n in names]


def _maker(world: World) -> Callable[[Iterable[pd.DataFrame]], Iterable[pd.DataFrame]]:
    def make(batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        shelves, users = Shelves(plant_items(world)), plant_users(world)
        for batch in batches:
            for chunk in batch["id"]:
                mine = users.iloc[int(chunk) * USERS_PER_CHUNK : (int(chunk) + 1) * USERS_PER_CHUNK].to_dict("records")
                yield frame((str(u["raw_user"]), user_events(world, shelves, {str(k): v for k, v in u.items()})) for u in mine)

    return make

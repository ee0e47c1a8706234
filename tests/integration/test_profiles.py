"""Profiles of users against plain loops over a small made log."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from equipoise.errors import ContractError
from equipoise.profiles.habits import WEEKDAYS, habits
from equipoise.profiles.prices import price_levels, promotion_habits
from equipoise.profiles.table import Known, check_rows, user_profiles
from equipoise.tables import CATALOGUE

AS_OF, ZONE = date(2017, 11, 6), "America/New_York"
STAMPS = {"as_of", "run_id", "synthetic"}
EVENTS = (
    "user_id string, source string, item_id string, event_type string, event_ts timestamp, event_date date, quantity double, "
    "amount double, store_id string, channel string"
)
Event = tuple[str, str, str, str, datetime, date, float | None, float | None, str | None, str | None]


def log(seed: int = 1) -> list[Event]:
    rng = np.random.default_rng(seed)
    rows: list[Event] = []
    for _ in range(240):
        day = AS_OF - timedelta(days=int(rng.integers(1, 90)))
        moment = datetime.combine(day, time(int(rng.integers(0, 24)), 30), ZoneInfo(ZONE)).astimezone(UTC).replace(tzinfo=None)
        if rng.random() < 0.2:  # a date alone
            end = datetime.combine(day + timedelta(days=1), time(0), ZoneInfo(ZONE)).astimezone(UTC).replace(tzinfo=None)
            moment = end - timedelta(microseconds=1)
        kind = str(rng.choice(["purchase", "purchase", "purchase", "click", "expose", "redeem"]))
        priced = kind == "purchase"
        rows.append(
            (f"u{rng.integers(0, 5)}", "s", f"i{rng.integers(0, 6)}", kind, moment, day, 2.0 if priced else None,
             float(rng.integers(1, 40)) if priced else None, str(rng.choice(["a", "b"])) if rng.random() < 0.8 else None,
             str(rng.choice(["app", "web"])) if rng.random() < 0.5 else None)
        )  # fmt: skip
    return rows


@pytest.fixture(scope="module")
def events(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame(log(), EVENTS).persist()


def local(row: Event) -> datetime:
    return row[4].replace(tzinfo=UTC).astimezone(ZoneInfo(ZONE))


def test_favourites_are_those_of_a_plain_loop(events: DataFrame) -> None:
    found = {r["user_id"]: r for r in habits(events, as_of=AS_OF, timezone=ZONE, half_life_days=20.0).collect()}
    rows = log()
    for user, mine in ((u, [r for r in rows if r[0] == u]) for u in {r[0] for r in rows}):
        own = [r for r in mine if r[3] != "expose"]
        parts = ("night", "morning", "afternoon", "evening")
        kinds = {
            "favourite_weekday": {(r[5], WEEKDAYS[(r[5].weekday() + 1) % 7]) for r in own},
            "favourite_day_part": {(r[5], parts[local(r).hour // 6]) for r in own if local(r).time() != time(23, 59, 59, 999999)},
            "favourite_store": {(r[5], r[8]) for r in own if r[8]},
            "favourite_channel": {(r[5], r[9]) for r in own if r[9]},
        }
        for column, days in kinds.items():
            weight: dict[str, float] = defaultdict(float)
            for day, name in days:
                weight[str(name)] += 2 ** (-(AS_OF - day).days / 20.0)
            best = max(weight, key=lambda n: (round(weight[n], 9), n))
            assert found[user][column] == best, (user, column)
            if column == "favourite_store":
                assert found[user]["store_share"] == pytest.approx(weight[best] / sum(weight.values()))
            if column == "favourite_weekday":
                weekend = weight["Saturday"] + weight["Sunday"]
                assert found[user]["weekend_share"] == pytest.approx(weekend / sum(weight.values()))
        assert found[user]["exposed"] == sum(r[3] == "expose" for r in mine)
        assert found[user]["redeemed"] == sum(r[3] == "redeem" for r in mine)


def test_a_price_level_is_the_place_among_prices_of_the_same_finest_category(spark: SparkSession) -> None:
    rows = [
        (u, "s", "i0", "purchase", datetime(2017, 10, 1, 12), date(2017, 10, 1), 1.0, float(price), "a", None)
        for u, prices in (("cheap", range(1, 6)), ("middle", range(48, 53)), ("dear", range(96, 101)), ("crowd", range(1, 101)))
        for price in prices
    ]
    rows += [("few", "s", "i0", "purchase", datetime(2017, 10, 1, 12), date(2017, 10, 1), 1.0, 3.0, "a", None)] * 4
    items = spark.createDataFrame(
        [("s", "i0", "A", None, None)], "source string, item_id string, category_1 string, category_2 string, category_3 string"
    )
    found = {r["user_id"]: r["price_level"] for r in price_levels(spark.createDataFrame(rows, EVENTS), items).collect()}
    assert set(found) == {"cheap", "middle", "dear", "crowd"}
    assert found["cheap"] == pytest.approx(0.0, abs=0.06)
    assert found["dear"] == pytest.approx(1.0, abs=0.06)
    assert found["middle"] == pytest.approx(0.5, abs=0.06)
    assert found["crowd"] == pytest.approx(0.5, abs=0.06)


def test_promoted_lines_are_those_of_a_plain_loop(spark: SparkSession, events: DataFrame) -> None:
    category = {f"i{n}": "ABC"[n % 3] for n in range(6)}
    links = [("s", i, c, 0.7) for i, c in category.items()] + [("s", "i0", "Z", 0.3)]
    item_categories = spark.createDataFrame(links, "source string, item_id string, category string, weight double")
    rng = np.random.default_rng(3)
    mondays = [date(2017, 7, 31) + timedelta(days=7 * k) for k in range(15)]
    placed = [("s", m, s, c) for m in mondays for s in "ab" for c in "ABC" if rng.random() < 0.4]
    promotions = spark.createDataFrame([*placed, placed[0]], "source string, week_start date, store_id string, category string")
    found = {r["user_id"]: r for r in promotion_habits(events, item_categories, promotions).collect()}
    lines = [
        (r[0], (str(r[8]), category[r[2]]), ("s", r[5] - timedelta(days=r[5].weekday()), r[8], category[r[2]]) in set(placed))
        for r in log()
        if r[3] == "purchase" and r[8]
    ]
    whole = {c: np.mean([p for _, k, p in lines if k[1] == c]) for c in "ABC"}
    there = {k: [p for _, at, p in lines if at == k] for k in {k for _, k, _ in lines}}
    usual = {k: (sum(p) + 50 * whole[k[1]]) / (len(p) + 50) for k, p in there.items()}
    for user in {u for u, _, _ in lines}:
        mine = [(c, p) for u, c, p in lines if u == user]
        r = np.mean([usual[c] for c, _ in mine])
        assert found[user]["promotion_share"] == pytest.approx(np.mean([p for _, p in mine]))
        lift = (sum(p for _, p in mine) + 5 * r) / (len(mine) * r + 5 * r)
        assert found[user]["promotion_lift"] == pytest.approx(lift)
    assert promotion_habits(events, item_categories, promotions.limit(0)).isEmpty()


def test_the_row_of_a_user_gathers_what_the_tables_say(spark: SparkSession, events: DataFrame) -> None:
    users = ["u0", "u1", "new"]
    profile = spark.createDataFrame(
        [
            ("u0", 80, 3, 9.0, 2.0, 90.0, 30.0, 7.0, 2.5),
            ("u1", 20, 1, 4.0, 4.0, None, 0.0, 3.0, 1.0),
            ("new", 5, 5, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        ],
        "user_id string, tenure_days int, recency_days int, frequency double, trips_28d double, monetary double, "
        "spend_28d double, categories_112d double, entropy_bits double",
    )  # fmt: skip
    segments = spark.createDataFrame(
        [(u, "buy", 0.5, 3.0, 4, None, "At Risk", n, "m") for u, n in zip(users, (2, None, 7), strict=True)],
        "user_id string, segment string, p_buy double, expected_spend double, value_tier int, churn_risk double, "
        "rfm_segment string, interest_group int, model_id string",
    )
    portraits = spark.createDataFrame(
        [("interest_group", "2", "milk and cheese"), ("value_tier", "2", "tier 2")],
        "segmentation string, segment string, name string",
    )
    interests = spark.createDataFrame(
        [
            *[("u0", *row) for row in (("MILK", 0.4, 0.1), ("CHEESE", 0.3, 0.5), ("TEA", 0.2, 0.1), ("SOAP", 0.1, 0.2))],
            ("u0", "UNKNOWN", 0.9, 0.9),
            ("u1", "MILK", 0.0, 0.3),
        ],
        "user_id string, category string, observed_share double, predicted_share double",
    )  # fmt: skip
    ddl = "user_id string, window_start date, gained array<string>, lost array<string>, returning array<string>, migrated boolean"
    early, late = date(2017, 9, 11), date(2017, 10, 9)
    moves = spark.createDataFrame([("u0", late, ["TEA"], [], [], True), ("u0", early, [], ["X"], [], False)], ddl)
    stated = spark.createDataFrame([("u0", {"age": "25-34"}), ("nobody", {})], "user_id string, attributes map<string,string>")
    known = Known(
        stated, profile, segments, portraits, interests, moves,
        habits(events, as_of=AS_OF, timezone=ZONE, half_life_days=20.0),
        spark.createDataFrame([("u0", 0.25)], "user_id string, price_level double"),
        spark.createDataFrame([], "user_id string, promotion_share double, promotion_lift double"),
    )  # fmt: skip
    table = user_profiles(known)
    assert set(table.columns) == set(CATALOGUE["gold.user_profiles"].column_names) - STAMPS
    found = {r["user_id"]: r for r in table.collect()}
    assert set(found) == set(users)
    first = found["u0"]
    assert first["attributes"] == {"age": "25-34"}
    assert (first["mean_basket"], first["spend_28d"], first["is_new"]) == (10.0, 30.0, False)
    assert (first["interest_group"], first["moved_in"], first["gained"], first["lost"]) == ("milk and cheese", late, ["TEA"], [])
    assert [(t["category"], t["share"]) for t in first["top_interests"]] == [("MILK", 0.4), ("CHEESE", 0.3), ("TEA", 0.2)]
    assert (first["next_interest"], first["next_share"], first["price_level"]) == ("CHEESE", 0.5, 0.25)
    assert first["summary"].startswith("9 trips in 80 days, the last 3 days ago, mostly on ")
    assert first["summary"].endswith(". Likes milk, cheese, tea; most likely next: cheese; gained tea.")
    second, new = found["u1"], found["new"]
    assert (second["spend"], second["spend_28d"], second["mean_basket"], second["is_new"]) == (None, None, None, True)
    assert (second["top_interests"], second["next_interest"], second["moved_in"], second["gained"]) == ([], "MILK", None, [])
    assert (new["favourite_weekday"], new["exposed"], new["mean_basket"], new["interest_group"]) == (None, 0, None, None)
    assert new["summary"] == "0 trips in 5 days, the last 5 days ago."
    check_rows(3, 3)
    with pytest.raises(ContractError, match="4 rows for 3 users"):
        check_rows(3, 4)
    doubled = Known(**{**known.__dict__, "prices": known.prices.unionByName(known.prices)})
    assert user_profiles(doubled).count() == 4, "which check_rows refuses"

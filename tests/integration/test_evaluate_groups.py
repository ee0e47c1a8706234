"""Groups of users by what they state, by length of history and by migration."""

from __future__ import annotations

from datetime import date

import numpy as np
from pyspark.sql import SparkSession

from equipoise.evaluate.behaviour import Behaviour
from equipoise.evaluate.groups import collect_groups
from equipoise.evaluate.prepare import drawn
from equipoise.evaluate.protocol import ListTables, Tables
from equipoise.tables.vocabulary import EVENT_TYPES

BUY, VIEW = EVENT_TYPES.index("purchase"), EVENT_TYPES.index("view")
ORIGIN = 100


def behaviour(days: dict[int, list[int]]) -> Behaviour:
    """Users a, b, c… who buy twice on each of their days, and look at something on twenty more."""
    rows = [(u, d, BUY) for u, mine in days.items() for d in mine for _ in range(2)]
    rows += [(u, 50 + n, VIEW) for u in days for n in range(20)]
    user, day, kind = (np.array(c, dtype=np.int64) for c in zip(*rows, strict=True))
    ids = np.array([chr(ord("a") + n) for n in range(len(days))])
    return Behaviour(ids, user, np.zeros_like(user), day, day, kind, np.ones(len(user)))


def test_groups_by_hand(spark: SparkSession) -> None:
    log = behaviour({0: [1, 2, 3], 1: [1, 2, 3, 4], 2: list(range(10)), 3: list(range(11)), 4: [ORIGIN, ORIGIN + 1], 5: [99]})
    users = spark.createDataFrame(
        [("a", {"age": "old"}), ("b", {"age": "old", "kids": None}), ("z", {"age": "old"})],
        "user_id STRING, attributes MAP<STRING, STRING>",
    )
    windows = [date(2020, 1, 1), date(2020, 2, 1), date(2020, 3, 1)]
    moves = [("a", windows[0], True), ("a", windows[1], False), ("b", windows[0], False), ("b", windows[1], True)]
    moves += [("b", windows[2], None), ("c", windows[0], None), ("z", windows[0], True)]
    migration = spark.createDataFrame(moves, "user_id STRING, window_end DATE, migrated BOOLEAN")
    found = {name: members.tolist() for name, members in collect_groups(users, migration, log, ORIGIN).items()}
    assert found == {
        "age=old": [0, 1],
        "history=1 to 3 days": [0, 5],
        "history=4 to 10 days": [1, 2],
        "history=10 days or fewer": [0, 1, 2, 5],
        "history=more than 10 days": [3],
        "visited=last 84 days": [5],
        "interests=moved": [1],
        "interests=stayed": [0],
    }, "the latest window that tells anything; days, not lines, and only before the origin"


def test_nobody_states_anything(spark: SparkSession) -> None:
    users = spark.createDataFrame([], "user_id STRING, attributes MAP<STRING, STRING>")
    migration = spark.createDataFrame([], "user_id STRING, window_end DATE, migrated BOOLEAN")
    assert collect_groups(users, migration, behaviour({0: [ORIGIN]}), ORIGIN) == {}


def test_nobody_but_the_drawn_users_is_read(spark: SparkSession) -> None:
    """What has rows per user holds theirs alone; the log and what is told of everybody stay whole."""
    users = spark.createDataFrame([(f"u{n:02d}",) for n in range(20)], "user_id STRING")
    whole = {name: users for name in ("item_vectors", "events", "items", "item_categories", "examples", "validation", "spec")}
    names = ("users", "profile", "sequences", "vectors", "interests", "segments", "migration")
    tables = Tables(ListTables(users, users, users, users), **whole, **dict.fromkeys(names, users))
    said: list[str] = []
    ids, mine = drawn(spark, tables, 1, said.append, most=5)
    assert len(ids) == 5 and said == ["20 users: evaluating a seeded sample of 5"]
    assert mine.lists is not None and all(getattr(mine, name) is users for name in whole) and mine.lists.response is users
    narrowed = [getattr(mine, name) for name in names] + [mine.lists.values, mine.lists.budgets, mine.lists.recommendations]
    assert all(sorted(r["user_id"] for r in one.collect()) == ids.tolist() for one in narrowed)
    assert drawn(spark, tables, 1, said.append, most=20)[1] is tables

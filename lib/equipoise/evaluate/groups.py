"""Groups of users that the evaluation looks at one by one: what they state of themselves, how long they are known, who moved."""

from __future__ import annotations

import numpy as np
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from equipoise.evaluate.arrays import Ints, distinct
from equipoise.evaluate.behaviour import Behaviour
from equipoise.evaluate.tasks.interests import ENTRY_DAYS

SHORT = "10 days or fewer"
HISTORIES = ((1, 3, "1 to 3 days"), (4, 10, "4 to 10 days"), (1, 10, SHORT), (11, None, "more than 10 days"))
"""Days with a trip before as_of, from and to, with the group's name."""
RECENT = f"last {ENTRY_DAYS} days"
"""A trip in them: the users of the published figures of categories and (re-)entries."""


def collect_groups(users: DataFrame, migration: DataFrame, behaviour: Behaviour, origin: int) -> dict[str, Ints]:
    """'attribute=value' → numbers of its users. A user may be in several groups, or in none.

    Args:
        users: silver.users, for what users state.
        migration: gold.interest_migration of one as_of; 'interests' is the user's latest window with a band.
        origin: number of the day of as_of.
    """
    return stated(users, behaviour) | histories(behaviour, origin) | recent(behaviour, origin) | moves(migration, behaviour)


def stated(users: DataFrame, behaviour: Behaviour) -> dict[str, Ints]:
    """By silver.users."""
    told = users.select("user_id", F.explode("attributes").alias("name", "value")).filter("value IS NOT NULL").toPandas()
    return _named(told["user_id"].to_numpy(str), (told["name"] + "=" + told["value"]).to_numpy(str), behaviour)


def histories(behaviour: Behaviour, origin: int) -> dict[str, Ints]:
    """By days with a trip before the origin."""
    before = behaviour.trips(origin) & (behaviour.day < origin)
    user, _ = distinct(behaviour.user[before], behaviour.day[before])[0]
    days = np.bincount(user, minlength=len(behaviour.users))
    found = {f"history={name}": (days >= low) & (days <= (high or days.max(initial=0))) for low, high, name in HISTORIES}
    return {name: np.flatnonzero(inside) for name, inside in found.items() if inside.any()}


def recent(behaviour: Behaviour, origin: int) -> dict[str, Ints]:
    """Users with a trip in the ENTRY_DAYS before the origin."""
    within = behaviour.trips(origin) & (behaviour.day < origin) & (behaviour.day >= origin - ENTRY_DAYS)
    return {f"visited={RECENT}": np.unique(behaviour.user[within])} if within.any() else {}


def moves(migration: DataFrame, behaviour: Behaviour) -> dict[str, Ints]:
    """By the latest window of which it can be said: interests=moved, interests=stayed."""
    latest = Window.partitionBy("user_id").orderBy(F.desc("window_end"))
    told = migration.filter("migrated IS NOT NULL").withColumn("nth", F.row_number().over(latest)).filter("nth = 1")
    name = F.when(F.col("migrated"), F.lit("interests=moved")).otherwise(F.lit("interests=stayed"))
    rows = told.select("user_id", name.alias("name")).toPandas()
    return _named(rows["user_id"].to_numpy(str), rows["name"].to_numpy(str), behaviour)


def _named(ids: np.typing.NDArray[np.str_], names: np.typing.NDArray[np.str_], behaviour: Behaviour) -> dict[str, Ints]:
    number = behaviour.user_numbers(ids)
    kept = number >= 0
    return {str(g): np.unique(number[kept & (names == g)]) for g in np.unique(names[kept])}

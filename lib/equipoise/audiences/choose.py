"""The users that a campaign should contact: those of the highest expected profit inside its budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from equipoise.tables.vocabulary import NO_BUDGET, NOBODY, OK, TOO_FEW, UNPROFITABLE

TENTHS = 10


@dataclass(frozen=True)
class Terms:
    """What a campaign costs and brings: money, and the least users of an audience."""

    budget: float
    cost_per_contact: float
    value_per_response: float
    min_group: int


@dataclass(frozen=True)
class Summary:
    """A row of gold.audience_summary; see the table for the meaning."""

    audience_id: str
    goal: str
    status: str
    message: str
    eligible: int
    left_out: dict[str, int]
    reach: int = 0
    cost: float = 0.0
    expected_responses: float = 0.0
    expected_value: float = 0.0
    expected_profit: float = 0.0
    curve: tuple[tuple[float, int, float], ...] = ()
    learnt_from: int | None = None
    propensity_auc: float | None = None
    seed_found: float | None = None


@dataclass(frozen=True)
class Told:
    """What a goal says: users (user_id, p_response, worth, reason), worth in money before value_per_response; facts of the
    summary.

    users is None, and why says it, where there is nothing to learn from.
    """

    users: DataFrame | None
    why: str = ""
    facts: Mapping[str, float | int | None] = field(default_factory=dict)


def affordable(terms: Terms) -> float:
    """Contacts that the budget pays for; infinite where a contact costs nothing."""
    if terms.cost_per_contact == 0:
        return math.inf
    return math.floor(terms.budget / terms.cost_per_contact * (1 + 1e-12))


def ranked(users: DataFrame, terms: Terms) -> DataFrame:
    """The users with expected_value, cost, expected_profit and rank 1, 2, … by falling profit, ties by user_id.

    Args:
        users: user_id, p_response, worth, reason; one row per user.
    """
    value = F.col("worth") * F.lit(terms.value_per_response)
    priced = users.withColumns({"expected_value": value, "cost": F.lit(terms.cost_per_contact)})
    priced = priced.withColumn("expected_profit", F.col("expected_value") - F.col("cost")).drop("worth")
    everybody = Window.partitionBy(F.lit(1)).orderBy(F.desc("expected_profit"), "user_id")  # one order needs them all
    return priced.withColumn("rank", F.row_number().over(everybody))


def chosen(of: DataFrame, terms: Terms) -> DataFrame:
    """Rows of `ranked` that bring the highest expected profit inside the budget: contacts cost alike, so the best ones are the
    best set, and who brings none is left out. Nobody where they are fewer than min_group."""
    fits = affordable(terms)
    kept = of.filter(F.col("expected_profit") > 0)
    kept = kept if math.isinf(fits) else kept.filter(F.col("rank") <= int(fits))
    return kept if kept.limit(terms.min_group).count() >= terms.min_group else kept.limit(0)


def state(eligible: int, profitable: int, terms: Terms) -> tuple[str, str]:
    """Status and message of an audience."""
    fits = affordable(terms)
    reach = min(profitable, fits)
    if not eligible:
        return NOBODY, "no user is left whom the goal speaks of; look at left_out and at the goal"
    if fits < 1:
        return NO_BUDGET, f"a contact costs {terms.cost_per_contact:g} and the budget is {terms.budget:g}; raise it"
    if not profitable:
        return UNPROFITABLE, f"no contact is expected to bring more than it costs ({terms.cost_per_contact:g})"
    if reach < terms.min_group:
        return TOO_FEW, f"{int(reach):,} users would be contacted, fewer than min_group = {terms.min_group:,}"
    bound = "the budget ends there" if profitable > reach else "all whom a contact is expected to pay for"
    return OK, f"{int(reach):,} of {eligible:,} users: {bound}"


def summed(of: DataFrame) -> tuple[int, int, tuple[tuple[float, int, float], ...]]:
    """Eligible users, profitable ones, and the profit curve of rows of `ranked`: (share, users, profit) for the best tenths."""
    total = of.count()
    tenth = F.least(F.floor((F.col("rank") - 1) * TENTHS / max(total, 1)) + 1, F.lit(TENTHS)).cast("int").alias("tenth")
    good = F.sum((F.col("expected_profit") > 0).cast("int")).alias("good")
    parts = of.groupBy(tenth).agg(F.count(F.lit(1)).alias("n"), F.sum("expected_profit").alias("profit"), good)
    users, profit, profitable, curve = 0, 0.0, 0, []
    for row in parts.orderBy("tenth").collect():
        users, profit, profitable = users + row["n"], profit + row["profit"], profitable + row["good"]
        curve.append((users / total, users, profit))
    return total, profitable, tuple(curve)


def summary_frame(rows: Sequence[Summary], like: DataFrame) -> DataFrame:
    """gold.audience_summary without stamps."""
    ddl = (
        "audience_id string, goal string, status string, message string, eligible bigint, left_out map<string,bigint>, "
        "reach bigint, cost double, expected_responses double, expected_value double, expected_profit double, "
        "curve array<struct<share:double,users:bigint,profit:double>>, learnt_from bigint, propensity_auc double, "
        "seed_found double"
    )
    return like.sparkSession.createDataFrame([tuple(r.__dict__.values()) for r in rows], ddl)

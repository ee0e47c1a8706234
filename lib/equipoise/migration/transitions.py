"""gold.category_transitions: where the interest in a category goes in the next window, for everybody and per segment."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from equipoise.errors import ContractError
from equipoise.migration.flows import FLOWS_DDL, Supported, flow_counter
from equipoise.tables.vocabulary import ALL_SEGMENTS as ALL
from equipoise.tables.vocabulary import REST, UNKNOWN

ROW = ["segment", "from_category"]
LEAST_REST = 1e-9
"""A rest below this is rounding, and gets no row where nobody went there."""


def check_segments(segments: DataFrame) -> str | None:
    """The id of the model behind user_id, segment, model_id; None when no model had a part in them.

    Raises:
        ContractError: when there are no rows, or when they come from several models.
    """
    models = [r["model_id"] for r in segments.select("model_id").distinct().collect()]
    if len(models) == 1:
        return models[0]  # type: ignore[no-any-return]
    if not models:
        raise ContractError(
            "gold.user_segments has no users at this as_of, expected at least one; run segment_users for it first"
        )
    listed = ", ".join(sorted(map(str, models)))
    raise ContractError(
        f"gold.user_segments at this as_of comes from {len(models)} models ({listed}), expected 1; run segment_users again"
    )


def supported(visits: DataFrame, segments: DataFrame, *, min_support: int) -> Supported:
    """Categories with at least `min_support` users who had them in a window and were active in the next, per segment.

    Counted by Spark; segments × categories names reach the driver.

    Args:
        visits: the frame of `days.visit_days`.
        segments: user_id, segment.
    """
    known = visits.filter(F.col("category") != UNKNOWN).select("user_id", "window", "category").distinct()
    before = known.select("user_id", (F.col("window") - 1).alias("window"))  # a join, since no GPU runs a frame ahead of its row
    had = known.join(before, ["user_id", "window"], "left_semi")
    users = had.select("user_id", "category").distinct().join(segments.select("user_id", "segment"), "user_id", "left")
    names = F.explode(F.array(F.lit(ALL), F.col("segment"))).alias("segment")  # user × category × segments it counts in
    counted = users.select("category", names).filter(F.col("segment").isNotNull()).groupBy("segment", "category")
    enough = counted.agg(F.count(F.lit(1)).alias("users")).filter(F.col("users") >= min_support).collect()
    every = frozenset(r["category"] for r in enough if r["segment"] == ALL)
    found = {s: frozenset(r["category"] for r in enough if r["segment"] == s) & every for s in {r["segment"] for r in enough}}
    return Supported(found)


def flows(packed: DataFrame, segments: DataFrame, kept: Supported) -> DataFrame:
    """One row per segment × from × to that somebody took: mass DOUBLE and users BIGINT, see `flow_counter`.

    Args:
        packed: the frame of `days.packed`.
        segments: user_id, segment, one row per user.
        kept: what `supported` gives for the same visits.
    """
    joined = packed.join(segments.select("user_id", "segment"), "user_id", "left")
    parts: DataFrame = joined.mapInArrow(flow_counter(kept), FLOWS_DDL)
    return parts.groupBy(*ROW, "to_category").agg(F.sum("mass").alias("mass"), F.sum("users").alias("users"))


def category_transitions(flows: DataFrame, *, pseudo_all: float, pseudo_segment: float) -> DataFrame:
    """One row per segment × from × to that somebody took, and a REST per from: gold.category_transitions without its stamps.

    With n(f, t) the mass of `flow_counter` and n(f) its sum over t, π(t) the share of t in all next windows:
        P_all(t | f) = (n(f, t) + pseudo_all · π(t)) ÷ (n(f) + pseudo_all)
        P_segment(t | f) = (n_segment(f, t) + pseudo_segment · P_all(t | f)) ÷ (n_segment(f) + pseudo_segment)
    which are posterior means under Dirichlet priors (Gelman et al., Bayesian Data Analysis, §3.4). What the prior gives to
    categories where nobody of the row went stands in the row's REST, so that every row sums to 1.

    Args:
        flows: the frame of `flows`; read several times, so the caller keeps it.
        pseudo_all, pseudo_segment: pseudo-counts, in windows of one user's whole interest.
    """
    flows = flows.withColumn("from_mass", F.sum("mass").over(Window.partitionBy(*ROW)))
    everybody = flows.filter(F.col("segment") == ALL)
    whole = everybody.agg(F.sum("mass").alias("whole"))
    arrived = everybody.groupBy("to_category").agg(F.sum("mass").alias("arrived"))
    population = arrived.crossJoin(whole).select("to_category", (F.col("arrived") / F.col("whole")).alias("population_share"))
    of_pair = everybody.select("from_category", "to_category", F.col("mass").alias("pair_mass_all"))
    of_from = everybody.select("from_category", F.col("from_mass").alias("from_mass_all")).distinct()
    known = flows.join(population, "to_category").join(of_from, "from_category", "left")
    known = known.join(of_pair, ["from_category", "to_category"], "left")  # a segment's REST may hold what `all` lists
    base = _shrunk(_or_0("pair_mass_all"), _or_0("from_mass_all"), F.col("population_share"), pseudo_all)
    own = _shrunk(F.col("mass"), F.col("from_mass"), base, pseudo_segment)
    probability = F.when(F.col("segment") == ALL, base).otherwise(own)
    return _with_rest(known.withColumn("probability", probability))


def _with_rest(known: DataFrame) -> DataFrame:
    """The rows of categories, and one REST per segment × from with what they leave."""
    columns = [*ROW, "to_category", "probability", "population_share", "users"]
    is_rest = F.col("to_category") == REST
    left = known.groupBy(*ROW).agg(
        *[(1.0 - F.sum(F.when(is_rest, 0.0).otherwise(F.col(c)))).alias(c) for c in ("probability", "population_share")],
        F.max(F.when(is_rest, F.col("users")).otherwise(F.lit(0).cast("bigint"))).alias("users"),
    )
    rest = left.withColumn("to_category", F.lit(REST)).filter((F.col("users") > 0) | (F.col("probability") > LEAST_REST))
    above_0 = [F.greatest(F.col(c), F.lit(0.0)).alias(c) for c in ("probability", "population_share")]
    return known.filter(~is_rest).select(*columns).unionByName(rest.select(*ROW, "to_category", *above_0, "users"))


def _or_0(column: str) -> Column:
    return F.coalesce(F.col(column), F.lit(0.0))


def _shrunk(mass: Column, whole: Column, prior: Column, pseudo: float) -> Column:
    return (mass + F.lit(float(pseudo)) * prior) / (whole + F.lit(float(pseudo)))

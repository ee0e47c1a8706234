"""gold.exploration_response and gold.exploration_budgets: what exploring found out, and who is shown how much of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import numpy as np
import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from equipoise.errors import ContractError
from equipoise.feedback.response import HIGH, LOW, Floats, Ratios, pooled
from equipoise.recommend.history import exact_sum
from equipoise.tables.vocabulary import ALL_CATEGORIES, ALL_SEGMENTS, SEGMENTS

WIDEST = 2.0
"""A budget is at most this many times the usual one, and at least the usual one divided by it."""

SAME = 1e-9
"""A standard deviation below this is rounding: everybody is alike."""


def unsettled(answers: DataFrame, settled: DataFrame, as_of: date) -> DataFrame:
    """Rows of ops.feedback: the answers that no other run has written, so that every place counts once, also one whose exposure
    came in late.

    Args:
        answers: see `exposures.answered`.
        settled: ops.feedback.
    """
    place = ["as_of", "user_id", "item_id"]
    others = settled.filter(F.col("settled_by") != F.lit(as_of)).select(*place)
    new = answers.join(others, place, "left_anti").drop("shown_date", "settled")
    return new.withColumn("settled_by", F.lit(as_of))


def response_rows(trials: DataFrame, segments: DataFrame, *, strength: float) -> pd.DataFrame:
    """Rows of gold.exploration_response without stamps: everybody, per category, and per segment × category.

    Only categories that were explored have rows; for the others the row of everybody in everything holds.

    Args:
        trials: as_of, user_id, category, expected, response (see `exposures.trials`).
        segments: user_id, segment at the lists' as_of: later ones would know the answers.
        strength: weight of what a ratio is shrunk towards before feedback says it, in expected responses.
    """
    joined = trials.join(segments, ["as_of", "user_id"], "left").groupBy("segment", "category")
    sums = joined.agg(
        F.count(F.lit(1)).alias("trials"), exact_sum(F.col("expected")).alias("expected"), F.sum("response").alias("responses")
    )
    return from_counts(sums.toPandas(), strength)


def from_counts(counts: pd.DataFrame, strength: float) -> pd.DataFrame:
    """The rows from counts per segment × category: segment, category, trials, expected, responses.

    Raises:
        ContractError: when a segment is none of SEGMENTS.
    """
    if strange := sorted(str(s) for s in set(counts["segment"]) - set(SEGMENTS)):
        raise ContractError(
            f"users who were shown a list have segment {', '.join(strange)} in gold.user_segments at its as_of, expected one of "
            f"{', '.join(SEGMENTS)} (None: no row); run segment_users and publish_report for that date again"
        )
    categories = np.unique(counts["category"].to_numpy(dtype=str))
    at = pd.Index(SEGMENTS).get_indexer(counts["segment"]), pd.Index(categories).get_indexer(counts["category"])

    counted = np.zeros((3, len(SEGMENTS), len(categories)))
    counted[:, at[0], at[1]] = counts[["trials", "expected", "responses"]].to_numpy(np.float64).T
    found = pooled(counted[2], counted[1], strength)
    levels = (
        ([ALL_SEGMENTS], [ALL_CATEGORIES], counted.sum(axis=(1, 2), keepdims=True), found.whole),
        ([ALL_SEGMENTS], categories.tolist(), counted.sum(axis=1, keepdims=True), found.category),
        (list(SEGMENTS), categories.tolist(), counted, found.cell),
    )
    parts = [_rows(*level, prior) for level, prior in zip(levels, found.strengths, strict=True)]
    return pd.concat(parts, ignore_index=True)


def _rows(segments: list[str], categories: list[str], counted: Floats, ratios: Ratios, strength: float) -> pd.DataFrame:
    number, expected, responses = counted
    grid = pd.MultiIndex.from_product([segments, categories], names=["segment", "category"])
    return pd.DataFrame(
        {
            "trials": number.ravel().astype(np.int64),
            "expected": expected.ravel(),
            "responses": responses.ravel().astype(np.int64),
            "strength": strength,
            "shape": ratios.shape.ravel(),
            "rate": ratios.rate.ravel(),
            "ratio": ratios.mean.ravel(),
            "ratio_low": ratios.quantile(LOW).ravel(),
            "ratio_high": ratios.quantile(HIGH).ravel(),
        },
        index=grid,
    ).reset_index()


def with_ratios(interests: DataFrame, budgets: DataFrame, response: DataFrame) -> DataFrame:
    """The interests with shape, rate and slots: the posterior of the user's segment in the category, that of a category without
    feedback where it was never explored, and the user's budget.

    Args:
        interests: user_id, category and more.
        budgets: gold.exploration_budgets. response: gold.exploration_response; both of one as_of.
    """
    cells = response.filter(F.col("segment") != ALL_SEGMENTS).select("segment", "category", "shape", "rate")
    mine = interests.join(budgets.select("user_id", "segment", "slots"), "user_id")
    found = mine.join(F.broadcast(cells), ["segment", "category"], "left").drop("segment")
    shape, rate = unexplored(response)
    return found.withColumns({"shape": F.coalesce("shape", F.lit(shape)), "rate": F.coalesce("rate", F.lit(rate))})


def unexplored(response: DataFrame) -> tuple[float, float]:
    """Shape and rate of a category without feedback: see `response.Responses.unexplored`.

    Raises:
        ContractError: when gold.exploration_response has no row of all segments and categories at this as_of.
    """
    rows = response.filter(F.col("segment") == ALL_SEGMENTS).select("category", "ratio", "strength").collect()
    whole = next((r for r in rows if r["category"] == ALL_CATEGORIES), None)
    if whole is None:
        raise ContractError(
            "gold.exploration_response has no row of all segments and categories at this as_of, expected 1; "
            "run collect_feedback for it first"
        )
    strength = float(next((r["strength"] for r in rows if r["category"] != ALL_CATEGORIES), whole["strength"]))
    return strength * float(whole["ratio"]), strength


def budgets(
    interests: DataFrame, segments: DataFrame, trials: DataFrame, *, overall: float, slots: int, most: int, strength: float
) -> DataFrame:
    """gold.exploration_budgets without stamps.

    factor = ratio · 2^(−z), where ratio is the user's own responses ÷ expected ones, shrunk towards everybody's, ÷ everybody's,
    and z half the mean of the standard scores of entropy and log evidence: of whom little is known, and who knows little, more
    is to be found out. slots = the usual number · factor ÷ its mean, between the usual number ÷ WIDEST and · WIDEST.

    Args:
        interests: gold.user_interests of one as_of. segments: user_id, segment.
        trials: see `exposures.trials`.
        overall: everybody's ratio.
        slots: the usual number. most: the largest number that a list and the pool allow.
    """
    share = F.col("observed_share")
    bits = F.when(share > 0, -share * F.log2(share)).otherwise(0.0)
    sums = exact_sum(bits).alias("entropy_bits"), exact_sum(F.col("evidence")).alias("evidence")
    known = interests.groupBy("user_id").agg(*sums)
    own = trials.groupBy("user_id").agg(
        F.count(F.lit(1)).alias("trials"), exact_sum(F.col("expected")).alias("expected"), F.sum("response").alias("responses")
    )
    counts = {"trials": "bigint", "expected": "double", "responses": "bigint"}
    found = known.join(segments, "user_id").join(own, "user_id", "left")
    found = found.withColumns({c: F.coalesce(c, F.lit(0)).cast(t) for c, t in counts.items()})
    prior = F.lit(strength * overall)
    ratio = (prior + F.col("responses")) / (prior + F.col("expected") * F.lit(overall))
    found = found.withColumns({"ratio": ratio, "weighed": F.log1p("evidence")})
    middle = _means(found, {c: F.col(c) for c in ("entropy_bits", "weighed")})
    square = _means(found, {c: (F.col(c) - F.lit(m)) * (F.col(c) - F.lit(m)) for c, m in middle.items()})
    z = F.lit(0.0)
    for c, m in middle.items():
        width = square[c] ** 0.5
        z = z + ((F.col(c) - F.lit(m)) / F.lit(width) if width > SAME else F.lit(0.0))
    factored = found.withColumn("factor", F.col("ratio") * F.pow(F.lit(2.0), -z / 4))
    usual = _means(factored, {"factor": F.col("factor")})["factor"] or 1.0
    return factored.withColumn("slots", _slots(F.col("factor") / F.lit(usual), slots, most)).drop("weighed")


def _means(rows: DataFrame, columns: Mapping[str, Column]) -> dict[str, float]:
    """Means of the columns, the same in any order of the rows; 0 without rows."""
    sums = rows.agg(F.count(F.lit(1)).alias("rows"), *[exact_sum(column).alias(name) for name, column in columns.items()])
    row = sums.collect()[0]
    return {name: (row[name] or 0.0) / max(row["rows"], 1) for name in columns}


def _slots(factor: Column, slots: int, most: int) -> Column:
    low, high = int(np.ceil(slots / WIDEST)), min(int(slots * WIDEST), most)
    return F.greatest(F.lit(low), F.least(F.lit(high), F.round(factor * slots))).cast("int")

"""gold.user_interests: what each user is interested in now, what comes next, and the share to aim at."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from equipoise.tables.vocabulary import KNOWING_EVENT_TYPES

SMALLEST = 1e-12
"""What is left of a user's share counts as at least this, so that nothing is divided by nought."""

FACTS = ("predicted_share", "visit_probability", "modelled", "observed_share", "evidence", "seen")
"""What is known of a user × category, each 0 where its source says nothing."""


def user_interests(
    predictions: DataFrame,
    observed: DataFrame,
    seen: DataFrame,
    *,
    categories: Sequence[str],
    top_predicted: int,
    evidence_half: float,
    most_target_share: float = 1.0,
) -> DataFrame:
    """One row per user × category, for users in `predictions`: gold.user_interests without its stamps.

    Rows: the `top_predicted` categories by predicted share, every observed one, and the `top_predicted` unseen ones by
    predicted share, so that what exploration draws from can be looked up. Ties fall by category name.

    Args:
        predictions: user_id, category_probabilities (softmax) and visit_probabilities, in the order of `categories`.
        observed: user_id, category, evidence, observed_share (see `observed_shares`).
        seen: user_id, category of what each user knows (see `seen_categories`).
        evidence_half: decayed weight at which own behaviour and model count alike.
        most_target_share: see `_capped`; 1 for no cap.
    """
    facts = _kept(_facts(predictions, observed, seen, categories), top_predicted)
    user = Window.partitionBy("user_id").orderBy("category")
    whole = user.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    order = Window.partitionBy("user_id").orderBy(F.desc("target_share"), F.desc("aim"), "category")
    weighed = facts.withColumn("total", F.sum("evidence").over(whole)).withColumn("trust", _trust(evidence_half))
    aimed = weighed.withColumn("aim", F.col("trust") * F.col("observed_share") + (1 - F.col("trust")) * F.col("predicted_share"))
    shared = aimed.withColumn("target_share", F.col("aim") / F.sum("aim").over(whole))
    shared = _capped(shared, most_target_share) if most_target_share < 1.0 else shared
    return shared.select(
        "user_id",
        "category",
        F.row_number().over(order).alias("rank"),
        "observed_share",
        "predicted_share",
        F.when(F.col("modelled") > 0, F.col("visit_probability")).alias("visit_probability"),
        (F.col("predicted_rank") == 1).alias("is_predicted_top"),
        "target_share",
        "evidence",
        _reason().alias("reason"),
    )


def _capped(shares: DataFrame, most: float) -> DataFrame:
    """`shares` with no target_share above `most`: the excess goes to the user's other categories in proportion, and again
    where that lifts one of them above it. A user with fewer than 1 ÷ most categories gets equal shares.

    In falling order a share is cut if, after those before it were cut, it would stand above the cap; those that are cut are
    then the first m, and the others grow by (1 − m · cap) ÷ (1 − their sum).
    """
    falling = Window.partitionBy("user_id").orderBy(F.desc("target_share"), "category")
    whole = falling.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    before = falling.rowsBetween(Window.unboundedPreceding, -1)
    at = shares.withColumns(
        {
            "cap": F.greatest(F.lit(most), 1 / F.count(F.lit(1)).over(whole)),
            "first": F.row_number().over(falling) - 1,
            "above": F.coalesce(F.sum("target_share").over(before), F.lit(0.0)),
        }
    )
    left = F.greatest(1 - F.col("above"), F.lit(SMALLEST))
    at = at.withColumn("cut", F.col("target_share") * (1 - F.col("first") * F.col("cap")) / left > F.col("cap"))
    at = at.withColumns(
        {"cuts": F.sum(F.col("cut").cast("int")).over(whole), "taken": F.sum(_where_cut("target_share")).over(whole)}
    )
    grown = F.col("target_share") * (1 - F.col("cuts") * F.col("cap")) / F.greatest(1 - F.col("taken"), F.lit(SMALLEST))
    return at.withColumn("target_share", F.when(F.col("cut"), F.col("cap")).otherwise(grown))


def _where_cut(column: str) -> Column:
    return F.when(F.col("cut"), F.col(column)).otherwise(0.0)


def _trust(evidence_half: float) -> Column:
    """w = total ÷ (total + evidence_half): how much the user's own behaviour counts.

    With it, w · observed + (1 − w) · predicted is the posterior mean of the shares under a Dirichlet prior that has the
    model's distribution as its mean and `evidence_half` as its weight (Gelman et al., Bayesian Data Analysis, §3.4).
    """
    return F.col("total") / (F.col("total") + F.lit(float(evidence_half)))


def _facts(predictions: DataFrame, observed: DataFrame, seen: DataFrame, categories: Sequence[str]) -> DataFrame:
    """user_id, category and FACTS; one row per user of `predictions` × category that any of the three frames names."""
    names = F.array(*[F.lit(c) for c in categories])
    columns = {"share": "category_probabilities", "visit": "visit_probabilities"}
    pairs = F.explode(F.arrays_zip(names.alias("category"), *[F.col(c).alias(name) for name, c in columns.items()]))
    modelled = predictions.select("user_id", pairs.alias("pair")).select("user_id", "pair.*")
    parts = (
        _part(
            modelled,
            predicted_share=F.col("share").cast("double"),
            visit_probability=F.col("visit").cast("double"),
            modelled=F.lit(1.0),
        ),
        _part(observed, observed_share=F.col("observed_share"), evidence=F.col("evidence")),
        _part(seen, seen=F.lit(1.0)),
    )
    # Stacked and summed, not joined: one shuffle, and by user alone, so the windows that follow need no other.
    stacked = reduce(DataFrame.unionByName, parts).repartition("user_id")
    summed = stacked.groupBy("user_id", "category").agg(*[F.sum(c).alias(c) for c in FACTS])
    return summed.join(predictions.select("user_id"), "user_id", "left_semi")


def _part(frame: DataFrame, **facts: Column) -> DataFrame:
    return frame.select("user_id", "category", *[facts.get(name, F.lit(0.0)).alias(name) for name in FACTS])


def _kept(facts: DataFrame, top: int) -> DataFrame:
    """The rows of gold.user_interests, with `predicted_rank` over all categories of the user."""
    by_prediction = (F.desc("modelled"), F.desc("predicted_share"), F.asc("category"))
    everything = Window.partitionBy("user_id").orderBy(*by_prediction)
    alike = Window.partitionBy("user_id", "seen").orderBy(*by_prediction)
    ranked = facts.withColumns({"predicted_rank": F.row_number().over(everything), "rank_alike": F.row_number().over(alike)})
    first = (F.col("predicted_rank") <= top) | ((F.col("seen") == 0) & (F.col("rank_alike") <= top))
    return ranked.filter((F.col("evidence") > 0) | ((F.col("modelled") > 0) & first)).drop("rank_alike")


def _reason() -> Column:
    """Words whose numbers are the row's own: shares in percent, and the evidence behind them."""
    own = F.concat(
        F.lit("own behaviour "),
        _percent("observed_share"),
        F.concat(F.lit(" (weight "), _number("evidence"), F.lit(" of "), _number("total"), F.lit(")")),
    )
    model = F.when(
        F.col("modelled") > 0,
        F.concat(
            F.lit("model expects "), _percent("predicted_share"), F.lit(" and a visit with "), _percent("visit_probability")
        ),
    ).otherwise(F.lit("the model does not know this category"))
    trust = F.concat(F.lit("own behaviour counts "), _percent("trust"))
    known = F.when(F.col("seen") > 0, F.lit("known to the user")).otherwise(
        F.lit(f"unseen: no {', '.join(KNOWING_EVENT_TYPES[:-1])} or {KNOWING_EVENT_TYPES[-1]} so far")
    )
    return F.concat_ws("; ", F.when(F.col("evidence") > 0, own).otherwise(F.lit("no own behaviour")), model, trust, known)


def _percent(column: str) -> Column:
    return F.concat(F.format_number(100 * F.col(column), 2), F.lit(" %"))


def _number(column: str) -> Column:
    return F.format_number(column, 2)

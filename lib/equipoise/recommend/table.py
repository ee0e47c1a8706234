"""gold.recommendations: from valued candidates, interests and events to lists, and the laws that every list must keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from equipoise.errors import ContractError
from equipoise.feedback.table import with_ratios
from equipoise.recommend.block import parse
from equipoise.recommend.candidates import block_rows
from equipoise.recommend.history import seen_categories, visits
from equipoise.recommend.lists import ROWS, Policy, lists
from equipoise.recommend.popularity import category_items, item_popularity
from equipoise.recommend.reasons import reason_text
from equipoise.recommend.weight import tilts

USERS_PER_BLOCK = 512
"""Users whose lists are made together: about 100,000 rows of candidates."""


@dataclass(frozen=True)
class Sources:
    """What lists are made from, all of one as_of: events before it, interests, gold.user_item_values and the categories,
    and what exploring found out (gold.exploration_response, gold.exploration_budgets).

    stock: silver.item_categories of the items that may be shown; item_categories: of all, for what a user has seen; items:
    silver.items, for their brands.
    """

    events: DataFrame
    item_categories: DataFrame
    stock: DataFrame
    interests: DataFrame
    values: DataFrame
    response: DataFrame
    budgets: DataFrame
    items: DataFrame


@dataclass(frozen=True)
class Popularity:
    """How popularity is counted."""

    half_life_days: float
    event_weights: Mapping[str, float]


def rows_for_blocks(sources: Sources, policy: Policy, how: Popularity, *, users: int) -> DataFrame:
    """The rows from which `lists` works, in blocks of about USERS_PER_BLOCK users (`block.COLUMNS`).

    Args:
        users: about how many there are; they only size the blocks.
    """
    visited = visits(sources.events, event_weights=how.event_weights)
    popularity = item_popularity(visited, as_of=policy.as_of, half_life_days=how.half_life_days)
    found = sources.values.select(
        "user_id",
        "item_id",
        F.col("p_next_trip").alias("value"),
        F.col("known_events").alias("known"),
        F.col("purchases").alias("bought"),
        F.col("events").alias("looked"),
        "cosine",
        F.col("neighbour_id").alias("neighbour"),
        "similarity",
        "source",
    )
    seen = seen_categories(visited, sources.item_categories)
    stock = category_items(popularity, sources.stock)
    ratios = with_ratios(sources.interests, sources.budgets, sources.response)
    own = policy.weight == "personal"
    interests = ratios.join(tilts(sources.interests), "user_id") if own else ratios.withColumn("tilt", F.lit(0.0))
    brands = sources.items if policy.most_per_brand else None
    return block_rows(found, interests, seen, stock, brands, blocks=max(1, -(-users // USERS_PER_BLOCK)), depth=policy.k)


def recommendations(rows: DataFrame, policy: Policy) -> DataFrame:
    """One row per user × rank: gold.recommendations without its stamps."""
    ddl = ", ".join(f"{name} {kind}" for name, kind in ROWS.items())
    listed = rows.groupBy("block").applyInPandas(_lists_of(policy), ddl)
    return listed.withColumn("reason", reason_text(policy.as_of)).drop("bought")


def _lists_of(policy: Policy) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def run(frame: pd.DataFrame) -> pd.DataFrame:
        return lists(parse(frame), policy)

    return run


def check_sources(sources: Sources, *, k: int) -> tuple[int, str]:
    """Number of users, and the id of the model behind the values.

    Raises:
        ContractError: when fewer than k items may be shown, when there are no interests or values at this as_of, when users
            have no budget, or when the values come from several models.
    """
    items = sources.stock.select("item_id").distinct().count()
    if items < k:
        raise ContractError(
            f"silver.item_categories has {items} items that may be shown, a list needs {k}; lower recommend.k, ingest the whole "
            "catalogue or shorten recommend.exclude_categories and the rules recommend.never_*"
        )
    users = sources.interests.select("user_id").distinct().count()
    if not users:
        raise ContractError("gold.user_interests has no users at this as_of, expected at least one; run score_users for it first")
    unbudgeted = sources.interests.join(sources.budgets, "user_id", "left_anti").select("user_id").distinct()
    if number := unbudgeted.count():
        raise ContractError(
            f"{number} users of gold.user_interests are not in gold.exploration_budgets at this as_of, such as "
            f"{', '.join(str(r[0]) for r in unbudgeted.orderBy('user_id').take(3))}; run collect_feedback for it again"
        )
    models = sorted(str(r[0]) for r in sources.values.select("model_id").distinct().collect())
    if len(models) != 1:
        raise ContractError(
            f"gold.user_item_values at this as_of comes from {len(models)} models ({', '.join(models) or 'none'}), expected 1; "
            "run value_items for it first"
        )
    return users, models[0]


def check(listed: DataFrame, sources: Sources, policy: Policy) -> None:
    """Asserts what every list promises.

    Every user of the interests has k rows with ranks 1..k and k different items, the last of them explore, as many as the
    policy gives the user; propensities are 1 for exploit rows; unseen categories are unseen; reasons about a category are the
    value that gold.user_interests holds; every item may be shown, and no brand has more exploit rows than the policy allows.

    Raises:
        ContractError: with the laws that are broken, how many users break them, and examples.
    """
    slots = f"the last {policy.explore_slots}" if policy.explore_budget == "fixed" else "the last slots of exploration_budgets"
    broken = {
        f"exactly {policy.k} rows, ranks 1..{policy.k}, no item twice, {slots} explore": _misshapen(listed, sources, policy),
        "a reason about a category holds the value of gold.user_interests": _untrue(listed, sources),
        "only items that may be shown": listed.join(sources.stock, "item_id", "left_anti").select("user_id").distinct(),
    }
    if policy.most_per_brand:
        broken[f"at most {policy.most_per_brand} exploit rows of a brand"] = _overbranded(listed, sources, policy.most_per_brand)
    found = [
        f"{number} users break {law!r}, such as {', '.join(str(r[0]) for r in users.orderBy('user_id').take(3))}"
        for law, users in broken.items()
        if (number := users.count())
    ]
    if found:
        way_out = "raise interests.top_predicted, lower recommend.k or loosen the rules recommend.never_* and most_per_brand"
        raise ContractError(f"{'; '.join(found)}; a short list lacks items in the user's categories: {way_out}")


def _misshapen(listed: DataFrame, sources: Sources, policy: Policy) -> DataFrame:
    k, explore = policy.k, F.col("slot") == "explore"
    own = F.col("slots") if policy.explore_budget == "personal" else F.lit(policy.explore_slots)
    budgeted = sources.budgets.select("user_id", own.alias("budget"))
    shape = listed.groupBy("user_id").agg(
        F.count(F.lit(1)).alias("rows"),
        F.countDistinct("item_id").alias("items"),
        F.countDistinct("rank").alias("ranks"),
        F.min("rank").alias("first"),
        F.max("rank").alias("last"),
        F.sum(explore.cast("int")).alias("explored"),
        F.coalesce(F.min(F.when(explore, F.col("rank"))), F.lit(k + 1)).alias("first_explored"),
        F.min(F.when(~explore, F.col("propensity"))).alias("sure"),
    )
    good: Column = (F.col("explored") == F.col("budget")) & (F.col("first_explored") == k + 1 - F.col("budget"))
    for name, value in {"rows": k, "items": k, "ranks": k, "first": 1, "last": k, "sure": 1}.items():
        good = good & (F.col(name) == value)
    users = sources.interests.select("user_id").distinct().join(budgeted, "user_id", "left").join(shape, "user_id", "left")
    return users.filter(~F.coalesce(good, F.lit(False))).select("user_id")


def _overbranded(listed: DataFrame, sources: Sources, most: int) -> DataFrame:
    branded = listed.filter("slot = 'exploit'").join(
        sources.items.select("item_id", "brand").filter("brand IS NOT NULL"), "item_id"
    )
    return branded.groupBy("user_id", "brand").count().filter(F.col("count") > most).select("user_id").distinct()


def _untrue(listed: DataFrame, sources: Sources) -> DataFrame:
    values = {"popular_in_category": "target_share", "unseen_category": "predicted_share", "least_known": "observed_share"}
    truth = F.coalesce(*[F.when(F.col("reason_code") == code, F.col(column)) for code, column in values.items()])
    about = listed.filter(F.col("reason_code").isin(*values)).select(
        "user_id", F.col("reason_key").alias("category"), "reason_code", "reason_value"
    )
    facts = sources.interests.select("user_id", "category", *values.values())
    joined = about.join(facts, ["user_id", "category"], "left")
    return joined.filter(~F.coalesce(truth == F.col("reason_value"), F.lit(False))).select("user_id").distinct()

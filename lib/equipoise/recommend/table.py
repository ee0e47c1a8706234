"""gold.recommendations: from events, interests and vectors to lists, and the laws that every list must keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from equipoise.errors import ContractError
from equipoise.recommend.block import parse
from equipoise.recommend.candidates import block_rows, candidates, popular_candidates
from equipoise.recommend.cosine import cosine_candidates
from equipoise.recommend.history import best_of_history, histories, seen_categories, visits
from equipoise.recommend.lists import ROWS, Policy, lists
from equipoise.recommend.popularity import category_items, item_popularity
from equipoise.recommend.reasons import reason_text

USERS_PER_BLOCK = 512
"""Users whose lists are made together: about 100,000 rows of candidates."""

USERS_PER_PRODUCT, ITEMS_PER_PRODUCT = 4096, 16_384
"""Vectors multiplied together: with 384 numbers each, 12 MiB and 48 MiB."""


@dataclass(frozen=True)
class Inputs:
    """What lists are made from, all of one as_of: events before it, the catalogue's categories, interests and vectors."""

    events: DataFrame
    item_categories: DataFrame
    interests: DataFrame
    user_vectors: DataFrame
    item_vectors: DataFrame


@dataclass(frozen=True)
class Limits:
    """How candidates are gathered; the fields are the settings of the same names."""

    history_candidates: int
    cosine_candidates: int
    popular_candidates: int
    history_half_life_baskets: float
    min_item_events: int
    half_life_days: float
    event_weights: Mapping[str, float]


def rows_for_blocks(inputs: Inputs, policy: Policy, limits: Limits, *, users: int, items: int) -> DataFrame:
    """The rows from which `lists` works, in blocks of about USERS_PER_BLOCK users (`block.COLUMNS`).

    Args:
        users, items: about how many there are; they only size the blocks.
    """
    visited = visits(inputs.events, event_weights=limits.event_weights)
    done = histories(visited, half_life_baskets=limits.history_half_life_baskets)
    popularity = item_popularity(visited, as_of=policy.as_of, half_life_days=limits.half_life_days)
    stock = category_items(popularity, inputs.item_categories)
    often = popularity.filter(F.col("visits") >= limits.min_item_events).select("item_id", "popularity")
    near = cosine_candidates(
        inputs.user_vectors.select("user_id", "vector"),
        inputs.item_vectors.select("item_id", "text_sha256", "vector").join(often, "item_id"),
        limit=limits.cosine_candidates,
        user_blocks=_blocks(users, USERS_PER_PRODUCT),
        item_blocks=_blocks(items, ITEMS_PER_PRODUCT),
    )
    popular = popular_candidates(inputs.interests, stock, limit=limits.popular_candidates, min_visits=limits.min_item_events)
    found = candidates(best_of_history(done, limit=limits.history_candidates), near, popular)
    seen = seen_categories(done, inputs.item_categories)
    return block_rows(found, inputs.interests, seen, stock, blocks=_blocks(users, USERS_PER_BLOCK), depth=policy.k)


def recommendations(rows: DataFrame, policy: Policy) -> DataFrame:
    """One row per user × rank: gold.recommendations without its stamps."""
    ddl = ", ".join(f"{name} {kind}" for name, kind in ROWS.items())
    listed = rows.groupBy("block").applyInPandas(_lists_of(policy), ddl)
    return listed.withColumn("reason", reason_text(policy.as_of)).drop("bought")


def _lists_of(policy: Policy) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def run(frame: pd.DataFrame) -> pd.DataFrame:
        return lists(parse(frame), policy)

    return run


def _blocks(number: int, size: int) -> int:
    return max(1, -(-number // size))


def check_inputs(inputs: Inputs, *, k: int) -> tuple[int, int, str]:
    """Number of users, number of items and the id of the model behind the vectors.

    Raises:
        ContractError: when the catalogue holds fewer than k items, when users have interests but no vector or the other way
            round, or when the vectors come from several models (their cosines would mean nothing).
    """
    items = inputs.item_categories.select("item_id").distinct().count()
    if items < k:
        raise ContractError(
            f"silver.item_categories has {items} items, a list needs {k}; lower recommend.k or ingest the whole catalogue"
        )
    names = "gold.user_interests", "feature.user_vectors"
    interests = inputs.interests.select("user_id", F.lit(names[0]).alias("here")).distinct()
    users = interests.join(inputs.user_vectors.select("user_id", F.lit(names[1]).alias("there")), "user_id", "full")
    counts = users.agg(*[F.count(c).alias(c) for c in ("user_id", "here", "there")]).first()
    if counts is None or not counts["user_id"]:
        raise ContractError(f"{names[0]} has no users at this as_of, expected at least one; run score_users for it first")
    for column, missing, present in (("here", names[0], names[1]), ("there", names[1], names[0])):
        if number := counts["user_id"] - counts[column]:
            examples = ", ".join(str(r["user_id"]) for r in users.filter(F.col(column).isNull()).orderBy("user_id").take(3))
            raise ContractError(
                f"{number} users of {present} are not in {missing}, such as {examples}; run score_users for this as_of again"
            )
    vectors = (inputs.user_vectors.select("model_id"), inputs.item_vectors.select("model_id"))
    models = sorted(str(r[0]) for r in vectors[0].union(vectors[1]).distinct().collect())
    if len(models) != 1:
        raise ContractError(
            f"the vectors come from {len(models)} models ({', '.join(models) or 'none'}), expected 1; run score_users again"
        )
    return int(counts["user_id"]), items, models[0]


def check(listed: DataFrame, inputs: Inputs, *, k: int, explore_slots: int) -> None:
    """Asserts what every list promises.

    Every user of the interests has k rows with ranks 1..k and k different items, the last `explore_slots` of them explore;
    propensities are 1 for exploit rows; unseen categories are unseen; reasons about a category are the value that
    gold.user_interests holds.

    Raises:
        ContractError: with the laws that are broken, how many users break them, and examples.
    """
    broken = {
        f"exactly {k} rows, ranks 1..{k}, no item twice, the last {explore_slots} explore": _misshapen(
            listed, inputs, k, explore_slots
        ),
        "a reason about a category holds the value of gold.user_interests": _untrue(listed, inputs),
    }
    found = [
        f"{number} users break {law!r}, such as {', '.join(str(r[0]) for r in users.orderBy('user_id').take(3))}"
        for law, users in broken.items()
        if (number := users.count())
    ]
    if found:
        way_out = "raise interests.top_predicted or lower recommend.k"
        raise ContractError(f"{'; '.join(found)}; a short list lacks items in the user's categories: {way_out}")


def _misshapen(listed: DataFrame, inputs: Inputs, k: int, explore_slots: int) -> DataFrame:
    explore = F.col("slot") == "explore"
    shape = listed.groupBy("user_id").agg(
        F.count(F.lit(1)).alias("rows"),
        F.countDistinct("item_id").alias("items"),
        F.countDistinct("rank").alias("ranks"),
        F.min("rank").alias("first"),
        F.max("rank").alias("last"),
        F.sum(explore.cast("int")).alias("explored"),
        F.sum((explore & (F.col("rank") > k - explore_slots)).cast("int")).alias("explored_last"),
        F.min(F.when(~explore, F.col("propensity"))).alias("sure"),
    )
    good: Column = F.lit(True)
    expected = {
        "rows": k,
        "items": k,
        "ranks": k,
        "first": 1,
        "last": k,
        "explored": explore_slots,
        "explored_last": explore_slots,
        "sure": 1,
    }
    for name, value in expected.items():
        good = good & (F.col(name) == value)
    users = inputs.interests.select("user_id").distinct()
    return users.join(shape, "user_id", "left").filter(~F.coalesce(good, F.lit(False))).select("user_id")


def _untrue(listed: DataFrame, inputs: Inputs) -> DataFrame:
    values = {"popular_in_category": "target_share", "unseen_category": "predicted_share", "least_known": "observed_share"}
    truth = F.coalesce(*[F.when(F.col("reason_code") == code, F.col(column)) for code, column in values.items()])
    about = listed.filter(F.col("reason_code").isin(*values)).select(
        "user_id", F.col("reason_key").alias("category"), "reason_code", "reason_value"
    )
    facts = inputs.interests.select("user_id", "category", *values.values())
    joined = about.join(facts, ["user_id", "category"], "left")
    return joined.filter(~F.coalesce(truth == F.col("reason_value"), F.lit(False))).select("user_id").distinct()

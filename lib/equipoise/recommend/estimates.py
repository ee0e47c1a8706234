"""gold.policy_estimates: what each way to explore would have brought, from the answers to the lists that were shown.

The answer itself must not decide what the other policy would have done: who responded knows the category now, and it would never
be explored again. So a category that was shown counts as unseen, with the guess and the predicted share that it had in its list;
all else is tonight's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import get_args

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from equipoise.feedback.exposures import NEW
from equipoise.feedback.offpolicy import Estimate, Logged, doubly_robust, ips, logged_mean, snips
from equipoise.recommend.block import CANDIDATE, COLUMNS, INTEREST, Block, parse
from equipoise.recommend.explore import Drawing, chances, ratios
from equipoise.recommend.frontier import SAMPLE_BLOCKS
from equipoise.recommend.lists import Policy

DRAWS: tuple[Drawing, ...] = get_args(Drawing)

ESTIMATES = (
    "draw string, estimator string, published boolean, value double, ci_low double, ci_high double, lists bigint, places bigint, "
    "effective_places double, unsupported double"
)
"""gold.policy_estimates without stamps."""

_CHANCES = "user_id string, draw string, category string, probability double, predicted double"
KEPT = "kept"


def settled_places(feedback: DataFrame, lists: DataFrame, rows: DataFrame, as_of: date) -> DataFrame:
    """One row per row of ops.feedback in an explore slot that was settled by as_of.

    Args:
        feedback: ops.feedback. lists: rows of gold.recommendations that were published before as_of.
        rows: see `table.rows_for_blocks`.

    Returns:
        list_date, user_id, item_id, category, propensity, response (0 or 1), guess and share (what the list knew of the
        category), drawn (explored places of the whole list), and fate: KEPT, or why the place is left out.
    """
    place = ["list_date", "user_id", "item_id"]
    shown = feedback.filter((F.col("slot") == "explore") & (F.col("settled_by") <= F.lit(as_of)))
    shown = shown.select(
        F.col("as_of").alias("list_date"),
        *("user_id", "item_id", "category", "propensity", "reason_code"),
        F.col("responded").cast("double").alias("response"),
        F.coalesce("expected_response", F.lit(0.0)).alias("guess"),
        F.row_number().over(Window.partitionBy("as_of", "user_id", "item_id").orderBy("shown_ts", "exposure_id")).alias("nth"),
    )
    explored = lists.filter((F.col("slot") == "explore") & (F.col("reason_code") == NEW))
    explored = explored.select(F.col("as_of").alias("list_date"), "user_id", "item_id", F.col("reason_value").alias("share"))
    counted = explored.groupBy("list_date", "user_id").agg(F.count(F.lit(1)).alias("drawn"))
    users = rows.filter(F.col("kind") == INTEREST).select("user_id", "block").distinct()
    known = shown.join(explored, place, "left").join(counted, ["list_date", "user_id"], "left").join(users, "user_id", "left")
    probable = (F.col("propensity") > 0) & (F.col("propensity") <= 1.000001)
    fate = (
        F.when(F.col("reason_code") != NEW, "not drawn, but the least known")
        .when(~F.coalesce(probable, F.lit(False)), "propensity not above 0 and at most 1")
        .when(F.col("nth") > 1, "the same place twice")
        .when(F.col("share").isNull(), "not in a published list")
        .when(F.col("block").isNull(), "user has no interests tonight")
        .when(F.col("block") >= SAMPLE_BLOCKS, "user is not in the sample")
        .otherwise(KEPT)
    )
    return known.withColumn("fate", fate).drop("reason_code", "nth", "block")


def fates(places: DataFrame) -> str:
    """A line about how many places are kept, and how many are left out for what."""
    counts = {str(r["fate"]): int(r["count"]) for r in places.groupBy("fate").count().collect()}
    left = [f"{n:,} {why}" for why, n in sorted(counts.items()) if why != KEPT]
    return f"{counts.get(KEPT, 0):,} explored places are settled and tell of other ways to explore" + (
        f"; left out: {', '.join(left)}" if left else ""
    )


def tonights_chances(rows: DataFrame, listed: DataFrame, places: DataFrame, policy: Policy) -> DataFrame:
    """Per draw × user with kept places × category of the pool: the probability to be drawn tonight (see `explore.chances`), and
    the predicted response, guess × mean of the posterior of its ratio, at most 1.

    Args:
        rows: see `table.rows_for_blocks`. listed: tonight's lists. places: see `settled_places`.
    """
    kept = places.filter(F.col("fate") == KEPT)
    asked = rows.join(kept.select("user_id").distinct(), "user_id", "left_semi").filter(F.col("kind") == INTEREST)
    last = Window.partitionBy("user_id", "category").orderBy(F.desc("list_date"), "item_id")
    told = kept.withColumn("nth", F.row_number().over(last)).filter("nth = 1")
    told = told.select("user_id", "category", F.col("guess").alias("first_guess"), F.col("share").alias("first_share"))
    then = asked.join(told, ["user_id", "category"], "left").withColumns(
        {
            "guess": F.coalesce("first_guess", "guess"),
            "predicted": F.coalesce("first_share", "predicted"),
            "seen": F.col("seen") & F.col("first_share").isNull(),
        }
    )
    taken = listed.filter("slot = 'exploit'").join(asked.select("user_id", "block").distinct(), "user_id")
    shelves = rows.filter(~F.col("kind").isin(INTEREST, CANDIDATE)).join(asked.select("block").distinct(), "block", "left_semi")
    whole = then.select(*COLUMNS).unionByName(shelves.select(*COLUMNS))
    grouped = whole.groupBy("block").cogroup(taken.select("block", "user_id", "item_id").groupBy("block"))
    return grouped.applyInPandas(_chances_of(policy), _CHANCES)


def _chances_of(policy: Policy) -> Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]:
    def run(frame: pd.DataFrame, taken: pd.DataFrame) -> pd.DataFrame:
        return chances_of(parse(frame), {str(u): set(i) for u, i in taken.groupby("user_id")["item_id"]}, policy)

    return run


def chances_of(block: Block, taken: dict[str, set[str]], policy: Policy) -> pd.DataFrame:
    """The rows of `tonights_chances` for a block. taken: items of the users' lists that do not explore."""
    slots, rows = policy.slots(block), []
    for user, name in enumerate(block.users):
        predicted = np.minimum(block.interests.guess[user] * ratios(block, user).mean, 1.0)
        for draw in DRAWS:
            how = replace(policy.exploring, draw=draw)
            random = (policy.seed, name, policy.as_of)
            found = chances(block, user, taken.get(name, set()), int(slots[user]), how, random)
            rows += [(name, draw, block.categories[c], p, float(predicted[c])) for c, p in found.items()]
    return pd.DataFrame(rows, columns=["user_id", "draw", "category", "probability", "predicted"])


def policy_estimates(places: pd.DataFrame, tonight: pd.DataFrame, published: Drawing) -> pd.DataFrame:
    """gold.policy_estimates without stamps; no rows when the places are of fewer than two users.

    Values are responses per list that was shown. Places of it that were not, or are not settled, are taken for like the others:
    what is predicted for a whole list counts by the share of explored places that are here.

    Args:
        places: the kept rows of `settled_places`. tonight: rows of `tonights_chances`.
    """
    names = [c.split()[0] for c in ESTIMATES.split(", ")]
    if places["user_id"].nunique() < 2:
        return pd.DataFrame(columns=names)
    ordered = places.sort_values(["user_id", "list_date", "item_id"], ignore_index=True)
    ordered["list"] = ordered.groupby(["user_id", "list_date"]).ngroup()
    lists = ordered.groupby("list").agg(user_id=("user_id", "first"), drawn=("drawn", "first"))
    shown = min(1.0, len(ordered) / float(lists["drawn"].sum()))
    rows = [row for draw in DRAWS for row in _of_draw(ordered, lists, tonight[tonight["draw"] == draw], shown, draw, published)]
    return pd.DataFrame(rows, columns=names)


def _of_draw(
    places: pd.DataFrame, lists: pd.DataFrame, tonight: pd.DataFrame, shown: float, draw: Drawing, published: Drawing
) -> list[tuple[object, ...]]:
    met = places.merge(tonight, "left", ["user_id", "category"]).fillna({"probability": 0.0, "predicted": 0.0})
    promised = tonight.assign(response=tonight["probability"] * tonight["predicted"]).groupby("user_id")
    whole = promised[["probability", "response"]].sum().reindex(lists["user_id"]).fillna(0.0)
    log = Logged(
        list_=met["list"].to_numpy(np.int64),
        propensity=met["propensity"].to_numpy(np.float64),
        response=met["response"].to_numpy(np.float64),
        probability=met["probability"].to_numpy(np.float64),
        lists=len(lists),
        cluster=np.asarray(pd.factorize(lists["user_id"])[0], dtype=np.int64),
    )
    slots = shown * float(whole["probability"].mean())
    direct = shown * whole["response"].to_numpy(np.float64)
    found = {
        "ips": ips(log),
        "snips": snips(log, slots),
        "dr": doubly_robust(log, met["predicted"].to_numpy(np.float64), direct),
    }
    # In the mean the weights of a list sum to the probability that the log supports.
    unsupported = float(np.clip(1.0 - log.weight.sum() / (slots * len(lists)), 0.0, 1.0)) if slots > 0 else None

    def row(name: str, e: Estimate, *more: float | None) -> tuple[object, ...]:
        return draw, name, draw == published, e.value, e.low, e.high, len(lists), len(met), *more

    first = row("logged", logged_mean(log), None, None)
    return [first, *[row(name, e, log.effective, unsupported) for name, e in found.items()]]


def estimates(feedback: DataFrame, lists: DataFrame, rows: DataFrame, listed: DataFrame, policy: Policy) -> tuple[DataFrame, str]:
    """gold.policy_estimates without stamps, and a line about it. Args: see `settled_places` and `tonights_chances`."""
    places = settled_places(feedback, lists, rows, policy.as_of).persist()
    try:
        kept = places.filter(F.col("fate") == KEPT).toPandas()
        tonight = tonights_chances(rows, listed, places, policy).toPandas() if len(kept) else _none()
        found = policy_estimates(kept, tonight, policy.explore_draw)
        line = fates(places)
    finally:
        places.unpersist()
    plain = found.astype(object).where(found.notna(), None)
    frame = rows.sparkSession.createDataFrame(list(plain.itertuples(index=False, name=None)), ESTIMATES)
    return frame, line + (_told(found, policy.explore_draw) if len(found) else "; estimates need two users")


def _none() -> pd.DataFrame:
    return pd.DataFrame(columns=[c.split()[0] for c in _CHANCES.split(", ")])


def _told(found: pd.DataFrame, published: Drawing) -> str:
    at = found[found["draw"] == published].set_index("estimator")["value"]
    return (
        f"; per list they had {at['logged']:.4f} responses, tonight's draw {published} would have {at['dr']:.4f} (doubly robust)"
    )

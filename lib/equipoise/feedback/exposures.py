"""What was shown of the published lists, and what came of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from equipoise.tables.vocabulary import BEHAVIOURS, KNOWING_EVENT_TYPES, OUTCOMES

BUY, LOOK, IGNORE = OUTCOMES
NEW = "unseen_category"
"""Reason of a place that was drawn to explore; one that only fills up shows a category that the user knows."""


@dataclass(frozen=True)
class Shown:
    """When an exposure is one of a list, and what counts as an answer to it; the fields are the settings of the same names.

    list_days: days that a list is in force, unless a newer one is published before. response_days: days, from that of the
    exposure, in which an answer counts. channel: only exposures of this silver.events.channel are of lists; '' takes any.
    memory_days: how far back exposures count.
    """

    list_days: int
    response_days: int
    memory_days: int
    channel: str


def exposures(events: DataFrame, lists: DataFrame, dates: Collection[date], how: Shown, as_of: date) -> DataFrame:
    """One row per place of a list that was shown and whose days of response are over, with its first exposure.

    Args:
        events: silver.events before as_of.
        lists: rows of gold.recommendations at the dates.
        dates: as-of dates of the lists that were published before as_of.

    Returns:
        exposure_id (event_id of the first exposure), as_of (of the list), user_id, item_id, category, rank, slot, propensity,
        reason_code, expected_response, shown_ts, shown_date, settled (the first day after the days of response).
    """
    first, last = as_of - timedelta(days=how.memory_days), as_of - timedelta(days=how.response_days)
    shown = events.filter((F.col("event_type") == "expose") & F.col("item_id").isNotNull())
    shown = shown.filter((F.col("event_date") >= F.lit(first)) & (F.col("event_date") <= F.lit(last)))
    if how.channel:
        shown = shown.filter(F.col("channel") == how.channel)
    if not dates:
        shown = shown.limit(0)  # no need to look through the log
    named = {"exposure_id": "event_id", "shown_ts": "event_ts", "shown_date": "event_date"}
    shown = shown.select("user_id", "item_id", *[F.col(c).alias(n) for n, c in named.items()])
    shown = shown.withColumn("as_of", _in_force(sorted(dates), F.col("shown_date")))
    shown = shown.filter(F.datediff("shown_date", "as_of") < how.list_days)
    place = ("as_of", "user_id", "item_id")
    told = ("category", "rank", "slot", "propensity", "reason_code", "expected_response")
    found = shown.join(lists.select(*place, *told), list(place))
    nth = F.row_number().over(Window.partitionBy(*place).orderBy("shown_ts", "exposure_id"))
    ones = found.withColumn("nth", nth).filter("nth = 1").drop("nth")
    return ones.withColumn("settled", F.date_add("shown_date", how.response_days))


def _in_force(dates: list[date], day: Column) -> Column:
    """The latest of the dates that is not after the day; null when there is none."""
    known = F.array(*[F.lit(d) for d in dates]).cast("array<date>")
    return F.array_max(F.filter(known, lambda d: d <= day))


def answered(shown: DataFrame, events: DataFrame, item_categories: DataFrame, how: Shown, as_of: date) -> DataFrame:
    """The exposures with what came of them.

    outcome: buy (the item was bought within the days of response), look (another event of the user's own doing with it) or
    ignore. outcome_ts: time of the first such event. responded: an event of the knowing types with an item of the category,
    which is what gold.user_interests.visit_probability speaks of.

    Args:
        shown: see `exposures`.
        events: silver.events before as_of.
    """
    own = F.col("event_type").isin(*[t for kind in BEHAVIOURS.values() for t in kind])
    lately = F.col("event_date") >= F.lit(as_of - timedelta(days=how.memory_days))
    acts = events.filter(own & lately & F.col("item_id").isNotNull()).select(
        "user_id",
        "item_id",
        F.col("event_ts").alias("acted_ts"),
        F.col("event_date").alias("acted_date"),
        F.col("event_type").isin(*BEHAVIOURS["buy"]).alias("bought"),
        F.col("event_type").isin(*KNOWING_EVENT_TYPES).alias("knowing"),
    )
    key = shown.select("exposure_id", "user_id", "item_id", "category", "shown_ts", "settled")
    within = (F.col("acted_ts") >= F.col("shown_ts")) & (F.col("acted_date") < F.col("settled"))
    with_item = key.join(acts, ["user_id", "item_id"]).filter(within).groupBy("exposure_id")
    items = with_item.agg(
        F.min("acted_ts").alias("acted_ts"), F.min(F.when(F.col("bought"), F.col("acted_ts"))).alias("bought_ts")
    )
    of_category = acts.filter("knowing").join(item_categories.select("item_id", "category"), "item_id")
    # Of a day the last event decides: it is after the exposure whenever any is.
    days = of_category.groupBy("user_id", "category", "acted_date").agg(F.max("acted_ts").alias("acted_ts"))
    categories = key.drop("item_id").join(days, ["user_id", "category"]).filter(within)
    responded = categories.select("exposure_id").distinct().withColumn("responded", F.lit(True))
    found = shown.join(items, "exposure_id", "left").join(responded, "exposure_id", "left")
    bought = F.col("bought_ts").isNotNull()
    outcome = F.when(bought, BUY).when(F.col("acted_ts").isNotNull(), LOOK).otherwise(IGNORE)
    found = found.withColumns({"outcome": outcome, "outcome_ts": F.coalesce("bought_ts", "acted_ts")})
    return found.withColumn("responded", F.coalesce("responded", F.lit(False))).drop("acted_ts", "bought_ts")


def trials(answers: DataFrame, *, origin: date, response_days: int) -> DataFrame:
    """One row per user × category that was new to the user × span of response_days (counted from origin) in which it was shown.

    The first exposure of the span is the trial, with its answer: a category that is shown on several nights is one trial, not
    several. A span whose first exposure lies in the days of response of the one before gives none, so no answer counts twice;
    what is left out hangs on when things were shown, not on answers.

    Returns:
        as_of (of the list), user_id, category, expected (the first guess), response (1 when the user responded, else 0).
    """
    new = answers.filter((F.col("reason_code") == NEW) & (F.col("expected_response") > 0))
    span = F.floor(F.datediff("shown_date", F.lit(origin)) / F.lit(response_days))
    first = Window.partitionBy("user_id", "category", "span").orderBy("shown_ts", "exposure_id")
    ones = new.withColumn("span", span).withColumn("nth", F.row_number().over(first)).filter("nth = 1")
    before = F.lag("shown_date").over(Window.partitionBy("user_id", "category").orderBy("shown_date"))
    free = F.coalesce(F.datediff("shown_date", "before") >= response_days, F.lit(True))
    return (
        ones.withColumn("before", before)
        .filter(free)
        .select(
            "as_of",
            "user_id",
            "category",
            F.col("expected_response").alias("expected"),
            F.col("responded").cast("int").alias("response"),
        )
    )

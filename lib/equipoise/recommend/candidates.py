"""What each user could be shown, and the rows of a block of users from which lists are made."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from equipoise.recommend.block import CANDIDATE, COLUMNS, COSINE, HISTORY, INTEREST, NEIGHBOUR, POPULAR, SHELF, SOURCES
from equipoise.recommend.pairs import categories_at, items_at
from equipoise.recommend.popularity import shelves

POPULAR_PER_CATEGORY = 5
"""Popular candidates come as this many items from each of the user's foremost target categories."""


def popular_candidates(interests: DataFrame, category_items: DataFrame, *, limit: int, min_visits: int) -> DataFrame:
    """user_id, item_id: the 5 most popular items of each of the user's ⌈limit / 5⌉ highest target categories.

    Several categories rather than one long list, so that the calibration has something to choose from in each; items with
    fewer visits than `min_visits` do not count.

    Args:
        interests: user_id, category, rank (1 = highest target share).
        category_items: see `popularity.category_items`.
    """
    foremost = interests.filter(F.col("rank") <= -(-limit // POPULAR_PER_CATEGORY)).select("user_id", "category")
    popular = category_items.filter((F.col("place") <= POPULAR_PER_CATEGORY) & (F.col("visits") >= min_visits))
    return foremost.join(popular.select("category", "item_id"), "category").select("user_id", "item_id").distinct()


def of_history(histories: DataFrame, *, limit: int) -> DataFrame:
    """The `limit` rows of each user × cut with the largest own_10 (none with 0), ties by item_id; see `pairs.histories_at`."""
    best_first = Window.partitionBy("user_id", "cut").orderBy(F.desc("own_10"), "item_id")
    ranked = histories.filter("own_10 > 0").withColumn("nth", F.row_number().over(best_first))
    return ranked.filter(F.col("nth") <= limit).drop("nth")


def popular_at(histories: DataFrame, *, limit: int, min_visits: int) -> DataFrame:
    """user_id, item_id, cut: as `popular_candidates`, at cuts for which there are no interests; the user's main categories by
    decayed visits stand for the target there."""
    best_first = Window.partitionBy("user_id", "cut").orderBy(F.desc("category_own"), "category")
    ranked = categories_at(histories).withColumn("nth", F.row_number().over(best_first))
    foremost = ranked.filter(F.col("nth") <= -(-limit // POPULAR_PER_CATEGORY)).select("user_id", "cut", "category")
    popular = items_at(histories).filter((F.col("place") <= POPULAR_PER_CATEGORY) & (F.col("seen") >= min_visits))
    return foremost.join(popular.select("cut", "category", "item_id"), ["cut", "category"]).drop("category")


TOLD = {"cosine": "double", "neighbour_id": "string", "similarity": "double"}
"""What a source says of a candidate beside that it brought it."""


def gathered(history: DataFrame, neighbour: DataFrame | None, cosine: DataFrame, popular: DataFrame) -> DataFrame:
    """One row per user × item that some source brought: user_id, item_id, TOLD (null when it is not from the source that tells
    it), sources (in the order of SOURCES), source (the first of them)."""
    brought = {HISTORY: history, NEIGHBOUR: neighbour, COSINE: cosine, POPULAR: popular}
    parts = [
        frame.select("user_id", "item_id", *_told(frame, source), F.lit(source).alias("source"))
        for source, frame in brought.items()
        if frame is not None
    ]
    names = F.array(*[F.lit(n) for n in SOURCES])
    whole = reduce(DataFrame.unionByName, parts).groupBy("user_id", "item_id")
    found = whole.agg(*[F.max(n).alias(n) for n in TOLD], F.sort_array(F.collect_set("source")).alias("places"))
    named = F.transform("places", lambda place: F.element_at(names, place)).alias("sources")
    return found.select("user_id", "item_id", *TOLD, named, F.element_at(names, F.element_at("places", 1)).alias("source"))


def _told(frame: DataFrame, source: int) -> list[Column]:
    mine = {NEIGHBOUR: ("neighbour_id", "similarity"), COSINE: ("cosine",)}.get(source, ())
    return [(F.col(n) if n in mine else F.lit(None).cast(kind)).alias(n) for n, kind in TOLD.items()]


def block_rows(
    candidates: DataFrame,
    interests: DataFrame,
    seen: DataFrame,
    category_items: DataFrame,
    brands: DataFrame | None,
    *,
    blocks: int,
    depth: int,
) -> DataFrame:
    """The rows of every block of users: `block.COLUMNS`. A block holds all rows of its users and a copy of the shelves.

    Args:
        candidates: user_id, item_id, value, known, bought, looked, cosine, source (a name of SOURCES), neighbour,
            similarity.
        interests: gold.user_interests of one as_of, with shape, rate and slots (see `feedback.table.ratios_of`) and tilt (see
            `weight.tilts`).
        seen: user_id, category.
        category_items: see `popularity.category_items`.
        brands: item_id, brand; None where no rule asks for it.
        blocks: number of blocks; a user's block is a hash of user_id.
        depth: items per shelf; a list of k items never needs more than k.
    """
    block = F.pmod(F.hash("user_id"), F.lit(blocks))
    facts = category_items.select("item_id", "category", "weight", "share")
    candidate = _branded(candidates.join(facts, "item_id"), brands).withColumn("block", block)
    marked = seen.withColumn("seen", F.lit(True))
    shares = [F.col(f"{name}_share").alias(name) for name in ("target", "predicted", "observed")]
    shares.append(F.coalesce("visit_probability", F.lit(0.0)).alias("guess"))
    told = interests.select("user_id", "category", *shares, "shape", "rate", "slots", "tilt")
    interest = told.join(marked, ["user_id", "category"], "left")
    interest = interest.withColumn("seen", F.coalesce("seen", F.lit(False))).withColumn("block", block)
    shelf = shelves(category_items, depth=depth).withColumn("place", F.when(F.col("place") <= depth, F.col("place")))
    shelf = _branded(shelf, brands).withColumn("block", F.explode(F.sequence(F.lit(0), F.lit(blocks - 1))))
    kinds = ((CANDIDATE, candidate), (INTEREST, interest), (SHELF, shelf))
    return reduce(DataFrame.unionByName, [_rows(kind, frame) for kind, frame in kinds])


def _branded(rows: DataFrame, brands: DataFrame | None) -> DataFrame:
    return rows if brands is None else rows.join(brands.select("item_id", "brand"), "item_id", "left")


def _rows(kind: str, frame: DataFrame) -> DataFrame:
    marked = frame.withColumn("kind", F.lit(kind))
    values = {n: F.col(n) if n in marked.columns else F.lit(None) for n in COLUMNS}
    return marked.select(*[value.cast(COLUMNS[name]).alias(name) for name, value in values.items()])

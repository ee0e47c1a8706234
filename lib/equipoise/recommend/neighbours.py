"""Items bought by the same users as what a user buys: item-to-item neighbours (Sarwar et al., WWW 2001; Linden et al. 2003)."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from equipoise.recommend.candidates import of_history
from equipoise.recommend.pairs import fixed_sum
from equipoise.spark.draw import drawn, millionths

ITEMS_PER_USER = 40
"""Items of a user that count, those with the largest own_10. Pairs grow by its square; on Complete Journey 30, 60 and 100 items
bring nearly the same new items (recall@50 .041 to .043)."""

NEIGHBOURS = 50
"""Neighbours kept per item."""

MIN_USERS = 2
"""Users that two items share, at least, to be neighbours."""

SHRINK = 10
"""Users added to either item's own in the cosine, so that two rare items with one user in common are not the best of friends."""

USERS = 200_000
"""Users that neighbours are counted on: all of them, or a seeded sample of about as many."""


def neighbours(own: DataFrame) -> DataFrame:
    """item_id, neighbour_id, similarity: the NEIGHBOURS items that most share its users.

        similarity(i, j) = users of both ÷ √((users of i + SHRINK) · (users of j + SHRINK))

    Ties fall by neighbour_id. It is counted in whole users, so it is the same in any order of the rows.

    Args:
        own: user_id, item_id, each pair once.
    """
    users = own.groupBy("item_id").agg(F.count(F.lit(1)).alias("users"))
    one, other = own.select("user_id", F.col("item_id").alias("a")), own.select("user_id", F.col("item_id").alias("b"))
    both = one.join(other, "user_id").filter("a < b").groupBy("a", "b").agg(F.count(F.lit(1)).alias("shared"))
    often = both.filter(F.col("shared") >= MIN_USERS)
    of_a, of_b = (users.select(F.col("item_id").alias(x), (F.col("users") + SHRINK).alias(f"users_{x}")) for x in "ab")
    near = F.round(F.col("shared") / F.sqrt((F.col("users_a") * F.col("users_b")).cast("double")), 9)
    counted = often.join(of_a, "a").join(of_b, "b").select("a", "b", near.alias("similarity"))
    ways = [counted.select(F.col(x).alias("item_id"), F.col(y).alias("neighbour_id"), "similarity") for x, y in ("ab", "ba")]
    best_first = Window.partitionBy("item_id").orderBy(F.desc("similarity"), "neighbour_id")
    ranked = ways[0].unionByName(ways[1]).withColumn("place", F.row_number().over(best_first))
    return ranked.filter(F.col("place") <= NEIGHBOURS).drop("place")


def favourites(histories: DataFrame, often: DataFrame) -> DataFrame:
    """user_id, item_id, part: the ITEMS_PER_USER items of each user with the largest own_10; part = own_10 ÷ (1 + own_10).

    Args:
        histories: the rows of one cut; see `pairs.histories_at`.
        often: item_id of the items that count.
    """
    own = of_history(histories.join(often.select("item_id"), "item_id"), limit=ITEMS_PER_USER)
    return own.select("user_id", "item_id", (F.col("own_10") / (1.0 + F.col("own_10"))).alias("part"))


def neighbour_candidates(own: DataFrame, histories: DataFrame, *, limit: int, users: int, seed: int) -> DataFrame:
    """user_id, item_id, neighbour_id, similarity: the `limit` items new to each user whose users have what the user has.

    An item's score is Σ over the user's favourites of part · similarity; ties fall by item_id. neighbour_id is the favourite that
    carries most of it (ties: the first by name), similarity that of the two.

    Args:
        own: see `favourites`.
        histories: user_id, item_id of everything that is not new to a user.
        users: about how many there are.
        seed: of the sample of users.
    """
    near = neighbours(own.filter(drawn(millionths(USERS, users), seed)).select("user_id", "item_id"))
    of = near.select(F.col("item_id").alias("neighbour_id"), F.col("neighbour_id").alias("item_id"), "similarity")
    told = own.withColumnRenamed("item_id", "neighbour_id").join(of, "neighbour_id")
    new = told.join(histories.select("user_id", "item_id"), ["user_id", "item_id"], "left_anti")
    moved = F.col("part") * F.col("similarity")
    found = new.groupBy("user_id", "item_id").agg(
        fixed_sum(moved).alias("score"), F.min(F.struct((-moved).alias("moved"), "neighbour_id", "similarity")).alias("most")
    )
    best_first = Window.partitionBy("user_id").orderBy(F.desc("score"), "item_id")
    ranked = found.withColumn("place", F.row_number().over(best_first)).filter(F.col("place") <= limit)
    return ranked.select("user_id", "item_id", "most.neighbour_id", "most.similarity")

"""Items whose text is nearest to what a user does: exact nearest neighbours by blocked matrix products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

DECIMALS = 9
"""Cosines are rounded here: a product of other block shapes may differ in the last bits, and equal texts must tie."""

CHUNK = 256
"""Users multiplied at a time: with 16,384 texts a matrix of single numbers is then 16 MiB."""

SPARE = 8
"""Texts looked at beside those asked for, so that rounding in single precision seldom leaves a doubt."""

SETTLED = 16
"""Users whose shortlists are multiplied in double precision at a time; gathering those of 256 into new memory took five times as
long (2,048 users, 58 of 16,384 texts)."""

GROUPS = 1024
"""Groups of texts, of which only those with the highest maxima are looked at; at least four times as many as texts looked at."""

_OUT = "user_id STRING, item_id STRING, popularity DOUBLE, cosine DOUBLE"


def nearest(users: Floats, texts: Floats, text_of_item: Ints, limit: int) -> tuple[Ints, Floats]:
    """Items with the highest cosine for each user, best first; equal cosines fall by place among the items.

    Args:
        users: (u, d) vectors of length 1.
        texts: (t, d) vectors of length 1, one per distinct text.
        text_of_item: (i,) row of `texts` of each item; items ordered so that the first wins a tie.
        limit: how many; fewer come back when there are fewer items.

    Returns:
        items (u, n) and cosines (u, n), n = min(limit, i).
    """
    taken = min(limit, len(text_of_item))
    found = np.zeros((len(users), taken), dtype=np.int64), np.zeros((len(users), taken))
    number = min(taken + SPARE, len(texts))
    single = users.astype(np.float32), np.ascontiguousarray(_padded(texts, number).T)
    held = np.argsort(text_of_item, kind="stable")  # items text by text, in their order
    begins = np.searchsorted(text_of_item[held], np.arange(len(texts) + 1))
    products = np.empty((min(CHUNK, len(users)), single[1].shape[1]), np.float32)
    for start in range(0, len(users) if taken else 0, CHUNK):
        part = slice(start, start + CHUNK)
        rough = np.matmul(single[0][part], single[1], out=products[: len(single[0][part])])
        rough[:, len(texts) :] = -np.inf
        short, cosines, sure = _shortlisted(users[part], texts, rough, taken, number)
        found[0][part], found[1][part] = _items_of(short, cosines, held, begins, taken)
        doubt = start + np.flatnonzero(~sure)
        found[0][doubt], found[1][doubt] = _nearest(users[doubt], texts, text_of_item, taken)
    return found


def _padded(texts: Floats, number: int) -> Singles:
    """(t + padding, d) in single precision, as many rows as `_highest` can cut into groups."""
    groups = _groups(number)
    rows = -(-len(texts) // groups) * groups if len(texts) > groups else len(texts)
    return np.concatenate([texts.astype(np.float32), np.zeros((rows - len(texts), texts.shape[1]), np.float32)])


def _groups(number: int) -> int:
    return max(GROUPS, 4 * number)


def _shortlisted(users: Floats, texts: Floats, rough: Singles, taken: int, number: int) -> tuple[Ints, Ints, Bools]:
    """Texts that hold the `taken` nearest (u, n), their cosines in 10^-DECIMALS (u, n), and whether that is proven (u,).

    `rough` (u, t + padding) are the cosines in single precision: off by less than (d + 2) · 2^-24 for vectors of length 1
    (Higham, Accuracy and Stability of Numerical Algorithms, 2002, §3.1; + 2 for rounding the vectors). Proven is a user of
    whom no text left out can reach the last one taken.
    """
    scale = 10**DECIMALS
    short, left_out = _highest(rough, number)
    cosines = np.rint(_products(users, texts, short) * scale).astype(np.int64)
    last = -np.partition(-cosines, min(taken, number) - 1, axis=1)[:, min(taken, number) - 1]
    doubt = 0.0 if number < len(texts) else -np.inf
    return short, cosines, np.rint((left_out + doubt + (users.shape[1] + 2) * 2.0**-24) * scale) < last


def _products(users: Floats, texts: Floats, short: Ints) -> Floats:
    """(u, n) inner products of each user with the texts of `short`, through a buffer that stays in the processor's cache."""
    out, number = np.empty(short.shape), short.shape[1]
    held = np.empty((SETTLED * number, texts.shape[1]))
    for start in range(0, len(users), SETTLED):
        mine = users[start : start + SETTLED]
        rows = held[: len(mine) * number]
        np.take(texts, short[start : start + SETTLED].ravel(), axis=0, out=rows, mode="clip")  # any other mode copies once more
        out[start : start + SETTLED] = np.matmul(rows.reshape(len(mine), number, -1), mine[:, :, None])[:, :, 0]
    return out


def _highest(values: Singles, number: int) -> tuple[Ints, Floats]:
    """(u, number) places of the highest values in each row (u, t), in any order, and the lowest of them (u,).

    They lie in the `number` groups with the highest maxima; a group is every so many-th value, so that maxima come fast.
    """
    groups = _groups(number)
    if values.shape[1] <= groups:
        places, inside = np.broadcast_to(np.arange(values.shape[1]), values.shape), values
    else:
        maxima = values.reshape(len(values), -1, groups).max(axis=1)
        best = np.argpartition(maxima, groups - number, axis=1)[:, groups - number :]
        places = (best[:, :, None] + np.arange(0, values.shape[1], groups)).reshape(len(values), -1)
        inside = np.take_along_axis(values, places, axis=1)
    top = np.argpartition(inside, inside.shape[1] - number, axis=1)[:, inside.shape[1] - number :]
    lowest: Floats = np.take_along_axis(inside, top[:, :1], axis=1)[:, 0].astype(np.float64)
    return np.take_along_axis(places, top, axis=1), lowest


def _items_of(short: Ints, cosines: Ints, held: Ints, begins: Ints, taken: int) -> tuple[Ints, Floats]:
    """The first `taken` items of the texts (u, n), by cosine and place, with their cosines."""
    counts = (begins[1:] - begins[:-1])[short].ravel()
    if (counts == 1).all():  # no two items share a text: every row is sorted by itself
        items = held[begins[short]]
        order = np.lexsort((items, -cosines))[:, :taken]
        return np.take_along_axis(items, order, axis=1), np.take_along_axis(cosines, order, axis=1) / 10**DECIMALS
    user = np.repeat(np.repeat(np.arange(len(short)), short.shape[1]), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    item = held[np.repeat(begins[short].ravel(), counts) + within]
    cosine = np.repeat(cosines.ravel(), counts)
    order = np.lexsort((item, -cosine, user))
    firsts = np.searchsorted(user, np.arange(len(short)))[:, None] + np.arange(taken)  # user is sorted before and after
    chosen = order[firsts]
    return item[chosen], cosine[chosen] / 10**DECIMALS


def _nearest(users: Floats, texts: Floats, text_of_item: Ints, taken: int) -> tuple[Ints, Floats]:
    scale, number = 10**DECIMALS, len(text_of_item)
    cosines = np.rint(users @ texts.T * scale).astype(np.int64)  # (u, t)
    # One whole number orders by cosine first and place second, so that the partition below is exact at its edge too.
    keys = cosines[:, text_of_item] * number + np.arange(number - 1, -1, -1)  # (u, i)
    best = np.argpartition(-keys, taken - 1, axis=1)[:, :taken]
    order = np.argsort(-np.take_along_axis(keys, best, axis=1), axis=1)
    items = np.take_along_axis(best, order, axis=1)  # (u, n)
    return items, np.take_along_axis(cosines, text_of_item[items], axis=1) / scale


def cosine_candidates(users: DataFrame, items: DataFrame, *, limit: int, user_blocks: int, item_blocks: int) -> DataFrame:
    """The `limit` items nearest to each user: user_id, item_id, cosine. Exact over all pairs.

    Ties fall by popularity (items that share a text share a vector), then item_id.

    Args:
        users: user_id, vector (length 1).
        items: item_id, text_sha256, popularity, vector (length 1).
        user_blocks, item_blocks: into how many blocks each side is cut; one task multiplies one pair of blocks.
    """
    # Both sides travel in one frame: cogrouped pandas functions fall back from the GPU, grouped ones do not.
    left = users.select(
        _block("user_id", user_blocks).alias("user_block"),
        F.explode(_all(item_blocks)).alias("item_block"),
        "user_id",
        F.lit(None).cast("string").alias("item_id"),
        F.lit(None).cast("string").alias("text_sha256"),
        F.lit(None).cast("double").alias("popularity"),
        "vector",
    )
    right = items.select(
        F.explode(_all(user_blocks)).alias("user_block"),
        # Cut by text, so that each distinct vector is multiplied once.
        _block("text_sha256", item_blocks).alias("item_block"),
        F.lit(None).cast("string").alias("user_id"),
        "item_id",
        "text_sha256",
        "popularity",
        "vector",
    )
    pairs = left.unionByName(right).groupBy("user_block", "item_block").applyInPandas(_of_block(limit), _OUT)
    best_first = Window.partitionBy("user_id").orderBy(F.desc("cosine"), F.desc("popularity"), "item_id")
    ranked = pairs.withColumn("place", F.row_number().over(best_first))
    return ranked.filter(F.col("place") <= limit).select("user_id", "item_id", "cosine")


def _of_block(limit: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def run(frame: pd.DataFrame) -> pd.DataFrame:
        users = frame[frame["item_id"].isna()].sort_values("user_id")
        items = frame[frame["user_id"].isna()].sort_values(["popularity", "item_id"], ascending=[False, True])
        if users.empty or items.empty:
            return pd.DataFrame({"user_id": [], "item_id": [], "popularity": [], "cosine": []}).astype(
                {"user_id": str, "item_id": str}
            )
        _, first, text_of_item = np.unique(items["text_sha256"].to_numpy(str), return_index=True, return_inverse=True)
        texts = _matrix(items["vector"].iloc[first])
        found, cosines = nearest(_matrix(users["vector"]), texts, text_of_item.astype(np.int64), limit)
        flat = found.ravel()
        return pd.DataFrame(
            {
                "user_id": np.repeat(users["user_id"].to_numpy(), found.shape[1]),
                "item_id": items["item_id"].to_numpy()[flat],
                "popularity": items["popularity"].to_numpy()[flat],
                "cosine": cosines.ravel(),
            }
        )

    return run


def _matrix(vectors: pd.Series[Any]) -> Floats:
    """(n, d) in double precision: what the vectors hold is single, and a product in double is the same in any block."""
    matrix: Floats = np.stack(vectors.to_list()).astype(np.float64)
    return matrix


def _block(key: str, blocks: int) -> Column:
    return F.pmod(F.hash(key), F.lit(blocks))


def _all(blocks: int) -> Column:
    return F.sequence(F.lit(0), F.lit(blocks - 1))

"""What the published tables say of the evaluated users, as arrays on the evaluation's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from equipoise.audiences.campaigns import Contacts, contacted, unpacked_contacts
from equipoise.errors import ContractError
from equipoise.evaluate.arrays import Bools, Floats, Ints
from equipoise.evaluate.behaviour import Behaviour, Catalogue
from equipoise.evaluate.metrics.ranking import EMPTY
from equipoise.evaluate.tasks.items import Lists
from equipoise.segments.valued import LANGUAGE
from equipoise.tables.feature import H_FEATURES
from equipoise.tables.vocabulary import SLOTS

LIST_COLUMNS = ("user_id", "rank", "item_id", "category", "slot")
CATEGORY_COLUMNS = ("category_probabilities", "visit_probabilities")
CLASS_COLUMNS = ("p_o", "p_interest", "p_buy")


@dataclass(frozen=True)
class Prediction:
    """One model's answer for every user: who is known, (users, categories) shares and visit probabilities, (users, 3) class
    probabilities, spend?.

    Rows of users that are not `known` are 0.
    """

    known: Bools
    shares: Floats
    visits: Floats
    p: Floats
    spend: Floats | None


@dataclass(frozen=True)
class Segments:
    """gold.user_segments: RFM sum (NaN without cell), K-means cluster from 1 (0 without), what said the value, and the value as a
    Prediction without categories."""

    known: Bools
    rfm_sum: Floats
    cluster: Ints
    value_model: str
    value: Prediction


def prediction(vectors: DataFrame, behaviour: Behaviour, catalogue: Catalogue, categories: Sequence[str]) -> Prediction:
    """From feature.user_vectors, or `score_users`: user_id, p_*, spend, and CATEGORY_COLUMNS in the order of `categories`."""
    rows = vectors.select("user_id", *CATEGORY_COLUMNS, *CLASS_COLUMNS, "expected_spend").toPandas()
    user, rows = _of_users(rows, behaviour)
    users = len(behaviour.users)
    known = np.zeros(users, dtype=bool)
    known[user] = True
    shares, visits = (np.zeros((users, len(catalogue.categories))) for _ in CATEGORY_COLUMNS)
    if len(rows):
        place = (user[:, None], catalogue.category_numbers(categories)[None, :])
        for into, column in zip((shares, visits), CATEGORY_COLUMNS, strict=True):
            into[place] = np.stack(rows[column].to_list())
    return Prediction(known, shares, visits, *_value(user, rows, users))


def mean(predictions: Sequence[Prediction]) -> Prediction:
    """The mean of several models' probabilities of the same users; spend is their mean too."""
    shares, visits, p = (np.mean([getattr(one, name) for one in predictions], axis=0) for name in ("shares", "visits", "p"))
    spends = [one.spend for one in predictions if one.spend is not None]
    return Prediction(predictions[0].known, shares, visits, p, np.mean(spends, axis=0) if spends else None)


def shares_of(interests: DataFrame, column: str, behaviour: Behaviour, catalogue: Catalogue) -> Floats:
    """(users, categories) of a share column of gold.user_interests; 0 where the table has no row."""
    rows = interests.select("user_id", "category", column).toPandas()
    user, rows = _of_users(rows, behaviour)
    out: Floats = np.zeros((len(behaviour.users), len(catalogue.categories)))
    out[user, catalogue.category_numbers(rows["category"].to_numpy(dtype=str))] = rows[column].to_numpy(dtype=np.float64)
    return out


def segments(table: DataFrame, behaviour: Behaviour) -> Segments:
    """gold.user_segments of the users."""
    parts = F.transform(F.split("rfm_cell", "-"), lambda part: part.cast("int"))
    total = F.aggregate(parts, F.lit(0), lambda a, b: a + b).alias("total")
    model = F.coalesce("value_model", F.lit(LANGUAGE)).alias("value_model")  # null in rows older than the column
    value = (*CLASS_COLUMNS, "expected_spend", model)
    user, rows = _of_users(table.select("user_id", total, "kmeans_cluster", *value).toPandas(), behaviour)
    users = len(behaviour.users)
    known, rfm, cluster = np.zeros(users, dtype=bool), np.full(users, np.nan), np.zeros(users, dtype=np.int64)
    known[user] = True
    rfm[user] = rows["total"].to_numpy(dtype=np.float64)
    cluster[user] = rows["kmeans_cluster"].fillna(0).to_numpy(dtype=np.int64)
    none = np.zeros((users, 0))
    said = Prediction(known, none, none, *_value(user, rows, users))
    return Segments(known, rfm, cluster, str(rows["value_model"].iloc[0]) if len(rows) else LANGUAGE, said)


def _value(user: Ints, rows: pd.DataFrame, users: int) -> tuple[Floats, Floats | None]:
    """(users, 3) class probabilities and (users,) spend of the rows, 0 for users without one; no spend where a row has none."""
    p = np.zeros((users, len(CLASS_COLUMNS)))
    p[user] = rows[list(CLASS_COLUMNS)].to_numpy(dtype=np.float64)
    if rows["expected_spend"].isna().any() or not len(rows):
        return p, None
    spend = np.zeros(users)
    spend[user] = rows["expected_spend"].to_numpy(dtype=np.float64)
    return p, spend


def contacts(events: DataFrame, behaviour: Behaviour, until: date) -> Contacts:
    """Who was contacted by which campaign before `until`, and who answered, of the users."""
    ours = events.sparkSession.createDataFrame(pd.DataFrame({"user_id": behaviour.users}))
    rows = contacted(events.join(F.broadcast(ours), "user_id", "left_semi"), as_of=until).toPandas()
    user, rows = _of_users(rows, behaviour)
    found = unpacked_contacts(rows)
    return Contacts(user[found.user], found.campaign, found.day, found.answer)


def lists(recommendations: DataFrame, behaviour: Behaviour, catalogue: Catalogue, k: int) -> Lists:
    """gold.recommendations of the users, (users, k); EMPTY where a user has no list."""
    return lists_of(recommendations.select(*LIST_COLUMNS).toPandas(), behaviour, catalogue, k)


def lists_of(rows: pd.DataFrame, behaviour: Behaviour, catalogue: Catalogue, k: int) -> Lists:
    """The same from rows on the driver with LIST_COLUMNS."""
    user, rows = _of_users(rows, behaviour)
    shape = (len(behaviour.users), k)
    item, category, explore = np.full(shape, EMPTY), np.full(shape, EMPTY), np.zeros(shape, dtype=bool)
    place = rows["rank"].to_numpy(dtype=np.int64) - 1
    item[user, place] = catalogue.item_numbers(rows["item_id"].to_numpy(dtype=str))
    category[user, place] = catalogue.category_numbers(rows["category"].to_numpy(dtype=str))
    explore[user, place] = (rows["slot"] == SLOTS[1]).to_numpy()
    return Lists(item, category, explore)


def most_valued(values: DataFrame, behaviour: Behaviour, catalogue: Catalogue, k: int, among: Bools | None = None) -> Lists:
    """The k items of each user with the highest p_next_trip in gold.user_item_values, ties by item_id; no balance, no slots.

    Args:
        among: (items,) the items that may be named; None for all.
    """
    if among is not None:
        named = values.sparkSession.createDataFrame(pd.DataFrame({"item_id": catalogue.items[among]}))
        values = values.join(F.broadcast(named), "item_id", "left_semi")
    best_first = Window.partitionBy("user_id").orderBy(F.desc("p_next_trip"), "item_id")
    ranked = values.select("user_id", "item_id", F.row_number().over(best_first).alias("rank")).filter(F.col("rank") <= k)
    user, rows = _of_users(ranked.toPandas(), behaviour)
    item = np.full((len(behaviour.users), k), EMPTY)
    item[user, rows["rank"].to_numpy(dtype=np.int64) - 1] = catalogue.item_numbers(rows["item_id"].to_numpy(dtype=str))
    return Lists(item, np.where(item == EMPTY, EMPTY, catalogue.main[item]), np.zeros(item.shape, dtype=bool))


def candidate_sets(values: DataFrame, behaviour: Behaviour, catalogue: Catalogue) -> dict[str, Ints]:
    """Source → keys user · items + item of the candidates in gold.user_item_values that it brought."""
    pairs = values.select("user_id", "item_id", F.explode("sources").alias("source"))
    user, rows = _of_users(pairs.toPandas(), behaviour)
    keys = user * len(catalogue.items) + catalogue.item_numbers(rows["item_id"].to_numpy(dtype=str))
    return {str(name): keys[at] for name, at in rows.groupby("source").indices.items()}


def features(profile: DataFrame, behaviour: Behaviour) -> Floats:
    """(users, 12) explicit features of feature.user_profile; 0 for users without a row."""
    names = [name for name, _ in H_FEATURES]
    user, rows = _of_users(profile.select("user_id", *names).toPandas(), behaviour)
    out: Floats = np.zeros((len(behaviour.users), len(names)))
    out[user] = rows[names].to_numpy(dtype=np.float64)
    return out


def training_rows(examples: DataFrame, until: int) -> tuple[Floats, Ints, Floats]:
    """Features (n, 12), class and spend of feature.examples cut on day `until` or before, in a fixed order."""
    known = examples.filter(F.col("cut_day") <= until)
    rows = known.select("user_id", "cut_day", "features", "label_value", "label_spend").toPandas()
    rows = rows.assign(user=rows["user_id"].map(lambda u: bytes(u).hex())).sort_values(["cut_day", "user"])
    x = np.frombuffer(b"".join(map(bytes, rows["features"])), dtype="<f4").reshape(len(rows), len(H_FEATURES)).astype(np.float64)
    return x, rows["label_value"].to_numpy(dtype=np.int64), rows["label_spend"].to_numpy(dtype=np.float64)


def last_cut(*examples: DataFrame) -> int:
    """The last day at which examples were cut; 0 without any."""
    found = [e.agg(F.max("cut_day")).collect()[0][0] for e in examples]
    return max((day for day in found if day is not None), default=0)


def item_texts(
    items: DataFrame, vectors: DataFrame | None, catalogue: Catalogue, wanted: Ints
) -> tuple[NDArray[np.str_], NDArray[np.float32] | None]:
    """Texts and unit vectors (n, d) of silver.items and feature.item_vectors, in the order of `wanted` catalogue numbers; no
    vectors where none are given.

    Raises:
        ContractError: when one of them lacks an item.
    """
    both = _of_items(items, ("text",), catalogue, wanted).sort_values("item_id", ignore_index=True)
    if vectors is not None:
        encoded = _of_items(vectors, ("vector",), catalogue, wanted)
        both = both.merge(encoded, on="item_id").sort_values("item_id", ignore_index=True)
    if len(both) != len(wanted):
        tables, job = "silver.items", "ingest_events"
        if vectors is not None:
            tables, job = "feature.item_vectors and silver.items together", "score_users"
        raise ContractError(f"{tables} know {len(both):,} of {len(wanted):,} items; run {job} again")
    stacked = np.stack(both["vector"].to_list()).astype(np.float32) if vectors is not None else None
    return both["text"].fillna("").to_numpy(dtype=str), stacked


def item_attributes(items: DataFrame, catalogue: Catalogue, wanted: Ints) -> pd.DataFrame:
    """category_1 … 3, brand and text of silver.items, in the order of `wanted` catalogue numbers."""
    rows = _of_items(items, ("category_1", "category_2", "category_3", "brand", "text"), catalogue, wanted)
    return rows.set_index("item_id").loc[catalogue.items[wanted]].reset_index()


def _of_items(frame: DataFrame, columns: Sequence[str], catalogue: Catalogue, wanted: Ints) -> pd.DataFrame:
    """item_id and the columns, of the `wanted` catalogue numbers, in no order."""
    ids = frame.sparkSession.createDataFrame(pd.DataFrame({"item_id": catalogue.items[wanted]}))
    return frame.select("item_id", *columns).join(F.broadcast(ids), "item_id").toPandas()


def _of_users(rows: pd.DataFrame, behaviour: Behaviour) -> tuple[Ints, pd.DataFrame]:
    """Numbers of the rows' users, and the rows, without users outside the sample."""
    number: Any = behaviour.user_numbers(rows["user_id"].to_numpy(dtype=str))
    return number[number >= 0], rows[number >= 0]

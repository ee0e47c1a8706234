"""Brings the log, the groups and the predictions of the evaluated users to the driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession

from equipoise.evaluate import published
from equipoise.evaluate.behaviour import MAX_USERS, collect_behaviour, collect_catalogue, day_number, sample_users
from equipoise.evaluate.groups import collect_groups
from equipoise.evaluate.protocol import Protocol, Tables
from equipoise.evaluate.run import Evaluation, Say
from equipoise.training.held_out_users import HeldOut


def drawn(spark: SparkSession, tables: Tables, seed: int, say: Say, most: int = MAX_USERS) -> tuple[NDArray[np.str_], Tables]:
    """Sorted ids of the evaluated users, and the tables without anybody else: nothing else is scored or comes to the driver."""
    ids, total = sample_users(tables.users, seed, most)
    if len(ids) == total:
        return ids, tables
    say(f"{total:,} users: evaluating a seeded sample of {len(ids):,}")
    return ids, tables.of(spark.createDataFrame(pd.DataFrame({"user_id": ids})))


def prepare(
    spark: SparkSession,
    tables: Tables,
    protocol: Protocol,
    ids: NDArray[np.str_],
    vectors: Mapping[str, Sequence[DataFrame]],
    held_out: HeldOut | None,
    categories: Sequence[str],
    say: Say,
) -> Evaluation | None:
    """Brings everything to the driver; None, and says so, where none of the users did anything in the label windows.

    Args:
        tables, ids: see `drawn`.
        vectors: per method name of a route frames like feature.user_vectors, the published model's route and in it that model
            first, then one per further training seed.
        held_out: whom a model among them did not train on.
        categories: the model's categories, in the order of category_probabilities.
    """
    catalogue = collect_catalogue(tables.items, tables.item_categories, categories)
    behaviour = collect_behaviour(spark, tables.events, ids, catalogue.items, protocol.labels_until)
    if not (behaviour.own & (behaviour.day >= day_number(protocol.as_of))).any():
        say(f"no event of an evaluated user from {protocol.as_of} to {protocol.labels_until}: nothing to compare with")
        return None
    predictions = {}
    for name, frames in vectors.items():
        say(f"{name}: {len(frames)} model(s) asked")
        predictions[name] = tuple(published.prediction(v, behaviour, catalogue, categories) for v in frames)
    groups = collect_groups(tables.users, tables.migration, behaviour, day_number(protocol.as_of))
    apart = np.flatnonzero(held_out.holds(behaviour.users)) if held_out else np.zeros(0, dtype=np.int64)
    return Evaluation(protocol, tables, behaviour, catalogue, groups, predictions, apart)

"""gold.user_item_values: who could be shown what, and what each of these items is worth to the user."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.errors import ContractError
from equipoise.recommend.candidates import TOLD, gathered, of_history, popular_at, popular_candidates
from equipoise.recommend.cosine import cosine_candidates
from equipoise.recommend.history import visits
from equipoise.recommend.learn import ACT, BUY, NEXT, ValueModel, classes, fit
from equipoise.recommend.neighbours import favourites, neighbour_candidates
from equipoise.recommend.pairs import FEATURES, featured, histories_at, main_categories
from equipoise.recommend.popularity import category_items, item_popularity
from equipoise.spark.draw import drawn, millionths
from equipoise.tables.vocabulary import SEGMENTS

USERS_PER_PRODUCT, ITEMS_PER_PRODUCT = 4096, 16_384
"""Vectors multiplied together: with 384 numbers each, 12 MiB and 48 MiB."""

KEY = ["user_id", "item_id", "cut"]
FACTS = {
    "source": "string",
    "sources": "array<string>",
    "known_events": "bigint",
    "purchases": "bigint",
    "events": "bigint",
    **TOLD,
}
SCORED = {"horizon_days": "int", "segment": "string", **{f"p_{c}": "double" for c in ("o", "interest", "buy", "next_trip")}}


@dataclass(frozen=True)
class Inputs:
    """What candidates are made from, all of one as_of. item_categories: of the items that may be shown."""

    events: DataFrame
    item_categories: DataFrame
    interests: DataFrame
    user_vectors: DataFrame
    item_vectors: DataFrame


@dataclass(frozen=True)
class Limits:
    """How candidates are gathered and their value is learnt; the fields are the settings of the same names."""

    history_candidates: int
    neighbour_candidates: int
    cosine_candidates: int
    popular_candidates: int
    min_item_events: int
    value_cuts: int
    value_examples: int
    half_life_days: float
    event_weights: Mapping[str, float]
    horizon_days: int
    seed: int


@dataclass(frozen=True)
class Valuation:
    """Candidates and values of one as_of; the frames that serve several steps are kept in memory until `close`."""

    inputs: Inputs
    limits: Limits
    as_of: date
    users: int
    items: int

    @cached_property
    def cuts(self) -> list[date]:
        """Where training looks from: whole horizons before as_of with a visit before them, the latest first.

        Raises:
            ContractError: when there is none.
        """
        first = self.visited.agg(F.min("event_date")).first()
        days = self.limits.horizon_days
        cuts = [self.as_of - timedelta(days=days * (j + 1)) for j in range(self.limits.value_cuts)]
        known = [c for c in cuts if first is not None and first[0] is not None and first[0] < c]
        if not known:
            raise ContractError(
                f"no event of an item before {cuts[0]}, the start of the last {days} days before as_of {self.as_of}, so nothing "
                "tells what items are worth; take a later --as-of or a shorter segments.horizon_days"
            )
        return known

    @cached_property
    def visited(self) -> DataFrame:
        return visits(self.inputs.events, event_weights=self.limits.event_weights).persist()

    @cached_property
    def mains(self) -> DataFrame:
        return main_categories(self.inputs.item_categories).persist()

    @cached_property
    def histories(self) -> DataFrame:
        return histories_at(self.visited, self.mains, [*self.cuts, self.as_of]).persist()

    @cached_property
    def often(self) -> DataFrame:
        """item_id, popularity of the items with enough events to be candidates of users who do not have them."""
        popularity = item_popularity(self.visited, as_of=self.as_of, half_life_days=self.limits.half_life_days)
        return popularity.filter(F.col("visits") >= self.limits.min_item_events).select("item_id", "popularity")

    @cached_property
    def favourites(self) -> DataFrame:
        return favourites(self.histories.filter(F.col("cut") == F.lit(self.as_of)), self.often).persist()

    def close(self) -> None:
        """Lets go of the frames that were kept."""
        for name in ("visited", "mains", "histories", "favourites"):
            if name in vars(self):
                getattr(self, name).unpersist()

    def candidates(self) -> DataFrame:
        """One row per user × item that some source brings at as_of: cut, sources, source and TOLD; see `candidates.gathered`."""
        how, at = self.limits, self.inputs
        popularity = item_popularity(self.visited, as_of=self.as_of, half_life_days=how.half_life_days)
        near = cosine_candidates(
            at.user_vectors.select("user_id", "vector"),
            at.item_vectors.select("item_id", "text_sha256", "vector").join(self.often.join(self.mains, "item_id"), "item_id"),
            limit=how.cosine_candidates,
            user_blocks=max(1, -(-self.users // USERS_PER_PRODUCT)),
            item_blocks=max(1, -(-self.items // ITEMS_PER_PRODUCT)),
        )
        stock = category_items(popularity, at.item_categories)
        popular = popular_candidates(at.interests, stock, limit=how.popular_candidates, min_visits=how.min_item_events)
        here = self.histories.filter(F.col("cut") == F.lit(self.as_of))
        own = of_history(here, limit=how.history_candidates)
        wanted = {"limit": how.neighbour_candidates, "users": self.users, "seed": how.seed}
        shared = neighbour_candidates(self.favourites, here, **wanted) if how.neighbour_candidates else None
        return gathered(own, shared, near, popular).withColumn("cut", F.lit(self.as_of))

    def examples(self) -> DataFrame:
        """Training rows: FEATURES of candidates at `cuts`, and what came true; of a seeded sample of users when there are many.

        happened: bits of 1 bought, 2 acted upon, 4 in the next trip. told: whether the user had a trip in the horizon.
        """
        how = self.limits
        per_user = (how.history_candidates + how.popular_candidates) * len(self.cuts)
        sample = drawn(millionths(how.value_examples, per_user * max(1, self.users)), how.seed)
        before = self.histories.filter(F.col("cut") < F.lit(self.as_of))
        popular = popular_at(before, limit=how.popular_candidates, min_visits=how.min_item_events)
        own = of_history(before, limit=how.history_candidates)
        rows = own.select(*KEY).unionByName(popular.select(*KEY)).distinct().filter(sample)
        trips, happened = outcomes(self.visited, self.cuts, how.horizon_days)
        known = featured(rows, before, self.mains).join(happened, KEY, "left").join(trips, ["user_id", "cut"], "left")
        told = F.col("first_trip").isNotNull().alias("told")
        return known.select(*KEY, *FEATURES, F.coalesce("happened", F.lit(0)).cast("int").alias("happened"), told)

    def learnt(self) -> tuple[ValueModel, int]:
        """The fitted model and the number of rows behind it.

        Raises:
            ContractError: when no user had a trip in the horizons.
        """
        plain = [F.col(n).cast("float").alias(n) for n in FEATURES]
        rows = self.examples().select(*KEY, *plain, "happened", "told").toPandas()
        rows = rows.sort_values(KEY[::-1], ignore_index=True)
        happened, told = rows["happened"].to_numpy(), rows["told"].to_numpy(bool)
        if not told.any():
            raise ContractError(
                f"no user bought or used an item in the {self.limits.horizon_days} days after {', '.join(map(str, self.cuts))}, "
                "so nothing tells what items are worth; take another --as-of or a longer segments.horizon_days"
            )
        labels = {NEXT: happened & 4 > 0, BUY: happened & 1 > 0, ACT: happened & 2 > 0}
        if (labels[ACT] == labels[BUY]).all():
            del labels[ACT]
        return fit(matrix(rows), labels, {NEXT: told}, self.limits.seed), len(rows)

    def values(self, model: ValueModel) -> DataFrame:
        """gold.user_item_values without its stamps."""
        here = self.histories.filter(F.col("cut") == F.lit(self.as_of))
        found = featured(self.candidates(), here, self.mains)
        facts = {"known_events": F.col("known"), "purchases": F.col("bought"), "events": F.col("looked")}
        ready = found.withColumns(facts).select("user_id", "item_id", *FACTS, *FEATURES)
        ddl = ", ".join(f"{n} {t}" for n, t in {"user_id": "string", "item_id": "string", **FACTS, **SCORED}.items())
        return ready.mapInPandas(_scored_by(model, self.limits.horizon_days), ddl)


def outcomes(visited: DataFrame, cuts: Sequence[date], horizon_days: int) -> tuple[DataFrame, DataFrame]:
    """What happened in the `horizon_days` from each cut on.

    A trip is a day with a purchase; where nobody ever bought, a day with an event of the knowing types.

    Returns:
        user_id, cut, first_trip of the users with a trip; and user_id, item_id, cut, happened (see `Valuation.examples`).
    """
    bought = visited.agg(F.max("bought")).first()
    kind = "bought" if bought is not None and bought[0] else "known"
    at = visited.withColumn("cut", F.explode(F.array(*[F.lit(c) for c in cuts])))
    after = at.filter((F.col("event_date") >= F.col("cut")) & (F.datediff("event_date", "cut") < horizon_days))
    trips = after.filter(F.col(kind) > 0).groupBy("user_id", "cut").agg(F.min("event_date").alias("first_trip"))
    in_first = (F.col("event_date") == F.col("first_trip")) & (F.col(kind) > 0)
    bits = ((F.col("bought") > 0, 1), (F.lit(True), 2), (F.coalesce(in_first, F.lit(False)), 4))
    flags = [F.max(F.when(condition, bit).otherwise(0)) for condition, bit in bits]
    joined = after.join(trips, ["user_id", "cut"], "left").groupBy(*KEY)
    return trips, joined.agg((flags[0] + flags[1] + flags[2]).alias("happened"))


def matrix(rows: pd.DataFrame) -> NDArray[np.float32]:
    """(n, F) FEATURES of the rows, NaN for null."""
    return rows[list(FEATURES)].to_numpy(np.float32)


def _scored_by(model: ValueModel, horizon_days: int) -> Callable[[Iterable[pd.DataFrame]], Iterable[pd.DataFrame]]:
    def run(parts: Iterable[pd.DataFrame]) -> Iterable[pd.DataFrame]:
        for rows in parts:
            found = model.probabilities(matrix(rows))
            p = classes(found)
            out = rows[["user_id", "item_id", *FACTS]].assign(horizon_days=np.int32(horizon_days))
            out["segment"] = np.array(SEGMENTS, dtype=object)[p.argmax(axis=1)]
            for i, name in enumerate(("p_o", "p_interest", "p_buy")):
                out[name] = p[:, i]
            yield out.assign(p_next_trip=found[NEXT])[["user_id", "item_id", *FACTS, *SCORED]]

    return run


def check_inputs(inputs: Inputs) -> tuple[int, int, str]:
    """Number of users, number of items and the id of the model behind the vectors.

    Raises:
        ContractError: when users have interests but no vector or the other way round, or when the vectors come from several
            models (their cosines would mean nothing).
    """
    items = inputs.item_categories.select("item_id").distinct().count()
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

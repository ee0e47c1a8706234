"""Users who are like a list of others: a logit on their profile and on their vector."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.spark.draw import PER_MILLION, drawn, millionths
from equipoise.tables.feature import H_FEATURES

LEAST_SEED = 10
"""Known users of a seed that likeness is learnt from, at least."""

HELD_OUT = 0.2
TENTH = 0.1
LOGIT_C = 0.1
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Likeness:
    """A fitted logit: weights of the standardised columns and intercept; found: see `learnt`."""

    mean: Floats
    scale: Floats
    weight: Floats
    intercept: float
    found: float


def columns(profile: DataFrame, vectors: DataFrame) -> DataFrame:
    """user_id and x ARRAY<DOUBLE>: log(1 + feature) of H_FEATURES, then the entries of the vector.

    Args:
        profile, vectors: feature.user_profile and feature.user_vectors of one as_of.
    """
    logs = F.array(*[F.log1p(F.greatest(F.col(name), F.lit(0.0))) for name, _ in H_FEATURES])
    both = profile.select("user_id", logs.alias("h")).join(vectors.select("user_id", "vector"), "user_id")
    return both.select("user_id", F.concat("h", F.col("vector").cast("array<double>")).alias("x"))


@dataclass(frozen=True)
class Drawn:
    """Parts of the seed's users and of the others that are learnt from, in (0, 1]."""

    seed: float = 1.0
    others: float = 1.0

    @staticmethod
    def of(number: int, users: int, most: int) -> Drawn:
        """About `most` of the `number` users of the seed, and of all `users` as many, at most."""
        parts = (max(1, millionths(most, n)) / PER_MILLION for n in (number, users))
        return Drawn(*parts)


def sample(of: DataFrame, seed_users: DataFrame, parts: Drawn, seed: int) -> pd.DataFrame:
    """user_id, x and is_seed on the driver, by user_id: a seeded sample of the seed's users and of the others.

    Args:
        of: see `columns`.
        seed_users: user_id.
    """
    marked = of.join(seed_users.select("user_id", F.lit(True).alias("is_seed")), "user_id", "left")
    marked = marked.withColumn("is_seed", F.col("is_seed").isNotNull())
    share = F.when(F.col("is_seed"), F.lit(round(parts.seed * PER_MILLION))).otherwise(F.lit(round(parts.others * PER_MILLION)))
    return marked.filter(drawn(share, seed)).toPandas().sort_values("user_id", ignore_index=True)


def learnt(rows: pd.DataFrame, seed: int, parts: Drawn = Drawn()) -> Likeness:
    """Learnt from all rows, told of all users: what sampling did to the odds is taken off the intercept (King & Zeng, Logistic
    Regression in Rare Events Data, Political Analysis 2001, eq. 7). `found`: of a fifth of all rows held out, the share of its
    seed users in its best tenth, each row counting for those that it was drawn from.

    Args:
        parts: how the rows were drawn.

    Raises:
        ValueError: with fewer than LEAST_SEED seed users, or nobody else.
    """
    x, yes = np.stack(rows["x"].to_list()).astype(np.float64), rows["is_seed"].to_numpy(dtype=bool)
    if yes.sum() < LEAST_SEED or yes.all():
        raise ValueError(f"{int(yes.sum())} seed users of {len(yes)} rows; expected {LEAST_SEED} at least, and others")
    held = np.random.default_rng(seed).random(len(yes)) < HELD_OUT
    first = _fit(x[~held], yes[~held]) if yes[~held].any() else None
    found = float("nan")
    if first is not None and yes[held].any():
        score = first.log_odds(x[held])
        order, stands_for = np.argsort(-score, kind="stable"), np.where(yes[held], 1.0 / parts.seed, 1.0 / parts.others)
        first_tenth = np.cumsum(stands_for[order]) <= TENTH * stands_for.sum()
        top = order[: max(1, int(first_tenth.sum()))]
        found = float(yes[held][top].sum() / yes[held].sum())
    whole = _fit(x, yes)
    return Likeness(whole.mean, whole.scale, whole.weight, whole.intercept + math.log(parts.others / parts.seed), found)


def likeness(of: DataFrame, model: Likeness) -> DataFrame:
    """user_id and p_response: the chance, among all users, to be of the seed; native expressions.

    Args:
        of: see `columns`.
    """
    weight, shift = model.weight / model.scale, model.intercept - float((model.weight * model.mean / model.scale).sum())
    at = F.array(*[F.lit(float(w)) for w in weight])
    score = F.aggregate(F.zip_with("x", at, lambda a, b: a * b), F.lit(shift), lambda s, v: s + v)
    return of.select("user_id", (1.0 / (1.0 + F.exp(-score))).alias("p_response"))


@dataclass(frozen=True)
class _Fitted:
    mean: Floats
    scale: Floats
    weight: Floats
    intercept: float

    def log_odds(self, x: Floats) -> Floats:
        found: Floats = (x - self.mean) / self.scale @ self.weight + self.intercept
        return found


def _fit(x: Floats, yes: NDArray[np.bool_]) -> _Fitted:
    from sklearn.linear_model import LogisticRegression

    mean, sd = x.mean(axis=0), x.std(axis=0)
    scale = np.where(sd > 1e-9, sd, 1.0)
    model = LogisticRegression(C=LOGIT_C, max_iter=1000).fit((x - mean) / scale, yes)
    return _Fitted(mean, scale, model.coef_[0], float(model.intercept_[0]))

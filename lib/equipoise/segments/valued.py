"""The value of the whole user base on Spark: learnt on the driver from a sample, told of everybody through Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from equipoise.segments.cells import Cells, captured, fit_cells
from equipoise.segments.drivers import drivers
from equipoise.segments.history import PACKED, Floats, History, unpacked
from equipoise.segments.ranks import fifth
from equipoise.segments.signals import GROUPS, SIGNALS, known_at, signals_at
from equipoise.segments.worth import (
    Chance,
    Ladder,
    Told,
    WorthModel,
    backtest,
    fit,
    fit_staying,
    labels_at,
    threshold_of,
    training_cuts,
)
from equipoise.spark.draw import drawn, millionths

BEHAVIOUR, RFM_CELLS, LANGUAGE = "behaviour", "rfm_cells", "language"
"""What may have said what users are worth: `worth`, the means of RFM cells, the language model."""

VALUE_MODELS = (BEHAVIOUR, RFM_CELLS, LANGUAGE)
Say = Callable[[str], None]
DECILE = 0.1
RFM = {"recency_days": "recency", "frequency": "trips", "monetary": "spend"}
"""Columns of feature.user_profile and the signals that say the same."""

PROBABILITIES = ("p_o", "p_interest", "p_buy")
TOLD = {**dict.fromkeys(PROBABILITIES, "double"), "expected_spend": "double", "churn_risk": "double"}
COLUMNS = {"user_id": "string", **TOLD, **dict.fromkeys(RFM, "double")}
DRIVERS = "array<struct<driver:string,log_odds:double>>"


@dataclass(frozen=True)
class How:
    """What decides the value of users beside their history; days are counted since 1970-01-01.

    threshold_cuts: days from which the threshold of the ladder by spend is told. cuts: training cuts at most.
    """

    as_of: int
    horizon_days: int
    churn_days: int
    ladder: Ladder
    amounts: bool
    cuts: int
    threshold_cuts: tuple[int, ...]
    seed: int


@dataclass(frozen=True)
class Worth:
    """The fitted value of users at one day, and how it did one horizon earlier beside the RFM cells.

    captured: part of the spend (of the buyers, without amounts) of the last horizon that the best tenth of users by each would
    have brought, both fitted on what was known before it. earlier: the model as it would have been then.
    """

    value_model: str
    model: WorthModel
    stays: Chance | None
    """None where no window of churn_days lies behind as_of."""
    cells: Cells
    captured: dict[str, float]
    earlier: WorthModel
    reference: Floats
    """SIGNALS of the middle user, from which drivers are told."""
    threshold: float
    """Spend from which a user is of class buy; 0 on the ladder by events."""


def sampled(packed: DataFrame, users: int, most: int, seed: int) -> History:
    """The history of a seeded sample of about `most` of the `users` at most, on the driver, in the order of their ids."""
    return unpacked(packed.filter(drawn(millionths(most, users), seed)).toPandas().sort_values("user_id", ignore_index=True))


def reaches(history: History, how: How) -> bool:
    """Whether two whole horizons, with days of users' own before the first, lie behind as_of: one to learn from, one to judge
    by."""
    own = history.day[history.own]
    return bool(len(own)) and bool(training_cuts(int(own.min()), how.as_of - how.horizon_days, how.horizon_days, 1))


def learnt(history: History, how: How) -> Worth:
    """The value model at as_of, judged one horizon earlier: published where the best tenth by it brings at least what that by
    RFM does.

    Raises:
        ValueError: when the history does not reach back two horizons; see `reaches`.
    """
    if not reaches(history, how):
        wanted = f"two whole horizons of {how.horizon_days} days with behaviour before them"
        raise ValueError(f"the history does not reach back {wanted} from as_of")
    days, first = how.horizon_days, int(history.day[history.own].min())
    threshold = threshold_of(history, how.threshold_cuts, days) if how.ladder == "spend" else 0.0
    same: dict[str, Any] = {"ladder": how.ladder, "threshold": threshold, "amounts": how.amounts}
    before = how.as_of - days
    known = known_at(history, before)
    seen = labels_at(history, before, days, how.ladder, threshold).of(known)
    brought = np.maximum(seen.spend, 0.0) if how.amounts else seen.buys.astype(np.float64)
    earlier, said = backtest(history, before, days, cuts=how.cuts, seed=how.seed, **same)
    cells = fit_cells(history, training_cuts(first, before, days, how.cuts), days=days, **same)
    by_cells = cells.told(signals_at(history, before)[known])
    found = {
        BEHAVIOUR: captured(brought, _order(said)[known], DECILE),
        RFM_CELLS: captured(brought, _order(by_cells), DECILE),
    }
    cuts, behind = training_cuts(first, how.as_of, days, how.cuts), training_cuts(first, how.as_of, how.churn_days, how.cuts)
    signals = signals_at(history, how.as_of)[known_at(history, how.as_of)]
    return Worth(
        value_model=RFM_CELLS if found[RFM_CELLS] > found[BEHAVIOUR] else BEHAVIOUR,
        model=fit(history, cuts, days=days, seed=how.seed, **same),
        stays=fit_staying(history, behind, days=how.churn_days, seed=how.seed) if behind else None,
        cells=fit_cells(history, cuts, days=days, **same),
        captured=found,
        earlier=earlier,
        reference=np.median(signals, axis=0),
        threshold=threshold,
    )


def published(
    packed: DataFrame, profile: DataFrame, vectors: DataFrame, how: How, *, users: int, most: int, language: bool, say: Say
) -> tuple[DataFrame, Worth | None]:
    """What is published of every user: user_id, value_model, TOLD, drivers; and the fitted value, None where language says it.

    Args:
        packed: rows of `history.packed` before as_of.
        profile, vectors: feature.user_profile and feature.user_vectors of the as_of, of the same `users`.
        most: users that the value is learnt from, at most.
        language: publish what the language model says, whatever the history.
    """
    history = None if language else sampled(packed, users, most, how.seed)
    if history is None or not reaches(history, how):
        why = "by setting" if language else f"fewer than two horizons of {how.horizon_days} days lie behind as_of"
        say(f"value from the language model: {why}")
        return by_language(vectors).withColumn("value_model", F.lit(LANGUAGE)), None
    worth = learnt(history, how)
    shares = ", ".join(f"{name} {share:.3f}" for name, share in worth.captured.items())
    say(
        f"value learnt from {len(history.users):,} users; share of the last {how.horizon_days} days that the best tenth by each "
        f"brought: {shares}; published: {worth.value_model}"
    )
    if worth.value_model == RFM_CELLS:
        return by_cells(profile, worth.cells).withColumn("value_model", F.lit(RFM_CELLS)), worth
    said = told(packed, worth.model, how.as_of, worth.stays, worth.reference)
    return said.withColumn("value_model", F.lit(BEHAVIOUR)), worth


def told(
    packed: DataFrame, model: WorthModel, day: int, stays: Chance | None = None, reference: Floats | None = None
) -> DataFrame:
    """One row per user of `packed` that is known at the day: COLUMNS and drivers, the strongest first, empty without a
    reference.

    Args:
        packed: rows of `history.packed`.
        stays: what churn_risk is told by; null without it.
        reference: what drivers are told from; see `drivers.drivers`.
    """
    driven = {} if reference is None else {f"driver_{i}": name for i, name in enumerate(GROUPS)}
    ddl = ", ".join(f"{name} {kind}" for name, kind in {**COLUMNS, **dict.fromkeys(driven, "double")}.items())
    found = packed.select(*PACKED).mapInPandas(_teller(model, day, stays, reference), ddl)
    return found.withColumn("drivers", _ranked(driven)).drop(*driven)


def by_cells(profile: DataFrame, cells: Cells) -> DataFrame:
    """One row per user of the profile: what followed in their RFM cell; COLUMNS without churn_risk, and no drivers.

    Args:
        profile: feature.user_profile of one as_of.
    """
    recent, often, user = -F.col("recency_days"), F.col("frequency"), F.col("user_id")
    money = F.coalesce("monetary", F.lit(0.0))
    r, f, m = fifth(recent, often, money, user), fifth(often, money, recent, user), fifth(money, often, recent, user)
    spend = [float(x) if cells.amounts else None for x in cells.means[:, 4]]
    rows = [(n, *map(float, p), s) for n, (p, s) in enumerate(zip(cells.means[:, :3], spend, strict=True))]
    ddl = "cell int, p_o double, p_interest double, p_buy double, expected_spend double"
    means = profile.sparkSession.createDataFrame(rows, ddl)
    placed = profile.select("user_id", *RFM, ((r - 1) * 25 + (f - 1) * 5 + m - 1).cast("int").alias("cell"))
    joined = placed.join(F.broadcast(means), "cell").drop("cell")  # one row of `means` per cell: cannot fan out
    return joined.withColumns({"churn_risk": F.lit(None).cast("double"), "drivers": F.array().cast(DRIVERS)})


def by_language(vectors: DataFrame) -> DataFrame:
    """What the language model says in feature.user_vectors of one as_of: TOLD without churn_risk, and no drivers."""
    said = vectors.select("user_id", *PROBABILITIES, "expected_spend")
    return said.withColumns({"churn_risk": F.lit(None).cast("double"), "drivers": F.array().cast(DRIVERS)})


def _teller(
    model: WorthModel, day: int, stays: Chance | None, reference: Floats | None
) -> Callable[[Iterable[pd.DataFrame]], Iterable[pd.DataFrame]]:
    def run(parts: Iterable[pd.DataFrame]) -> Iterable[pd.DataFrame]:
        for rows in parts:
            history = unpacked(rows)
            known = known_at(history, day)
            x = signals_at(history, day)[known]
            out = _frame(history.users[known], model.told(x), x, stays)
            if reference is not None:
                driven = drivers(model.explained.log_odds, x, reference)
                out = out.assign(**{f"driver_{i}": driven[:, i] for i in range(len(GROUPS))})
            yield out

    return run


def _frame(users: NDArray[np.object_], said: Told, x: Floats, stays: Chance | None) -> pd.DataFrame:
    """COLUMNS of users with SIGNALS x (n, S)."""
    out = pd.DataFrame({"user_id": users}, dtype=object)
    for i, name in enumerate(PROBABILITIES):
        out[name] = said.p[:, i]
    out["expected_spend"] = np.nan if said.spend is None else said.spend
    out["churn_risk"] = np.nan if stays is None else 1.0 - stays.probability(x)
    for name, signal in RFM.items():
        out[name] = x[:, SIGNALS.index(signal)]
    return out


def _ranked(driven: Mapping[str, str]) -> Column:
    """ARRAY<STRUCT<driver, log_odds>> by falling |log-odds|, ties by name, of columns and what each is called."""
    if not driven:
        return F.array().cast(DRIVERS)
    pairs = F.array(
        *[
            F.struct((-F.abs(F.col(c))).alias("by"), F.lit(name).alias("driver"), F.col(c).alias("log_odds"))
            for c, name in driven.items()
        ]
    )
    return F.transform(F.sort_array(pairs), lambda p: F.struct(p["driver"].alias("driver"), p["log_odds"].alias("log_odds")))


def _order(said: Told) -> Floats:
    return said.buys if said.spend is None else said.spend

"""The chance that a user answers the next campaign, learnt from how contacted users answered earlier ones.

Campaigns are not dealt out at random: shops contact whom they expect to answer. What is learnt is response among such users,
not the effect of contacting them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame

from equipoise.audiences.campaigns import FEATURES, NONE, Contacts, features_at, unpacked_contacts
from equipoise.segments.history import Bools, Floats, History, unpacked
from equipoise.segments.signals import known_at, signals_at
from equipoise.segments.worth import Chance, chance

LEAST_ANSWERS = 20
"""Answers that a model is learnt from, at least."""

TOLD = "user_id string, p_response double, contacts bigint, answers bigint, days_since_answer double, trips_28d double"


@dataclass(frozen=True)
class Past:
    """Contacts of closed campaigns: features (n, F) at each one's start, whether the user answered, campaign and user of each
    row."""

    x: Floats
    yes: Bools
    campaign: tuple[str, ...]
    user: np.ndarray[tuple[int], np.dtype[np.int64]]


def past(history: History, contacts: Contacts, *, until: int, response_days: int, start: int | None = None) -> Past:
    """Rows of campaigns whose `response_days` from their first day end at or before `until`; those that began before `start`
    are left out. A user who answers later than that has not answered."""
    x, yes, names, users = [np.zeros((0, len(FEATURES)))], [np.zeros(0, dtype=bool)], [], [np.zeros(0, dtype=np.int64)]
    for name, first, size in contacts.campaigns():
        if first + response_days > until or (start is not None and first < start):
            continue
        mine = contacts.where(contacts.campaign == name)
        x.append(features_at(history, contacts, first, size)[mine.user])
        yes.append((mine.answer != NONE) & (mine.answer < first + response_days))
        names += [name] * len(mine.user)
        users.append(mine.user)
    return Past(np.concatenate(x), np.concatenate(yes), tuple(names), np.concatenate(users))


def fit(rows: Past, seed: int) -> Chance | None:
    """The chance of an answer; None with fewer than LEAST_ANSWERS of them."""
    return chance(rows.x, rows.yes, seed) if rows.yes.sum() >= LEAST_ANSWERS else None


def propensity(history: History, contacts: Contacts, seed: int) -> float | None:
    """AUC of telling who the last campaign contacted, among all users known then, from signals and earlier campaigns' choices:
    .5 would be chance, and what is far above it makes response no effect. None with fewer than two campaigns, or where one
    contacted all."""
    from sklearn.metrics import roc_auc_score

    whole = contacts.campaigns()
    x, chosen = [], []
    for name, first, _ in whole:
        known = known_at(history, first)
        here = np.zeros(len(history.users), dtype=bool)
        here[contacts.user[contacts.campaign == name]] = True
        x.append(signals_at(history, first)[known])
        chosen.append(here[known])
    if len(whole) < 2 or not sum(c.sum() for c in chosen[:-1]) or chosen[-1].all() or not chosen[-1].any():
        return None
    model = chance(np.concatenate(x[:-1]), np.concatenate(chosen[:-1]), seed)
    return float(roc_auc_score(chosen[-1], model.log_odds(x[-1])))


def responses(packed: DataFrame, model: Chance, *, day: int, size: int) -> DataFrame:
    """One row per user known at the day: TOLD.

    Args:
        packed: rows of `history.packed` with the columns of `campaigns.contacted`, null where a user has no contact.
        day: as_of, on which a campaign of `size` contacts would begin.
    """
    return packed.mapInPandas(_teller(model, day, size), TOLD)


def _teller(model: Chance, day: int, size: int) -> Callable[[Iterable[pd.DataFrame]], Iterable[pd.DataFrame]]:
    def run(parts: Iterable[pd.DataFrame]) -> Iterable[pd.DataFrame]:
        for rows in parts:
            history = unpacked(rows)
            known = known_at(history, day)
            x = features_at(history, unpacked_contacts(rows), day, size)[known]
            out = pd.DataFrame({"user_id": history.users[known]}, dtype=object).assign(p_response=model.probability(x))
            for name in ("contacts", "answers", "days_since_answer", "trips_28d"):
                out[name] = x[:, FEATURES.index(name)]
            yield out.astype({"contacts": "int64", "answers": "int64"})

    return run

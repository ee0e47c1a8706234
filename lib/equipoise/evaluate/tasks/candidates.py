"""Task candidates: what part of the next basket each source of candidates brings, alone and beside the others."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import numpy as np

from equipoise.evaluate.arrays import Floats, Ints, counted
from equipoise.evaluate.bootstrap import Measure, per_user
from equipoise.evaluate.table import Comparison, Method
from equipoise.evaluate.tasks.next_basket import NextBasket

ALL, WITHOUT = "all", "without "
"""Methods: every candidate; every candidate but those that one source alone brought."""


def comparison(basket: NextBasket, sources: Mapping[str, Ints], origin: date) -> Comparison | None:
    """Sets, not lists: recall says what a ranker could reach at best, however long the set is. None without candidates.

    Args:
        sources: name → keys user · width + item of the candidates that it brought, each once; one candidate may be of several.
    """
    named = {name: np.unique(keys) for name, keys in sources.items() if len(keys)}
    if not named:
        return None
    every, brought = np.unique(np.concatenate(list(named.values())), return_counts=True)
    sets = {ALL: every, **named}
    if len(named) > 1:
        only = every[brought == 1]
        sets |= {f"{WITHOUT}{name}": np.setdiff1d(every, np.intersect1d(keys, only)) for name, keys in named.items()}
    methods = tuple(Method.fixed(name, _measures(basket, keys)) for name, keys in sets.items())
    return Comparison("candidates", origin.isoformat(), basket.tested, methods, ALL)


def _measures(basket: NextBasket, keys: Ints) -> list[Measure]:
    """recall (…_repeat, …_explore: of what the user had, or had not) of a set, precision, and how many candidates it has."""
    hits = np.intersect1d(keys, basket.truth, assume_unique=True)
    again = np.isin(hits, basket.history)
    found, repeats = (counted(h // basket.width, basket.users)[basket.tested] for h in (hits, hits[again]))
    size, old = basket.size.astype(np.float64), basket.repeats.astype(np.float64)
    held = counted(keys // basket.width, basket.users)[basket.tested].astype(np.float64)
    values = {
        "recall": found / _or_nan(size),
        "recall_repeat": repeats / _or_nan(old),
        "recall_explore": (found - repeats) / _or_nan(size - old),
        "precision": found / _or_nan(held),
        "candidates": held,
    }
    return [per_user(name, value) for name, value in values.items()]


def _or_nan(values: Floats) -> Floats:
    return np.where(values > 0, values, np.nan)

"""Task balance: what calibration (λ) and explore slots cost in accuracy, on the same candidates as the published lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import get_args

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame

from equipoise.evaluate.arrays import Floats, Ints
from equipoise.evaluate.behaviour import Catalogue
from equipoise.evaluate.bootstrap import Measure, per_user
from equipoise.evaluate.metrics import distribution
from equipoise.evaluate.metrics.ranking import EMPTY
from equipoise.evaluate.table import Comparison, Method
from equipoise.evaluate.tasks.items import Lists, category_shares, list_method_measures
from equipoise.evaluate.tasks.next_basket import NextBasket
from equipoise.recommend.block import parse
from equipoise.recommend.divergence import divergence_bits
from equipoise.recommend.explore import Drawing
from equipoise.recommend.lists import Policy, lists

SWEEP_USERS = 1_000
"""Users whose lists are made again for every setting: a seeded sample, since a sweep costs as much as all its lists."""

SLOTS = (0, 1, 2, 3, 5)
"""Explore slots tried at the published λ; λ is swept at none and at the published number."""

SWEPT = "user_id STRING, rank INT, item_id STRING, category STRING, slot STRING, policy INT"


def policies(published: Policy, frontier: Iterable[float]) -> list[Policy]:
    """The settings of the sweep, no setting twice: first λ = 0 without exploring, which the others are compared with; last the
    other ways to draw what is explored, at the published λ and number of slots. Budgets are the same for everybody."""
    pairs = [(0.0, 0)]
    pairs += [(weight, slots) for slots in (0, published.explore_slots) for weight in frontier]
    pairs += [(published.calibration, slots) for slots in (*SLOTS, published.explore_slots)]
    fitting = [(w, s) for w, s in dict.fromkeys(pairs) if s < published.k and s <= published.explore_pool]
    fixed = replace(published, explore_budget="fixed")
    found = [replace(fixed, calibration=weight, explore_slots=slots) for weight, slots in fitting]
    others = [d for d in get_args(Drawing) if d != published.explore_draw] if published.explore_slots else []
    return found + [replace(fixed, explore_draw=d) for d in others]


def name(policy: Policy, published: Policy) -> str:
    """Method of a setting; the draw is named where it is not the published one."""
    drawn = "" if policy.explore_draw == published.explore_draw else f" draw={policy.explore_draw}"
    return f"calibrated λ={policy.calibration:g} slots={policy.explore_slots}{drawn}"


def sweep(rows: DataFrame, settings: Sequence[Policy]) -> DataFrame:
    """One row per user × rank × setting (SWEPT): the lists of every setting, from what `rows_for_blocks` gives."""
    return rows.groupBy("block").applyInPandas(_sweep_of(list(settings)), SWEPT)


def _sweep_of(settings: list[Policy]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def run(frame: pd.DataFrame) -> pd.DataFrame:
        block = parse(frame)  # candidates do not hang on the setting
        parts = [lists(block, one).assign(policy=number) for number, one in enumerate(settings)]
        return pd.concat(parts, ignore_index=True)[["user_id", "rank", "item_id", "category", "slot", "policy"]]

    return run


def comparison(
    swept: Mapping[str, Lists],
    pair: tuple[NextBasket, NextBasket],
    catalogue: Catalogue,
    target: Floats,
    following: Floats,
    alpha: float,
    origin: date,
    groups: Mapping[str, Ints],
) -> Comparison:
    """Every setting's accuracy on the next basket, and how far its lists stand from the target and from the next window.

    Args:
        swept: name of the setting → lists; users without a list are left out.
        target: (users, categories) target_share. following: shares of the next window, 0 where it is empty.
    """
    first = next(iter(swept.values()))
    listed = (first.item != EMPTY).any(1)[pair[0].tested]
    tested = pair[0].tested[listed]
    methods = []
    for method, shown in swept.items():
        measures = [m.take(listed) for m in list_method_measures(pair, shown, catalogue)]
        measures += _distances(category_shares(shown.item[tested], catalogue), target[tested], following[tested], alpha)
        methods.append(Method(method, (tuple(measures),), 1))
    return Comparison("balance", origin.isoformat(), tested, tuple(methods), methods[0].name, groups=groups)


def _distances(shares: Floats, target: Floats, following: Floats, alpha: float) -> list[Measure]:
    """kl_bits and js_bits: list against target, as the re-ranking smooths it; *_next: list against what the window held."""
    known = following.sum(1) > 0
    values = {
        "kl_bits": divergence_bits(target, shares, alpha),
        "js_bits": distribution.js_bits(target, shares),
        "kl_bits_next": np.where(known, divergence_bits(following, shares, alpha), np.nan),
        "js_bits_next": np.where(known, distribution.js_bits(following, shares), np.nan),
    }
    return [per_user(metric, value) for metric, value in values.items()]

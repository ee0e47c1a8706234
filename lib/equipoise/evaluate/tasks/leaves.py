"""Tasks leaves and explore: the next basket by finest category, and what a place brings and costs that shows something new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np

from equipoise.evaluate.arrays import Bools, Floats, Ints, counted, distinct
from equipoise.evaluate.baselines import items as own
from equipoise.evaluate.baselines import leaves, tifu
from equipoise.evaluate.baselines.pairs import Visits
from equipoise.evaluate.behaviour import Behaviour, Catalogue, countable_trips
from equipoise.evaluate.bootstrap import per_user
from equipoise.evaluate.metrics import ranking
from equipoise.evaluate.table import Comparison, Method
from equipoise.evaluate.tasks.next_basket import NextBasket, list_measures, next_basket
from equipoise.tables.vocabulary import UNKNOWN

BASELINE = "personal_decay"
MODEL = "boosted_leaves"
K = 10
SLOTS = (1, 2, 3)
"""Places given to leaves that are new to the user."""

LEAST = 1e-12
"""Chance of a leaf whose chance was not computed, before its log."""

CUTS = 4
"""Training cuts, a window apart; every label lies before the origin."""

MIN_LINES = 10
"""User-days that a leaf needs before the last training window to be one."""

MOST_LEAVES, MOST_CELLS = 2_000, 5_000_000
"""The most frequent leaves, and at most so many users × leaves (a seeded sample of users): 44 features of them take a GB."""


@dataclass(frozen=True)
class World:
    """Visits of the chosen users (renumbered) by leaf. users: their numbers in the log; main: the category of each leaf."""

    log: Visits
    main: Ints
    users: Ints

    def basket(self, origin: int, end: int) -> NextBasket:
        log = self.log
        return next_basket(log.user, log.category, log.day, origin, end, log.users, log.categories)


def world(
    behaviour: Behaviour, catalogue: Catalogue, excluded: tuple[str, ...], start: int, end: int, days: int, seed: int
) -> World | None:
    """Leaves are those frequent a window before `start`; None where there are fewer than 2 K of them."""
    log = countable_trips(behaviour, catalogue, excluded, start, end)
    log = log.where((catalogue.leaf != UNKNOWN)[log.item])
    names, leaf_of = np.unique(catalogue.leaf, return_inverse=True)
    cells = np.unique(np.stack([log.user, leaf_of[log.item], log.day]), axis=1)
    often = counted(cells[1, cells[2] < start - days], len(names))
    ranked = np.argsort(-often, kind="stable")[:MOST_LEAVES]
    chosen = np.sort(ranked[often[ranked] >= MIN_LINES])
    if len(chosen) < 2 * K:
        return None
    users = np.random.default_rng(seed).permutation(len(log.users))[: MOST_CELLS // len(chosen)]
    users = np.sort(users)
    kept = np.isin(leaf_of[log.item], chosen) & np.isin(log.user, users)
    part = log.where(kept)
    user, leaf = np.searchsorted(users, part.user), np.searchsorted(chosen, leaf_of[part.item])
    found, lines = distinct(user, leaf, part.day)
    # A leaf's category is that of most of its items; ties by number.
    links = np.zeros((len(chosen), len(catalogue.categories)))
    inside = np.isin(leaf_of, chosen)
    np.add.at(links, (np.searchsorted(chosen, leaf_of[inside]), catalogue.main[inside]), 1.0)
    main = np.unique(links.argmax(1), return_inverse=True)[1]
    visits = Visits(found[0], found[1], found[2], lines.astype(np.float64), len(users), len(chosen))
    return World(visits, main.astype(np.int64), users)


def cuts(world: World, start: int, days: int) -> list[int]:
    """The latest CUTS cuts, `days` apart, whose label windows end at or before `start` and that have `days` of history."""
    first = int(world.log.day.min(initial=start))
    return [cut for cut in (start - days * n for n in range(1, CUTS + 1)) if cut - days >= first]


def comparisons(
    world: World, origin: date, start: int, end: int, days: int, seed: int, groups: Mapping[str, Ints]
) -> list[Comparison]:
    """Task leaves: whole lists by each method. Task explore: the last places given to new leaves by each way to choose them.

    Nothing where no earlier window teaches the models.
    """
    tables = [
        leaves.training_rows(leaves.features(world.log, world.main, cut), world.basket(cut, cut + days), seed + n)
        for n, cut in enumerate(cuts(world, start, days))
    ]
    models = leaves.fitted(tables, seed) if tables else None
    basket = world.basket(start, end)
    if models is None or not len(basket.tested):
        return []
    del tables
    at = leaves.features(world.log, world.main, start)
    known, likely = at["days"] > 0, models.probabilities(at)
    counts = {BASELINE: own.decayed, "p_top_freq": own.frequency}
    scored = {name: _counted(basket, count) for name, count in counts.items()}
    scored["tifu_knn"] = tifu.scores(tifu.vectors(basket.user, basket.code, basket.day, basket.users, basket.width))
    scored[MODEL] = likely
    units = world.users[basket.tested]
    whole = [
        Method(name, (tuple(list_measures(basket, top(score, K))),), 1 if name == MODEL else None)
        for name, score in scored.items()
    ]
    near = np.mean([at[name] for name in leaves.NEAR], axis=0, dtype=np.float64)
    ways: dict[str, Floats] = {
        "popular": np.broadcast_to(basket.popularity, known.shape),
        "ease": at["near_own"].astype(np.float64),
        "entry_model": likely,
        "entry_model and ease": np.log(np.maximum(likely, LEAST) / (1.0 - likely)) + near,
    }
    new = {name: np.where(known, 0.0, score - score.min() + 1e-9) for name, score in ways.items()}
    exploring = explored(basket, BASELINE, np.where(known, scored[BASELINE], 0.0), new)
    return [
        Comparison("leaves", origin.isoformat(), units, tuple(whole), BASELINE, groups=groups),
        Comparison("explore", origin.isoformat(), units, tuple(exploring), f"{BASELINE} slots=0"),
    ]


def explored(basket: NextBasket, base: str, exploit: Floats, ways: Mapping[str, Floats]) -> list[Method]:
    """`base slots=0`, then `base + way slots=x`: the best K − x of what the user knows, then the x best of what is new.

    explore_slot_cost: NDCG that each such place costs, per user.
    """
    mine = top(exploit, K)
    plain = _ndcg(basket, mine)
    found = [Method.fixed(f"{base} slots=0", list_measures(basket, mine))]
    for way, score in ways.items():
        new = top(score, max(SLOTS))
        for x in SLOTS:
            lists = np.concatenate([mine[:, : K - x], new[:, :x]], axis=1)
            slots: Bools = np.arange(lists.shape[1]) >= lists.shape[1] - x
            measures = list_measures(basket, lists, slots=np.broadcast_to(slots, lists.shape) & (lists != ranking.EMPTY))
            cost = per_user("explore_slot_cost", (plain - _ndcg(basket, lists)) / x, K)
            found.append(Method(f"{base} + {way} slots={x}", ((*measures, cost),), 1 if way.startswith("entry_model") else None))
    return found


def top(score: Floats, k: int) -> Ints:
    """(users, k) codes of the highest scores above 0, best first, ties by code; EMPTY where there are fewer."""
    best = np.argsort(-score, axis=1, kind="stable")[:, :k]
    out: Ints = np.where(np.take_along_axis(score, best, axis=1) > 0, best, ranking.EMPTY)
    return out


def _ndcg(basket: NextBasket, lists: Ints) -> Floats:
    return ranking.ndcg(ranking.matches(lists, basket.truth, basket.width)[basket.tested], basket.size)


def _counted(basket: NextBasket, count: own.Count) -> Floats:
    """(users, leaves) weights, ties by popularity."""
    keys, weight = count(basket.user, basket.code, basket.day, basket.width)
    out = np.zeros(basket.users * basket.width)
    out[keys] = weight + 1e-9 * (basket.popularity / basket.popularity.max(initial=1.0))[keys % basket.width]
    return out.reshape(basket.users, basket.width)

"""Lists made better by exchanging items: what the greedy choice could not take back.

Letters: u users, n candidates per user (padded), g categories per candidate (padded), c categories, m list length.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from equipoise.recommend.divergence import Divergence, divergence_bits, divergence_terms
from equipoise.recommend.rerank import DECIMALS, Bound, each

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_GAIN = 1e-9
"""An exchange that gains less is not made, so that the search ends."""


def interchange_user_block(
    chosen: Ints,
    relevance: Floats,
    categories: Ints,
    weights: Floats,
    target: Floats,
    *,
    calibration: float | Floats,
    alpha: float,
    bound: Bound | None = None,
    kind: Divergence = "kl",
) -> tuple[Ints, Floats]:
    """Exchanges one chosen candidate for one left out, the best pair of each user, until no pair gains; returns the lists
    (u, m), places ascending, and what each of their items adds (u, m).

    The objective is that of `rerank.rerank_user_block` for the whole list, which the greedy choice only approaches: its first
    picks are made for a list of one or two items, whose shares can hardly be calibrated, so items of many categories are
    taken early and stay (interchange heuristic: Nemhauser, Wolsey & Fisher, Mathematical Programming 14, 1978). Of equal
    gains the one that removes the earlier place wins, then the one that takes the earlier candidate.

    What an item adds is the objective less that of the list without it.

    Args:
        chosen: (u, m) places of the lists to start from, different within a user, none of them padding.
        relevance, categories, weights, target, calibration, alpha, bound, kind: see `rerank.rerank_user_block`.
    """
    lists = np.sort(chosen, axis=1)
    weight = each(calibration, len(lists))
    open_ = np.arange(len(lists))
    while len(open_):
        told = relevance[open_], categories[open_], weights[open_], target[open_]
        limit = bound.of(open_) if bound else None
        gain, removed, taken = _best_exchange(lists[open_], *told, weight[open_], alpha, limit, kind)
        better = gain > LEAST_GAIN
        open_ = open_[better]
        lists[open_, removed[better]] = taken[better]
        lists[open_] = np.sort(lists[open_], axis=1)
    return lists, added(lists, relevance, categories, weights, target, calibration=weight, alpha=alpha, kind=kind)


def _best_exchange(
    lists: Ints,
    relevance: Floats,
    categories: Ints,
    weights: Floats,
    target: Floats,
    calibration: Floats,
    alpha: float,
    bound: Bound | None,
    kind: Divergence,
) -> tuple[Floats, Ints, Ints]:
    """Per user the gain of the best exchange (u,), the position it frees (u,) and the candidate it takes (u,)."""
    users, length = np.arange(len(lists)), lists.shape[1]
    mass = _mass(lists, categories, weights, target)
    divergence = divergence_bits(target, mass / length, alpha, kind)
    weight = calibration[:, None]
    accurate = np.where(np.isfinite(relevance), (1.0 - weight) * np.where(np.isfinite(relevance), relevance, 0.0), -np.inf)
    outside = accurate.copy()
    outside[users[:, None], lists] = -np.inf
    at = users[:, None, None]
    target_of = target[at, categories]
    held = None if bound is None else _held(lists, bound)
    best, removed, taken = np.full(len(users), -np.inf), np.zeros(len(users), np.int64), np.zeros(len(users), np.int64)
    for position in range(length):
        item = lists[:, position]
        left = mass.copy()
        np.add.at(left, (users[:, None], categories[users, item]), -weights[users, item])
        left = np.maximum(left, 0.0)
        terms = divergence_terms(target, left / length, alpha, kind)
        after = divergence_terms(target_of, (left[at, categories] + weights) / length, alpha, kind)
        changed = terms.sum(axis=1)[:, None] + np.where(weights > 0, after - terms[at, categories], 0.0).sum(axis=2)
        gain = np.round(outside - accurate[users, item][:, None] - weight * (changed - divergence[:, None]), DECIMALS)
        if bound is not None and held is not None:  # with the item gone there is room for another of its group
            full = held - (bound.group == bound.group[users, item][:, None]) >= bound.most
            gain[full & (bound.group >= 0)] = -np.inf
        candidate = np.argmax(gain, axis=1)
        found = gain[users, candidate]
        up = found > best
        best[up], removed[up], taken[up] = found[up], position, candidate[up]
    return best, removed, taken


def added(
    lists: Ints,
    relevance: Floats,
    categories: Ints,
    weights: Floats,
    target: Floats,
    *,
    calibration: Floats,
    alpha: float,
    kind: Divergence,
) -> Floats:
    """(u, m) what each item of the lists adds to the objective: that of the list less that of the list without it."""
    users, length = np.arange(len(lists)), lists.shape[1]
    mass = _mass(lists, categories, weights, target)
    divergence = divergence_bits(target, mass / max(length, 1), alpha, kind)
    gains = np.empty(lists.shape)
    for position in range(length):
        item = lists[:, position]
        left = mass.copy()
        np.add.at(left, (users[:, None], categories[users, item]), -weights[users, item])
        without = divergence_bits(target, np.maximum(left, 0.0) / max(length - 1, 1), alpha, kind)
        gains[:, position] = (1.0 - calibration) * relevance[users, item] - calibration * (divergence - without)
    return gains


def _held(lists: Ints, bound: Bound) -> Ints:
    """(u, n) how many of the list are of the candidate's group."""
    inside = bound.group[np.arange(len(lists))[:, None], lists]
    return np.asarray((inside[:, :, None] == bound.group[:, None, :]).sum(axis=1))


def _mass(lists: Ints, categories: Ints, weights: Floats, target: Floats) -> Floats:
    """(u, c) Σ over the list of category weights."""
    users = np.arange(len(lists))[:, None]
    mass = np.zeros_like(target)
    np.add.at(mass, (users[:, :, None], categories[users, lists]), weights[users, lists])
    return mass

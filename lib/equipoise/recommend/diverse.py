"""Ways to balance a list that know no divergence: xQuAD, MMR and quotas, for a block of users at once.

Letters: u users, n candidates per user (padded), g categories per candidate (padded), c categories, m list length.
Arguments that are not told of here are those of `rerank.rerank_user_block`; so is what comes back.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from equipoise.recommend.rerank import DECIMALS, Bound, each

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Chosen = tuple[Ints, Floats]


def xquad_user_block(
    relevance: Floats,
    categories: Ints,
    weights: Floats,
    target: Floats,
    *,
    length: int,
    calibration: float | Floats,
    bound: Bound | None = None,
) -> Chosen:
    """Each step takes the largest (1 − λ) relevance + λ Σ_c p(c) w(c) Π_{j in list} (1 − w_j(c)).

    Santos, Macdonald & Ounis, WWW 2010, equations 1 and 2, with the target shares for the weights of the aspects and the
    items' category weights for their coverage.
    """
    users = np.arange(len(relevance))
    left = target.copy()  # (u, c) p(c) · the part that the list does not cover

    def covered() -> Floats:
        return np.asarray((left[users[:, None, None], categories] * weights).sum(axis=2))

    def take(best: Ints) -> None:
        np.multiply.at(left, (users[:, None], categories[users, best]), 1.0 - weights[users, best])

    return _one_by_one(relevance, length, each(calibration, len(users)), bound, covered, take)


def mmr_user_block(
    relevance: Floats,
    categories: Ints,
    weights: Floats,
    target: Floats,
    *,
    length: int,
    calibration: float | Floats,
    bound: Bound | None = None,
) -> Chosen:
    """Each step takes the largest (1 − λ) relevance − λ · the highest cosine, by categories, with what is chosen.

    Carbonell & Goldstein, SIGIR 1998, with λ the part of novelty; of the target only the number of categories is asked.
    Items without categories are like nothing.
    """
    users = np.arange(len(relevance))
    norm = np.sqrt((weights**2).sum(axis=2, keepdims=True))
    unit = np.divide(weights, norm, out=np.zeros_like(weights), where=norm > 0)
    nearest = np.zeros(relevance.shape)

    def novel() -> Floats:
        return -nearest

    def take(best: Ints) -> None:
        taken = np.zeros_like(target)
        np.add.at(taken, (users[:, None], categories[users, best]), unit[users, best])
        np.maximum(nearest, (taken[users[:, None, None], categories] * unit).sum(axis=2), out=nearest)

    return _one_by_one(relevance, length, each(calibration, len(users)), bound, novel, take)


def quota_user_block(
    relevance: Floats,
    categories: Ints,
    weights: Floats,
    target: Floats,
    *,
    lengths: Ints,
    calibration: float | Floats,
    bound: Bound | None = None,
) -> Chosen:
    """⌊λ m + ½⌋ places are dealt out by `quotas`, the most relevant items of each category take its places; the others, and
    those that a category cannot fill, go to the most relevant items of all. Returns places ascending, and relevance.

    An item counts for one category: that with the largest target share · weight, of equal ones the first by position.

    Args:
        lengths: (u,) m of each user; the lists have room for the longest, and end with gains of −inf.
    """
    users = np.arange(len(relevance))
    places = np.floor(each(calibration, len(users)) * lengths + 0.5).astype(np.int64)
    left = quotas(target, places)
    aimed = np.where(weights > 0, np.round(target[users[:, None, None], categories] * weights, DECIMALS), -1.0)
    first = np.where(aimed == aimed.max(axis=2, keepdims=True, initial=-1.0), categories, target.shape[1])
    main = np.minimum(first.min(axis=2, initial=target.shape[1]), target.shape[1] - 1)
    can, taken = np.isfinite(relevance), np.zeros(relevance.shape, dtype=np.bool_)
    order = np.argsort(np.where(can, -relevance, np.inf), axis=1, kind="stable")
    count = np.zeros(len(users), dtype=np.int64)
    held = np.zeros(relevance.shape, dtype=np.int64)  # how many of the candidate's group are in
    for by_quota in (True, False):
        for n in order.T:
            take = can[users, n] & ~taken[users, n] & (count < lengths)
            if by_quota:
                take &= left[users, main[users, n]] > 0
            if bound is not None:
                take &= (bound.group[users, n] < 0) | (held[users, n] < bound.most)
                held += take[:, None] & (bound.group == bound.group[users, n][:, None])
            taken[users, n] |= take
            count += take
            left[users, main[users, n]] -= take
    return _listed(taken, relevance, int(lengths.max(initial=0)))


def quotas(target: Floats, places: Ints) -> Ints:
    """(u, c) whole numbers near p · places that sum to them, by largest remainder (Hamilton); equal remainders fall to the first
    category by position. All 0 for a user without a target."""
    exact = np.round(target * places[:, None], DECIMALS)
    dealt = np.floor(exact).astype(np.int64)
    over = np.where(target.sum(axis=1) > 0, places - dealt.sum(axis=1), 0)
    order = np.argsort(-np.round(exact - dealt, DECIMALS), axis=1, kind="stable")
    dealt[np.arange(len(target))[:, None], order] += np.arange(target.shape[1]) < over[:, None]
    return dealt


def _listed(taken: NDArray[np.bool_], relevance: Floats, length: int) -> Chosen:
    places = np.argsort(~taken, axis=1, kind="stable")[:, :length]
    kept = np.take_along_axis(taken, places, axis=1)
    chosen, gains = np.zeros((len(taken), length), dtype=np.int64), np.full((len(taken), length), -np.inf)
    chosen[:, : places.shape[1]] = places
    gains[:, : places.shape[1]] = np.where(kept, np.take_along_axis(relevance, places, axis=1), -np.inf)
    return chosen, gains


def _one_by_one(
    relevance: Floats, length: int, weight: Floats, bound: Bound | None, bonus: Callable[[], Floats], take: Callable[[Ints], None]
) -> Chosen:
    """The largest (1 − λ) relevance + λ bonus, again and again; equal ones, to 12 decimals, fall to the earlier candidate."""
    users, weight = np.arange(len(relevance)), weight[:, None]
    open_ = np.where(np.isfinite(relevance), (1.0 - weight) * np.where(np.isfinite(relevance), relevance, 0.0), -np.inf)
    chosen, gains = np.empty((len(users), length), dtype=np.int64), np.empty((len(users), length))
    held = None if bound is None else np.zeros(bound.group.shape, dtype=np.int64)
    for step in range(length):
        gain = open_ + weight * bonus()
        best = np.argmax(np.round(gain, DECIMALS), axis=1)
        chosen[:, step], gains[:, step] = best, gain[users, best]
        take(best)
        open_[users, best] = -np.inf
        if bound is not None and held is not None:
            held += (bound.group == bound.group[users, best][:, None]) & (bound.group >= 0)
            open_[held >= bound.most] = -np.inf
    return chosen, gains

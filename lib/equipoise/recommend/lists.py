"""From a block's candidates to its lists: relevance, calibrated order, exploration, and what each row's reason points to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import pandas as pd

from equipoise.recommend.block import NEIGHBOUR, POPULAR, SOURCES, Block, Bools, Candidates, Floats, Ints
from equipoise.recommend.choose import Reranking, Way, choose
from equipoise.recommend.divergence import Divergence
from equipoise.recommend.explore import Drawing, Exploring, Slot, explored
from equipoise.recommend.fill import filled
from equipoise.recommend.relevance import DECIMALS, relevance, scales
from equipoise.recommend.rerank import Bound
from equipoise.recommend.weight import Weight, personal

ROWS = {
    "user_id": "string",
    "rank": "int",
    "item_id": "string",
    "category": "string",
    "slot": "string",
    "score": "double",
    "relevance": "double",
    "propensity": "double",
    "source": "string",
    "reason_code": "string",
    "reason_key": "string",
    "reason_value": "double",
    "expected_response": "double",
    "bought": "bigint",
}
"""What comes out: gold.recommendations without words and stamps. bought: how many of the counted events were purchases."""


@dataclass(frozen=True)
class Policy:
    """How lists are made of candidates; the fields are the settings of the same names.

    calibration is λ; seed and as_of make the exploration's draw; min_item_events: categories whose popular items have fewer
    visits are explored only when nothing else is left. explore_budget: everybody has explore_slots, or each user the budget
    of gold.exploration_budgets. most_per_brand: among the places that do not explore; 0: no bound. weight: everybody has λ,
    or each user an own one that is λ on average.
    """

    as_of: date
    k: int
    explore_slots: int
    calibration: float
    alpha: float
    rerank: Reranking
    explore_pool: int
    explore_draw: Drawing
    explore_floor: float
    explore_budget: Literal["fixed", "personal"]
    min_item_events: int
    most_per_brand: int
    divergence: Divergence
    weight: Weight
    seed: int

    def slots(self, block: Block) -> Ints:
        """(u,) explore slots of each user."""
        own = block.interests.slots
        return own if self.explore_budget == "personal" else np.full_like(own, self.explore_slots)

    def weights(self, block: Block) -> Floats:
        """(u,) λ of each user."""
        if self.weight == "personal":
            return personal(self.calibration, block.interests.tilt)
        return np.full(len(block.users), self.calibration)

    @property
    def exploring(self) -> Exploring:
        """How categories are drawn."""
        return Exploring(self.explore_pool, self.min_item_events, self.explore_draw, self.explore_floor)


@dataclass(frozen=True)
class Scored:
    """A block's candidates with their relevance, best first for each user (j); `scale`: what 1.0 stands for, per user."""

    candidates: Candidates
    relevance: Floats
    scale: Floats
    order: Ints


def lists(block: Block, policy: Policy) -> pd.DataFrame:
    """One row per user × rank with the columns of `ROWS`, by user and rank.

    A user gets fewer than k rows only when gold.user_interests and the catalogue together hold too few items; the caller
    checks that.
    """
    lengths = policy.k - policy.slots(block)
    scored = score(block, lengths, policy.most_per_brand)
    chosen, gains = exploit(block, scored, policy, lengths)
    first = _exploit_rows(block, scored, chosen, gains)
    last = _explore_rows(block, scored, chosen, policy)
    rows = pd.concat([first, last], ignore_index=True).sort_values(["user", "rank"], ignore_index=True)
    names = np.array([*block.users, None], dtype=object)
    categories = np.array([*block.categories, None], dtype=object)
    rows["user_id"], rows["category"] = names[rows["user"].to_numpy(int)], categories[rows["category"].to_numpy(int)]
    # A reason about a category is keyed by it, one about an item by the item: the listed one, or the one that led to it.
    of_category = rows["reason_code"].isin(["popular_in_category", "unseen_category", "least_known"])
    rows["reason_key"] = rows["category"].where(of_category, rows["item_key"])
    rows["rank"] = rows.groupby("user").cumcount() + 1
    return rows[list(ROWS)]


def score(block: Block, wanted: Ints, most_per_brand: int = 0) -> Scored:
    """The candidates (at least `wanted` (u,) of each user where there is enough to fill up, see `fill`) with their relevance.

    Order: relevance, then Σ over categories of target share · the item's part of the category's popularity, then cosine
    (known before unknown), then item_id.
    """
    candidates = filled(block, wanted, most_per_brand)
    aimed = block.interests.target[candidates.user[candidates.of_row], candidates.category_of_row]
    popular = np.bincount(candidates.of_row, weights=aimed * candidates.share_of_row, minlength=len(candidates.user))
    scale = scales(candidates.value, candidates.user, len(block.users))
    relevant = relevance(candidates.value, candidates.user, scale)
    item = pd.factorize(candidates.item_id, sort=True)[0]
    nearness = np.where(np.isnan(candidates.cosine), -np.inf, candidates.cosine)
    order = np.lexsort((item, -nearness, -np.round(popular, DECIMALS), -relevant, candidates.user))
    return Scored(candidates, relevant, scale, order)


def exploit(block: Block, scored: Scored, policy: Policy, lengths: Ints) -> tuple[Ints, Floats]:
    """Calibrated lists of `lengths` (u,): candidate numbers (u, longest), −1 where a list ends, and their gains (u, longest).

    The re-ranking decides who is in the list; within it the most relevant come first. Steck's objective does not depend on
    the order, so this costs no calibration, and measured (as in `relevance.mixture`, no explore slots) NDCG@10 at λ = .3
    is .2218 instead of .2191 in the order of the choice, at λ = .5 .2182 instead of .2099, at λ = 0 .2250.
    """
    candidates, users, length = scored.candidates, len(block.users), int(lengths.max(initial=0))
    ranked_user = candidates.user[scored.order]
    held = np.bincount(ranked_user, minlength=users)
    place = np.empty(len(ranked_user), dtype=np.int64)  # place of a candidate in its user's row of the matrices below
    place[scored.order] = np.arange(len(ranked_user)) - np.repeat(np.cumsum(held) - held, held)
    # Every row of the matrices has room for the whole list, so that a user who is short ends in padding.
    width = max(length, int(held.max(initial=0)))
    number = np.full((users, width), -1, dtype=np.int64)
    number[candidates.user, place] = np.arange(len(place))
    relevant = np.full((users, width), -np.inf)
    relevant[candidates.user, place] = scored.relevance
    at = candidates.user[candidates.of_row], place[candidates.of_row], _nth(candidates.of_row)
    depth = int(at[2].max(initial=0)) + 1
    categories = np.zeros((users, width, depth), dtype=np.int64)
    weights = np.zeros((users, width, depth))
    categories[at], weights[at] = candidates.category_of_row, candidates.weight_of_row
    told = relevant, categories, weights, reachable(block, candidates)
    way = Way(policy.rerank, policy.divergence, policy.alpha)
    bound = _bound(candidates, number, policy.most_per_brand)
    chosen, gains = choose(told, way, policy.weights(block), lengths, bound)
    place_of = np.where(np.isfinite(gains), chosen, width)  # places run from the most relevant on
    best_first = np.argsort(place_of, axis=1, kind="stable")
    gains = np.take_along_axis(gains, best_first, axis=1)
    listed = np.take_along_axis(number, np.take_along_axis(chosen, best_first, axis=1), axis=1)
    return np.where(np.isfinite(gains), listed, -1), gains


def _bound(candidates: Candidates, number: Ints, most: int) -> Bound | None:
    """number: (u, n) candidates, −1 in the padding."""
    return Bound(np.append(candidates.brand, -1)[number], most) if most else None


def _nth(of_row: Ints) -> Ints:
    """0, 1, 2… within each run of equal values; rows of one candidate stand together."""
    starts = np.flatnonzero(np.r_[True, of_row[1:] != of_row[:-1]]) if len(of_row) else np.zeros(0, dtype=np.int64)
    return np.asarray(np.arange(len(of_row)) - np.repeat(starts, np.diff(np.r_[starts, len(of_row)])))


def reachable(block: Block, candidates: Candidates) -> Floats:
    """(u, c) target shares over the categories that some candidate of the user has, renormalised; all 0 when there are none."""
    reach: Bools = np.zeros(block.interests.target.shape, dtype=np.bool_)
    reach[candidates.user[candidates.of_row], candidates.category_of_row] = True
    inside = np.where(reach, block.interests.target, 0.0)
    total = inside.sum(axis=1, keepdims=True)
    return np.divide(inside, total, out=np.zeros_like(inside), where=total > 0)


def _exploit_rows(block: Block, scored: Scored, chosen: Ints, gains: Floats) -> pd.DataFrame:
    candidates = scored.candidates
    user, rank = np.nonzero(chosen >= 0)
    taken = chosen[user, rank]
    category = _main_category(block, candidates)[taken]
    known, looked, cosine = candidates.known[taken], candidates.looked[taken], candidates.cosine[taken]
    similar = (candidates.source[taken] != POPULAR) & ~np.isnan(cosine)
    shared = candidates.source[taken] == NEIGHBOUR
    told = [known > 0, looked > 0, shared, similar]
    codes = np.select(told, ["bought_before", "looked_before", "same_users", "similar_text"], "popular_in_category")
    found = [known.astype(float), looked.astype(float), candidates.similarity[taken], cosine]
    values = np.select(told, found, block.interests.target[user, category])
    item_id = candidates.item_id[taken]
    return pd.DataFrame(
        {
            "user": user,
            "rank": rank,
            "item_id": item_id,
            "category": category,
            "slot": "exploit",
            "score": gains[user, rank],
            "relevance": scored.relevance[taken],
            "propensity": 1.0,
            "source": np.array(["", *SOURCES], dtype=object)[candidates.source[taken]],
            "reason_code": codes.astype(object),
            "item_key": np.where(codes == "same_users", candidates.neighbour[taken], item_id),
            "reason_value": values,
            "expected_response": np.nan,
            "bought": candidates.bought[taken],
        }
    )


def _main_category(block: Block, candidates: Candidates) -> Ints:
    """(j,) the category that stands for a candidate: of those in the user's interests the one that carries most of the
    target (target share · weight), else the one with most weight; ties fall by name."""
    user = candidates.user[candidates.of_row]
    there = block.interests.there[user, candidates.category_of_row]
    aimed = block.interests.target[user, candidates.category_of_row] * candidates.weight_of_row
    keys = (candidates.category_of_row, -candidates.weight_of_row, -aimed, ~there, candidates.of_row)
    order = np.lexsort(keys)
    first = order[np.r_[True, np.diff(candidates.of_row[order]) > 0]] if len(order) else order
    main: Ints = candidates.category_of_row[first]
    return main


def _explore_rows(block: Block, scored: Scored, chosen: Ints, policy: Policy) -> pd.DataFrame:
    candidates, budget = scored.candidates, policy.slots(block)
    rows: list[tuple[int, int, Slot]] = []
    for user, name in enumerate(block.users):
        taken = {str(candidates.item_id[j]) for j in chosen[user] if j >= 0}
        slots = explored(block, user, taken, int(budget[user]), policy.exploring, (policy.seed, name, policy.as_of))
        rows += [(user, policy.k + n, slot) for n, slot in enumerate(slots)]
    user_of = np.array([r[0] for r in rows], dtype=np.int64)
    found = [r[2] for r in rows]
    named = pd.DataFrame({"user": user_of, "item_id": np.array([s.item.item_id for s in found], dtype=object)})
    valued = pd.DataFrame({"user": candidates.user, "item_id": candidates.item_id, "value": candidates.value})
    value = named.merge(valued, "left", ["user", "item_id"])["value"].fillna(0.0).to_numpy(np.float64)
    return pd.DataFrame(
        {
            "user": user_of,
            "rank": np.array([r[1] for r in rows], dtype=np.int64),
            "item_id": named["item_id"],
            "category": np.array([s.category for s in found], dtype=np.int64),
            "slot": "explore",
            "score": np.array([s.weight for s in found]),
            "relevance": relevance(value, user_of, scored.scale),
            "propensity": np.array([s.propensity for s in found]),
            "source": "explore",
            "reason_code": np.array(["unseen_category" if s.unseen else "least_known" for s in found], dtype=object),
            "reason_value": np.array([s.value for s in found]),
            "expected_response": np.array([s.guess if s.guess > 0 else np.nan for s in found]),
            "bought": 0,
        }
    )

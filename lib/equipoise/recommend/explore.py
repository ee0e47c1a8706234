"""Slots for what a user does not know yet: which categories are drawn, and with what probability."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np

from equipoise.feedback.response import Ratios, floored, optimistic, thompson
from equipoise.recommend.block import Block, Floats, Ints, Shelved

SMALLEST_SHARE = 1e-12
"""A predicted share of 0 counts as this: whatever stands in the pool can be drawn, so its propensity is not 0."""

Drawing = Literal["share", "thompson", "ucb"]


def inclusion_probabilities(shares: Floats, slots: int) -> Floats:
    """Probability of each pool entry to be among the `slots` drawn: slots · share ÷ Σ share, cut at 1.

    What is cut off is spread over the others in proportion until nothing exceeds 1 (Särndal, Swensson & Wretman, Model
    Assisted Survey Sampling, 1992, §3.6.1). The values sum to min(slots, entries).
    """
    left = np.maximum(shares.astype(np.float64), SMALLEST_SHARE)
    if slots >= len(left):
        return np.ones(len(left))
    sure = np.zeros(len(left), dtype=bool)
    while True:
        rest = slots - int(sure.sum())
        inside = np.where(sure, 0.0, left)
        probabilities = np.where(sure, 1.0, rest * inside / inside.sum())
        above = (probabilities >= 1.0) & ~sure
        if not above.any() or rest == 0:
            return probabilities
        sure |= above


def draw(probabilities: Floats, generator: np.random.Generator) -> Ints:
    """Positions drawn without replacement, ascending: exactly Σ probabilities of them, each with exactly its probability.

    Systematic sampling in random order (Madow 1949; Goodman & Kish 1950): the entries lie end to end on a line, each as long
    as its probability, and one uniform start picks the entry at every whole step from it. Inclusion probabilities are exact
    whatever the order; the random order only lets more pairs occur together.
    """
    sure = np.flatnonzero(probabilities >= 1.0)
    open_ = np.flatnonzero(probabilities < 1.0)
    slots = round(float(probabilities[open_].sum()))
    order = open_[generator.permutation(len(open_))]
    ends = np.minimum(np.cumsum(probabilities[order]), slots)
    ends[-1:] = slots  # the sum's last bit must not lose the last step
    picked = np.searchsorted(ends, generator.random() + np.arange(slots), side="right")
    return np.sort(np.concatenate([sure, order[picked]]))


def generator(seed: int, user_id: str, as_of: date) -> np.random.Generator:
    """The user's own random numbers: a function of run seed, user and date, so that a rerun draws the same."""
    digest = hashlib.sha256(f"{seed}|{user_id}|{as_of.isoformat()}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


@dataclass(frozen=True)
class Slot:
    """One explored item. category: position; weight: its part in the draw, 0 when nothing was drawn; unseen: else least
    known; value: the predicted share of an unseen category, the observed share of a least known one; guess: probability of a
    response before any feedback, 0 where the model knows nothing of the category."""

    item: Shelved
    category: int
    weight: float
    propensity: float
    unseen: bool
    value: float
    guess: float


@dataclass(frozen=True)
class Exploring:
    """How categories are drawn; the fields are the settings recommend.explore_* of the same names, without the prefix."""

    pool: int
    min_visits: int
    draw: Drawing
    floor: float


def explored(block: Block, user: int, taken: set[str], slots: int, how: Exploring, random: tuple[int, str, date]) -> list[Slot]:
    """The user's explore slots: drawn from unseen categories; where too few are left, the least known.

    Each category of the pool stands for one item, its most popular one that is neither in `taken` nor another category's,
    fixed before the draw: so an item's propensity is its category's inclusion probability, also where items have several
    categories. The pool holds the unseen categories that promise most (`share`: predicted share; else the guess times the mean
    of its ratio) and have an item with `min_visits` visits; with fewer than `slots` of those, unseen categories of rare items
    join. If the pool still is not larger than the slots, all of it is taken and seen categories with the lowest observed share
    fill up.

    Args:
        random: run seed, user id and as_of of the draw.
    """
    if slots == 0:
        return []
    drawable, used = _pool(block, user, taken, slots, how)
    found = _drawn(block, user, drawable, slots, how, random)
    return found + _least_known(block, user, used, slots - len(found))


def chances(
    block: Block, user: int, taken: set[str], slots: int, how: Exploring, random: tuple[int, str, date]
) -> dict[int, float]:
    """Category → probability with which `explored` draws it for the user; categories outside the pool, with 0, are left out.

    Args: as those of `explored`.
    """
    drawable = list(_pool(block, user, taken, slots, how)[0]) if slots else []
    if not drawable:
        return {}
    found = _inclusion(block, user, drawable, slots, how, generator(*random))
    return dict(zip(drawable, found.tolist(), strict=True))


def _pool(block: Block, user: int, taken: set[str], slots: int, how: Exploring) -> tuple[dict[int, Shelved], set[str]]:
    """The categories that can be drawn with the item that each stands for, and all items that are in use then."""
    facts = block.interests
    unseen = [c for c in np.flatnonzero(facts.there[user] & ~facts.seen[user]) if c != block.unknown]
    promise = facts.predicted[user] if how.draw == "share" else facts.guess[user] * ratios(block, user).mean
    unseen.sort(key=lambda c: (-promise[c], c))
    used = set(taken)
    drawable: dict[int, Shelved] = {}
    for visits, most in ((how.min_visits, how.pool), (0, slots)):
        for c in unseen:
            if len(drawable) >= most:
                break
            if c not in drawable:
                _take_first(block, int(c), used, visits, drawable)
    return drawable, used


def ratios(block: Block, user: int, categories: list[int] | slice = slice(None)) -> Ratios:
    """Posteriors of the user's categories; 1 for sure where the user has no row."""
    there = block.interests.there[user, categories]
    shape, rate = (np.where(there, m[user, categories], 1.0) for m in (block.interests.shape, block.interests.rate))
    return Ratios(shape, rate)


def _take_first(block: Block, category: int, used: set[str], min_visits: int, into: dict[int, Shelved]) -> None:
    item = next((s for s in block.shelves[category] if s.item_id not in used and s.visits >= min_visits), None)
    if item is not None:
        used.add(item.item_id)
        into[category] = item


def _drawn(
    block: Block, user: int, drawable: dict[int, Shelved], slots: int, how: Exploring, random: tuple[int, str, date]
) -> list[Slot]:
    if not drawable:
        return []
    categories, source = list(drawable), generator(*random)
    shares, guess = block.interests.predicted[user, categories], block.interests.guess[user, categories]
    propensity = _inclusion(block, user, categories, slots, how, source)
    part = np.maximum(shares, SMALLEST_SHARE) if how.draw == "share" else propensity
    weights = part / part.sum()
    return [
        Slot(
            drawable[categories[n]],
            categories[n],
            float(weights[n]),
            float(propensity[n]),
            True,
            float(shares[n]),
            float(guess[n]),
        )
        for n in draw(propensity, source)
    ]


def _inclusion(block: Block, user: int, categories: list[int], slots: int, how: Exploring, source: np.random.Generator) -> Floats:
    """(p,) probability of each category of the pool to be drawn: by predicted share, or by what feedback says of it."""
    if how.draw == "share":
        return inclusion_probabilities(block.interests.predicted[user, categories], slots)
    guess, known = np.maximum(block.interests.guess[user, categories], SMALLEST_SHARE), ratios(block, user, categories)
    best = thompson(guess, known, slots, source) if how.draw == "thompson" else optimistic(guess, known, slots)
    return floored(best, how.floor)


def _least_known(block: Block, user: int, used: set[str], slots: int) -> list[Slot]:
    """Seen categories by rising observed share, one item each, and round again while slots are left.

    Last come what is left of unseen categories, and UNKNOWN: only a catalogue of hardly more than k items gets there.
    """
    facts = block.interests
    there = np.flatnonzero(facts.there[user])
    order = sorted(there, key=lambda c: (c == block.unknown, not facts.seen[user, c], facts.observed[user, c], c))
    found: list[Slot] = []
    while len(found) < slots:
        before = len(found)
        for c in order:
            if len(found) == slots:
                break
            item: dict[int, Shelved] = {}
            _take_first(block, int(c), used, 0, item)
            unseen = not facts.seen[user, c]
            value = float((facts.predicted if unseen else facts.observed)[user, c])
            found += [Slot(s, int(c), 0.0, 1.0, unseen, value, float(facts.guess[user, c])) for s in item.values()]
        if len(found) == before:
            break
    return found

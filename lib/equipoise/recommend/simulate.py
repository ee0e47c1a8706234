"""A shop with planted tastes that drift, in which a policy's lists bring responses that its next lists learn from.

Ratios, probabilities and draws are those that recommend_items runs (`response.pooled`, `thompson`, `optimistic`, `floored`,
`explore.inclusion_probabilities`, `draw`), exploit places are calibrated by `rerank_user_block`; the pool is chosen here, by the
same rule for every draw. One item stands for each category, answers come at once and one round's are over before the next.
Letters: u users, c categories, k places of a list.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from equipoise.feedback.response import Floats, Ratios, Responses, floored, optimistic, pooled, thompson
from equipoise.recommend.explore import draw, inclusion_probabilities
from equipoise.recommend.rerank import rerank_user_block

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

KNOWN, HIDDEN, DRIFTED = 12, 4, 3
"""Categories a user knows at the start; that every segment would like and nobody has seen; and that a drifting user swaps."""

HISTORY = 20.0
"""Trials behind what is known of a known category at the start."""

MEMORY = 8.0
"""Half-life of own responses, in rounds: taste drifts, so old answers count less."""

STRENGTH = 10.0
"""Weight of what a ratio is shrunk towards, in expected responses, as the default of feedback.strength."""


@dataclass(frozen=True)
class World:
    """taste (u, c): probability of a response to being shown the category; later: the same from round `turn` on.

    guess (u, c): what a model would say of a category that the user never saw: it knows nothing of hidden interests.
    seen (u, c): known at the start. segment (u,). hidden (u, c): liked, and not seen at the start.
    """

    taste: Floats
    later: Floats
    turn: int
    guess: Floats
    seen: Bools
    segment: Ints
    hidden: Bools

    def tastes(self, round_: int) -> Floats:
        return self.taste if round_ < self.turn else self.later


def world(seed: int, *, users: int = 200, categories: int = 60, segments: int = 4, turn: int = 10) -> World:
    """Users like what they know, and each segment has hidden interests that most of its members share; at `turn` a quarter of
    the users loses DRIFTED of their known interests and takes as many up that are new to them."""
    rng = np.random.default_rng(seed)
    usual = rng.uniform(0.01, 0.05, size=categories)  # how popular a category is with those who do not care for it
    taste = np.tile(usual, (users, 1))
    seen = np.zeros((users, categories), dtype=bool)
    hidden = np.zeros_like(seen)
    segment = rng.integers(segments, size=users)
    of_segment = np.stack([rng.permutation(categories)[:HIDDEN] for _ in range(segments)])
    for u in range(users):
        mine = of_segment[segment[u]]
        others = rng.permutation(np.setdiff1d(np.arange(categories), mine))
        known = others[:KNOWN]
        taste[u, known], seen[u, known] = rng.uniform(0.1, 0.3, size=KNOWN), True
        liked = mine[rng.random(HIDDEN) < 0.8]
        taste[u, liked], hidden[u, liked] = rng.uniform(0.3, 0.5, size=len(liked)), True
    guess = np.clip(usual * np.exp(rng.normal(0.0, 0.5, size=taste.shape)), 1e-3, 1.0)
    later = taste.copy()
    for u in rng.permutation(users)[: users // 4]:
        gone = rng.permutation(np.flatnonzero(seen[u]))[:DRIFTED]
        new = rng.permutation(np.flatnonzero(~seen[u] & ~hidden[u]))[:DRIFTED]
        later[u, gone], later[u, new] = usual[gone], rng.uniform(0.3, 0.5, size=DRIFTED)
        hidden[u, new] = True
    return World(taste, later, turn, guess, seen, segment, hidden)


@dataclass(frozen=True)
class Strategy:
    """How a list of k is made. draw: share, thompson or ucb for the explore slots; random: each place of the best list is, with
    probability `epsilon`, any category instead (ε-greedy). No slots and no epsilon: exploiting alone."""

    slots: int = 0
    draw: str = "thompson"
    epsilon: float = 0.0
    calibration: float = 0.3
    floor: float = 0.05
    pool: int = 30


EXPLOIT = Strategy()


@dataclass
class Played:
    """What came of a run. regret (rounds,): per user, Σ taste of the k best less Σ taste of the k shown. found: share of the
    hidden interests that users had responded to by the end. places: explored places as `offpolicy` wants them."""

    regret: Floats
    found: float
    places: list[dict[str, Floats | Ints]] = field(default_factory=list)


@dataclass
class _State:
    """What is known: trials and responses of each user × category, decayed; what is seen; and explored ones by segment."""

    trials: Floats
    hits: Floats
    seen: Bools
    expected: Floats
    responses: Floats
    found: Bools

    def rates(self) -> Floats:
        return (self.hits + 0.1) / (self.trials + 1.0)


def play(shop: World, how: Strategy, *, rounds: int = 20, k: int = 10, seed: int = 1, other: Strategy | None = None) -> Played:
    """Rounds of lists, responses and learning; with `other` the probabilities by which it would have explored are logged too."""
    rng = np.random.default_rng([seed, 7])
    users, categories = shop.taste.shape
    cells = np.zeros((int(shop.segment.max()) + 1, categories))
    state = _State(
        HISTORY * shop.seen, HISTORY * np.where(shop.seen, shop.taste, 0.0), shop.seen.copy(), cells, cells.copy(), ~shop.hidden
    )
    played = Played(np.zeros(rounds), 0.0)
    for r in range(rounds):
        taste = shop.tastes(r)
        shown, propensity, would = _lists(shop, state, how, k, rng, other)
        response = shown & (rng.random((users, categories)) < taste)
        best = -np.sort(-taste, axis=1)[:, :k].sum(axis=1)
        played.regret[r] = float((best - np.where(shown, taste, 0.0).sum(axis=1)).mean())
        explored = shown & ~state.seen & (propensity > 0)
        if other is not None:
            played.places.append(_logged(shop, state, explored, propensity, response, would))
        _learn(shop, state, shown, response, explored)
    played.found = float(state.found[shop.hidden].mean())
    return played


def _lists(
    shop: World, state: _State, how: Strategy, k: int, rng: np.random.Generator, other: Strategy | None
) -> tuple[Bools, Floats, Floats]:
    """(u, c) what is shown, with which propensity it was explored (0: it was not), and with which the other would have."""
    users, categories = shop.taste.shape
    relevance = np.where(state.seen, state.rates(), -np.inf)
    scaled = relevance / np.maximum(np.where(state.seen, relevance, 0.0).max(axis=1, keepdims=True), 1e-9)
    target = np.where(state.seen, state.rates(), 0.0)
    target /= target.sum(axis=1, keepdims=True)
    at = np.broadcast_to(np.arange(categories)[:, None], (users, categories, 1))
    length = k - how.slots
    chosen, _ = rerank_user_block(scaled, at, np.ones(at.shape), target, length=length, calibration=how.calibration, alpha=0.01)
    shown, propensity, would = np.zeros((users, categories), dtype=bool), np.zeros(shop.taste.shape), np.zeros(shop.taste.shape)
    shown[np.arange(users)[:, None], chosen] = True
    if how.epsilon:
        _at_random(shown, chosen, how.epsilon, rng)
    known = pooled(state.responses, state.expected, STRENGTH)
    for u in range(users) if how.slots else ():
        pool = _pool(shop, state, known, u, how.pool)
        pi = _probabilities(shop, known, u, pool, how, rng)
        drawn = draw(pi, rng)
        propensity[u, pool] = pi
        shown[u, pool[drawn]] = True
        if other is not None:
            would[u, pool] = _probabilities(shop, known, u, pool, other, rng)
    return shown, propensity, would


def _at_random(shown: Bools, chosen: Ints, epsilon: float, rng: np.random.Generator) -> None:
    for u, list_ in enumerate(chosen):
        out = list_[rng.random(len(list_)) < epsilon]
        shown[u, out] = False
        shown[u, rng.permutation(np.flatnonzero(~shown[u]))[: len(out)]] = True


def _pool(shop: World, state: _State, known: Responses, u: int, size: int) -> Ints:
    promise = np.where(state.seen[u], -np.inf, shop.guess[u] * known.cell.mean[shop.segment[u]])
    unseen = int((~state.seen[u]).sum())
    return np.argsort(-promise, kind="stable")[: min(size, unseen)]


def _probabilities(shop: World, known: Responses, u: int, pool: Ints, how: Strategy, rng: np.random.Generator) -> Floats:
    guess = shop.guess[u, pool]
    tried = known.category.rate[pool] > known.strengths[1]
    shape, rate = (
        np.where(tried, m[shop.segment[u], pool], v)
        for m, v in zip((known.cell.shape, known.cell.rate), known.unexplored, strict=True)
    )
    ratios = Ratios(shape, rate)
    if how.draw == "share":
        return inclusion_probabilities(guess, how.slots)
    best = thompson(guess, ratios, how.slots, rng) if how.draw == "thompson" else optimistic(guess, ratios, how.slots)
    return floored(best, how.floor)


def _learn(shop: World, state: _State, shown: Bools, response: Bools, explored: Bools) -> None:
    decay = 0.5 ** (1.0 / MEMORY)
    state.trials[:], state.hits[:] = decay * state.trials + shown, decay * state.hits + response
    np.add.at(state.expected, shop.segment, np.where(explored, shop.guess, 0.0))
    np.add.at(state.responses, shop.segment, np.where(explored, response, 0.0))
    state.found |= response
    state.seen |= response


def _logged(
    shop: World, state: _State, explored: Bools, propensity: Floats, response: Bools, would: Floats
) -> dict[str, Floats | Ints]:
    user, category = np.nonzero(explored)
    cell = pooled(state.responses, state.expected, STRENGTH).cell.mean[shop.segment]
    predicted = np.minimum(shop.guess * cell, 1.0)
    return {
        "user": user.astype(np.int64),
        "propensity": propensity[user, category],
        "probability": would[user, category],
        "response": response[user, category].astype(np.float64),
        "predicted": predicted[user, category],
        "expected": (would * predicted).sum(axis=1),
        "truth": (would * shop.taste).sum(axis=1),
    }

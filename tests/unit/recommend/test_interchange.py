"""Lists improved by exchanges: against the slow reference, against every possible list, and its laws."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from equipoise.recommend.divergence import divergence_bits
from equipoise.recommend.interchange import interchange_user_block
from equipoise.recommend.rerank import Bound, rerank_user_block
from tests.unit.recommend.reference import greedy, interchange
from tests.unit.recommend.rivals import Item, fits
from tests.unit.recommend.test_rerank import block

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
World = tuple[Floats, Ints, Floats, Floats]


def improved(world: World, *, length: int, calibration: float, alpha: float = 0.01) -> tuple[Ints, Floats]:
    begun, _ = rerank_user_block(*world, length=length, calibration=calibration, alpha=alpha)
    return interchange_user_block(begun, *world, calibration=calibration, alpha=alpha)


def worth(world: World, user: int, places: Ints, calibration: float, alpha: float = 0.01) -> float:
    relevance, categories, weights, target = world
    shares = np.zeros(target.shape[1])
    for n in places:
        np.add.at(shares, categories[user, n], weights[user, n] / len(places))
    accurate = float(relevance[user, places].sum())
    return (1 - calibration) * accurate - calibration * float(divergence_bits(target[user], shares, alpha))


@pytest.mark.parametrize("calibration", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("g", [1, 3])
def test_the_block_gives_the_lists_of_the_plain_reference(calibration: float, g: int) -> None:
    relevance, categories, weights, target = block(seed=20 + g, users=6, n=14, g=g)
    relevance[2, 9:] = -np.inf
    chosen, added = improved((relevance, categories, weights, target), length=5, calibration=calibration)
    for u in range(len(relevance)):
        items = [
            Item(str(n), {str(categories[u, n, j]): weights[u, n, j] for j in range(g)}, relevance=relevance[u, n])
            for n in range(relevance.shape[1])
            if np.isfinite(relevance[u, n])
        ]
        slow = interchange(items, {str(c): p for c, p in enumerate(target[u])}, 5, calibration, 0.01)
        assert [str(n) for n in chosen[u]] == [i.item_id for i in slow], f"user {u}"
        np.testing.assert_allclose(added[u], [i.score for i in slow], atol=1e-9)


@pytest.mark.parametrize("calibration", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("most", [1, 2])
def test_a_bound_on_groups_holds_and_gives_the_lists_of_the_plain_reference(calibration: float, most: int) -> None:
    world = block(seed=40 + most, users=6, n=14, g=2)
    group = np.random.default_rng(most).integers(-1, 4, size=(6, 14))
    limit = Bound(group, most)
    begun, gains = rerank_user_block(*world, length=4, calibration=calibration, alpha=0.01, bound=limit)
    chosen, added = interchange_user_block(begun, *world, calibration=calibration, alpha=0.01, bound=limit)
    relevance, categories, weights, target = world
    for u in range(6):
        brands = [None if b < 0 else str(b) for b in group[u]]
        items = [
            Item(
                str(n), {str(categories[u, n, j]): weights[u, n, j] for j in range(2)}, relevance=relevance[u, n], brand=brands[n]
            )
            for n in range(14)
        ]
        wanted = {str(c): p for c, p in enumerate(target[u])}
        slow = greedy(items, wanted, 4, calibration, 0.01, most)
        assert [str(n) for n in begun[u]] == [i.item_id for i in slow]
        np.testing.assert_allclose(gains[u], [i.score for i in slow], atol=1e-9)
        slow = interchange(items, wanted, 4, calibration, 0.01, most)
        assert [str(n) for n in chosen[u]] == [i.item_id for i in slow]
        np.testing.assert_allclose(added[u], [i.score for i in slow], atol=1e-9)
        assert fits([items[n] for n in chosen[u]], most)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), calibration=st.floats(0.0, 1.0), g=st.integers(1, 3))
def test_no_list_gets_worse_and_no_single_exchange_is_left_that_gains(seed: int, calibration: float, g: int) -> None:
    world = block(seed=seed, users=3, n=12, g=g)
    begun, _ = rerank_user_block(*world, length=4, calibration=calibration, alpha=0.01)
    chosen, _ = interchange_user_block(begun, *world, calibration=calibration, alpha=0.01)
    for u in range(3):
        now = worth(world, u, chosen[u], calibration)
        assert len(set(chosen[u])) == 4
        assert now >= worth(world, u, begun[u], calibration) - 1e-12
        for position in range(4):
            for new in set(range(12)) - set(chosen[u].tolist()):
                there = chosen[u].copy()
                there[position] = new
                assert worth(world, u, there, calibration) <= now + 2e-9


def test_most_of_the_way_from_greedy_to_the_best_of_all_lists_is_gone() -> None:
    """All C(12, 4) = 495 lists of each user: the search must close at least nine tenths of the greedy choice's gap."""
    world = block(seed=8, users=40, n=12, g=3)
    greedy, _ = rerank_user_block(*world, length=4, calibration=0.5, alpha=0.01)
    found, _ = improved(world, length=4, calibration=0.5)
    every = [np.array(c) for c in combinations(range(12), 4)]
    best = np.array([max(worth(world, u, c, 0.5) for c in every) for u in range(40)])
    gaps = [best - np.array([worth(world, u, lists[u], 0.5) for u in range(40)]) for lists in (greedy, found)]
    assert gaps[0].sum() > 0.1
    assert gaps[1].sum() <= 0.1 * gaps[0].sum()


def test_a_list_by_hand() -> None:
    """A film of both genres is the greedy start of a list of two; of the whole list, one film of each is as calibrated and
    more relevant."""
    relevance = np.array([[1.0, 0.98, 0.5]])  # of A, of B, of both
    categories = np.array([[[0, 1], [1, 0], [0, 1]]])
    weights = np.array([[[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]]])
    target = np.array([[0.5, 0.5]])
    begun, _ = rerank_user_block(relevance, categories, weights, target, length=2, calibration=0.5, alpha=0.01)
    assert sorted(begun[0].tolist()) == [0, 2]
    chosen, added = interchange_user_block(begun, relevance, categories, weights, target, calibration=0.5, alpha=0.01)
    assert chosen[0].tolist() == [0, 1]
    # Without B the list is A alone: its divergence is that of q̃ = (.995, .005) from (.5, .5).
    alone = 0.5 * np.log2(0.5 / 0.995) + 0.5 * np.log2(0.5 / 0.005)
    assert added[0, 1] == pytest.approx(0.5 * 0.98 + 0.5 * alone)


def test_a_list_of_all_candidates_stays() -> None:
    world = block(seed=9, n=5)
    chosen, _ = improved(world, length=5, calibration=0.6)
    assert (chosen == np.arange(5)).all()


def test_without_calibration_nothing_is_exchanged() -> None:
    world = block(seed=10)
    chosen, added = improved(world, length=6, calibration=0.0)
    assert (chosen == np.arange(6)).all()
    np.testing.assert_allclose(added, world[0][:, :6])

"""Greedy calibrated re-ranking: against the slow reference, by hand, and its laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from equipoise.recommend.divergence import divergence_bits
from equipoise.recommend.rerank import rerank_user_block
from tests.unit.recommend.reference import greedy
from tests.unit.recommend.rivals import Item


def block(
    seed: int, users: int = 12, n: int = 30, c: int = 8, g: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Relevance with ties, categories and weights of candidates, targets with zeros."""
    rng = np.random.default_rng(seed)
    relevance = -np.sort(-np.round(rng.random((users, n)), 1), axis=1)
    categories = np.argsort(rng.random((users, n, c)), axis=2)[:, :, :g]
    weights = rng.random((users, n, g)) + 0.1
    weights /= weights.sum(axis=2, keepdims=True)
    target = rng.dirichlet(np.full(c, 0.5), size=users)
    target[rng.random((users, c)) < 0.2] = 0.0
    return relevance, categories, weights, target / target.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("calibration", [0.0, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("g", [1, 3])
def test_the_block_gives_the_lists_of_the_plain_reference(calibration: float, g: int) -> None:
    relevance, categories, weights, target = block(seed=g, g=g)
    relevance[3, 12:] = -np.inf
    chosen, gains = rerank_user_block(relevance, categories, weights, target, length=10, calibration=calibration, alpha=0.01)
    for u in range(len(relevance)):
        items = [
            Item(str(n), {str(categories[u, n, j]): weights[u, n, j] for j in range(g)}, relevance=relevance[u, n])
            for n in range(relevance.shape[1])
            if np.isfinite(relevance[u, n])
        ]
        slow = greedy(items, {str(c): p for c, p in enumerate(target[u])}, 10, calibration, 0.01)
        assert [str(n) for n in chosen[u]] == [i.item_id for i in slow], f"user {u}"
        np.testing.assert_allclose(gains[u], [i.score for i in slow], atol=1e-12)


def test_without_calibration_the_most_relevant_come_in_their_order() -> None:
    relevance, categories, weights, target = block(seed=5)
    chosen, gains = rerank_user_block(relevance, categories, weights, target, length=10, calibration=0.0, alpha=0.01)
    assert (chosen == np.arange(10)).all()
    np.testing.assert_allclose(gains, relevance[:, :10])


def test_gains_add_up_to_the_objective() -> None:
    relevance, categories, weights, target = block(seed=6, g=2)
    chosen, gains = rerank_user_block(relevance, categories, weights, target, length=7, calibration=0.3, alpha=0.05)
    for u in range(len(relevance)):
        shares = np.zeros(target.shape[1])
        for n in chosen[u]:
            np.add.at(shares, categories[u, n], weights[u, n] / 7)
        whole = 0.7 * relevance[u, chosen[u]].sum() - 0.3 * divergence_bits(target[u], shares, 0.05)
        empty = -0.3 * math.log2(1 / 0.05)
        assert gains[u].sum() == pytest.approx(whole - empty, abs=1e-9)


def test_a_list_by_hand() -> None:
    """Ten items of equal relevance in A, one of half that in B; the user wants half and half: B comes second."""
    relevance = np.array([[1.0] * 10 + [0.5]])
    categories = np.array([[0] * 10 + [1]])[:, :, None]
    chosen, _ = rerank_user_block(
        relevance, categories, np.ones((1, 11, 1)), np.array([[0.5, 0.5]]), length=4, calibration=0.5, alpha=0.01
    )
    # After A: adding A costs nothing but leaves B at q̃ = .005; adding B takes the divergence from 2.82 bits to 0.
    assert chosen[0].tolist() == [0, 10, 1, 2]


def test_no_target_leaves_relevance() -> None:
    relevance, categories, weights, target = block(seed=7)
    chosen, _ = rerank_user_block(relevance, categories, weights, target * 0, length=5, calibration=0.9, alpha=0.01)
    assert (chosen == np.arange(5)).all()


def test_more_calibration_brings_the_list_nearer_to_the_target() -> None:
    relevance, categories, weights, target = block(seed=8, users=200)
    means = []
    for calibration in (0.0, 0.3, 0.6, 0.95):
        chosen, _ = rerank_user_block(relevance, categories, weights, target, length=10, calibration=calibration, alpha=0.01)
        shares = np.zeros_like(target)
        for n in chosen.T:
            shares[np.arange(200), categories[np.arange(200), n, 0]] += 0.1
        means.append(float(divergence_bits(target, shares, 0.01).mean()))
    assert means == sorted(means, reverse=True)
    assert means[-1] < 0.5 * means[0]


def test_divergence_of_a_list_from_itself_is_zero_and_of_a_missing_half_is_its_formula() -> None:
    assert divergence_bits(np.array([0.3, 0.7]), np.array([0.3, 0.7]), 0.01) == pytest.approx(0.0)
    missing = 0.5 * math.log2(0.5 / (0.99 * 1.0 + 0.005)) + 0.5 * math.log2(0.5 / 0.005)
    assert divergence_bits(np.array([0.5, 0.5]), np.array([1.0, 0.0]), 0.01) == pytest.approx(missing)

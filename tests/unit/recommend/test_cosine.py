"""Exact nearest items: against a full sort in plain Python."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.recommend import cosine
from equipoise.recommend.cosine import nearest


def unit(rng: np.random.Generator, n: int, d: int = 8) -> np.ndarray:
    v = rng.normal(size=(n, d)).astype(np.float32).astype(np.float64)
    return v / np.linalg.norm(v, axis=1, keepdims=True)


@pytest.mark.parametrize("limit", [1, 7, 40, 500])
def test_nearest_is_a_full_sort_with_ties_by_place(limit: int) -> None:
    rng = np.random.default_rng(limit)
    users, texts = unit(rng, 9), unit(rng, 12)
    text_of_item = rng.integers(0, 12, size=60)  # many items share a text
    items, cosines = nearest(users, texts, text_of_item, limit)
    for u in range(9):
        exact = [round(float(users[u] @ texts[t]), 9) for t in text_of_item]
        order = sorted(range(60), key=lambda i: (-exact[i], i))[:limit]
        assert items[u].tolist() == order
        np.testing.assert_allclose(cosines[u], [exact[i] for i in order], atol=2e-9)


@pytest.mark.parametrize("limit", [1, 7, 40, 500])
def test_items_of_one_text_each_tie_by_place_too(limit: int) -> None:
    rng = np.random.default_rng(limit)
    users, texts = unit(rng, 9), unit(rng, 12)[rng.integers(0, 12, size=60)]  # equal vectors of different texts
    text_of_item = rng.permutation(60)
    items, cosines = nearest(users, texts, text_of_item, limit)
    for u in range(9):
        exact = [round(float(users[u] @ texts[t]), 9) for t in text_of_item]
        order = sorted(range(60), key=lambda i: (-exact[i], i))[:limit]
        assert items[u].tolist() == order
        np.testing.assert_allclose(cosines[u], [exact[i] for i in order], atol=2e-9)


def test_the_split_into_blocks_does_not_change_a_cosine() -> None:
    rng = np.random.default_rng(3)
    users, texts = unit(rng, 300, 384), unit(rng, 500, 384)
    whole = nearest(users, texts, np.arange(500), 500)
    part = nearest(users[:7], texts, np.arange(500), 500)
    assert (whole[0][:7] == part[0]).all()
    assert (whole[1][:7] == part[1]).all()


def test_no_items_no_neighbours() -> None:
    items, cosines = nearest(np.ones((2, 1)), np.zeros((0, 1)), np.zeros(0, dtype=np.int64), 5)
    assert items.shape == cosines.shape == (2, 0)


@pytest.mark.parametrize("noise", [1.0, 1e-5, 1e-8])
def test_a_shortlist_in_single_precision_loses_no_neighbour(noise: float) -> None:
    """Texts in groups, items that share texts, and texts so close that single precision cannot tell them apart."""
    rng = np.random.default_rng(11)
    users = unit(rng, 20, 32)
    texts = unit(rng, 1, 32) + noise * rng.normal(size=(5000, 32))
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    text_of_item = rng.permutation(np.r_[np.arange(5000), rng.integers(0, 5000, 2500)])
    items, cosines = nearest(users, texts, text_of_item, 30)
    exact = np.round(users @ texts.T, 9)[:, text_of_item]
    for u in range(20):
        order = np.lexsort((np.arange(7500), -exact[u]))[:30]
        np.testing.assert_allclose(cosines[u], exact[u][order], atol=2e-9)
        if noise == 1.0:
            assert items[u].tolist() == order.tolist()


def test_users_in_doubt_are_looked_up_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(12)
    users, texts = unit(rng, 4, 32), unit(rng, 3000, 32)
    texts[:200] = users[0] + 1e-9 * rng.normal(size=(200, 32))
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    asked: list[int] = []
    whole = cosine._nearest
    monkeypatch.setattr(cosine, "_nearest", lambda users, *rest: asked.append(len(users)) or whole(users, *rest))
    items, _ = nearest(users, texts, np.arange(3000), 30)
    assert asked == [1]
    assert (items[0] < 200).all()

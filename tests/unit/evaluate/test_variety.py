"""What lists are like beyond hits, against plain loops over one list at a time and against ranx."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.evaluate.metrics import lists as beyond
from equipoise.evaluate.metrics import ranking
from equipoise.evaluate.metrics.ranking import EMPTY
from equipoise.evaluate.tasks.items import category_shares
from equipoise.evaluate.tasks.next_basket import list_measures, next_basket
from tests.unit.evaluate.test_tasks import catalogue

ITEMS, K = 40, 6
SEEDS = st.integers(0, 10_000)


def case(seed: int, users: int = 12) -> tuple[np.ndarray, list[set[int]], np.ndarray]:
    """Lists (some short, one empty), truths (none empty), hits."""
    rng = np.random.default_rng(seed)
    lists = np.stack([rng.permutation(ITEMS)[:K] for _ in range(users)]).astype(np.int64)
    for row in range(0, users, 4):
        lists[row, rng.integers(0, K) :] = EMPTY
    lists[1] = EMPTY
    truths = [set(rng.permutation(ITEMS)[: rng.integers(1, 15)].tolist()) for _ in range(users)]
    keys = np.array([u * ITEMS + i for u, t in enumerate(truths) for i in t], dtype=np.int64)
    return lists, truths, ranking.matches(lists, keys, ITEMS)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_hits_equal_a_loop(seed: int) -> None:
    lists, truths, hits = case(seed)
    size = np.array([len(t) for t in truths])
    obvious = np.arange(0, ITEMS, 3)
    found = beyond.f1(hits, size), beyond.reciprocal_rank(hits), beyond.serendipity(hits, lists, obvious)
    for u, truth in enumerate(truths):
        good = [n for n, i in enumerate(lists[u].tolist()) if i in truth]
        p, r = len(good) / K, len(good) / len(truth)
        assert found[0][u] == pytest.approx(2 * p * r / (p + r) if good else 0.0)
        assert found[1][u] == pytest.approx(1 / (good[0] + 1) if good else 0.0)
        assert found[2][u] == pytest.approx(sum(lists[u, n] % 3 != 0 for n in good) / K)


@pytest.mark.slow
def test_f1_and_mrr_are_those_of_ranx() -> None:
    ranx = pytest.importorskip("ranx")
    lists, truths, hits = case(5, users=40)
    lists[:, :] = np.stack([np.random.default_rng(n).permutation(ITEMS)[:K] for n in range(40)])  # ranx divides by k either way
    keys = np.array([u * ITEMS + i for u, t in enumerate(truths) for i in t], dtype=np.int64)
    hits = ranking.matches(lists, keys, ITEMS)
    qrels = ranx.Qrels({str(u): {str(i): 1 for i in t} for u, t in enumerate(truths)})
    run = ranx.Run({str(u): {str(i): float(K - n) for n, i in enumerate(row)} for u, row in enumerate(lists)})
    theirs = ranx.evaluate(qrels, run, [f"f1@{K}", f"mrr@{K}"])
    assert beyond.f1(hits, np.array([len(t) for t in truths])).mean() == pytest.approx(theirs[f"f1@{K}"])
    assert beyond.reciprocal_rank(hits).mean() == pytest.approx(theirs[f"mrr@{K}"])


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_novelty_and_exposure_equal_a_loop(seed: int) -> None:
    lists, _, _ = case(seed)
    owners = np.random.default_rng(seed).integers(0, 9, ITEMS)
    found = beyond.novelty_bits(lists, owners, 9)
    for u, row in enumerate(lists.tolist()):
        told = [-math.log2((owners[i] + 1) / 10) for i in row if i != EMPTY]
        assert found[u] == pytest.approx(np.mean(told)) if told else math.isnan(found[u])
    counts = Counter(lists[lists != EMPTY].tolist())
    every = [counts.get(i, 0) for i in range(ITEMS)]
    gaps = sum(abs(a - b) for a, b in itertools.product(every, every))
    assert beyond.exposure_gini(lists, ITEMS) == pytest.approx(gaps / (2 * ITEMS * sum(every)))


def test_exposure_at_its_ends() -> None:
    assert beyond.exposure_gini(np.arange(8).reshape(2, 4), 8) == pytest.approx(0.0)
    assert beyond.exposure_gini(np.array([[3], [3]]), 100) == pytest.approx(0.99)
    assert math.isnan(beyond.exposure_gini(np.full((2, 3), EMPTY), 8))


def test_variety_equals_a_loop_over_pairs() -> None:
    """The catalogue of the tasks' tests has items of several categories by weight."""
    made = catalogue()
    width = len(made.categories)
    rng = np.random.default_rng(3)
    lists = rng.integers(0, len(made.items), (20, 4))
    lists[0, 1:] = EMPTY
    lists[1] = EMPTY
    lists[2] = lists[2, 0]
    vectors = np.zeros((len(made.items), width))
    vectors[made.link_item, made.link_category] = made.link_weight
    shares, units = category_shares(lists, made), category_shares(lists, made, unit=True)
    diversity = beyond.diversity(units, (lists != EMPTY).sum(1))
    entropy, largest, number = beyond.entropy_bits(shares), beyond.largest_share(shares), beyond.shown_categories(shares)
    for u, row in enumerate(lists.tolist()):
        mine = [vectors[i] for i in row if i != EMPTY]
        if not mine:
            assert math.isnan(entropy[u])
            assert math.isnan(largest[u])
            assert math.isnan(diversity[u])
            continue
        mean = np.mean(mine, axis=0)
        assert entropy[u] == pytest.approx(-sum(s * math.log2(s) for s in mean if s > 0))
        assert largest[u] == pytest.approx(max(mean))
        assert number[u] == sum(s > 0 for s in mean)
        apart = [1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in itertools.combinations(mine, 2)]
        assert math.isnan(diversity[u]) if not apart else diversity[u] == pytest.approx(np.mean(apart), abs=1e-12)


def test_conversion_looks_at_the_whole_window_and_coming_back_at_its_days() -> None:
    """User 0: first basket on day 10 holds code 1; code 2 comes on days 12 and 14, code 3 on day 12 alone."""
    events = [(0, 5, 1), (0, 5, 2), (0, 1, 10), (0, 2, 12), (0, 3, 12), (0, 2, 14), (1, 4, 3), (1, 4, 4), (1, 0, 11)]
    user, code, day = np.array(events).T
    basket = next_basket(user, code, day, 10, 20, 2, 6)
    lists = np.array([[2, 3], [5, EMPTY]])
    told = {m.metric: m.arrays[0] for m in list_measures(basket, lists)}
    assert told["hit"].tolist() == [0.0, 0.0]
    assert told["conversion"].tolist() == [1.0, 0.0]
    assert told["comes_back"][0] == 0.5
    assert math.isnan(told["comes_back"][1])
    assert told["repeat_share"].tolist() == [0.0, 0.0]

"""Counting baselines against plain loops, hand tables and laws."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from equipoise.evaluate.arrays import shares
from equipoise.evaluate.baselines import interests as ema
from equipoise.evaluate.baselines import items as own
from equipoise.evaluate.baselines import logit
from equipoise.evaluate.baselines import value as money
from equipoise.evaluate.metrics.ranking import EMPTY
from equipoise.evaluate.tasks.next_basket import list_measures, next_basket


def _log(seed: int, users: int = 12, items: int = 9, rows: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct user, item, day rows, shuffled."""
    rng = np.random.default_rng(seed)
    found = np.unique(
        np.stack([rng.integers(0, users, rows), rng.integers(0, items, rows), rng.integers(100, 140, rows)]), axis=1
    )
    user, item, day = found[:, rng.permutation(found.shape[1])]
    return user, item, day


def _baskets(user: np.ndarray, item: np.ndarray, day: np.ndarray) -> dict[int, dict[int, set[int]]]:
    out: dict[int, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for u, i, d in zip(user.tolist(), item.tolist(), day.tolist(), strict=True):
        out[u][d].add(i)
    return out


def test_frequency_and_decay_equal_a_loop_over_baskets() -> None:
    user, item, day = _log(1)
    frequent: dict[int, float] = defaultdict(float)
    recent: dict[int, float] = defaultdict(float)
    for u, baskets in _baskets(user, item, day).items():
        for ago, d in enumerate(sorted(baskets, reverse=True)):
            for i in baskets[d]:
                frequent[u * 9 + i] += 1
                recent[u * 9 + i] += 0.5 ** (ago / 10)
    for count, slow in ((own.frequency, frequent), (own.decayed, recent)):
        keys, weight = count(user, item, day, 9)
        assert keys.tolist() == sorted(slow)
        assert weight == pytest.approx([slow[k] for k in sorted(slow)])


def test_own_lists_order_by_weight_then_popularity_then_code_and_end_empty() -> None:
    keys = np.array([0, 1, 2, 3, 10 + 4])  # user 0 has 0..3, user 1 has 4, user 2 nothing; width 10
    weight = np.array([1.0, 2.0, 1.0, 1.0, 5.0])
    popularity = np.array([1.0, 1.0, 7.0, 1.0, 1.0, 0, 0, 0, 0, 0])
    assert own.own_lists(keys, weight, popularity, 3, 10, 3).tolist() == [[1, 2, 0], [4, EMPTY, EMPTY], [EMPTY] * 3]
    assert own.own_lists(keys, weight, None, 3, 10, 3)[0].tolist() == [1, 0, 2]


def test_popular_lists_leave_places_empty_when_too_little_was_bought() -> None:
    assert own.popular_lists(np.array([0.0, 3.0, 5.0]), 2, 4).tolist() == [[2, 1, EMPTY, EMPTY]] * 2


def test_next_basket_is_the_first_day_from_the_origin_on_for_users_with_two_baskets_before() -> None:
    #              history of user 0            its next baskets  user 1: one basket only   user 2: no next basket
    user = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 2])
    item = np.array([1, 1, 2, 1, 3, 2, 1, 1, 1, 2])
    day = np.array([101, 103, 103, 110, 110, 111, 104, 112, 101, 102])
    found = next_basket(user, item, day, origin=110, end=120, users=3, width=5)
    assert found.tested.tolist() == [0]
    assert sorted(found.truth[found.truth // 5 == 0] % 5) == [1, 3]  # day 110 alone; user 1's truth is there but not tested
    assert (found.size.tolist(), found.repeats.tolist()) == ([2], [1])
    measures = {
        m.metric: m.value() for m in list_measures(found, np.array([[1, 4], [1, 2], [1, 2]]), slots=np.array([[False, True]] * 3))
    }
    assert measures["recall"] == 0.5  # 1 of {1, 3}
    assert measures["recall_repeat"] == 1.0  # 1 was bought before
    assert measures["recall_explore"] == 0.0  # 3 was not, and is missed
    assert measures["explore_precision"] == 0.0  # 4 is new and wrong
    assert measures["explore_slot_precision"] == 0.0
    assert measures["explore_share"] == 0.5
    assert measures["ndcg"] == pytest.approx(1 / (1 + 1 / np.log2(3)))


def test_last_day_of_the_labels_is_excluded() -> None:
    user, item = np.zeros(3, dtype=int), np.array([1, 2, 3])
    days = np.array([1, 2, 10])
    assert len(next_basket(user, item, days, origin=5, end=10, users=1, width=5).tested) == 0
    assert next_basket(user, item, days, origin=5, end=11, users=1, width=5).tested.tolist() == [0]


def _counts(seed: int) -> tuple[ema.Counts, np.ndarray]:
    """Sparse counts and the dense cube (users, windows, categories) they came from."""
    rng = np.random.default_rng(seed)
    cube = rng.poisson(0.4, size=(6, 7, 5)).astype(float)
    cube[0, 5:] = 0
    user, window, category = np.nonzero(cube)
    return ema.Counts(user, window, category, cube[user, window, category], 6, 5), cube


def test_decay_history_and_last_window_equal_dense_sums() -> None:
    counts, cube = _counts(2)
    origin = 6
    slow = sum(cube[:, w] * 0.5 ** ((origin - 1 - w) / 4) for w in range(origin))
    assert ema.ema(counts, origin) == pytest.approx(slow)
    assert ema.all_history(counts, origin) == pytest.approx(shares(cube[:, :origin].sum(1)))
    assert counts.before(3) == pytest.approx(cube[:, :3].sum((1, 2)))
    last = ema.last_window(counts, origin)
    assert last[0] == pytest.approx(shares(cube[:1, 4])[0] if cube[0, 4].sum() else last[0])  # its windows 5 and 6 are empty
    assert last[1:] == pytest.approx(shares(cube[1:, 5])) or (cube[1:, 5].sum(1) == 0).any()


def test_windows_at_and_after_the_origin_change_nothing() -> None:
    counts, cube = _counts(3)
    late = cube.copy()
    late[:, 4:] *= 7
    user, window, category = np.nonzero(late)
    changed = ema.Counts(user, window, category, late[user, window, category], 6, 5)
    for method in (ema.ema, ema.all_history, ema.last_window, ema.population):
        assert method(counts, 4) == pytest.approx(method(changed, 4)), method.__name__


def test_dirichlet_and_popularity_are_distributions_that_fall_back_on_the_population() -> None:
    counts, _ = _counts(4)
    base = ema.population(counts, 6)
    assert base.sum() == pytest.approx(1)
    own_weights = ema.ema(counts, 6)
    own_weights[2] = 0
    for q in (ema.with_dirichlet(own_weights, base), ema.with_popularity(own_weights, base, 0.1)):
        assert q.sum(1) == pytest.approx(np.ones(6))
        assert q[2] == pytest.approx(base)
    assert ema.with_dirichlet(own_weights, base)[0] == pytest.approx((own_weights[0] + 5 * base) / (own_weights[0].sum() + 5))


def test_rfm_by_hand() -> None:
    #                user 0: trips on 90, 99; user 1: a look only; user 2: trip on 50, long ago
    user, day = np.array([0, 0, 0, 1, 2]), np.array([90, 99, 99, 95, -20 + 50])
    amount, trip = np.array([5.0, 2.0, 3.0, 0.0, 8.0]), np.array([True, True, True, False, True])
    found = money.rfm(user, day, amount, trip, origin=100, users=3)
    assert found.known.tolist() == [True, False, True]
    assert found.recency[[0, 2]].tolist() == [1, 70]
    assert found.frequency.tolist() == [2, 0, 1]
    assert found.monetary.tolist() == [10, 0, 8]
    assert money.rfm(user, day, amount, trip, origin=143, users=3).spend_112.tolist() == [10, 0, 0]  # 113 days ago is out
    assert money.rfm(user, day, amount, trip, origin=142, users=3).spend_112.tolist() == [10, 0, 8]


def test_fifths_are_even_and_ties_share_one() -> None:
    assert money.fifth(np.arange(10.0)).tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert len(set(money.fifth(np.zeros(7)))) == 1


def test_classes_by_share_get_their_sizes_and_keep_ties_together() -> None:
    score = np.random.default_rng(1).permutation(1000).astype(float)
    named = money.classes_by_share(score, np.array([0.2, 0.5, 0.3]))
    assert np.bincount(named).tolist() == [200, 500, 300]
    assert score[named == 0].max() < score[named == 1].min()
    assert len(set(money.classes_by_share(np.zeros(50), np.array([0.2, 0.5, 0.3])))) == 1


def test_logit_finds_planted_coefficients_and_knows_classes_it_never_saw() -> None:
    rng = np.random.default_rng(1)
    x = rng.gamma(2.0, 3.0, size=(4000, 12))
    z = 3.0 * (np.log1p(x[:, 0]) - np.log1p(x[:, 1]))
    label = (rng.random(4000) < 1 / (1 + np.exp(-z))).astype(int) * 2  # classes 0 and 2 only
    spend = np.where(label > 0, 10 * np.log1p(x[:, 2]) ** 2, 0.0)
    fitted = logit.fit(x, label, spend)
    p = fitted.probabilities(x)
    assert p.sum(1) == pytest.approx(np.ones(4000))
    assert (p[:, 1] == 0).all()
    assert np.abs(p[:, 2] - 1 / (1 + np.exp(-z))).mean() < 0.03
    worth = fitted.expected_spend(x)
    assert worth is not None
    assert np.corrcoef(worth, spend)[0, 1] > 0.6
    assert logit.fit(x, label, None).expected_spend(x) is None

"""Pairs of users and categories: features against plain loops, pooled scores against scikit-learn, models on planted habits."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from equipoise.evaluate.baselines import pairs
from equipoise.evaluate.baselines.pairs import Visits
from equipoise.evaluate.metrics import pooled
from equipoise.evaluate.table import rows
from equipoise.evaluate.tasks import categories
from tests.unit.evaluate.test_tasks import BUY, LOOK, ORIGIN, catalogue, log

USERS, CATEGORIES, DAYS = 40, 12, 200


def world(seed: int = 1) -> Visits:
    """Users with a rhythm of their own in some categories; every event lies on a day in [0, DAYS)."""
    rng = np.random.default_rng(seed)
    found = []
    for user in range(USERS):
        for category in rng.choice(CATEGORIES, 5, replace=False):
            gap = int(rng.integers(3, 60))
            found += [(user, category, day, float(rng.integers(1, 4))) for day in range(int(rng.integers(gap)), DAYS, gap)]
    table = np.array(sorted(found)).T
    number = [c.astype(np.int64) for c in table[:3]]
    return Visits(number[0], number[1], number[2], table[3], USERS, CATEGORIES)


def test_visits_are_days_of_the_chosen_users_with_lines_by_category_weight() -> None:
    behaviour = log((0, 0, -3, BUY, 1.0), (0, 1, -3, BUY, 1.0), (0, 1, -2, LOOK, 0.0), (1, 2, -1, BUY, 1.0), (2, 1, 4, BUY, 1.0))
    found = pairs.visits(behaviour, catalogue(), behaviour.bought, np.array([0, 2]))
    listed = list(zip(found.user, found.category, found.day - ORIGIN, found.lines, strict=True))
    assert listed == [(0, 1, -3, pytest.approx(1.3)), (0, 2, -3, pytest.approx(0.7)), (1, 1, 4, 1.0)]
    assert (found.users, found.categories) == (2, 4)


@pytest.mark.parametrize("cut", [60, 150])
def test_features_equal_a_loop_over_the_visits(cut: int) -> None:
    made = world()
    at = pairs.features(made, cut)
    past = [v for v in zip(made.user, made.category, made.day, made.lines, strict=True) if v[2] < cut]
    for user in range(0, USERS, 7):
        trips = sorted({day for u, _, day, _ in past if u == user})
        for category in range(CATEGORIES):
            mine = [(day, lines) for u, c, day, lines in past if (u, c) == (user, category)]
            days = [day for day, _ in mine]
            last = max(days, default=None)
            gap = (max(days) - min(days)) / (len(days) - 1) if len(days) > 1 else pairs.NEVER_DAYS
            recency = pairs.NEVER_DAYS if last is None else cut - last
            expected = {
                "visits_28d": np.log1p(sum(0.5 ** ((cut - day) / 28) for day in days)),
                "lines": np.log1p(sum(lines * 0.5 ** ((cut - day) / 112) for day, lines in mine)),
                "days": len(days),
                "recency": recency,
                "gap": gap,
                "recency_over_gap": min(recency / max(gap, 1), 50),
                "trips_since": sum(day > (-1 if last is None else last) for day in trips),
                "user_trips_28d": sum(day >= cut - 28 for day in trips),
                "user_recency": cut - max(trips),
            }
            for name, value in expected.items():
                assert at[name][user, category] == pytest.approx(value, rel=1e-5, abs=1e-6), (name, user, category)
    bought = {(u, c) for u, c, day, _ in past if day >= cut - 28}
    popular = np.array([sum((u, c) in bought for u in range(USERS)) / USERS for c in range(CATEGORIES)])
    np.testing.assert_allclose(at["popular"][0], np.log(popular + 1e-4), rtol=1e-5)
    assert all(value.shape == (USERS, CATEGORIES) and np.isfinite(value).all() for value in at.values())


def test_nothing_from_the_cut_on_is_known_at_it() -> None:
    made, cut = world(), 120
    moved = np.where(made.day >= cut, cut + (made.day * 7 + made.user) % 50, made.day)
    other = Visits(made.user, made.category, moved, np.where(made.day >= cut, 99.0, made.lines), USERS, CATEGORIES)
    a, b = pairs.features(made, cut), pairs.features(other, cut)
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_ease_is_a_ridge_of_each_column_on_the_others() -> None:
    x = np.random.default_rng(2).random((50, 6))
    got = pairs.ease(x, 3.0)
    for j in range(6):
        others = np.delete(x, j, axis=1)
        weights = np.linalg.solve(others.T @ others + 3.0 * np.eye(5), others.T @ x[:, j])
        np.testing.assert_allclose(got[:, j], others @ weights, rtol=1e-9)


def scored(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    score = rng.normal(size=(300, 80))
    return rng.random((300, 80)) < 1 / (1 + np.exp(3.5 - 1.8 * score)), score, rng.random((300, 80)) < 0.7


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_pooled_scores_equal_scikit_learn_on_every_resample(seed: int) -> None:
    label, score, among = scored(seed)
    counted = pooled.binned(label, score, among)
    weights = np.stack([np.ones(300), np.bincount(np.random.default_rng(9).integers(0, 300, 300), minlength=300)]).astype(float)
    for w, ap, auc in zip(weights, pooled.average_precision(weights, *counted), pooled.auc(weights, *counted), strict=True):
        each = np.repeat(w, 80).reshape(300, 80)[among]
        assert ap == pytest.approx(average_precision_score(label[among], score[among], sample_weight=each), abs=2e-3)
        assert auc == pytest.approx(roc_auc_score(label[among], score[among], sample_weight=each), abs=2e-3)


def test_equal_scores_count_as_any_order_and_empty_pairs_are_undefined() -> None:
    label, score, among = scored(4)
    flat = pooled.binned(label, np.zeros_like(score), among)
    one = np.ones((1, 300))
    assert pooled.average_precision(one, *flat)[0] == pytest.approx(label[among].mean())
    assert pooled.auc(one, *flat)[0] == pytest.approx(0.5)
    nothing = pooled.binned(label, score, np.zeros_like(among))
    assert np.isnan(pooled.average_precision(one, *nothing)[0]) and np.isnan(pooled.auc(one, *nothing)[0])


def test_cuts_end_before_the_origin_and_have_a_history() -> None:
    assert categories.cuts(200, 28, 0) == [172, 144, 116]
    assert categories.cuts(100, 28, 0) == [72, 44]
    assert categories.cuts(50, 28, 0) == []


def test_models_of_pairs_find_a_rhythm_that_counting_does_not() -> None:
    made, origin = world(5), 170
    training = categories.cuts(origin, 14, 0)
    at, past = pairs.features(made, origin), {cut: pairs.features(made, cut) for cut in training}
    answers = {n: [q] for n, q in categories.counting(at, past[training[0]], made.any(training[0], training[0] + 14)).items()}
    answers |= {n: [pairs.probabilities(m, at)] for n, m in pairs.fitted(made, past, 14, seed=1).items()}
    assert set(answers) == {"popularity", "ever_popularity", "ema_popularity", "logit_pairs", "boosted_pairs"}
    found = categories.comparison(made, answers, [], np.arange(USERS), date(2020, 1, 1), origin, 14, {})
    value = {(r.method, r.metric): r.value for r in rows(found, resamples=50, seed=1) if r.user_group == "all"}
    assert value["logit_pairs", "ap"] > value["ema_popularity", "ap"] > value["popularity", "ap"]
    assert value["logit_pairs", "ap_minus_ema_popularity"] == pytest.approx(
        value["logit_pairs", "ap"] - value["ema_popularity", "ap"]
    )


def test_ever_bought_and_popularity_takes_the_form_that_was_best_a_window_ago() -> None:
    """Days and popularity are mixed on what was not visited lately: with this truth the days alone order it."""
    days = np.array([[0.0, 1.0, 2.0, 3.0, 9.0]] * 4)
    at = {
        "days": days,
        "popular": np.log(np.array([[0.9, 0.2, 0.1, 0.05, 0.4]] * 4)),
        "visits_112d": days,
        "recency": np.array([[999.0, 100.0, 100.0, 100.0, 1.0]] * 4),
    }
    by_days = categories.counting(at, at, days == 3.0)["ever_popularity"]
    assert (np.diff(by_days[0, :4]) > 0).all(), "more days, more chance, whatever is popular"
    by_popularity = categories.counting(at, at, days == 0.0)["ever_popularity"]
    assert by_popularity[0, :4].argmax() == 0


def test_windows_without_a_visit_fit_nothing() -> None:
    made = world()
    before = made.day < 100
    early = Visits(*(c[before] for c in (made.user, made.category, made.day, made.lines)), USERS, CATEGORIES)
    assert pairs.fitted(early, {cut: pairs.features(early, cut) for cut in (120, 150)}, 14, seed=1) == {}

"""The value model: it finds a planted rule, says the share where there is nothing to find, and its classes are probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.recommend.learn import ACT, BUY, MEMBERS, NEXT, classes, fit

RNG = np.random.default_rng(3)
X = RNG.normal(size=(4000, 5)).astype(np.float32)
X[RNG.random(X.shape) < 0.2] = np.nan
CHANCE = np.where(np.nan_to_num(X[:, 1], nan=-9.0) > 0.5, 0.7, 0.1)
BOUGHT = RNG.random(4000) < CHANCE


def log_loss(p: np.ndarray, y: np.ndarray) -> float:
    return float(-np.where(y, np.log(p), np.log1p(-p)).mean())


def test_a_planted_rule_is_found_and_the_order_of_the_rows_does_not_matter() -> None:
    half = np.arange(4000) < 2000
    p = fit(X[half], {BUY: BOUGHT[half]}, {}, 1).probabilities(X[~half])[BUY]
    best, constant = log_loss(CHANCE[~half], BOUGHT[~half]), log_loss(np.full(2000, BOUGHT[half].mean()), BOUGHT[~half])
    assert log_loss(p, BOUGHT[~half]) < best + 0.3 * (constant - best)
    order = RNG.permutation(2000)
    q = fit(X[half][order], {BUY: BOUGHT[half][order]}, {}, 1).probabilities(X[~half])[BUY]
    assert np.abs(p - q).mean() < 0.03


def test_rows_that_do_not_tell_are_left_out() -> None:
    told = RNG.random(4000) < 0.5
    wrong = np.where(told, BOUGHT, True)
    p = fit(X, {NEXT: wrong}, {NEXT: told}, 1).probabilities(X)[NEXT]
    assert abs(p.mean() - BOUGHT[told].mean()) < 0.03
    assert len(fit(X, {NEXT: wrong}, {NEXT: told}, 1).members[NEXT]) == MEMBERS[NEXT] == 2


@pytest.mark.parametrize("truth", [False, True])
def test_what_always_or_never_happens_is_said_as_it_is(truth: bool) -> None:
    model = fit(X, {BUY: np.full(4000, truth)}, {}, 1)
    assert (model.probabilities(X)[BUY] == float(truth)).all()
    assert len(model.probabilities(X[:0])[BUY]) == 0


def test_nothing_that_tells_is_an_error() -> None:
    with pytest.raises(ValueError, match="no row tells 'next' among 4000"):
        fit(X, {NEXT: BOUGHT}, {NEXT: np.zeros(4000, dtype=bool)}, 1)


def test_classes_are_probabilities_even_where_the_fits_contradict_each_other() -> None:
    buy, act = np.array([0.2, 0.5, 0.0]), np.array([0.6, 0.4, 0.0])
    np.testing.assert_allclose(classes({BUY: buy, ACT: act}), [[0.4, 0.4, 0.2], [0.5, 0.0, 0.5], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(classes({BUY: buy}), np.stack([1 - buy, np.zeros(3), buy], axis=1))


def test_a_feature_without_values_is_not_read() -> None:
    x = X.copy()
    x[:, 3] = np.nan
    model = fit(x, {BUY: BOUGHT}, {}, 1)
    assert model.told[BUY].tolist() == [True, True, True, False, True]
    later = X.copy()  # values that appear only afterwards change nothing
    np.testing.assert_array_equal(model.probabilities(later)[BUY], model.probabilities(x)[BUY])
    empty = fit(np.full((50, 2), np.nan, dtype=np.float32), {BUY: BOUGHT[:50]}, {}, 1)
    assert empty.probabilities(np.full((3, 2), np.nan, dtype=np.float32))[BUY].tolist() == [BOUGHT[:50].mean()] * 3

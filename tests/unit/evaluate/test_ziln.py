"""The zero-inflated lognormal: its density against numeric integration, its gradient against differences, planted truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from equipoise.evaluate.baselines.ziln import Ziln, fit, loss

small = st.floats(-2.0, 2.0)


@given(small, small, small)
def test_the_likelihood_integrates_to_one_and_the_mean_is_the_formula(odds: float, mu: float, raw: float) -> None:
    z = np.array([[odds, mu, raw]])

    def density(log: float) -> float:
        """Of log spend."""
        spend = float(np.exp(log))
        return float(np.exp(-loss(z, np.array([spend]))[0])) * spend

    nothing = float(np.exp(-loss(z, np.zeros(1))[0]))
    reach = 12 * (np.logaddexp(0, raw) + 0.01)
    ends = {"a": mu - reach, "b": mu + reach, "limit": 200, "points": [mu]}
    assert nothing + quad(density, **ends)[0] == pytest.approx(1.0, abs=1e-6)
    one = Ziln(np.zeros(0), np.ones(0), z)
    mean = quad(lambda log: density(log) * np.exp(log), mu - reach, mu + reach + 12, limit=400, points=[mu])[0]
    assert one.expected(np.zeros((1, 0)))[0] == pytest.approx(mean, rel=1e-4)
    assert one.probability(np.zeros((1, 0)))[0] == pytest.approx(1 - nothing)


def test_the_gradient_is_that_of_differences() -> None:
    rng = np.random.default_rng(1)
    z, spend = rng.normal(size=(6, 3)), np.array([0.0, 3.0, 0.5, -2.0, 40.0, 0.0])
    slopes = loss(z, spend)[1]
    for at in np.ndindex(z.shape):
        up, down = z.copy(), z.copy()
        up[at] += 1e-6
        down[at] -= 1e-6
        assert slopes[at] == pytest.approx((loss(up, spend)[0] - loss(down, spend)[0]) / 2e-6, abs=1e-6)


def test_planted_parameters_are_found_again() -> None:
    rng = np.random.default_rng(2)
    x = np.expm1(rng.uniform(0, 3, size=(20_000, 2)))
    logs = np.log1p(x)
    p = 1 / (1 + np.exp(-(logs[:, 0] - 1.5)))
    spend = (rng.random(len(x)) < p) * np.exp(1 + 0.5 * logs[:, 1] + 0.6 * rng.normal(size=len(x)))
    found = fit(x, spend)
    np.testing.assert_allclose(found.probability(x), p, atol=0.03)
    np.testing.assert_allclose(found.expected(x), p * np.exp(1 + 0.5 * logs[:, 1] + 0.18), rtol=0.12)
    with pytest.raises(ValueError, match="20000 of 20000 rows have spend"):
        fit(x, spend + 1.0)

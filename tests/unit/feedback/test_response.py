"""Ratios of responses: by their formulas, fitted strength against a grid, and the probabilities of each way to draw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gamma, nbinom

from equipoise.feedback.response import DRAWS, Ratios, fitted_strength, floored, optimistic, pooled, shrunk, thompson


def ratios(shape: list[float], rate: list[float]) -> Ratios:
    return Ratios(np.array(shape), np.array(rate))


def test_a_ratio_by_hand() -> None:
    found = shrunk(np.array([0.0, 6.0]), np.array([0.0, 2.0]), 1.0, 4.0)
    np.testing.assert_allclose(found.mean, [1.0, 10 / 6])  # (4 + 6) ÷ (4 + 2)
    np.testing.assert_allclose(found.quantile(0.9), gamma.ppf(0.9, [4.0, 10.0], scale=[1 / 4, 1 / 6]))


def test_without_feedback_everything_is_as_expected() -> None:
    none = np.zeros((3, 4))
    found = pooled(none, none, 10.0)
    assert found.strengths == (10.0, 10.0, 10.0)
    np.testing.assert_allclose(found.cell.mean, np.ones((3, 4)))
    assert found.unexplored == (10.0, 10.0)
    assert pooled(np.zeros((3, 0)), np.zeros((3, 0)), 10.0).unexplored == (10.0, 10.0)


def test_cells_are_shrunk_towards_their_category_and_that_towards_the_whole() -> None:
    expected = np.full((2, 3), 4.0)
    responses = np.array([[12.0, 4.0, 0.0], [12.0, 4.0, 0.0]])
    found = pooled(responses, expected, 10.0)
    whole, category, cell = float(found.whole.mean), found.category.mean, found.cell.mean
    assert whole == pytest.approx((10 + 32) / (10 + 24))
    assert category[0] > whole > category[2]
    np.testing.assert_allclose(cell[0], cell[1])
    assert (cell[0][:-1] > cell[0][1:]).all()


def test_one_answer_in_one_segment_makes_nothing_certain() -> None:
    rng = np.random.default_rng(4)
    expected = rng.uniform(1.0, 4.0, size=(3, 60))
    expected[:, 0] = (0.05, 0.0, 0.0)  # shown once, in one segment
    responses = rng.poisson(expected * rng.gamma(4.0, 0.25, size=60)).astype(float)  # categories differ, segments do not
    responses[:, 0] = 0.0
    found = pooled(responses, expected, 10.0)
    spread = [float(np.sqrt(r.shape[..., 0].max()) / r.rate[..., 0].min()) for r in (found.category, found.cell)]
    shape, rate = found.unexplored
    assert spread[0] == pytest.approx(np.sqrt(shape) / rate, rel=0.1)
    assert spread[1] >= spread[0] * 0.9, "a segment is not surer than its category"


def test_where_segments_do_not_differ_a_cell_is_its_category() -> None:
    expected = np.full((3, 40), 30.0)
    rate = np.random.default_rng(6).gamma(3.0, 1 / 3.0, size=40)
    responses = np.random.default_rng(7).poisson(expected * rate).astype(float)
    found = pooled(responses, expected, 10.0)
    assert found.strengths[2] > 100
    np.testing.assert_allclose(found.cell.mean, np.tile(found.category.mean, (3, 1)), rtol=0.15)
    assert (found.cell.rate < found.category.rate * 1.001).all()


def test_the_fitted_strength_is_the_likeliest_of_a_grid() -> None:
    rng = np.random.default_rng(3)
    expected = rng.uniform(0.2, 5.0, size=300)
    for true, off in ((0.5, 0.4), (3.0, 0.6), (30.0, 1.5)):  # small counts tell little about cells that hardly differ
        responses = rng.poisson(expected * rng.gamma(true, 1 / true, size=300)).astype(float)
        found = fitted_strength(responses, expected, np.ones(300), np.full(300, np.inf), 10.0)
        grid = np.exp(np.linspace(np.log(0.05), np.log(1e3), 4000))
        told = [
            nbinom.logpmf(responses, t, t / (t + expected)).sum() - 0.5 * ((np.log(t) - np.log(10.0)) / 2.0) ** 2 for t in grid
        ]
        assert found == pytest.approx(grid[int(np.argmax(told))], rel=0.01)
        assert abs(np.log(found / true)) < off


@given(st.integers(1, 6), st.integers(1, 12), st.integers(0, 10_000))
def test_probabilities_sum_to_the_slots(slots: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    known = Ratios(rng.uniform(0.1, 20, size), rng.uniform(0.1, 20, size))
    guess = rng.uniform(1e-3, 1, size)
    for found in (thompson(guess, known, slots, rng), optimistic(guess, known, slots)):
        for p in (found, floored(found, 0.1)):
            assert p.sum() == pytest.approx(min(slots, size))
            assert ((p >= 0) & (p <= 1 + 1e-12)).all()
        assert (floored(found, 0.1) > 0).all()


def test_thompson_is_the_chance_to_be_the_best() -> None:
    # Two exponentials with means 2 and 1: the first is larger with probability 2 ÷ 3.
    known = ratios([1.0, 1.0], [1.0, 1.0])
    runs = [thompson(np.array([2.0, 1.0]), known, 1, np.random.default_rng(s)) for s in range(100)]
    assert np.mean([r[0] for r in runs]) == pytest.approx(2 / 3, abs=4 * np.sqrt(2 / 9 / (100 * DRAWS)))


def test_what_is_little_known_is_tried_and_what_failed_is_not() -> None:
    known = ratios([10.0, 0.5, 1.0], [10.0, 0.5, 40.0])  # known to be as expected, hardly known, known to fail
    guess = np.full(3, 0.05)
    p = thompson(guess, known, 1, np.random.default_rng(1))
    assert p[2] < 0.02 < p[1]
    assert optimistic(guess, known, 1).tolist() == [0.0, 1.0, 0.0]
    assert optimistic(guess, ratios([1.0] * 3, [1.0] * 3), 2).tolist() == [1.0, 1.0, 0.0]

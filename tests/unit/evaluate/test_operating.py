"""Operating points: chosen by what was foretold, areas against a fine grid, and nothing where λ was not swept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.evaluate.bootstrap import per_user
from equipoise.evaluate.table import Comparison, Method, rows
from equipoise.evaluate.tasks.operating import LEAST, comparison, hypervolume

POINTS = {0.0: (0.50, 2.0), 0.1: (0.499, 1.5), 0.3: (0.49, 1.0), 0.5: (0.47, 0.6), 0.9: (0.30, 0.2)}
FORETOLD = {0.0: 0.0, 0.2: 0.006, 0.4: 0.026, 0.6: 0.09}
"""λ = .1 is foretold to cost .003, .3: .016, .5: .058."""


def swept(users: int = 50, weights: tuple[float, ...] = tuple(POINTS)) -> Comparison:
    noise = np.random.default_rng(1).normal(0, 0.1, users)
    noise -= noise.mean()
    methods = [
        Method(
            f"calibrated λ={w:g} slots=2",
            ((per_user("ndcg", POINTS[w][0] + noise, 10), per_user("kl_bits", POINTS[w][1] + noise)),),
            1,
        )
        for w in weights
    ]
    other = Method("calibrated λ=0.3 slots=5", ((per_user("ndcg", noise, 10), per_user("kl_bits", noise)),), 1)
    return Comparison("balance", "2017-11-06", np.arange(users), (*methods, other), methods[0].name)


def test_the_strongest_weight_foretold_to_stay_inside_is_taken_and_its_loss_is_measured() -> None:
    found = comparison(swept(), FORETOLD, 10)
    assert found is not None
    told = {(r.method, r.metric): r for r in rows(found, resamples=50, seed=1)}
    for bound, weight in (("1%", 0.1), ("3%", 0.3), ("5%", 0.3)):
        name = f"λ={weight:g} foretold ≤ {bound} slots=2"
        accuracy, distance = POINTS[weight]
        assert told[name, "ndcg_loss"].value == pytest.approx(1 - accuracy / 0.5)
        assert told[name, "kl_cut"].value == pytest.approx(1 - distance / 2.0)
        low, high = told[name, "ndcg_loss"].ci_low, told[name, "ndcg_loss"].ci_high
        assert low is not None
        assert high is not None
        assert low <= told[name, "ndcg_loss"].value <= high
    assert {m.name for m in found.methods if "slots=5" in m.name} == set()


def test_without_a_sweep_there_is_nothing() -> None:
    assert comparison(swept(weights=(0.0, 0.3)), FORETOLD, 10) is None


def grid_area(accuracy: np.ndarray, distance: np.ndarray) -> float:
    grid = np.linspace(LEAST, 1.0, 20_001)
    gain = [
        max((1 - d / distance[0] for a, d in zip(accuracy, distance, strict=True) if a >= g * accuracy[0]), default=0.0)
        for g in grid
    ]
    return float(np.clip(gain, 0, 1).mean())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0.3, 0.6), st.floats(0.0, 3.0)), min_size=0, max_size=5))
def test_hypervolume_is_the_area_that_is_dominated(others: list[tuple[float, float]]) -> None:
    points = np.array([(0.5, 2.0), *others])
    accuracy, distance = (np.repeat(points[None, :, i], 4, axis=0) for i in (0, 1))
    found = hypervolume(np.ones((2, 4)), accuracy, distance)
    assert found[0] == found[1] == pytest.approx(grid_area(points[:, 0], points[:, 1]), abs=2e-4)


def test_a_drawn_user_counts_as_often_as_drawn() -> None:
    rng = np.random.default_rng(2)
    accuracy, distance = rng.uniform(0.3, 0.6, (3, 4)), rng.uniform(0.2, 2.0, (3, 4))
    weights = np.array([[2.0, 0.0, 1.0]])
    again = hypervolume(np.ones((1, 3)), accuracy[[0, 0, 2]], distance[[0, 0, 2]])
    assert hypervolume(weights, accuracy, distance) == pytest.approx(again)

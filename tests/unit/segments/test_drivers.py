"""Drivers add up, are those of the formula where it is known, and the strongest one is what a deletion hurts most."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from equipoise.segments.drivers import drivers
from equipoise.segments.history import Floats
from equipoise.segments.signals import GROUPS, SIGNALS
from equipoise.segments.worth import fit
from tests.unit.segments.test_worth import planted, signals_at

group_of = np.array([next(g for g, names in enumerate(GROUPS.values()) if s in names) for s in SIGNALS])
NUMBER = len(GROUPS)


def curved(x: Floats) -> Floats:
    """Products across groups, so that the order in which groups come in matters."""
    sums = np.stack([x[:, group_of == g].sum(axis=1) for g in range(NUMBER)], axis=1)
    found: Floats = sums[:, 0] * sums[:, 1] + np.tanh(sums[:, 2]) * sums[:, 3] + sums[:, 4]
    return found


def test_of_a_linear_score_they_are_weight_times_difference() -> None:
    rng = np.random.default_rng(1)
    weight, x, middle = rng.normal(size=len(SIGNALS)), rng.normal(size=(9, len(SIGNALS))), rng.normal(size=len(SIGNALS))
    found = drivers(lambda z: z @ weight, x, middle)
    expected = np.stack([((x - middle) * weight)[:, group_of == g].sum(axis=1) for g in range(NUMBER)], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_they_are_the_mean_increment_over_all_orders_and_add_up() -> None:
    rng = np.random.default_rng(2)
    x, middle = rng.normal(size=(3, len(SIGNALS))), rng.normal(size=len(SIGNALS))
    found = drivers(curved, x, middle)
    np.testing.assert_allclose(found.sum(axis=1), curved(x) - curved(middle[None])[0], atol=1e-9)
    np.testing.assert_allclose(found[:, 5:], 0.0, atol=1e-12)  # groups that the score does not read
    for user in range(len(x)):
        slow = np.zeros(5)
        orders = list(permutations(range(5)))
        for order in orders:
            now = middle.copy()
            for g in order:
                before = curved(now[None])[0]
                now[group_of == g] = x[user, group_of == g]
                slow[g] += curved(now[None])[0] - before
        np.testing.assert_allclose(found[user, :5], slow / len(orders), atol=1e-9)


@pytest.mark.parametrize("seed", [1, 2])
def test_taking_the_strongest_away_moves_the_chance_more_than_taking_any(seed: int) -> None:
    at, _ = planted(300, 300, seed)
    model = fit(at, [160, 190, 220], days=28, ladder="spend", threshold=60.0, amounts=True, seed=1)
    x = signals_at(at, 260)
    x = x[x.any(axis=1)]
    middle, score = np.median(x, axis=0), model.explained.log_odds
    strongest = np.abs(drivers(score, x, middle)).argmax(axis=1)

    def without(group: np.ndarray) -> float:
        away = group_of[None, :] == group[:, None]
        return float(np.abs(score(x) - score(np.where(away, middle, x))).mean())

    others = [without(np.full(len(x), g)) for g in range(NUMBER)]
    assert without(strongest) > max(others)
    assert without(strongest) > 1.5 * np.mean(others)

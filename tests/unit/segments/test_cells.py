"""RFM cells as a predictor, and what a best tenth brings, against brute force."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from equipoise.segments.cells import captured, cells, fit_cells
from equipoise.segments.signals import SIGNALS, known_at, signals_at
from equipoise.segments.worth import labels_at
from tests.unit.segments.test_worth import planted


def test_cells_are_fifths_by_recency_trips_and_spend() -> None:
    rng = np.random.default_rng(1)
    x = np.zeros((50, len(SIGNALS)))
    order = {name: rng.permutation(50).astype(float) for name in ("recency", "trips", "spend")}
    for name, values in order.items():
        x[:, SIGNALS.index(name)] = values
    expected = (4 - order["recency"] // 10) * 25 + order["trips"] // 10 * 5 + order["spend"] // 10
    np.testing.assert_array_equal(cells(x), expected)


def test_a_cell_says_what_its_users_did_shrunk_to_all() -> None:
    at, _ = planted(400, 200)
    found = fit_cells(at, [100, 128], days=28, ladder="spend", threshold=60.0, amounts=True)
    cell, outcome = [], []
    for cut in (100, 128):
        known, seen = known_at(at, cut), labels_at(at, cut, 28, "spend", 60.0)
        cell += list(cells(signals_at(at, cut)[known]))
        outcome += list(seen.spend[known])
    mean = np.mean(outcome)
    for one in (0, 62, 124):
        mine = [y for c, y in zip(cell, outcome, strict=True) if c == one]
        assert found.means[one, 4] == pytest.approx((sum(mine) + 10 * mean) / (len(mine) + 10))
    assert found.means[124, 4] > 3 * found.means[0, 4]
    with pytest.raises(ValueError, match="nobody is known at any of the 1 cuts"):
        fit_cells(at, [0], days=28, ladder="spend", threshold=60.0, amounts=True)


def test_captured_is_the_mean_over_the_orders_of_ties() -> None:
    spend, score = np.array([5.0, 1.0, 0.0, 7.0, 2.0]), np.array([1.0, 2.0, 1.0, 1.0, 0.0])
    for share in (0.2, 0.4, 0.5, 0.8, 1.0):
        most, sums = share * 5, []
        for order in permutations(range(5)):
            ranked = sorted(order, key=lambda i: -score[i])
            sums.append(sum(spend[i] * min(1.0, max(0.0, most - n)) for n, i in enumerate(ranked)))
        assert captured(spend, score, share) == pytest.approx(np.mean(sums) / spend.sum())
    assert np.isnan(captured(np.zeros(3), np.arange(3.0)))

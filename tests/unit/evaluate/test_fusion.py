"""Rank fusion against a plain loop and scipy's ranks."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from equipoise.evaluate.baselines.fusion import rank_fusion, ranks

RNG = np.random.default_rng(2)
GROUP = RNG.integers(0, 7, 200)
SCORES = [RNG.integers(0, 9, 200).astype(float), RNG.normal(size=200)]


def test_ranks_are_those_of_scipy_in_every_group() -> None:
    for score in SCORES:
        found = ranks(GROUP, score)
        for g in range(7):
            np.testing.assert_array_equal(found[g == GROUP], rankdata(-score[g == GROUP]))
    assert len(ranks(GROUP[:0], SCORES[0][:0])) == 0


def test_fusion_by_hand_and_blind_to_scale() -> None:
    found = rank_fusion(np.zeros(3, np.int64), [np.array([3.0, 2.0, 1.0]), np.array([0.1, 0.3, 0.2])], shift=1.0)
    np.testing.assert_allclose(found, [1 / 2 + 1 / 4, 1 / 3 + 1 / 2, 1 / 4 + 1 / 3])
    np.testing.assert_allclose(rank_fusion(GROUP, SCORES), rank_fusion(GROUP, [SCORES[0] * 9 - 4, np.exp(SCORES[1])]))

"""Distances between distributions against scipy, scikit-learn and hand values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from sklearn.metrics import log_loss, ndcg_score

from equipoise.evaluate.metrics import distribution


def _pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.multinomial(15, rng.dirichlet(np.ones(12)), size=40) / 15.0  # sparse, as label windows are
    return p, rng.dirichlet(np.ones(12) * 0.5, size=40)


def test_js_kl_and_log_loss_equal_scipy() -> None:
    p, q = _pair(1)
    assert distribution.js_bits(p, q) == pytest.approx(jensenshannon(p, q, base=2, axis=1) ** 2, abs=1e-12)
    assert distribution.kl_bits(p, q) == pytest.approx(entropy(p, q, base=2, axis=1), abs=1e-12)
    # cross-entropy = entropy + KL, in nats
    assert distribution.log_loss(p, q) == pytest.approx(entropy(p, axis=1) + entropy(p, q, axis=1), abs=1e-12)


def test_log_loss_of_one_event_each_equals_scikit_learn() -> None:
    _, q = _pair(2)
    true = np.arange(40) % 12
    assert distribution.log_loss(np.eye(12)[true], q).mean() == pytest.approx(log_loss(true, q, labels=range(12)), abs=1e-12)


def test_graded_ndcg_equals_scikit_learn_without_ties() -> None:
    p, q = _pair(3)
    theirs = [ndcg_score(p[i : i + 1], q[i : i + 1], k=5) for i in range(len(p))]
    assert distribution.graded_ndcg(p, q, 5) == pytest.approx(theirs, abs=1e-12)


def test_bounds_and_hand_values() -> None:
    p = np.array([[1.0, 0.0], [0.5, 0.5]])
    q = np.array([[0.0, 1.0], [0.5, 0.5]])
    assert distribution.js_bits(p, q) == pytest.approx([1.0, 0.0])
    assert distribution.total_variation(p, q) == pytest.approx([1.0, 0.0])
    assert distribution.kl_bits(p, q)[0] == np.inf
    mixed = distribution.smoothed(q)
    assert mixed.sum(1) == pytest.approx([1.0, 1.0])
    assert distribution.kl_bits(p, mixed)[0] == pytest.approx(-np.log2(distribution.EPSILON / 2))

"""Off-policy estimates: by hand, without bias over many logs, and with intervals that hold the truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from equipoise.feedback.offpolicy import Estimate, Logged, doubly_robust, ips, logged_mean, snips
from equipoise.recommend.explore import draw, inclusion_probabilities

LISTS, POOL, SLOTS = 150, 8, 2


def log(**changes: object) -> Logged:
    values: dict[str, object] = {
        "list_": np.array([0, 0, 1]),
        "propensity": np.array([0.5, 0.25, 0.5]),
        "response": np.array([1.0, 0.0, 1.0]),
        "probability": np.array([0.25, 0.5, 1.0]),
        "lists": 4,
    }
    return Logged(**{**values, **changes})  # type: ignore[arg-type]


def test_by_hand() -> None:
    assert ips(log()).value == pytest.approx((0.5 + 2.0) / 4)
    assert snips(log(), 2.0).value == pytest.approx(2.0 * 2.5 / 4.5)
    predicted, expected = np.array([0.5, 0.0, 1.0]), np.array([0.6, 1.0, 0.0, 0.2])
    # residuals: .5 · .5 + 2 · 0 for the first list, 0 for the second
    assert doubly_robust(log(), predicted, expected).value == pytest.approx((1.8 + 0.25) / 4)


def test_a_propensity_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="propensity 0 of logged place 1: expected above 0"):
        log(propensity=np.array([0.5, 0.0, 0.5]))


def test_too_little_to_judge_by_is_refused() -> None:
    none = np.zeros(0)
    with pytest.raises(ValueError, match="0 places of 3 lists: expected some of at least 2"):
        Logged(np.zeros(0, dtype=np.int64), none, none, none, 3)
    with pytest.raises(ValueError, match="3 places of 1 lists"):
        log(lists=1)


def test_lists_of_one_cluster_do_not_count_as_several() -> None:
    rng = np.random.default_rng(1)
    n = 60
    one = {
        "list_": np.arange(n),
        "propensity": rng.uniform(0.2, 0.9, n),
        "response": (rng.random(n) < 0.4).astype(float),
        "probability": rng.uniform(0.0, 0.9, n),
        "lists": n,
    }
    plain = Logged(**one)  # type: ignore[arg-type]
    alone = Logged(**one, cluster=np.arange(n)[::-1])  # type: ignore[arg-type]
    thrice = {k: np.concatenate([v, v, v]) for k, v in one.items() if isinstance(v, np.ndarray)}
    thrice["list_"] = np.arange(3 * n)
    copied = Logged(**thrice, lists=3 * n, cluster=np.tile(np.arange(n), 3))  # type: ignore[arg-type]
    for of in (ips, logged_mean, lambda made: snips(made, 2.0)):
        expected = of(plain)
        for made in (alone, copied):
            found = of(made)
            assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert copied.effective == pytest.approx(3 * plain.effective)
    assert logged_mean(plain).value == one["response"].mean()  # type: ignore[union-attr]


def test_effective_places_by_hand() -> None:
    assert log().effective == pytest.approx(4.5**2 / (0.25 + 4 + 4))  # weights .5, 2, 2
    assert log(probability=np.zeros(3)).effective == 0.0


def test_one_cluster_is_refused() -> None:
    with pytest.raises(ValueError, match="4 lists of 1 cluster: expected at least 2"):
        log(cluster=np.zeros(4, dtype=np.int64))


def test_what_the_other_would_never_show_is_worth_nothing_to_it() -> None:
    assert snips(log(probability=np.zeros(3)), 2.0) == Estimate(0.0, 0.0, 0.0)
    assert ips(log(probability=np.zeros(3))).value == 0.0


def test_the_truth_is_met_in_the_mean_and_lies_in_the_intervals() -> None:
    rng = np.random.default_rng(5)
    share = rng.dirichlet(np.ones(POOL), size=LISTS)
    truth = rng.uniform(0.05, 0.6, size=(LISTS, POOL))
    other = np.stack([inclusion_probabilities(truth[i] ** 2, SLOTS) for i in range(LISTS)])
    logging = np.stack([0.7 * inclusion_probabilities(s, SLOTS) + 0.3 * SLOTS / POOL for s in share])
    value = float((other * truth).sum(axis=1).mean())
    guess = truth * rng.uniform(0.5, 1.5, size=truth.shape)  # a model that is wrong
    estimates: dict[str, list[Estimate]] = {"ips": [], "snips": [], "dr": []}
    for _ in range(300):
        shown = [(i, c) for i in range(LISTS) for c in draw(logging[i], rng)]
        i, c = (np.array(x) for x in zip(*shown, strict=True))
        made = Logged(i, logging[i, c], (rng.random(len(i)) < truth[i, c]).astype(float), other[i, c], LISTS)
        estimates["ips"].append(ips(made))
        estimates["snips"].append(snips(made, SLOTS))
        estimates["dr"].append(doubly_robust(made, guess[i, c], (other * guess).sum(axis=1)))
    spread: dict[str, float] = {}
    covered: Callable[[Estimate], bool] = lambda e: e.low <= value <= e.high  # noqa: E731
    for name, found in estimates.items():
        values = np.array([e.value for e in found])
        spread[name] = float(values.std())
        bias = abs(values.mean() - value)
        assert bias <= 4 * spread[name] / np.sqrt(len(values)) + (0.01 if name == "snips" else 0.0), (name, bias)
        assert 0.9 <= np.mean([covered(e) for e in found]) <= 1.0, name
    assert spread["snips"] < spread["ips"]
    assert spread["dr"] < spread["ips"]

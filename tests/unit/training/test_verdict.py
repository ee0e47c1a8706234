"""The paired comparison and what it refuses, on planted differences."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from equipoise.errors import GateError
from equipoise.training.verdict import Losses, Verdict, compare, recorded

USERS = 400
NOBODY = np.empty(0)


def losses(values: np.ndarray) -> Losses:
    """The same figures for every metric."""
    return Losses(values, values, values, values)


def verdict(candidate: np.ndarray, other: np.ndarray, *, tolerance: float = 0.0, fair: bool = True, seed: int = 1) -> Verdict:
    found = compare(
        losses(candidate),
        {"CURRENT old": losses(other)},
        unit=np.arange(len(other)),
        known=np.ones(len(other), dtype=bool),
        seed=seed,
        unfair=() if fair else ("CURRENT old",),
    )
    return Verdict("category", tolerance, 2048, "old", "", found)


@pytest.fixture
def other() -> np.ndarray:
    return np.random.default_rng(3).gamma(4.0, 0.6, USERS)


def test_a_planted_worse_model_is_refused_with_its_figures(other: np.ndarray) -> None:
    """Users differ by 1.2 bits and more from each other; 0.05 bits apart, on every user, is seen only because they are paired."""
    worse = other + 0.05 + np.random.default_rng(4).normal(0, 0.1, USERS)
    assert other.std() / math.sqrt(USERS) > 0.05
    with pytest.raises(GateError) as error:
        verdict(worse, other).check("new")
    for part in ("new is published but not promoted", "next categories, 400 users", f"{worse.mean():.4f} bits, CURRENT old",
                 f"{other.mean():.4f}", f"difference +{(worse - other).mean():.4f} [+0.0", "gate_tolerance_bits = 0;",
                 "CURRENT stays", "--to new"):  # fmt: skip
        assert part in str(error.value), part
    assert error.value.exit_code == 3


def test_equal_better_and_noise_pass(other: np.ndarray) -> None:
    noise = np.random.default_rng(4).normal(0, 0.1, USERS)
    for candidate in (other, other - 0.05, other + noise - noise.mean() + 0.002):
        verdict(candidate, other).check("new")
    same = verdict(other, other).deciding[0]
    assert (same.difference_bits, same.low_bits, same.high_bits) == (0.0, 0.0, 0.0)


def test_worse_within_the_tolerance_passes(other: np.ndarray) -> None:
    worse = other + 0.05 + np.random.default_rng(4).normal(0, 0.1, USERS)
    verdict(worse, other, tolerance=0.05).check("new")
    with pytest.raises(GateError, match=r"gate_tolerance_bits = 0\.03"):
        verdict(worse, other, tolerance=0.03).check("new")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_candidate_that_is_not_finite_is_refused_by_whatever_stands_beside_it(other: np.ndarray, value: float) -> None:
    broken = other.copy()
    broken[7] = value
    for fair in (True, False):
        with pytest.raises(GateError, match="worse on the validation examples"):
            verdict(broken, other, fair=fair).check("new")
    verdict(other, broken).check("new")  # the other is the broken one


def test_figures_of_a_model_that_has_seen_the_labels_refuse_nothing(other: np.ndarray) -> None:
    found = verdict(other + 1.0, other, fair=False)
    found.check("new")
    assert "has seen these labels" in found.lines()[0]
    assert "| CURRENT old * |" in found.section()


def test_the_interval_is_that_of_the_paired_differences(other: np.ndarray) -> None:
    """Against the normal interval of the mean difference: 400 users are many."""
    candidate = other + np.random.default_rng(5).normal(0.02, 0.3, USERS)
    found = verdict(candidate, other).deciding[0]
    gap = candidate - other
    half = 1.96 * gap.std() / math.sqrt(USERS)
    np.testing.assert_allclose(found.difference_bits, gap.mean())
    np.testing.assert_allclose([found.low_bits, found.high_bits], [gap.mean() - half, gap.mean() + half], atol=0.12 * half)
    assert found == verdict(candidate, other).deciding[0], "the seed decides the resamples"
    assert found.low_bits != verdict(candidate, other, seed=2).deciding[0].low_bits


def test_a_user_with_several_examples_is_drawn_with_all_of_them() -> None:
    """Ten users whose 40 examples all say the same: the interval is as wide as that of ten, not of four hundred."""
    of_user = np.random.default_rng(6).normal(0.0, 1.0, 10)
    found = compare(
        losses(np.repeat(of_user, 40)),
        {"prior": losses(np.zeros(400))},
        unit=np.repeat(np.arange(10), 40),
        known=np.ones(400, dtype=bool),
        seed=1,
    )[0]
    assert found.users == 10
    np.testing.assert_allclose(found.high_bits - found.low_bits, 3.92 * of_user.std() / math.sqrt(10), rtol=0.15)


def test_empty_label_windows_count_for_all_but_categories(other: np.ndarray) -> None:
    known = np.arange(USERS) % 4 > 0
    candidate = losses(np.where(known, other, other + 9.0))
    found = compare(candidate, {"counted": losses(other)}, unit=np.arange(USERS), known=known, seed=1)
    by = {c.metric: c for c in found}
    assert (by["category"].users, by["category"].difference_bits) == (300, 0.0)
    assert by["value"].users == 400 and by["value"].low_bits > 1.0


def test_an_other_without_a_loss_is_left_out(other: np.ndarray) -> None:
    prior = Losses(other, NOBODY, NOBODY, NOBODY)
    found = compare(losses(other), {"prior": prior}, unit=np.arange(USERS), known=np.ones(USERS, dtype=bool), seed=1)
    assert [c.metric for c in found] == ["category"]
    assert compare(losses(other), {"prior": prior}, unit=np.arange(USERS), known=np.zeros(USERS, dtype=bool), seed=1) == ()


def test_a_verdict_survives_its_json(other: np.ndarray) -> None:
    found = verdict(other + 0.01, other)
    assert recorded(json.loads(json.dumps(found.as_dict()))) == found
    assert recorded({}) is None


def test_what_was_not_compared_is_said() -> None:
    found = Verdict("category", 0.0, 2048, None, "there is none yet", ())
    assert found.lines() == ["gate: not compared with CURRENT: there is none yet"]
    assert "Not compared with the model that was CURRENT (none): there is none yet." in found.section()

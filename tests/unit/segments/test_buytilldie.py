"""BG/NBD and gamma–gamma: published figures, planted parameters, the closed form, and a simulation."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.special import hyp2f1

from equipoise.segments.buytilldie import Buying, Customers, customers_at, fit_buying, fit_spending

Floats = NDArray[np.float64]

PUBLISHED = Buying(0.243, 4.414, 0.793, 2.426, -9582.4)
"""Fader, Hardie & Lee 2005, table 2: CDNOW, 2,357 customers, weeks."""

OTHERS = (PUBLISHED, Buying(0.9, 60.0, 0.007, 3.0, 0.0), Buying(2.0, 10.0, 1.0, 1.0, 0.0), Buying(1.0, 5.0, 3.0, 40.0, 0.0))


def customers(*rows: tuple[float, float, float]) -> Customers:
    """Customers of (x, t_x, T)."""
    return Customers(*np.array(rows, dtype=np.float64).T)


@cache
def simulated(model: Buying, number: int, age: float, later: float) -> tuple[Customers, Floats, Floats]:
    """Customers who buy by the model: what is known at `age`, whether they are still here, purchases in the `later` after it."""
    random = np.random.default_rng(1)
    rate, leave = random.gamma(model.r, 1 / model.alpha, number), random.beta(model.a, model.b, number)
    now, here = np.zeros(number), np.ones(number, dtype=bool)
    x, last, after, alive = np.zeros(number), np.zeros(number), np.zeros(number), np.ones(number)
    while here.any():
        now = np.where(here, now + random.exponential(1 / np.maximum(rate, 1e-12)), now)
        here &= now <= age + later
        known = here & (now <= age)
        x, last = x + known, np.where(known, now, last)
        after += here & (now > age)
        gone = here & (random.random(number) < leave)
        alive[gone & known] = 0.0
        here &= ~gone
    return Customers(x, last, np.full(number, age)), alive, after


def closed(model: Buying, of: Customers, time: float) -> Floats:
    """Fader, Hardie & Lee 2005, eq. 10, by the hypergeometric function."""
    r, alpha, a, b, x = model.r, model.alpha, model.a, model.b, of.repeats
    series = hyp2f1(r + x, b + x, a + b + x - 1, time / (alpha + of.age + time))
    above = (a + b + x - 1) / (a - 1) * (1 - ((alpha + of.age) / (alpha + of.age + time)) ** (r + x) * series)
    left = (x > 0) * a / (b + np.maximum(x, 1) - 1) * ((alpha + of.age) / (alpha + of.recency)) ** (r + x)
    return np.asarray(above / (1 + left), dtype=np.float64)


@pytest.mark.slow
def test_cdnow_gives_the_published_figures() -> None:
    found = importlib.util.find_spec("lifetimes")
    if found is None or found.origin is None:
        pytest.skip("CDNOW is not here: bash .ci/cdnow.sh fetches it")
    rows = pd.read_csv(Path(found.origin).parent / "datasets" / "cdnow_customers_summary.csv")
    ours = fit_buying(Customers(rows["frequency"].to_numpy(), rows["recency"].to_numpy(), rows["T"].to_numpy()))
    for name in ("r", "alpha", "a", "b"):
        assert getattr(ours, name) == pytest.approx(getattr(PUBLISHED, name), abs=1e-2), name
    assert ours.log_likelihood == pytest.approx(PUBLISHED.log_likelihood, abs=0.1)


def test_planted_parameters_are_found_again() -> None:
    planted = Buying(0.6, 8.0, 0.9, 2.5, 0.0)
    found = fit_buying(simulated(planted, 40_000, 60.0, 30.0)[0])
    assert found.r == pytest.approx(planted.r, rel=0.05)
    assert found.alpha == pytest.approx(planted.alpha, rel=0.07)
    assert found.a / (found.a + found.b) == pytest.approx(planted.a / (planted.a + planted.b), rel=0.05)


def test_the_unit_of_time_changes_nothing_but_alpha() -> None:
    of = simulated(PUBLISHED, 3_000, 40.0, 10.0)[0]
    weeks, days = fit_buying(of), fit_buying(Customers(of.repeats, of.recency * 7, of.age * 7))
    assert (days.r, days.alpha / 7, days.a, days.b) == pytest.approx((weeks.r, weeks.alpha, weeks.a, weeks.b), rel=1e-3)


def test_chances_and_purchases_are_those_of_a_simulation() -> None:
    model = Buying(0.6, 8.0, 0.9, 2.5, 0.0)
    of, alive, after = simulated(model, 40_000, 60.0, 30.0)
    said = {
        "alive": (model.alive(of), alive),
        "returns": (model.returns(of, 30.0), after > 0),
        "purchases": (model.purchases(of, 30.0), after),
    }
    for name, (mine, seen) in said.items():
        for low, high in ((0, 0), (1, 1), (2, 4), (5, np.inf)):
            rows = (of.repeats >= low) & (of.repeats <= high)
            error = np.std(seen[rows]) / np.sqrt(rows.sum())
            assert abs(mine[rows].mean() - seen[rows].mean()) < 4 * error + 1e-9, (name, low)


@pytest.mark.parametrize("time", [1.0, 28.0, 400.0])
@pytest.mark.parametrize("model", [PUBLISHED, OTHERS[3]])
def test_purchases_are_the_closed_form(model: Buying, time: float) -> None:
    of = customers((0, 0, 38.9), (1, 1.7, 38.9), (2, 30.4, 38.9), (26, 30.0, 31.0), (0, 0, 1))
    assert model.purchases(of, time) == pytest.approx(closed(model, of, time), rel=1e-8)


@pytest.mark.parametrize("model", OTHERS)
def test_alive_is_a_chance_that_rises_with_recency(model: Buying) -> None:
    recency = np.linspace(0, 50, 101)
    for x in (1, 3, 40):
        alive = model.alive(Customers(np.full(101, x), recency, np.full(101, 50)))
        assert ((alive >= 0) & (alive <= 1)).all()
        assert (np.diff(alive) > 0).all()
    assert model.alive(customers((0, 0, 50)))[0] == 1.0


@pytest.mark.parametrize("model", OTHERS)
def test_returning_and_purchases_agree(model: Buying) -> None:
    """A chance of one at least is below the mean, and both alike where the time is so short that there is one at most."""
    of = customers((0, 0, 30), (4, 29, 30), (60, 30, 30))
    assert (model.returns(of, 20.0) < model.purchases(of, 20.0)).all()
    assert model.returns(of, 1e-6) == pytest.approx(model.purchases(of, 1e-6), rel=1e-4)
    assert (model.returns(of, 0.0) == 0).all()


@pytest.mark.parametrize(
    "of",
    [
        customers((0, 0, 5), (0, 0, 7), (0, 0, 9)),
        customers((0, 0, 1)),
        customers((1_000_000, 4, 5), (0, 0, 3)),
        customers(*[(5, 100, 100)] * 50),
        customers(*[(x, 10 * x, 10 * x + 5) for x in range(1, 40)]),
        customers((3, 0, 0), (1, 2, 8)),
    ],
    ids=["nobody repeats", "one customer", "huge counts", "all alike", "nobody leaves", "no age"],
)
def test_odd_customers_have_finite_answers(of: Customers) -> None:
    model = fit_buying(of)
    for said in (model.alive(of), model.returns(of, 28.0), model.purchases(of, 28.0), model.purchases(of, 84.0)):
        assert np.isfinite(said).all()
        assert (said >= 0).all()
    assert (model.returns(of, 28.0) <= 1).all()


def test_nobody_leaves_is_a_poisson_gamma() -> None:
    """With a → 0 the expected purchases are (r + x) time ÷ (α + T)."""
    model, of = Buying(0.9, 60.0, np.exp(-12), 20.0, 0.0), customers((0, 0, 300), (40, 290, 300), (300, 300, 300))
    assert model.purchases(of, 84.0) == pytest.approx((0.9 + of.repeats) * 84 / 360, rel=1e-3)


def test_wrong_customers_are_named() -> None:
    with pytest.raises(ValueError, match=r"1 customers break 0 ≤ x and 0 ≤ t_x ≤ T, first row 1: x 2.0, t_x 9.0, T 8.0"):
        customers((0, 0, 5), (2, 9, 8))
    with pytest.raises(ValueError, match="0 customers, the oldest 0 since the first purchase"):
        fit_buying(Customers(np.zeros(0), np.zeros(0), np.zeros(0)))


def test_planted_spending_is_found_again() -> None:
    p, q, gamma = 6.25, 3.74, 15.44
    random = np.random.default_rng(2)
    n = random.integers(1, 6, 30_000).astype(np.float64)
    nu = random.gamma(q, 1 / gamma, len(n))
    mean = random.gamma(p * n, 1 / nu) / n
    found = fit_spending(n, mean)
    assert (found.p, found.q, found.gamma) == pytest.approx((p, q, gamma), rel=0.08)
    assert found.middle == pytest.approx(p * gamma / (q - 1), rel=0.03)
    few, many = found.each(np.array([1.0, 50.0]), np.array([90.0, 90.0]))
    assert found.middle < few < many < 90


def test_spending_of_who_never_spent_is_the_middle() -> None:
    found = fit_spending(np.array([2.0, 3, 1, 4]), np.array([10.0, 12, 50, 20]))
    said = found.each(np.array([0.0, 2, 2, 2]), np.array([0.0, 0.0, -5.0, np.nan]))
    assert (said == found.middle).all()


@pytest.mark.parametrize(
    ("n", "mean", "middle"),
    [([], [], 0.0), ([3.0], [7.0], 7.0), ([1.0, 3.0], [7.0, 7.0], 7.0), ([1.0, 1.0], [-3.0, 0.0], 0.0)],
    ids=["nobody", "one", "all alike", "returns alone"],
)
def test_spending_that_cannot_be_fitted_is_the_mean(n: list[float], mean: list[float], middle: float) -> None:
    found = fit_spending(np.array(n), np.array(mean))
    assert found.each(np.array([1.0, 0.0]), np.array([9.0, 0.0])).tolist() == [middle, middle]


def test_purchases_of_one_day_are_one_and_later_days_do_not_count() -> None:
    user, day = np.array([2, 0, 0, 0, 2, 2]), np.array([7, 3, 3, 9, 8, 20])
    known, of = customers_at(user, day, 10, 4)
    assert known.tolist() == [0, 2]
    assert (of.repeats.tolist(), of.recency.tolist(), of.age.tolist()) == ([1.0, 1.0], [6.0, 1.0], [7.0, 3.0])

"""What users are worth: signals and labels against plain loops, no look into the future, and planted truth found again."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from equipoise.segments import valued
from equipoise.segments.history import EPOCH, Floats, History, day_number
from equipoise.segments.signals import GROUPS, SIGNALS, known_at, signals_at
from equipoise.segments.valued import How, learnt, reaches
from equipoise.segments.worth import (
    Told,
    backtest,
    fit,
    fit_staying,
    labels_at,
    threshold_of,
    training_cuts,
)

Row = tuple[int, int, float, float, bool, float, float, float]
AS_OF = 300
WAY = {"ladder": "spend", "threshold": 60.0, "amounts": True}


def history(rows: list[Row], users: int) -> History:
    """(user, day, spend, lines, trip, looks, exposed, redeemed), in any order."""
    columns = list(zip(*sorted(rows), strict=True)) if rows else [()] * 8
    kinds = (np.int64, np.int64, float, float, bool, float, float, float)
    arrays = [np.array(c, dtype=k) for c, k in zip(columns, kinds, strict=True)]
    return History(np.array([f"u{i:05d}" for i in range(users)], dtype=object), *arrays)


def planted(users: int, days: int, seed: int = 1) -> tuple[History, Floats]:
    """Purchases at a rate and a basket of each user's own; and the mean money per day of each."""
    rng = np.random.default_rng(seed)
    rate, basket = rng.gamma(0.6, 0.12, users).clip(0, 0.9), rng.lognormal(3, 0.6, users)
    rows = [
        (u, int(d), float(basket[u] * rng.lognormal(0, 0.3)), 2.0, True, 0.0, 0.0, 0.0)
        for u in range(users)
        for d in np.flatnonzero(rng.random(days) < rate[u])
    ]
    return history(rows, users), rate * basket


def scattered(seed: int, users: int = 7) -> History:
    rng = np.random.default_rng(seed)
    days = {(int(u), int(d)) for u, d in zip(rng.integers(0, users, 60), rng.integers(0, 120, 60), strict=True)}
    rows: list[Row] = []
    for u, d in days:
        lines = float(rng.integers(0, 4))
        looked, shown = float(rng.integers(0, 2)), float(rng.integers(0, 2))
        spend = float(np.round(rng.normal(20, 30), 2)) if lines else 0.0
        if lines or looked or shown:
            rows.append((u, d, spend, lines, lines > 0, looked, shown, 0.0))
    return history(rows, users)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_signals_are_those_of_a_plain_loop(seed: int) -> None:
    at, cut = scattered(seed), 90
    found = dict(zip(SIGNALS, signals_at(at, cut).T, strict=True))
    rows = list(zip(at.user, at.day, at.spend, at.lines, at.trip, at.looks, strict=True))
    for u in range(len(at.users)):
        mine = [r for r in rows if r[0] == u and r[1] < cut]
        own = [r for r in mine if r[3] or r[5]]
        if not own:
            assert all(found[s][u] == 0 for s in SIGNALS)
            continue
        trips = [r[1] for r in mine if r[4]]
        gaps = [b - a for a, b in pairwise(trips)]
        tenure = cut - own[0][1]
        spend = {r[1]: r[2] for r in mine}
        windows = [sum(s for d, s in spend.items() if 28 * w < cut - d <= 28 * (w + 1)) for w in range(6)]
        expected = {
            "recency": cut - (trips[-1] if trips else own[-1][1]),
            "tenure": tenure,
            "trips": len(trips),
            "gap_mean": np.mean(gaps) if gaps else tenure,
            "gap_sd": np.std(gaps) if gaps else 0.0,
            "gap_longest": max(gaps, default=tenure),
            "spend": sum(spend.values()),
            "spend_28d": sum(s for d, s in spend.items() if cut - d <= 28),
            "trips_half_14": sum(2 ** (-(cut - d) / 14) for d in trips),
            "spend_window_2": windows[2],
            "spend_window_sd": np.std(windows),
            "spend_window_least": min(windows),
            "basket_largest": max([0.0, *(r[2] for r in mine if r[3])]),
            "basket_last": ([r[2] for r in mine if r[3]] or [0.0])[-1],
        }
        for name, value in expected.items():
            assert found[name][u] == pytest.approx(value), (name, u)


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_on_or_after_the_cut_is_looked_at(seed: int) -> None:
    at, cut = scattered(seed), 60
    past = at.where(at.day < cut)
    np.testing.assert_array_equal(signals_at(at, cut), signals_at(past, cut))
    np.testing.assert_array_equal(known_at(at, cut), known_at(past, cut))
    whole, money = planted(80, AS_OF)
    _, said = backtest(whole, 200, 28, cuts=3, seed=1, **WAY)  # type: ignore[arg-type]
    _, blind = backtest(whole.where(whole.day < 200), 200, 28, cuts=3, seed=1, **WAY)  # type: ignore[arg-type]
    np.testing.assert_array_equal(said.p, blind.p)
    assert said.spend is not None
    assert np.corrcoef(said.spend, money)[0, 1] > 0.5


def test_groups_hold_every_signal_once() -> None:
    assert len(set(SIGNALS)) == len(SIGNALS) == sum(map(len, GROUPS.values()))


def test_labels_are_those_of_a_plain_loop() -> None:
    at = scattered(5)
    rows = list(zip(at.user, at.day, at.spend, at.lines, at.looks, strict=True))
    for ladder in ("events", "spend"):
        found = labels_at(at, 40, 28, ladder, 25.0)
        for u in range(len(at.users)):
            mine = [r for r in rows if r[0] == u and 40 <= r[1] < 68]
            spend, lines = sum(r[2] for r in mine), sum(r[3] for r in mine)
            if ladder == "spend":
                expected = 0 if spend <= 0 else 1 if spend < 25 else 2
            else:
                expected = 2 if lines else 1 if any(r[4] for r in mine) else 0
            assert found.label[u] == expected
            assert found.spend[u] == pytest.approx(spend)
    spends = [labels_at(at, c, 28, "spend", 0.0).spend for c in (10, 40)]
    assert threshold_of(at, [10, 40], 28) == np.median([s for part in spends for s in part if s > 0])
    assert threshold_of(at, [1000], 28) == 0.0


@pytest.mark.parametrize(
    ("first", "origin", "days", "number"), [(0, 309, 28, 12), (0, 309, 84, 12), (5, 60, 7, 3), (0, 20, 28, 4)]
)
def test_windows_of_training_end_before_the_origin_and_begin_after_the_first_day(
    first: int, origin: int, days: int, number: int
) -> None:
    cuts = training_cuts(first, origin, days, number)
    assert len(cuts) <= number
    assert all(first < c and c + days <= origin for c in cuts)
    assert cuts == [] if origin - days <= first else cuts[0] == origin - days


def test_planted_rates_are_found_again_and_probabilities_are_probabilities() -> None:
    at, money = planted(600, AS_OF)
    _, said = backtest(at, 250, 28, cuts=8, seed=1, **WAY)  # type: ignore[arg-type]
    seen, known = labels_at(at, 250, 28, "spend", 60.0), known_at(at, 250)
    np.testing.assert_allclose(said.p.sum(axis=1), 1.0, atol=1e-12)
    assert said.p.min() >= 0.0
    assert said.spend is not None
    best = roc_auc_score(seen.buys[known], money[known])
    assert roc_auc_score(seen.buys[known], said.buys[known]) > best - 0.03
    assert said.buys[known].mean() == pytest.approx(seen.buys[known].mean(), abs=0.05)
    assert said.spend[known].mean() == pytest.approx(seen.spend[known].mean(), rel=0.15)


def test_everybody_alike_returns_and_single_purchases_give_numbers() -> None:
    rows: list[Row] = [(u, d, -5.0 if u == 0 else 9.0, 1.0, True, 0.0, 0.0, 0.0) for u in range(4) for d in range(0, 200, 7)]
    rows.append((4, 60, 12.0, 1.0, True, 0.0, 0.0, 0.0))
    at = history(rows, 6)  # the last user has no event at all
    for ladder in ("spend", "events"):
        model = fit(at, [120, 150], days=28, ladder=ladder, threshold=20.0, amounts=True, seed=1)  # type: ignore[arg-type]
        said = model.told(signals_at(at, 190))
        assert said.spend is not None
        assert np.isfinite(said.p).all()
        assert np.isfinite(said.spend).all()
        assert (said.spend >= 0).all()
    constant = fit(at.where(at.user < 4), [120], days=28, ladder="events", threshold=0.0, amounts=False, seed=1)
    assert constant.buys.linear is None
    assert constant.told(signals_at(at, 190)).spend is None
    with pytest.raises(ValueError, match="nobody is known at any of the 1 cuts"):
        fit(at, [0], days=28, ladder="events", threshold=0.0, amounts=False, seed=1)
    with pytest.raises(ValueError, match="no day of behaviour before day 0"):
        backtest(at, 0, 28, cuts=3, seed=1, **WAY)  # type: ignore[arg-type]


def test_churn_is_likelier_for_who_has_gone_silent() -> None:
    at, _ = planted(300, AS_OF)
    gone = history(
        [r for r in zip(at.user, at.day, at.spend, at.lines, at.trip, at.looks, at.exposed, at.redeemed, strict=True)
         if r[0] >= 100 or r[1] < 40 + r[0]], 300
    )  # fmt: skip
    stays = fit_staying(gone, training_cuts(0, AS_OF, 84, 6), days=84, seed=1)
    risk = 1.0 - stays.probability(signals_at(gone, AS_OF))
    known = known_at(gone, AS_OF)
    assert risk[:100][known[:100]].mean() > 2 * risk[100:][known[100:]].mean()


def how(as_of: int = AS_OF, **more: object) -> How:
    values = {
        "horizon_days": 28,
        "churn_days": 84,
        "ladder": "spend",
        "amounts": True,
        "cuts": 6,
        "threshold_cuts": (100, 150),
        "seed": 1,
    }
    return How(as_of=as_of, **{**values, **more})  # type: ignore[arg-type]


def test_who_orders_users_backwards_is_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    at, _ = planted(300, AS_OF)
    good = learnt(at, how())
    assert good.value_model == valued.BEHAVIOUR
    assert good.captured[valued.BEHAVIOUR] >= good.captured[valued.RFM_CELLS] > 0.1
    assert good.stays is not None
    assert good.threshold == threshold_of(at, [100, 150], 28)

    def backwards(*arguments: object, **more: object) -> tuple[object, Told]:
        model, said = backtest(*arguments, **more)  # type: ignore[arg-type]
        assert said.spend is not None
        return model, Told(said.p, said.buys, -said.spend)

    monkeypatch.setattr(valued, "backtest", backwards)
    bad = learnt(at, how())
    assert bad.value_model == valued.RFM_CELLS
    assert bad.captured[valued.BEHAVIOUR] < bad.captured[valued.RFM_CELLS]


def test_a_history_of_less_than_two_horizons_is_said_to_be_short() -> None:
    at, _ = planted(40, 300)
    assert not reaches(at.where(at.day < 0), how())
    assert not reaches(at.where(at.day >= 250), how())
    assert reaches(at.where(at.day >= 240), how())
    with pytest.raises(ValueError, match="does not reach back two whole horizons of 28 days"):
        learnt(at.where(at.day >= 250), how())
    assert learnt(at.where(at.day >= 240), how()).stays is None


def test_days_are_counted_from_the_epoch() -> None:
    assert day_number(EPOCH) == 0
    assert day_number(date(2017, 11, 6)) == 17476

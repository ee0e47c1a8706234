"""Plain methods of value over several origins: no look ahead, planted truths, plain loops, and whole users in the bootstrap."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from equipoise.evaluate.arrays import Floats
from equipoise.evaluate.baselines import trees
from equipoise.evaluate.baselines.answers import (
    METHODS,
    TWELVE,
    WITH_AMOUNTS,
    Question,
    bgnbd,
    cuts_before,
    history_of,
    of,
    rfm_cells,
    spend_112d,
)
from equipoise.evaluate.behaviour import Behaviour
from equipoise.evaluate.tasks.value import Answer
from equipoise.evaluate.tasks.value_origins import judged, lines, outcome, question
from equipoise.segments.history import History
from equipoise.segments.signals import SIGNALS
from equipoise.tables.vocabulary import EVENT_TYPES

ORIGINS, DAYS, UNTIL = (200, 214, 228), 28, 260
FEW_TREES = {"max_iter": 10, "learning_rate": 0.3, "max_leaf_nodes": 4}
EVERY = {**METHODS, **WITH_AMOUNTS}
HOW = {"ladder": "spend", "amounts": True, "seed": 1}


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough of them to learn from a small shop."""
    monkeypatch.setattr(trees, "BOOSTING", FEW_TREES)


@cache
def shop(users: int = 150) -> History:
    """Users who buy every day with a chance of their own, some of whom stop; purchases cost about 20 times a factor."""
    random = np.random.default_rng(4)
    rate, factor = random.beta(1.0, 12.0, users), random.gamma(2.0, 0.5, users)
    stop = np.where(random.random(users) < 0.4, random.integers(30, UNTIL, users), UNTIL)
    here = (random.random((users, UNTIL)) < rate[:, None]) & (np.arange(UNTIL) < stop[:, None])
    here[:, 0] |= rate > 0.05
    user, day = np.nonzero(here)
    spend = 20 * factor[user] * random.gamma(4.0, 0.25, len(user))
    nothing, one = np.zeros(len(user)), np.ones(len(user))
    names = np.array([f"u{i:04d}" for i in range(users)], dtype=object)
    return History(names, user, day, spend, one, one > 0, nothing, nothing, nothing)


def asked(history: History | None = None, origin: int = 200) -> Question:
    return question(shop() if history is None else history, origin, DAYS, **HOW)  # type: ignore[arg-type]


def known(answer: Answer) -> list[Floats]:
    return [x for x in (answer.score, answer.worth, answer.p, answer.buys, answer.money) if x is not None]


@pytest.mark.parametrize("name", EVERY)
def test_what_comes_after_the_origin_changes_no_answer(name: str) -> None:
    whole = shop()
    later = whole.day >= 200
    other = replace(whole, spend=np.where(later, 1e6, whole.spend), lines=np.where(later, 9.0, whole.lines))
    for one, two in zip(known(EVERY[name](asked())), known(EVERY[name](asked(other))), strict=True):
        assert np.array_equal(one, two)


@pytest.mark.parametrize("name", EVERY)
def test_answers_are_about_the_known_users_and_come_out_again(name: str) -> None:
    first, again = EVERY[name](asked()), EVERY[name](asked())
    for one, two in zip(known(first), known(again), strict=True):
        assert len(one) == len(asked().known)
        assert np.isfinite(one).all()
        assert np.array_equal(one, two)
    if first.p is not None:
        assert first.p.sum(axis=1) == pytest.approx(1.0)
    if first.buys is not None:
        assert ((first.buys >= 0) & (first.buys <= 1)).all()


@pytest.mark.parametrize("name", METHODS)
def test_a_source_without_amounts_has_no_money(name: str) -> None:
    ladder = replace(asked(), ladder="events", amounts=False)
    answer = METHODS[name](ladder)
    assert answer.money is None
    assert np.isfinite(answer.score).all()


def test_a_question_never_holds_days_from_its_origin_on() -> None:
    one = asked()
    assert one.history.day.max() < one.origin
    assert max(one.cuts) + DAYS <= one.origin
    with pytest.raises(ValueError, match="holds days from it on"):
        replace(one, history=shop())
    with pytest.raises(ValueError, match=r"cuts \[180\] whose windows reach beyond it"):
        replace(one, cuts=(100, 180))


def test_cuts_lie_half_a_horizon_apart_behind_enough_history() -> None:
    assert cuts_before(shop(), 200, 28) == list(range(172, 56, -14))
    assert cuts_before(shop(), 70, 28) == [42, 28, 14], "no cut has 56 days before it: those with any"
    assert cuts_before(shop(), 28, 28) == []
    with pytest.raises(ValueError, match="no whole window of 28 days to learn from before day 28; take a later origin"):
        asked(origin=28)


def test_rfm_cells_are_the_means_of_earlier_windows() -> None:
    """By a loop: fifths at each cut, the mean outcome of the cell, ten users of everybody added."""
    one, whole = asked(), shop()
    rows = list(zip(whole.user.tolist(), whole.day.tolist(), whole.spend.tolist(), strict=True))

    def fifths(*keys: list[float]) -> list[int]:
        """Ties by the next key, at last by the user's number."""
        order = sorted(range(len(keys[0])), key=lambda i: (*(k[i] for k in keys), i))
        place = {i: n for n, i in enumerate(order)}
        return [5 * place[i] // len(order) for i in range(len(order))]

    def cells(day: int) -> dict[int, tuple[int, ...]]:
        mine: dict[int, list[tuple[int, float]]] = {}
        for user, d, s in rows:
            if d < day:
                mine.setdefault(user, []).append((d, s))
        last, trips = [float(max(d for d, _ in of)) for of in mine.values()], [float(len(of)) for of in mine.values()]
        spent = [sum(s for _, s in of) for of in mine.values()]
        parts = fifths(last, trips, spent), fifths(trips, spent, last), fifths(spent, trips, last)
        return dict(zip(mine, zip(*parts, strict=True), strict=True))

    found: dict[tuple[int, ...], list[float]] = {}
    for cut in one.cuts:
        for user, cell in cells(cut).items():
            found.setdefault(cell, []).append(sum(s for u, d, s in rows if u == user and cut <= d < cut + DAYS))
    everybody = np.mean([s for spends in found.values() for s in spends])
    here = cells(one.origin)
    expected = [(sum(found.get(here[u], [])) + 10 * everybody) / (len(found.get(here[u], [])) + 10) for u in one.known]
    assert rfm_cells(one).money == pytest.approx(expected)


def test_spend_of_112_days_is_spread_over_the_horizon() -> None:
    one = asked()
    late = one.history.day >= 200 - 112
    spent = np.bincount(one.history.user[late], weights=one.history.spend[late], minlength=150)[one.known]
    assert spend_112d(one).money == pytest.approx(spent / 4)


def test_bgnbd_foretells_what_such_users_buy() -> None:
    one = asked(shop(1500))
    said, truth = bgnbd(one), outcome(shop(1500), one)
    assert said.buys is not None
    assert said.money is not None
    assert truth.spend is not None
    assert said.buys.mean() == pytest.approx(truth.buys.mean(), abs=0.05)
    assert said.money.mean() == pytest.approx(truth.spend.mean(), rel=0.2)


def test_the_learning_methods_beat_a_score_that_knows_nothing() -> None:
    one = asked(shop(1500))
    truth = outcome(shop(1500), one)
    for name in ("kmeans_3", "rfm_cells", "bgnbd", "logit_12", "hgb_12"):
        assert roc_auc_score(truth.buys, METHODS[name](one).score) > 0.7, name


def test_twelve_features_are_signals() -> None:
    assert len(set(TWELVE)) == 12
    assert set(TWELVE) <= set(SIGNALS)


def test_trees_of_one_class_say_that_class() -> None:
    x = np.random.default_rng(1).random((40, 12))
    fitted = trees.fit(x, np.full(40, 2), np.zeros(40), 1)
    assert fitted.probabilities(x).tolist() == [[0.0, 0.0, 1.0]] * 40
    assert fitted.expected_spend(x) is None
    assert trees.fit(x, np.arange(40) % 2, np.ones(40), 1).probabilities(x[:0]).shape == (0, 3)


def test_measures_are_the_mean_of_those_at_the_origins() -> None:
    found = judged(shop(), ORIGINS, DAYS, until=UNTIL, **HOW)  # type: ignore[arg-type]
    auc = next(m for m in found.measures["spend_112d"] if m.metric == "auc")
    each = []
    for origin in ORIGINS:
        one = asked(origin=origin)
        each.append(roc_auc_score(outcome(shop(), one).buys, spend_112d(one).score))
    assert auc.value() == pytest.approx(np.mean(each))
    assert len(found.unit) == sum(len(asked(origin=o).known) for o in ORIGINS)


def test_a_further_method_is_judged_beside_the_best_plain_one() -> None:
    def knows(one: Question) -> Answer:
        truth = outcome(shop(), one)
        return Answer(truth.buys, truth.spend)

    found = judged(shop(), ORIGINS, DAYS, until=UNTIL, further={"knows": knows}, **HOW)  # type: ignore[arg-type]
    told = {(x.method, x.metric): x for x in lines(found, ["auc", "ngini"], ["knows"], resamples=50, seed=1)}
    best = max((told[name, "auc"] for name in EVERY), key=lambda x: x.value)
    mine = told["knows", "auc"]
    assert (mine.value, mine.against, best.against) == (1.0, best.method, None)
    assert mine.difference == pytest.approx(1.0 - best.value)
    assert mine.difference_ends is not None
    assert 0 < mine.difference_ends[0] < mine.difference < mine.difference_ends[1]


def test_an_origin_without_a_whole_window_is_left_out() -> None:
    found = judged(shop(), [200, 240], DAYS, until=UNTIL, **HOW)  # type: ignore[arg-type]
    assert found.origins == (200,)
    with pytest.raises(ValueError, match=r"no window of 28 days from \[240\] ends at or before day 260; take earlier origins"):
        judged(shop(), [240], DAYS, until=UNTIL, **HOW)  # type: ignore[arg-type]


def test_a_behaviour_log_becomes_a_history_of_days() -> None:
    events = [
        (0, 3, "purchase", 5.0),
        (0, 3, "purchase", 2.0),
        (0, 4, "view", 0.0),
        (1, 4, "expose", 0.0),
        (2, 9, "purchase", 1.0),
    ]
    user, day, kind, amount = (list(column) for column in zip(*events, strict=True))
    kinds = np.array([EVENT_TYPES.index(k) for k in kind])
    numbers = np.array(user), np.zeros(5, dtype=np.int64), np.array(day), np.array(day), kinds
    log = Behaviour(np.array(["a", "b", "c"]), *numbers, np.array(amount))
    found = history_of(log, 9)
    assert (found.user.tolist(), found.day.tolist()) == ([0, 0, 1], [3, 4, 4])
    assert (found.spend.tolist(), found.lines.tolist(), found.trip.tolist()) == ([7, 0, 0], [2, 0, 0], [True, False, False])
    assert (found.looks.tolist(), found.exposed.tolist()) == ([0, 1, 0], [0, 0, 1])


def test_who_was_not_known_is_said_to_do_nothing() -> None:
    one = asked()
    stranger = np.setdiff1d(np.arange(150), one.known)
    assert len(stranger)
    answer = of(rfm_cells(one), one, np.concatenate([one.known[:3], stranger[:1]]))
    assert answer.p is not None
    assert answer.money is not None
    assert answer.p[3].tolist() == [1, 0, 0]
    assert answer.money[3] == 0
    assert answer.money[:3].tolist() == np.asarray(rfm_cells(one).money)[:3].tolist()

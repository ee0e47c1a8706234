"""Campaigns: what was known of a user when one began, and who will answer the next."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from equipoise.audiences.campaigns import FEATURES, NONE, Contacts, features_at, unpacked_contacts
from equipoise.audiences.response import LEAST_ANSWERS, fit, past, propensity
from equipoise.evaluate.table import rows
from equipoise.evaluate.tasks.campaigns import comparisons, foretold
from equipoise.segments.history import History
from tests.unit.segments.test_worth import planted


def made(seed: int = 1, users: int = 500, campaigns: int = 8) -> tuple[History, Contacts, np.ndarray]:
    """Users with a chance to answer of their own; campaigns, 30 days apart, contact half of them, the better customers sooner."""
    history, money = planted(users, 330, seed)
    rng = np.random.default_rng(seed)
    keen = rng.beta(0.5, 2.0, users)
    parts = []
    for c in range(campaigns):
        first = 40 + 30 * c
        chosen = np.flatnonzero(rng.random(users) < 0.2 + 0.6 * (money > np.median(money)))
        answers = np.where(rng.random(len(chosen)) < keen[chosen], first + rng.integers(0, 20, len(chosen)), NONE)
        parts.append((chosen, np.full(len(chosen), f"c{c}"), np.full(len(chosen), first), answers))
    return history, Contacts(*(np.concatenate(p) for p in zip(*parts, strict=True))), keen  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def shop() -> tuple[History, Contacts, np.ndarray]:
    return made()


def test_features_are_those_of_a_plain_loop_and_look_at_nothing_later(shop: tuple[History, Contacts, np.ndarray]) -> None:
    history, contacts, _ = shop
    day = 130
    found = features_at(history, contacts, day, 77)
    told = list(zip(contacts.user, contacts.day, contacts.answer, strict=True))
    for u in range(0, 500, 37):
        mine = [(d, a) for v, d, a in told if v == u and d < day]
        answers = [a for _, a in mine if a != NONE and a < day]
        expected = {
            "contacts": len(mine),
            "answers": len(answers),
            "answer_rate": (len(answers) + 0.3) / (len(mine) + 3),
            "days_since_answer": day - max(answers) if answers else 400,
            "days_since_contact": day - max(d for d, _ in mine) if mine else 400,
            "campaign_users": 77,
        }
        for name, value in expected.items():
            assert found[u, FEATURES.index(name)] == pytest.approx(value), (u, name)
    known = contacts.where(contacts.day < day)
    blind = Contacts(known.user, known.campaign, known.day, np.where(known.answer < day, known.answer, NONE))
    np.testing.assert_array_equal(found, features_at(history.where(history.day < day), blind, day, 77))


def test_only_campaigns_that_are_over_are_learnt_from(shop: tuple[History, Contacts, np.ndarray]) -> None:
    history, contacts, _ = shop
    learnt = past(history, contacts, until=130, response_days=28)
    assert set(learnt.campaign) == {"c0", "c1", "c2"}  # c2 began on day 100; c3 on day 130
    late = past(history, contacts, until=1000, response_days=10)
    of = {(u, c): a for u, c, a in zip(contacts.user, contacts.campaign, contacts.answer, strict=True)}
    first = {name: day for name, day, _ in contacts.campaigns()}
    for user, name, yes in list(zip(late.user, late.campaign, late.yes, strict=True))[::50]:
        assert yes == (first[name] <= of[user, name] < first[name] + 10), "an answer after the response days is none"
    assert past(history, contacts, until=10, response_days=28).yes.size == 0
    assert fit(past(history, contacts, until=10, response_days=28), 1) is None
    few = contacts.where(contacts.answer == NONE)
    assert fit(past(history, few, until=300, response_days=28), 1) is None, f"fewer than {LEAST_ANSWERS} answers"


def test_who_is_keen_is_found_and_the_choice_of_the_shop_too(shop: tuple[History, Contacts, np.ndarray]) -> None:
    history, contacts, keen = shop
    model = fit(past(history, contacts, until=250, response_days=28), 1)
    assert model is not None
    p = model.probability(features_at(history, contacts, 250, 250))
    assert np.corrcoef(p, keen)[0, 1] > 0.6
    assert p.mean() == pytest.approx(keen.mean(), abs=0.05)
    auc = propensity(history, contacts, 1)
    assert auc is not None
    assert 0.7 < auc < 0.9, "chosen by money"
    assert propensity(history, contacts.where(contacts.campaign == "c0"), 1) is None
    everybody = Contacts(np.tile(np.arange(500), 2), np.repeat(["a", "b"], 500), np.repeat([40, 80], 500), np.full(1000, NONE))
    assert propensity(history, everybody, 1) is None


def test_the_task_foretells_each_campaign_from_those_over_before_it(shop: tuple[History, Contacts, np.ndarray]) -> None:
    history, contacts, _ = shop
    told, said = foretold(history, contacts, until=320, response_days=28, seed=1)
    assert set(told.campaign) == {f"c{n}" for n in range(1, 8)}, "before the first nothing is learnt"
    keep = contacts.day <= 160
    shifted = Contacts(
        contacts.user,
        contacts.campaign,
        contacts.day,
        np.where(keep | (contacts.answer == NONE), contacts.answer, contacts.answer + 1),
    )
    _, again = foretold(history, shifted, until=320, response_days=28, seed=1)
    early = np.array(told.campaign) <= "c4"
    np.testing.assert_array_equal(said["response"][early], again["response"][early])
    found = rows(comparisons(told, said, date(2020, 1, 1))[0], resamples=100, seed=1)
    values = {(r.method, r.metric): r.value for r in found if r.user_group == "all"}
    assert values["response", "auc"] > values["spend_112d", "auc"] + 0.1
    top = np.argsort(-said["response"], kind="stable")[: len(told.yes) // 10]
    assert values["response", "decile_lift"] == pytest.approx(told.yes[top].mean() / told.yes.mean(), rel=0.02)
    assert ("response_linear", "brier") not in values
    none = past(history, contacts.where(contacts.answer == NONE), until=300, response_days=28)
    assert comparisons(none, {"response": np.zeros(len(none.yes))}, date(2020, 1, 1)) == []


def test_rows_without_a_contact_are_users_without_one() -> None:
    columns = {"campaign": ["a", "b"], "contact_day": [3, 5], "answer_day": [4, -1]}
    frame = pd.DataFrame({name: [np.array(values), None, np.nan] for name, values in columns.items()})
    found = unpacked_contacts(frame)
    assert found.user.tolist() == [0, 0]
    assert found.campaigns() == [("a", 3, 1), ("b", 5, 1)]
    assert unpacked_contacts(frame.iloc[1:]).user.size == 0

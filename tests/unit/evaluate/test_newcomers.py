"""The learnt ranker of new items: features by loops, a planted taste, no future, nothing to learn from."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from equipoise.evaluate.baselines.newcomers import NOVELTY_DAYS, Sales, attributes, features, fitted

ITEMS = pd.DataFrame(
    {
        "category_1": ["FOOD"] * 4,
        "category_2": ["MILK", "MILK", "BEER", None],
        "category_3": ["WHOLE", "SKIM", "ALE", "ALE"],
        "brand": ["National", "Private", "National", "National"],
        "text": ["whole, milk, m1", "skim, milk, m2", "ale, beer, m1", "plain"],
    }
)


def test_attributes_are_columns_the_last_part_of_the_text_and_pairs() -> None:
    values = attributes(ITEMS)
    assert values["category_1"].tolist() == [0, 0, 0, 0]
    assert values["category_2"].tolist() == [0, 0, 1, 2]
    assert values["maker"].tolist() == [0, 1, 0, 2]
    assert values["category_2 × brand"].tolist() == [0, 1, 2, 3]
    assert values["category_3 × maker"].tolist() == [0, 1, 2, 3]
    assert len(values) == 8


def test_features_are_those_of_loops() -> None:
    rng = np.random.default_rng(2)
    log = Sales(rng.integers(0, 6, 200), rng.integers(0, 12, 200), rng.integers(0, 120, 200), 6)
    value, cut = rng.integers(0, 3, 15), 100
    users, items = np.array([1, 4]), np.array([3, 12, 14])
    found = features(log, {"g": value}, cut, users, items)
    rows = [(u, i, t) for u, i, t in zip(log.user, log.item, log.day, strict=True) if t < cut]
    weight = {n: 0.5 ** ((cut - t) / 112) for n, (_, _, t) in enumerate(rows)}
    first = {i: min(t for _, j, t in rows if j == i) for _, i, _ in rows}
    new = {(u, i) for u, i, _ in rows if first[i] >= cut - NOVELTY_DAYS}
    came = {i for _, i in new}
    whole = sum(weight.values())
    for b, item in enumerate(items):
        share = sum(w for n, w in weight.items() if value[rows[n][1]] == value[item]) / whole
        buyers = sum(value[i] == value[item] for _, i in new)
        number = sum(value[i] == value[item] for i in came)
        prior = (buyers + 3 * len(new) / max(1, len(came)) + 1e-9) / (number + 3)
        for a, user in enumerate(users):
            mine = sum(w for n, w in weight.items() if rows[n][0] == user and value[rows[n][1]] == value[item])
            lines = sum(w for n, w in weight.items() if rows[n][0] == user)
            expected = [math.log((mine + 2 * share + 1e-5) / (lines + 2)), math.log(share + 1e-6), math.log(prior)]
            row = found.pairs(np.array([a]), np.array([b]))[0]
            assert row == pytest.approx(expected, abs=1e-5)
    weights = np.array([0.5, -0.2, 1.5])
    grid = [[found.pairs(np.array([a]), np.array([b]))[0] @ weights for b in range(3)] for a in range(2)]
    np.testing.assert_allclose(found.score(weights), grid, atol=1e-5)


def planted(seed: int = 1) -> tuple[Sales, dict[str, np.ndarray], np.ndarray]:
    """Users 0–59 like one value each; ten new items of each value every two weeks, taken by those who like it."""
    rng = np.random.default_rng(seed)
    value = np.tile(np.arange(6), 300)
    rows = []
    for day in range(0, 224, 2):
        for user in range(60):
            known = np.flatnonzero((value == user % 6) & (np.arange(len(value)) < 12 * (1 + day // 14)))
            item = rng.choice(known[-4:] if rng.random() < 0.7 else known)
            rows.append((user, item, day))
    user, item, day = np.array(rows).T
    return Sales(user, item, day, 60), {"g": value, "noise": rng.integers(0, 6, len(value))}, value


def test_a_planted_taste_is_found_and_noise_is_not() -> None:
    log, values, value = planted()
    weight = fitted(log, values, 168, 1)
    assert weight is not None
    assert weight[0] > 3 * abs(weight[1])
    new = np.setdiff1d(log.item[log.day >= 168], log.item[log.day < 168])
    scores = features(log, values, 168, np.arange(60), new).score(weight)
    liked = value[new][None] == (np.arange(60) % 6)[:, None]
    assert scores[liked].min() > scores[~liked].max()


def test_what_lies_at_or_after_the_origin_changes_nothing() -> None:
    log, values, _ = planted()
    rng = np.random.default_rng(9)
    later = log.day >= 168
    moved = Sales(log.user, np.where(later, rng.permutation(log.item), log.item), log.day, log.users)
    past = Sales(log.user[~later], log.item[~later], log.day[~later], log.users)
    a, b, c = (fitted(x, values, 168, 1) for x in (log, moved, past))
    assert a is not None and b is not None and c is not None
    np.testing.assert_allclose(a, b)
    np.testing.assert_allclose(a, c)
    at = [features(x, values, 168, np.arange(5), np.arange(7)).score(a) for x in (log, moved)]
    np.testing.assert_allclose(*at)


def test_without_earlier_newcomers_there_is_nothing_to_learn() -> None:
    log, values, _ = planted()
    short = Sales(log.user, log.item, log.day, log.users)
    assert fitted(short, values, 20, 1) is None, "no history before the earliest cut"
    same = Sales(log.user, np.zeros_like(log.item), log.day, log.users)
    assert fitted(same, values, 168, 1) is None, "nothing was ever new"

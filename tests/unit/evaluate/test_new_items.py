"""New items: who is tested and with what, kernels against plain loops, and planted tastes."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from equipoise.evaluate.behaviour import Catalogue
from equipoise.evaluate.table import rows
from equipoise.evaluate.tasks import new_items
from equipoise.evaluate.tasks.new_items import Newcomers
from tests.unit.evaluate.test_tasks import BUY, LOOK, ORIGIN, log

ITEMS = 9


def catalogue() -> Catalogue:
    """Nine items of one category; the last one is fuel."""
    return Catalogue(
        items=np.array([f"i{n}" for n in range(ITEMS)]),
        categories=np.array(["UNKNOWN", "x"]),
        link_item=np.arange(ITEMS),
        link_category=np.ones(ITEMS, dtype=np.int64),
        link_weight=np.ones(ITEMS),
        top=np.array([*["FOOD"] * (ITEMS - 1), "FUEL"]),
        leaf=np.array([f"t{n % 2}" for n in range(ITEMS)]),
    )


def found() -> Newcomers:
    behaviour = log(
        (0, 0, -112, BUY, 1.0), (0, 0, -1, BUY, 1.0), (0, 1, -28, BUY, 1.0),
        (0, 4, 2, BUY, 1.0), (0, 4, 3, BUY, 1.0), (0, 5, 27, BUY, 1.0),
        (0, 0, 5, BUY, 1.0),  # known already
        (0, 6, 28, BUY, 1.0),  # after the end
        (0, 8, 3, BUY, 1.0),  # fuel
        (1, 2, -3, BUY, 1.0), (1, 3, -3, LOOK, 0.0), (1, 3, 1, BUY, 1.0),  # a look makes nothing known
        (2, 5, 4, BUY, 1.0),  # a stranger before the origin
        (3, 1, -9, BUY, 1.0),  # takes nothing new
        users=4,
    )  # fmt: skip
    return new_items.newcomers(behaviour, catalogue(), ("FUEL",), ORIGIN, ORIGIN + 28, seed=1)


def test_who_is_tested_with_what() -> None:
    made = found()
    assert made.items.tolist() == [3, 4, 5]
    assert made.users.tolist() == [0, 1]
    assert [divmod(int(k), 3) for k in made.truth] == [(0, 1), (0, 2), (1, 0)]
    assert made.size.tolist() == [2, 1]
    assert list(zip(made.own_user.tolist(), made.own_item.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 2)]
    assert made.own_weight == pytest.approx([0.5 + 0.5 ** (1 / 112), 0.5**0.25, 0.5 ** (3 / 112)])
    assert made.needed.tolist() == [0, 1, 2, 3, 4, 5]


def test_the_kernel_is_a_sum_over_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items 3 and 5 share a text, so they share a vector; in chunks of one text."""
    monkeypatch.setattr(new_items, "CHUNK", 1)
    made, rng = found(), np.random.default_rng(2)
    vectors = rng.normal(size=(6, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[5] = vectors[3]
    texts = np.array(["a", "b", "c", "same", "e", "same"])
    score = new_items.kernel(made, texts, lambda _, first: vectors[first])
    own = {0: 0.5 + 0.5 ** (1 / 112), 1: 0.5**0.25}
    for place, item in enumerate(made.items):
        near = sum(w / sum(own.values()) * math.exp(20 * (float(vectors[i] @ vectors[item]) - 1)) for i, w in own.items())
        assert score[0, place] == pytest.approx(math.log(near), abs=1e-4)
        assert score[1, place] == pytest.approx(20 * (float(vectors[2] @ vectors[item]) - 1), abs=1e-4)


def test_attributes_are_the_parts_of_a_text() -> None:
    texts = np.array(["cola, drinks, maker 7", "cola light, drinks, maker 7", "soap, care, maker 7", "cola, drinks, maker 9"])
    rows_ = new_items.attributes(texts, np.arange(4)).toarray()
    np.testing.assert_allclose(rows_, TfidfVectorizer(analyzer=lambda t: t.split(", ")).fit_transform(texts).toarray())
    near = rows_ @ rows_.T
    assert near[0, 0] == pytest.approx(1.0) and near[0, 3] > near[0, 1] > near[0, 2] > 0


def test_attributes_and_vectors_take_the_same_kernel() -> None:
    made, texts = found(), np.array(["a, x", "b, x", "c, y", "a, y", "b, y", "c, x"])
    dense = new_items.attributes(texts, np.arange(6)).toarray()
    by_rows = new_items.kernel(made, texts, lambda _, first: dense[first])
    np.testing.assert_allclose(new_items.kernel(made, texts, new_items.attributes), by_rows, atol=1e-4)


def test_leaves_count_the_users_own_and_everybodys_history() -> None:
    made = found()
    scores = new_items.leaf_scores(made, np.unique(catalogue().leaf, return_inverse=True)[1])
    even, odd = 0.5 + 0.5 ** (1 / 112), 0.5**0.25
    assert scores["leaf_share"][0] == pytest.approx([odd, even, odd])
    assert scores["popular_leaf"][1] == pytest.approx([odd, even + 0.5 ** (3 / 112), odd])


def test_planted_tastes_are_found_by_what_items_are() -> None:
    """Users with one taste of ten; new items of every taste; vectors tell tastes apart and leaves do not."""
    rng, tastes, users = np.random.default_rng(3), 10, 60
    taste = np.arange(400) % tastes
    old, new = np.arange(300), np.arange(300, 400)
    events = []
    for user in range(users):
        mine = user % tastes
        events += [(user, int(i), -int(rng.integers(1, 90)), BUY, 1.0) for i in rng.choice(old[taste[old] == mine], 8, False)]
        events += [(user, int(i), int(rng.integers(0, 28)), BUY, 1.0) for i in rng.choice(new[taste[new] == mine], 2, False)]
    plain = Catalogue(
        np.array([f"i{n:03d}" for n in range(400)]), np.array(["UNKNOWN", "x"]), np.arange(400), np.ones(400, dtype=np.int64),
        np.ones(400), np.array(["FOOD"] * 400), np.array(["leaf"] * 400),
    )  # fmt: skip
    made = new_items.newcomers(log(*events, users=users), plain, (), ORIGIN, ORIGIN + 28, seed=1)
    vectors = np.eye(tastes)[taste[made.needed]] + 0.1 * rng.normal(size=(len(made.needed), tastes))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    texts = np.array([f"item {n}" for n in made.needed])
    scores = {
        **new_items.leaf_scores(made, np.zeros(400, dtype=np.int64)),
        "text": new_items.kernel(made, texts, lambda _, first: vectors[first]),
    }
    table = rows(new_items.comparison(made, scores, (), date(2020, 3, 2), {}), resamples=50, seed=1)
    value = {(r.method, r.metric, r.cutoff): r.value for r in table}
    assert value["text", "ndcg", 10] > 0.15 > value["leaf_share", "ndcg", 10]  # 2 of the 10 of a taste, at random within it
    assert value["text", "recall", 50] > 0.95 > value["leaf_share", "recall", 50]
    assert value["text", "ndcg_minus_leaf_share", 10] > 0.05


def test_more_buyers_than_are_compared_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_items, "MOST_USERS", 1)
    made = found()
    assert len(made.users) == 1 and set(made.own_user) == {0} and made.size.sum() == len(made.truth)

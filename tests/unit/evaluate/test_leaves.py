"""Tasks leaves and explore: features against plain loops, TIFU-KNN against the paper's sums, models on planted habits."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.evaluate.baselines import leaves as models
from equipoise.evaluate.baselines import tifu
from equipoise.evaluate.baselines.pairs import Visits
from equipoise.evaluate.metrics import ranking
from equipoise.evaluate.table import rows
from equipoise.evaluate.tasks import leaves
from equipoise.evaluate.tasks.next_basket import next_basket

USERS, LEAVES, DAYS, CUT = 60, 80, 196, 140
MAIN = np.arange(LEAVES) // 8
ORIGIN = date(2017, 5, 21)


def visits(seed: int = 1, users: int = USERS) -> Visits:
    """Every user shops weekly in five leaves of three categories, and takes any leaf of the first of them one week in four."""
    rng = np.random.default_rng(seed)
    found = set()
    for user in range(users):
        homes = rng.choice(LEAVES // 8, 3, replace=False)
        own = [int(c * 8 + rng.integers(8)) for c in homes] + [int(homes[0] * 8 + n) for n in range(2)]
        for day in range(int(rng.integers(7)), DAYS, 7):
            found |= {(user, leaf, day) for leaf in own if rng.random() < 0.7}
            if rng.random() < 0.25:
                found.add((user, int(homes[0] * 8 + rng.integers(8)), day))
    table = np.array(sorted(found)).T.astype(np.int64)
    return Visits(table[0], table[1], table[2], np.ones(table.shape[1]), users, LEAVES)


def world(seed: int = 1) -> leaves.World:
    return leaves.World(visits(seed), MAIN, np.arange(USERS) + 100)


def test_features_equal_a_loop_over_the_baskets() -> None:
    made = visits()
    at = models.features(made, MAIN, CUT)
    past = [(int(u), int(c), int(d)) for u, c, d in zip(made.user, made.category, made.day, strict=True) if d < CUT]
    for user in range(0, USERS, 13):
        days = sorted({d for u, _, d in past if u == user})
        since = {d: len(days) - 1 - n for n, d in enumerate(days)}
        for leaf in range(0, LEAVES, 3):
            mine = [d for u, c, d in past if (u, c) == (user, leaf)]
            kin = [(c, d) for u, c, d in past if u == user and MAIN[c] == MAIN[leaf]]
            own = sum(0.5 ** (since[d] / 10) for d in mine)
            expected = {
                "own_10": np.log1p(own),
                "rate_10": own / sum(0.5 ** (n / 10) for n in range(len(days))),
                "category_own": np.log1p(sum(0.5 ** (since[d] / 10) for _, d in kin)),
                "category_long": np.log1p(sum(0.5 ** ((CUT - d) / 112) for _, d in kin)),
                "category_recency": min((CUT - d for _, d in kin), default=400),
                "category_leaves": len({c for c, _ in kin}),
                "baskets": len(days),
                "leaves_per_basket": sum(u == user for u, _, _ in past) / len(days),
            }
            for name, value in expected.items():
                assert at[name][user, leaf] == pytest.approx(value, rel=1e-5, abs=1e-6), (name, user, leaf)
    assert all(v.dtype == np.float32 and v.shape == (USERS, LEAVES) and np.isfinite(v).all() for v in at.values())


def test_nothing_from_the_cut_on_is_known_at_it() -> None:
    made = visits()
    later = made.day >= CUT
    other = Visits(made.user, np.where(later, (made.category + 7) % LEAVES, made.category), made.day, made.lines, USERS, LEAVES)
    a, b = models.features(made, MAIN, CUT), models.features(other, MAIN, CUT)
    assert all(np.array_equal(a[name], b[name]) for name in a)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 30)), min_size=1, max_size=60, unique=True))
def test_tifu_vectors_equal_the_sums_of_the_paper(events: list[tuple[int, int, int]]) -> None:
    """Groups of seven baskets counted from the latest; within a group and between groups each step back decays."""
    user, code, day = np.array(sorted(events)).T
    found = tifu.vectors(user, code, day, 4, 5)
    for u in range(4):
        days = sorted({d for v, _, d in events if v == u}, reverse=True)
        groups = [days[n : n + tifu.GROUP] for n in range(0, len(days), tifu.GROUP)]
        for c in range(5):
            total = 0.0
            for g, group in enumerate(groups):
                inner = sum(tifu.WITHIN**n * ((u, c, d) in events) for n, d in enumerate(group)) / len(group)
                total += tifu.BETWEEN**g * inner / len(groups)
            assert found[u, c] == pytest.approx(total)


def test_tifu_scores_mix_the_own_vector_with_the_mean_of_the_nearest() -> None:
    rng = np.random.default_rng(3)
    own = np.vstack([rng.random((8, 5)), np.zeros((1, 5))])
    found = tifu.scores(own)
    for u in range(8):
        others = [v for v in range(8) if v != u]  # fewer than NEIGHBOURS: all of them
        np.testing.assert_allclose(found[u], tifu.OWN * own[u] + (1 - tifu.OWN) * own[others].mean(0))
    assert not found[8].any()


def test_tifu_takes_the_nearest_where_there_are_more_than_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tifu, "NEIGHBOURS", 2)
    own = np.random.default_rng(4).random((9, 6))
    found = tifu.scores(own)
    for u in range(9):
        near = sorted((v for v in range(9) if v != u), key=lambda v: float(((own[u] - own[v]) ** 2).sum()))[:2]
        np.testing.assert_allclose(found[u], tifu.OWN * own[u] + (1 - tifu.OWN) * own[near].mean(0))


def test_training_rows_hold_every_known_leaf_and_every_hit_and_weigh_what_was_sampled() -> None:
    made = world()
    at, basket = models.features(made.log, MAIN, CUT), made.basket(CUT, CUT + 28)
    told = models.training_rows(at, basket, 1)
    known = at["days"] > 0
    assert told.known.sum() == known[basket.tested].sum()
    assert told.label.sum() == len(basket.truth[np.isin(basket.truth // LEAVES, basket.tested)])
    assert set(np.unique(told.weight)) == {1.0, 1.0 / models.NEW_SHARE}
    assert (told.weight[told.known | told.label] == 1.0).all()


def test_models_find_what_was_planted() -> None:
    """Known leaves come back seven times in ten; a new one is nearly always of the user's first category."""
    made = world()
    tables = [
        models.training_rows(models.features(made.log, MAIN, cut), made.basket(cut, cut + 28), n)
        for n, cut in enumerate((56, 84, 112))
    ]
    fitted = models.fitted(tables, 1)
    assert fitted is not None
    at = models.features(made.log, MAIN, CUT)
    p, known = fitted.probabilities(at), at["days"] > 0
    basket = made.basket(CUT, CUT + 28)
    label = np.zeros(USERS * LEAVES, dtype=bool)
    label[basket.truth] = True
    label = label.reshape(USERS, LEAVES)[basket.tested]
    p, known = p[basket.tested], known[basket.tested]
    assert p[known].mean() == pytest.approx(label[known].mean(), abs=0.08)
    assert p[known & label].mean() > 1.3 * p[known & ~label].mean()
    assert p[~known].mean() < 0.1 * p[known].mean()


def test_the_chance_of_a_new_leaf_is_computed_where_it_can_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    made = world()
    tables = [models.training_rows(models.features(made.log, MAIN, c), made.basket(c, c + 28), c) for c in (84, 112)]
    fitted, at = models.fitted(tables, 1), models.features(made.log, MAIN, CUT)
    assert fitted is not None
    known, whole = at["days"] > 0, fitted.probabilities(at)
    assert (whole[~known] > 0).all(), "fewer leaves than the shortlist has room for"
    monkeypatch.setattr(models, "SHORTLIST", 4)
    some = fitted.probabilities(at)
    np.testing.assert_array_equal(some[known], whole[known])
    held = ~known & (some > 0)
    assert (held.sum(1) == np.minimum((~known).sum(1), 4)).all()
    np.testing.assert_array_equal(some[held], whole[held])


def test_one_class_only_teaches_nothing() -> None:
    made = world()
    at, basket = models.features(made.log, MAIN, CUT), made.basket(CUT, CUT + 28)
    told = models.training_rows(at, basket, 1)
    silent = models.Rows(told.x, np.zeros(len(told.x), dtype=bool), told.weight, told.known)
    assert models.fitted([silent], 1) is None


def test_lists_give_their_last_places_to_what_is_new_and_tell_its_price() -> None:
    made = world()
    found = {c.task: c for c in leaves.comparisons(made, ORIGIN, CUT, CUT + 28, 28, 1, {})}
    assert {m.name for m in found["leaves"].methods} == {"personal_decay", "p_top_freq", "tifu_knn", "boosted_leaves"}
    assert set(found["leaves"].unit) <= set(made.users)
    told = {(r.method, r.metric): r.value for r in rows(found["explore"], resamples=20, seed=1)}
    for x in leaves.SLOTS:
        name = f"personal_decay + entry_model slots={x}"
        lost = told["personal_decay slots=0", "ndcg"] - told[name, "ndcg"]
        assert told[name, "explore_slot_cost"] == pytest.approx(lost / x)
        assert told[name, "explore_share"] == pytest.approx(x / leaves.K, abs=0.05)
    assert ("personal_decay slots=0", "explore_slot_precision") not in told
    best = told["personal_decay + entry_model slots=1", "explore_slot_precision"]
    assert best > told["personal_decay + popular slots=1", "explore_slot_precision"]


def test_a_short_repertoire_leaves_places_empty_and_explores_still() -> None:
    basket = next_basket(np.array([0, 0, 0]), np.array([1, 1, 2]), np.array([1, 2, 9]), 5, 20, 1, 6)
    exploit = np.array([[0.0, 2.0, 0.0, 0.0, 0.0, 0.0]])
    new = np.array([[0.1, 0.0, 0.9, 0.2, 0.0, 0.0]])
    methods = {m.name: m.measures() for m in leaves.explored(basket, "base", exploit, {"way": new})}
    values = {m.metric: m.value() for m in methods["base + way slots=1"]}
    assert values["explore_slot_precision"] == 1.0
    assert values["recall"] == 1.0
    assert (leaves.top(exploit, 3) == [[1, ranking.EMPTY, ranking.EMPTY]]).all()


def test_without_history_for_a_cut_there_is_nothing_to_compare() -> None:
    made = world()
    assert leaves.cuts(made, 20, 28) == []
    assert leaves.comparisons(made, ORIGIN, 20, 48, 28, 1, {}) == []

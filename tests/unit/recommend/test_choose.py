"""Every way to choose a list: against plain references, and what each does with input that is odd."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from equipoise.recommend.block import parse
from equipoise.recommend.choose import Reranking, Way, choose
from equipoise.recommend.divergence import Divergence, divergence_bits, empty_bits
from equipoise.recommend.diverse import quotas
from equipoise.recommend.lists import lists
from equipoise.recommend.rerank import Bound
from tests.unit.recommend.made import HISTORY, World, interest, policy, random_rows, table
from tests.unit.recommend.reference import greedy, interchange
from tests.unit.recommend.rivals import Item, fits, largest_remainder, mmr, quota, xquad
from tests.unit.recommend.test_rerank import block

WAYS = get_args(Reranking)
every_way = pytest.mark.parametrize("rerank", WAYS)
every_divergence = pytest.mark.parametrize("kind", get_args(Divergence))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rerank=st.sampled_from([w for w in WAYS if w != "flow"]),
    kind=st.sampled_from(get_args(Divergence)),
    g=st.integers(1, 3),
    most=st.sampled_from([0, 1, 2]),
)
def test_the_block_gives_the_lists_of_the_plain_references(
    seed: int, rerank: Reranking, kind: Divergence, g: int, most: int
) -> None:
    rng = np.random.default_rng(seed)
    world = block(seed=seed, users=4, n=11, g=g)
    relevance, categories, weights, target = world
    relevance[1, 8:] = -np.inf
    group, weight, lengths = rng.integers(-1, 6, size=(4, 11)), rng.random(4), rng.integers(1, 6, size=4)
    chosen, gains = choose(world, Way(rerank, kind, 0.01), weight, lengths, Bound(group, most) if most else None)
    for u in range(4):
        items = [
            Item(
                str(n),
                {str(c): w for c, w in zip(categories[u, n].tolist(), weights[u, n].tolist(), strict=True)},
                relevance=relevance[u, n],
                brand=None if group[u, n] < 0 else str(group[u, n]),
            )
            for n in range(11)
            if np.isfinite(relevance[u, n])
        ]
        wanted, length = {str(c): p for c, p in enumerate(target[u])}, int(lengths[u])
        if rerank in ("greedy", "interchange"):
            slow = {"greedy": greedy, "interchange": interchange}[rerank](items, wanted, length, weight[u], 0.01, most, kind)
        else:
            slow = {"xquad": xquad, "mmr": mmr, "quota": quota}[rerank](items, wanted, length, weight[u], most)
        there = np.isfinite(gains[u])
        assert [str(n) for n in chosen[u][there]] == [i.item_id for i in slow], f"user {u}"
        np.testing.assert_allclose(gains[u][there], [i.score for i in slow], atol=1e-9)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(0, 12))
def test_quotas_are_within_one_of_their_shares_and_sum_to_the_places(parts: list[int], places: int) -> None:
    shares = np.array([parts]) / max(sum(parts), 1)
    found = quotas(shares, np.array([places]))[0]
    assert found.sum() == (places if sum(parts) else 0)
    if sum(parts):
        assert (np.abs(found - shares[0] * places) < 1).all()
    named = {f"{n:02d}": s for n, s in enumerate(shares[0])}
    assert found.tolist() == list(largest_remainder(named, places).values())


@settings(max_examples=50)
@given(st.integers(0, 10_000))
def test_the_jensen_shannon_divergence_is_that_of_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.full(6, 0.3), size=2)
    p[p < 0.05] = 0.0
    p /= p.sum()
    assert divergence_bits(p, q, 0.01, "js") == pytest.approx(float(jensenshannon(p, q, base=2)) ** 2, abs=1e-12)


@every_divergence
def test_a_list_of_nothing_is_the_divergence_of_shares_of_nothing(kind: Divergence) -> None:
    p = np.array([0.5, 0.3, 0.2, 0.0])
    assert empty_bits(p, 0.01, kind) == pytest.approx(float(divergence_bits(p, np.zeros(4), 0.01, kind)))


@every_way
def test_without_calibration_every_way_gives_the_most_relevant(rerank: Reranking) -> None:
    world = block(seed=5, users=6)
    chosen, gains = choose(world, Way(rerank, "kl", 0.01), np.zeros(6), np.full(6, 7), None)
    assert np.isfinite(gains).all()
    np.testing.assert_array_equal(np.sort(np.take_along_axis(world[0], chosen, 1)), np.sort(world[0][:, :7]))


@every_way
@every_divergence
def test_what_is_not_finite_is_never_chosen(rerank: Reranking, kind: Divergence) -> None:
    world = block(seed=6, users=3, n=9, g=2)
    world[0][:, [0, 3, 5]] = [np.nan, np.inf, -np.inf]
    chosen, gains = choose(world, Way(rerank, kind, 0.01), np.full(3, 0.5), np.full(3, 6), None)
    assert [sorted(row) for row in chosen.tolist()] == [[1, 2, 4, 6, 7, 8]] * 3
    assert np.isfinite(gains).all()


@every_way
def test_a_list_longer_than_its_candidates_holds_each_of_them_once(rerank: Reranking) -> None:
    world = block(seed=7, users=3, n=4, g=2)
    chosen, gains = choose(world, Way(rerank, "kl", 0.01), np.full(3, 0.5), np.full(3, 6), None)
    assert chosen.shape == gains.shape == (3, 6)
    held = [sorted(c[np.isfinite(g)].tolist()) for c, g in zip(chosen, gains, strict=True)]
    assert held == [[0, 1, 2, 3]] * 3


@every_way
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_equal_scores_of_one_category_leave_nothing_to_choose(rerank: Reranking, weight: float) -> None:
    """Any list is as good as any other: the choice must end, and one that decides by place takes the first."""
    told = np.ones((2, 8)), np.zeros((2, 8, 1), dtype=np.int64), np.ones((2, 8, 1)), np.ones((2, 1))
    chosen, gains = choose(told, Way(rerank, "kl", 0.01), np.full(2, weight), np.full(2, 3), None)
    assert chosen.tolist() == [[0, 1, 2]] * 2
    assert np.isfinite(gains).all()


@every_way
@every_divergence
def test_a_target_that_no_candidate_has_leaves_relevance(rerank: Reranking, kind: Divergence) -> None:
    """`lists.reachable` gives such a user no target at all; a way that looks at the target has nothing to look at."""
    relevance, categories, weights, target = block(seed=9, users=4, n=9)
    one = np.zeros_like(categories)  # all of one category, so that mmr and js do not tell items apart either
    chosen, gains = choose((relevance, one, weights, target * 0), Way(rerank, kind, 0.01), np.full(4, 0.7), np.full(4, 5), None)
    np.testing.assert_array_equal(np.sort(np.take_along_axis(relevance, chosen, 1)), np.sort(relevance[:, :5]))
    assert np.isfinite(gains).all()


@every_way
@every_divergence
@pytest.mark.parametrize("most", [1, 2])
def test_no_way_goes_beyond_a_bound_and_every_way_fills_it(rerank: Reranking, kind: Divergence, most: int) -> None:
    world = block(seed=11, users=5, n=10, g=2)
    group = np.random.default_rng(most).integers(0, 3, size=(5, 10))
    chosen, gains = choose(world, Way(rerank, kind, 0.01), np.full(5, 0.5), np.full(5, 5), Bound(group, most))
    for u in range(5):
        held = chosen[u][np.isfinite(gains[u])]
        assert fits([Item(str(n), brand=str(group[u, n])) for n in held], most)
        assert len(held) == min(5, sum(min(most, int((group[u] == b).sum())) for b in range(3)))


@every_way
def test_lists_of_odd_users_are_whole_and_free_of_nan(rerank: Reranking) -> None:
    """Nothing to go by, one candidate, values that are no numbers: filled up by popularity as always."""
    of = {f"{c}{n}": [(c, 1.0)] for c in "AB" for n in range(6)}
    world = World(of, {i: float(10 - int(i[1:])) for i in of}, {i: 10 - int(i[1:]) for i in of}, 6)
    rows = world.shelf_rows()
    for user, values in {"none": [], "one": [0.4], "odd": [np.nan, np.inf, 0.3, -np.inf]}.items():
        rows += [interest(user, "A", 0.7, 0.5, 1.0, True), interest(user, "B", 0.3, 0.5, 0.0, False)]
        for n, value in enumerate(values):
            rows += world.candidate_rows(user, f"A{n}", value=value, known=1, source=HISTORY)
    found = lists(parse(table(rows)), policy(k=7, explore_slots=1, rerank=rerank))
    assert found.groupby("user_id")["item_id"].nunique().to_dict() == {"none": 7, "one": 7, "odd": 7}
    assert np.isfinite(found[["score", "relevance", "propensity", "reason_value"]].to_numpy(float)).all()
    assert found.query("rank == 1").set_index("user_id")["item_id"].loc[["odd", "one"]].tolist() == ["A2", "A0"]


@every_way
def test_company_and_the_order_of_rows_do_not_matter(rerank: Reranking) -> None:
    frame, how = random_rows(13, several=True), policy(rerank=rerank, divergence="js", weight="personal")
    whole = lists(parse(frame), how)
    assert whole.equals(lists(parse(frame.sample(frac=1.0, random_state=1)), how))
    half = lists(parse(frame[~(frame["user_id"] < "u12")]), how)
    assert whole.loc[whole["user_id"] >= "u12", "item_id"].tolist() == half["item_id"].tolist()

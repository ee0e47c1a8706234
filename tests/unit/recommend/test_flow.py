"""Lists by minimum-cost flow: against every possible list, and never worse than what they start from."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.recommend.divergence import Divergence
from equipoise.recommend.flow import flow_user_block
from equipoise.recommend.rerank import Bound, rerank_user_block
from tests.unit.recommend.reference import objective
from tests.unit.recommend.rivals import Item, fits
from tests.unit.recommend.test_rerank import block

NEAR = 1e-5
"""HiGHS takes costs within 1e-6 of each other for equal; ten items may each be off by as much."""


def items_of(world: tuple[np.ndarray, ...], user: int, group: np.ndarray | None = None) -> list[Item]:
    relevance, categories, weights, _ = world
    of = range(relevance.shape[1])
    weighed = [{str(c): float(w) for c, w in zip(categories[user, n], weights[user, n], strict=True)} for n in of]
    brands = [None if group is None or group[user, n] < 0 else str(group[user, n]) for n in of]
    return [Item(str(n), weighed[n], relevance=float(relevance[user, n]), brand=brands[n]) for n in of]


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    calibration=st.floats(0.0, 1.0),
    kind=st.sampled_from(["kl", "js"]),
    most=st.sampled_from([0, 1, 2]),
)
def test_of_items_of_one_category_it_is_the_best_of_all_lists(seed: int, calibration: float, kind: Divergence, most: int) -> None:
    world = block(seed=seed, users=3, n=10, g=1)
    group = np.random.default_rng(seed).integers(-1, 4, size=(3, 10))
    bound = Bound(group, most) if most else None
    how = {"calibration": calibration, "alpha": 0.01, "bound": bound, "kind": kind}
    begun, _ = rerank_user_block(*world, length=4, **how)  # type: ignore[arg-type]
    chosen, added = flow_user_block(begun, *world, **how)  # type: ignore[arg-type]
    for u in range(3):
        items, target = items_of(world, u, group), {str(c): p for c, p in enumerate(world[3][u])}
        every = [[items[n] for n in one] for one in combinations(range(10), 4)]
        mine = [items[n] for n in chosen[u]]
        worth = [objective(one, target, calibration, 0.01, kind) for one in every if fits(one, most)]
        if not worth:  # ten items of too few brands: no list keeps the bound, and the one it starts from stays
            assert set(chosen[u].tolist()) == set(begun[u].tolist())
            continue
        best = max(worth)
        assert fits(mine, most)
        assert objective(mine, target, calibration, 0.01, kind) == pytest.approx(best, abs=NEAR)
        without = [objective(mine[:n] + mine[n + 1 :], target, calibration, 0.01, kind) for n in range(4)]
        now = objective(mine, target, calibration, 0.01, kind)
        np.testing.assert_allclose(added[u], [now - w for w in without], atol=1e-9)


def test_of_items_of_several_categories_it_closes_nine_tenths_of_the_gap() -> None:
    """Between whole items costs are straight lines, so the best of all lists is only nearly found."""
    world = block(seed=8, users=12, n=12, g=3)
    how = {"calibration": 0.5, "alpha": 0.01}
    begun, _ = rerank_user_block(*world, length=4, **how)  # type: ignore[arg-type]
    chosen, _ = flow_user_block(begun, *world, **how)  # type: ignore[arg-type]
    gaps = np.zeros((12, 2))
    for u in range(12):
        items, target = items_of(world, u), {str(c): p for c, p in enumerate(world[3][u])}
        best = max(objective([items[n] for n in one], target, 0.5, 0.01) for one in combinations(range(12), 4))
        gaps[u] = [best - objective([items[n] for n in one[u]], target, 0.5, 0.01) for one in (begun, chosen)]
    assert (gaps[:, 1] <= gaps[:, 0] + 1e-9).all(), "never worse than the start"
    assert gaps[:, 0].sum() > 0.1
    assert gaps[:, 1].sum() <= 0.1 * gaps[:, 0].sum()


def test_a_user_in_company_has_the_same_list_as_alone() -> None:
    world = block(seed=3, users=5, n=14, g=2)
    how = {"calibration": 0.4, "alpha": 0.01}
    begun, _ = rerank_user_block(*world, length=5, **how)  # type: ignore[arg-type]
    whole, _ = flow_user_block(begun, *world, **how)  # type: ignore[arg-type]
    alone = [flow_user_block(begun[[u]], *(x[[u]] for x in world), **how)[0][0] for u in range(5)]  # type: ignore[arg-type]
    np.testing.assert_array_equal(whole, np.array(alone))


def test_a_list_by_hand() -> None:
    """Ten good items of A and one of half their relevance in B, wanted half and half: B is worth its place."""
    relevance = np.array([[1.0] * 10 + [0.5]])
    categories = np.array([[0] * 10 + [1]])[:, :, None]
    world = relevance, categories, np.ones((1, 11, 1)), np.array([[0.5, 0.5]])
    start = np.array([[0, 1, 2, 3]])
    found, _ = flow_user_block(start, *world, calibration=0.5, alpha=0.01)
    assert 10 in found[0]
    kept, _ = flow_user_block(start, *world, calibration=0.0, alpha=0.01)
    assert kept[0].tolist() == [0, 1, 2, 3]

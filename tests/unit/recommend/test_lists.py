"""Lists of whole blocks: equal to the slow reference, and what every list promises."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from equipoise.recommend.block import parse
from equipoise.recommend.lists import ROWS, Policy, lists
from tests.unit.recommend.made import AS_OF, HISTORY, World, brand_of, interest, policy, random_rows, table
from tests.unit.recommend.reference import Reference

COMPARED = ["rank", "item_id", "category", "slot", "source", "reason_code", "reason_key"]
NUMBERS = ["score", "relevance", "propensity", "reason_value"]


def made(frame: pd.DataFrame, how: Policy) -> pd.DataFrame:
    return lists(parse(frame), how)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"explore_slots": 0},
        {"calibration": 0.8, "k": 9, "explore_slots": 4, "explore_pool": 4},
        {"explore_draw": "thompson", "explore_floor": 0.0},
        {"explore_draw": "ucb", "explore_budget": "personal"},
        {"explore_draw": "thompson", "explore_budget": "personal", "k": 8, "explore_pool": 7},
        {"most_per_brand": 1},
        {"most_per_brand": 2, "rerank": "greedy", "k": 8, "calibration": 0.2},
        {"divergence": "js"},
        {"divergence": "js", "rerank": "greedy", "calibration": 0.9, "weight": "personal"},
        {"weight": "personal", "explore_budget": "personal", "most_per_brand": 1},
        {"rerank": "xquad", "weight": "personal"},
        {"rerank": "mmr", "most_per_brand": 1},
        {"rerank": "quota", "explore_budget": "personal", "k": 9},
        {"rerank": "quota", "most_per_brand": 1, "calibration": 1.0},
    ],
)
def test_the_block_gives_the_lists_of_the_plain_reference(seed: int, several: bool, changes: dict[str, object]) -> None:
    frame, how = random_rows(seed, several=several), policy(**changes)
    found = made(frame, how)
    for user, mine in found.groupby("user_id"):
        expected = pd.DataFrame(Reference(frame, str(user), how).rows(), columns=COMPARED + NUMBERS)
        pd.testing.assert_frame_equal(mine[COMPARED].reset_index(drop=True), expected[COMPARED], check_dtype=False)
        np.testing.assert_allclose(mine[NUMBERS].to_numpy(float), expected[NUMBERS].to_numpy(float), atol=1e-9)
    assert found["user_id"].nunique() == 25


def test_no_brand_has_more_places_than_it_may() -> None:
    frame = random_rows(3, users=40)
    free, bounded = (made(frame, policy(k=9, most_per_brand=most)).query("slot == 'exploit'") for most in (0, 2))
    most = [f.assign(brand=f["item_id"].map(brand_of)).groupby(["user_id", "brand"]).size().max() for f in (free, bounded)]
    assert most[0] > 2 and most[1] == 2
    assert len(free) == len(bounded) == 40 * 7, "what the bound leaves out is filled up"


def test_where_brands_leave_too_few_the_list_is_short() -> None:
    world = World({f"A{n}": [("A", 1.0)] for n in (0, 4, 8, 12)}, {}, {}, 6)  # all of b0
    counts = dict.fromkeys(world.categories, 5)
    world = World(world.categories, {i: 1.0 for i in counts}, counts, 6)
    rows = [interest("u", "A", 1.0, 1.0, 1.0, True), *world.shelf_rows()]
    rows += [r for i in world.categories for r in world.candidate_rows("u", i, value=0.5, known=1, source=HISTORY)]
    found = made(table(rows), policy(k=4, explore_slots=0, most_per_brand=2))
    assert found["item_id"].tolist() == ["A0", "A12"]


def test_every_list_is_whole() -> None:
    frame, how = random_rows(11, users=60), policy()
    found = made(frame, how)
    assert list(found.columns) == list(ROWS)
    assert (found.groupby("user_id")["rank"].apply(list).map(lambda r: r == [1, 2, 3, 4, 5, 6])).all()
    assert (found.groupby("user_id")["item_id"].nunique() == 6).all()
    assert (found["slot"].to_numpy().reshape(-1, 6) == ["exploit"] * 4 + ["explore"] * 2).all()
    assert found.loc[found["slot"] == "exploit", "propensity"].eq(1).all()
    interests = frame[frame["kind"] == "interest"].set_index(["user_id", "category"])
    seen = [
        bool(interests.loc[(r.user_id, r.category), "seen"])
        for r in found[found["reason_code"] == "unseen_category"].itertuples()
    ]
    assert not any(seen)


def test_the_most_relevant_come_first() -> None:
    found = made(random_rows(12), policy(calibration=0.9))
    exploit = found[found["slot"] == "exploit"]
    assert exploit.groupby("user_id")["relevance"].apply(lambda r: r.is_monotonic_decreasing).all()


def test_the_order_of_the_rows_and_the_company_in_a_block_do_not_matter() -> None:
    frame, how = random_rows(13), policy()
    whole = made(frame, how)
    pd.testing.assert_frame_equal(whole, made(frame.sample(frac=1.0, random_state=1), how))
    half = frame[~(frame["user_id"] < "u12")]
    pd.testing.assert_frame_equal(whole[whole["user_id"] >= "u12"].reset_index(drop=True), made(half, how))


def small_world(sizes: dict[str, int], depth: int = 6) -> World:
    of = {f"{c}{n}": [(c, 1.0)] for c, size in sizes.items() for n in range(size)}
    counts = {i: 100 - 10 * int(i[1:]) for i in of}
    return World(of, {i: float(v) for i, v in counts.items()}, counts, depth)


def test_how_often_an_item_is_listed_is_its_logged_propensity() -> None:
    world = small_world({c: 6 for c in "ABCDE"})
    shares = {"A": 0.5, "B": 0.3, "C": 0.1, "D": 0.06, "E": 0.04}
    rows = [interest("u", c, s, s, s if c == "A" else 0.0, c == "A") for c, s in shares.items()]
    rows += [r for n in range(6) for r in world.candidate_rows("u", f"A{n}", value=0.1, known=1, source=HISTORY)]
    block = parse(table(rows + world.shelf_rows()))
    runs, times, logged = 2000, Counter[str](), {}
    for seed in range(runs):
        for row in lists(block, policy(seed=seed)).query("slot == 'explore'").itertuples():
            times[str(row.item_id)] += 1
            logged[str(row.item_id)] = row.propensity
    assert set(logged) == {"B0", "C0", "D0", "E0"}
    # 2 · (.3, .1, .06, .04) / .5 = (1.2, …): B is sure, the rest shares one slot.
    assert logged == pytest.approx({"B0": 1.0, "C0": 0.5, "D0": 0.3, "E0": 0.2})
    assert sum(logged.values()) == pytest.approx(2.0)
    for item, p in logged.items():
        assert abs(times[item] / runs - p) <= 5 * np.sqrt(p * (1 - p) / runs), item


def test_an_item_in_two_pool_categories_stands_for_one_of_them() -> None:
    world = World({"x": [("B", 0.5), ("C", 0.5)], "y": [("C", 1.0)], **{f"A{n}": [("A", 1.0)] for n in range(6)}}, {}, {}, 6)
    counts = {i: 50 if i == "x" else 10 for i in world.categories}
    world = World(world.categories, {i: float(v) for i, v in counts.items()}, counts, 6)
    rows = [
        interest("u", "A", 0.8, 0.8, 1.0, True),
        interest("u", "B", 0.1, 0.11, 0.0, False),
        interest("u", "C", 0.1, 0.09, 0.0, False),
    ]
    rows += [r for n in range(6) for r in world.candidate_rows("u", f"A{n}", value=0.1, known=1, source=HISTORY)]
    block = parse(table(rows + world.shelf_rows()))
    seen = {
        (r.item_id, r.category, round(r.propensity, 9))
        for s in range(60)
        for r in lists(block, policy(k=5, explore_slots=1, seed=s)).query("slot == 'explore'").itertuples()
    }
    assert seen == {("x", "B", 0.55), ("y", "C", 0.45)}


def test_where_too_little_is_unseen_the_least_known_fill_up() -> None:
    world = small_world({c: 6 for c in "ABC"})
    rows = [
        interest("u", "A", 0.6, 0.6, 0.7, True),
        interest("u", "B", 0.2, 0.2, 0.3, True),
        interest("u", "C", 0.2, 0.2, 0.0, False),
    ]
    rows += world.candidate_rows("u", "A0", value=1.0, known=2, source=HISTORY)
    found = made(table(rows + world.shelf_rows()), policy(k=6, explore_slots=3, explore_pool=3)).query("slot == 'explore'")
    assert found["reason_code"].tolist() == ["unseen_category", "least_known", "least_known"]
    assert found["category"].tolist() == ["C", "B", "A"]
    assert found["reason_value"].tolist() == [0.2, 0.3, 0.7]
    assert found["propensity"].eq(1.0).all()


def test_a_cold_user_with_one_event_in_one_category_gets_a_whole_list() -> None:
    world = small_world({"A": 4, "B": 8})
    rows = [interest("u", "A", 0.9, 0.5, 1.0, True), interest("u", "B", 0.1, 0.5, 0.0, False)]
    rows += world.candidate_rows("u", "A3", value=1.0, known=1, bought=1, looked=1, source=HISTORY)
    found = made(table(rows + world.shelf_rows()), policy(k=10, explore_slots=2, calibration=0.3))
    assert found["rank"].tolist() == list(range(1, 11))
    assert found["item_id"].nunique() == 10
    assert found["item_id"].iloc[0] == "A3"
    assert (found["reason_code"] == "bought_before").sum() == 1
    assert (found["slot"] == "explore").sum() == 2


def test_nothing_but_unknown_still_gives_a_list() -> None:
    world = World(
        {f"i{n}": [("UNKNOWN", 1.0)] for n in range(8)},
        {f"i{n}": 8.0 - n for n in range(8)},
        {f"i{n}": 8 - n for n in range(8)},
        6,
    )
    rows = [interest("u", "UNKNOWN", 1.0, 1.0, 1.0, True), *world.candidate_rows("u", "i7", value=1.0, known=1, source=HISTORY)]
    found = made(table(rows + world.shelf_rows()), policy(k=6))
    assert found["item_id"].nunique() == 6
    assert found.query("slot == 'explore'")["reason_code"].eq("least_known").all()


def test_unknown_is_not_explored_while_there_is_something_else() -> None:
    world = small_world({"A": 6, "B": 6})
    world = World({**world.categories, "z": [("UNKNOWN", 1.0)]}, {**world.popularity, "z": 999.0}, {**world.visits, "z": 999}, 6)
    rows = [
        interest("u", "A", 0.5, 0.1, 1.0, True),
        interest("u", "B", 0.3, 0.1, 0.0, False),
        interest("u", "UNKNOWN", 0.2, 0.8, 0.0, False),
    ]
    rows += [r for n in range(6) for r in world.candidate_rows("u", f"A{n}", value=0.1, known=1, source=HISTORY)]
    found = made(table(rows + world.shelf_rows()), policy(k=4, explore_slots=1)).query("slot == 'explore'")
    assert found["category"].tolist() == ["B"]


def test_categories_of_rare_items_are_explored_last() -> None:
    world = small_world({"A": 6, "B": 6, "C": 6})
    world = World(world.categories, world.popularity, {**world.visits, **{f"B{n}": 1 for n in range(6)}}, 6)
    rows = [
        interest("u", "A", 0.5, 0.1, 1.0, True),
        interest("u", "B", 0.3, 0.8, 0.0, False),
        interest("u", "C", 0.2, 0.1, 0.0, False),
    ]
    rows += [r for n in range(6) for r in world.candidate_rows("u", f"A{n}", value=0.1, known=1, source=HISTORY)]
    block = parse(table(rows + world.shelf_rows()))
    one = [lists(block, policy(k=4, explore_slots=1, seed=s)).iloc[-1]["category"] for s in range(20)]
    assert set(one) == {"C"}
    two = lists(block, policy(k=4, explore_slots=2))
    assert sorted(two["category"].iloc[-2:]) == ["B", "C"]


def test_too_small_a_catalogue_gives_a_short_list_and_no_item_twice() -> None:
    world = small_world({"A": 2, "B": 1})
    rows = [interest("u", "A", 0.5, 0.5, 1.0, True), interest("u", "B", 0.5, 0.5, 0.0, False)]
    found = made(table(rows + world.shelf_rows()), policy(k=6))
    assert sorted(found["item_id"]) == ["A0", "A1", "B0"]
    assert found["rank"].tolist() == [1, 2, 3]


def test_the_draw_is_a_function_of_seed_user_and_day() -> None:
    frame = random_rows(14, users=40)
    assert made(frame, policy()).equals(made(frame, policy()))
    assert not made(frame, policy())["item_id"].equals(made(frame, policy(seed=2))["item_id"])
    later = policy(as_of=AS_OF.replace(day=7))
    assert not made(frame, policy())["item_id"].equals(made(frame, later)["item_id"])

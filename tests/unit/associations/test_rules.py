"""Rules from counts against plain loops, the tail against scipy, and what chance alone brings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from equipoise.associations.rules import COUNTS, Bounds, check, rules, upper_tail
from equipoise.errors import ContractError
from tests.unit.associations import apriori

ALL = Bounds(min_confidence=0.0, min_lift=1.0, max_items=2, max_rules=10_000, level=0.999)
BASKETS = st.lists(st.frozensets(st.sampled_from("abcdef"), min_size=1), min_size=1, max_size=40)
BOUNDS = st.builds(
    Bounds,
    min_confidence=st.sampled_from([0.0, 0.3, 0.5]),
    min_lift=st.sampled_from([1.0, 1.2]),
    max_items=st.integers(1, 3),
    max_rules=st.just(10_000),
    level=st.sampled_from([0.05, 0.999]),
)


@given(BASKETS, BOUNDS, st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_rules_and_all_their_measures_are_those_of_plain_loops(baskets: list[frozenset[str]], bounds: Bounds, least: int) -> None:
    table = rules(apriori.frequent(baskets, least, bounds.max_items + 1), len(baskets), bounds)
    check(table, bounds, least)
    wanted = apriori.rules(baskets, least, bounds)
    assert set(zip(table["antecedent"], table["consequent"], strict=True)) == set(wanted)
    for row in table.itertuples():
        told = wanted[row.antecedent, row.consequent]
        assert row.baskets_both == told.both and row.baskets == len(baskets)
        assert row.baskets_antecedent == apriori.count(baskets, row.antecedent)
        assert row.baskets_consequent == apriori.count(baskets, [row.consequent])
        assert (row.support, row.confidence) == (told.support, told.confidence)
        assert (row.lift, row.leverage) == pytest.approx((told.lift, told.leverage))
        assert pd.isna(row.conviction) if told.conviction is None else row.conviction == pytest.approx(told.conviction)
        assert row.p_adjusted == pytest.approx(told.p, rel=1e-9, abs=1e-300)


def test_a_rule_by_hand() -> None:
    """10 baskets: a in 5, b in 4, both in 4: every basket with b holds a; a fifth of those with a lacks b."""
    counts = {("a",): 5, ("b",): 4, ("a", "b"): 4}
    table = rules(counts, 10, ALL).set_index("consequent")
    assert table.loc["b", ["support", "confidence", "lift", "conviction"]].tolist() == [0.4, 0.8, 2.0, pytest.approx(3.0)]
    assert table.loc["a", ["support", "confidence", "lift"]].tolist() == [0.4, 1.0, 2.0] and np.isnan(
        table.loc["a", "conviction"]
    )
    assert table["leverage"].tolist() == [0.2, 0.2]
    p = 5 / 210  # of the 210 ways to lay 4 b into 10 baskets, 5 have all of them among the 5 with a
    assert table["p_adjusted"].tolist() == pytest.approx([2 * 2 * p] * 2), "two layers, two rules of this length"


def test_the_tail_is_that_of_scipy() -> None:
    rng = np.random.default_rng(4)
    population = rng.integers(1, 3000, 400)
    hits, draws = (rng.integers(0, population + 1) for _ in range(2))
    mean = hits * draws / population
    k = np.minimum(np.ceil(mean + rng.exponential(2, 400) * np.sqrt(mean + 1)).astype(int), np.minimum(hits, draws))
    above = k > mean
    wanted = hypergeom.sf(k - 1, population, hits, draws)
    assert above.sum() > 200
    assert upper_tail(k, population, hits, draws)[above] == pytest.approx(wanted[above], rel=1e-8, abs=1e-300)
    assert (upper_tail(k, population, hits, draws)[~above] == 1.0).all()


def made(rng: np.random.Generator, rows: int, rates: np.ndarray) -> list[frozenset[str]]:
    drawn = rng.random((rows, len(rates))) < rates
    return [frozenset(f"i{j:02d}" for j in np.flatnonzero(row)) for row in drawn]


def test_independent_items_give_no_rule_and_without_the_bound_there_are_many() -> None:
    """24 shops of independent items: at level 0.05 at most 1 in 20 may show any rule, so 5 or more would be 1 in 100."""
    wrong, unbound = 0, 0
    for seed in range(24):
        baskets = made(np.random.default_rng(seed), 400, np.linspace(0.05, 0.4, 12))
        counts = apriori.frequent(baskets, 3, 3)
        wrong += len(rules(counts, 400, Bounds(0.0, 1.2, 2, 10_000, 0.05))) > 0
        unbound += len(rules(counts, 400, Bounds(0.0, 1.2, 2, 10_000, 0.999999))) > 0 or any(len(s) == 3 for s in counts)
    assert wrong <= 4 and unbound == 24


def test_a_planted_pair_is_found_and_a_bystander_does_not_join_it() -> None:
    """i00 brings i01; i02 is in half of the baskets and has to do with neither: {i00, i02} → i01 says nothing new."""
    rng = np.random.default_rng(7)
    rates = np.array([0.3, 0.1, 0.5, 0.2, 0.2])
    baskets = [b | {"i01"} if "i00" in b and rng.random() < 0.5 else b for b in made(rng, 1500, rates)]
    table = rules(apriori.frequent(baskets, 10, 3), 1500, Bounds(0.0, 1.2, 2, 10_000, 0.05))
    assert set(zip(table["antecedent"], table["consequent"], strict=True)) == {(("i00",), "i01"), (("i01",), "i00")}


def test_of_too_many_rules_those_with_the_highest_leverage_are_kept() -> None:
    baskets = made(np.random.default_rng(1), 60, np.full(6, 0.5))
    baskets += [frozenset({"i00", "i01"})] * 30 + [frozenset({"i02", "i03"})] * 15
    counts = apriori.frequent(baskets, 1, 3)
    every, some = (rules(counts, len(baskets), Bounds(0.0, 1.0, 2, n, 0.999)) for n in (10_000, 3))
    assert len(every) > 3 and every["leverage"].is_monotonic_decreasing
    pd.testing.assert_frame_equal(some, every.head(3))


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("conviction", 2.0, "conviction is null where confidence is 1 and nowhere else"),
        ("baskets_both", 2, "at least 3 baskets hold it"),
        ("antecedent", ("b", "a"), "antecedent is sorted"),
        ("consequent", "b", "consequent is not in the antecedent"),
        ("lift", 0.9, "lift ≥ 1"),
        ("confidence", 1.1, "≤ confidence ≤ 1"),
    ],
)
def test_a_broken_law_is_named(column: str, value: object, text: str) -> None:
    table = rules({("a",): 5, ("b",): 4, ("a", "b"): 4}, 10, ALL).query("consequent == 'a'").reset_index(drop=True)
    check(table, ALL, 3)
    table[column] = pd.Series([value], index=table.index)
    with pytest.raises(ContractError, match=text):
        check(table, ALL, 3)


def test_no_itemsets_give_an_empty_table() -> None:
    table = rules({}, 7, ALL)
    assert table.empty and set(COUNTS) < set(table.columns)
    check(table, ALL, 3)

"""The exploration's draw: exact probabilities, seen by simulation, and what happens when little is unseen."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.recommend.explore import draw, generator, inclusion_probabilities
from tests.unit.recommend.reference import inclusion

DAY = date(2017, 11, 6)


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=30), st.integers(0, 8))
def test_probabilities_sum_to_the_slots_and_are_the_reference(shares: list[float], slots: int) -> None:
    found = inclusion_probabilities(np.array(shares), slots)
    assert found.sum() == pytest.approx(min(slots, len(shares)))
    assert ((found >= 0) & (found <= 1)).all()
    expected = inclusion(shares, slots) if slots < len(shares) else [1.0] * len(shares)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_what_is_cut_at_one_is_spread_over_the_others() -> None:
    # 2 · (.8, .1, .1) = (1.6, .2, .2): the first is sure, the slot that is left is shared by the others.
    np.testing.assert_allclose(inclusion_probabilities(np.array([0.8, 0.1, 0.1]), 2), [1.0, 0.5, 0.5])


def test_a_share_of_zero_can_still_be_drawn() -> None:
    found = inclusion_probabilities(np.array([0.6, 0.4, 0.0]), 1)
    assert found[2] > 0
    assert found.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("shares", [[0.5, 0.2, 0.1, 0.1, 0.06, 0.04], [0.17, 0.17, 0.17, 0.17, 0.16, 0.16]])
@pytest.mark.parametrize("slots", [1, 2, 4])
def test_how_often_an_entry_is_drawn_is_its_probability(shares: list[float], slots: int) -> None:
    expected = inclusion_probabilities(np.array(shares), slots)
    runs = 20_000
    counts = np.zeros(len(shares))
    for seed in range(runs):
        drawn = draw(expected, generator(seed, "u", DAY))
        assert len(set(drawn.tolist())) == slots
        counts[drawn] += 1
    # Six standard errors: passes for the right law, fails for one that is off by more than .021 anywhere.
    tolerance = 6 * np.sqrt(expected * (1 - expected) / runs) + 1e-12
    assert (np.abs(counts / runs - expected) <= tolerance).all(), (counts / runs, expected)


def test_a_draw_repeats_itself_and_depends_on_seed_user_and_day() -> None:
    def first(seed: int, user: str, day: date) -> list[float]:
        return generator(seed, user, day).random(4).tolist()

    assert first(1, "u", DAY) == first(1, "u", DAY)
    others = [first(2, "u", DAY), first(1, "v", DAY), first(1, "u", date(2017, 11, 7))]
    assert first(1, "u", DAY) not in others


def test_sure_entries_are_always_in() -> None:
    for seed in range(200):
        assert 0 in draw(np.array([1.0, 0.5, 0.5]), generator(seed, "u", DAY))
    assert draw(np.ones(3), generator(1, "u", DAY)).tolist() == [0, 1, 2]
    assert draw(np.zeros(0), generator(1, "u", DAY)).tolist() == []

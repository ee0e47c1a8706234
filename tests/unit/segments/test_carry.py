"""Numbers that last: permuted labels come back, and no number ever speaks of two groups."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from equipoise.segments.carry import matched


def asked(now: list[int], before: list[int], used: int = 0) -> dict[int, int]:
    """Labels per user, 0 where a user has none."""
    shared = Counter((a, b) for a, b in zip(now, before, strict=True) if a and b)
    return matched(shared, Counter(a for a in now if a), Counter(b for b in before if b), used)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_permuted_labels_of_the_same_partition_come_back(before: list[int], random: object) -> None:
    names = sorted(set(before))
    shuffled = list(names)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    renamed = dict(zip(names, shuffled, strict=True))
    found = asked([renamed[b] for b in before], before)
    assert found == {new: old for old, new in renamed.items()}


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=60), st.integers(0, 9))
def test_numbers_are_given_once_and_new_ones_are_above_all_that_were(pairs: list[tuple[int, int]], used: int) -> None:
    now, before = [a for a, _ in pairs], [b for _, b in pairs]
    found = asked(now, before, used)
    assert set(found) == {a for a in now if a}
    assert len(set(found.values())) == len(found)
    old = {b for b in before if b}
    for label, number in found.items():
        if number in old:
            assert any(a == label and b == number for a, b in pairs), "a lasting number has a member who had it"
        else:
            assert number > max([used, *old])


def test_the_match_has_the_highest_sum_of_jaccard_indices() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        now, before = rng.integers(1, 5, 40).tolist(), rng.integers(1, 5, 40).tolist()
        found = asked(now, before)

        def jaccard(a: int, b: int, now: list[int] = now, before: list[int] = before) -> float:
            here, there = {i for i, x in enumerate(now) if x == a}, {i for i, x in enumerate(before) if x == b}
            return len(here & there) / len(here | there) if here | there else 0.0

        best = max(sum(jaccard(a, b) for a, b in zip(range(1, 5), order, strict=True)) for order in permutations(range(1, 5)))
        assert np.isclose(sum(jaccard(a, b) for a, b in found.items()), best)


def test_a_group_that_is_gone_leaves_a_gap_and_a_new_one_gets_a_new_number() -> None:
    before = [1] * 5 + [2] * 5 + [3] * 5
    now = [2] * 5 + [0] * 5 + [1] * 5  # the second is gone
    assert asked(now, before) == {2: 1, 1: 3}
    later = [1] * 5 + [2] * 5 + [3] * 5
    assert asked(later, [1] * 5 + [0] * 5 + [3] * 5, used=3) == {1: 1, 2: 4, 3: 3}
    assert asked([1, 1, 2], [0, 0, 0]) == {1: 1, 2: 2}

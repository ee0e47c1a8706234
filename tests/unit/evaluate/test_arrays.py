"""Distinct rows of columns, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.evaluate.arrays import distinct


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(10**9, 10**9 + 2), st.integers(0, 1)), min_size=1, max_size=40))
def test_distinct_rows_are_those_of_numpy(rows: list[tuple[int, int, int]]) -> None:
    stacked = np.array(rows, dtype=np.int64).T
    expected, times = np.unique(stacked, axis=1, return_counts=True)
    found, counts = distinct(*stacked)
    np.testing.assert_array_equal(np.stack(found), expected)
    np.testing.assert_array_equal(counts, times)


def test_no_rows_and_ranges_that_do_not_fit() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert [len(c) for c in distinct(none, none)[0]] == [0, 0]
    wide = np.array([0, 2**40])
    with pytest.raises(ValueError, match="maximum possible size"):
        distinct(wide, wide)

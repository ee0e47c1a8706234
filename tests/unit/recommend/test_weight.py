"""λ of each user: its mean, its bounds, its order, and that nothing changes where everybody has the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.recommend.block import parse
from equipoise.recommend.frontier import points
from equipoise.recommend.lists import lists
from equipoise.recommend.weight import personal
from tests.unit.recommend.made import policy, random_rows


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50), st.floats(0, 1))
def test_weights_are_weights_and_λ_on_average_and_in_the_order_of_f(f: list[float], calibration: float) -> None:
    share = np.array(f)
    found = personal(calibration, share - share.mean())
    assert (found >= 0).all() and (found <= 1).all()
    assert found.mean() == pytest.approx(calibration, abs=1e-12)
    assert (np.diff(found[np.argsort(share)]) >= -1e-15).all()


def test_where_everybody_has_the_same_weight_the_tilt_is_not_asked() -> None:
    frame = random_rows(3)
    level = frame.assign(tilt=0.0)
    assert frame["tilt"].dropna().nunique() > 3
    pd.testing.assert_frame_equal(lists(parse(frame), policy()), lists(parse(level), policy()), check_exact=True)
    without_tilt = lists(parse(level), policy(weight="personal"))
    pd.testing.assert_frame_equal(without_tilt, lists(parse(level), policy()), check_exact=True)
    own = lists(parse(frame), policy(weight="personal"))
    assert own["item_id"].tolist() != lists(parse(frame), policy())["item_id"].tolist()


def test_the_price_is_that_of_the_lists_that_are_used() -> None:
    """Where one user alone has a weight, the point of the frontier is that of lists at this weight."""
    frame = random_rows(4, users=3)
    tilted = frame.assign(tilt=frame["tilt"].where(frame["tilt"].isna(), 0.5))
    mine = points(parse(tilted), policy(weight="personal"), (0.4,)).iloc[0]
    same = points(parse(frame), policy(), (0.4 + 0.4 * 0.5,)).iloc[0]
    assert mine[["expected", "divergence"]].tolist() == same[["expected", "divergence"]].tolist()

"""Gained, lost and returning: on histories made by hand, against chances by whole numbers, and where nothing changed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.migration.changes import changes, discoveries, hit_chances
from tests.unit.migration.made import slow_chance

HOW = {"level": 0.05, "min_hits": 2, "absent_windows": 2}
DAYS = 8


def found(*rows: tuple[int, ...], trend: np.ndarray | None = None) -> dict[str, list[tuple[int, int]]]:
    """(window, category) listed, from hits per window (of DAYS visit days each) and category."""
    hits = np.array(rows)
    listed = changes(hits, np.full(len(hits), DAYS), np.ones(hits.shape) if trend is None else trend, **HOW)  # type: ignore[arg-type]
    return {kind: [(int(w), int(c)) for w, c in np.argwhere(mask)] for kind, mask in listed._asdict().items()}


@pytest.mark.parametrize(
    ("name", "hits", "expected"),
    [
        ("a new habit", [0, 0, 0, 0, 5], {"gained": [4]}),
        ("one day is no evidence", [0, 0, 0, 0, 1], {}),
        ("two days of a rare thing", [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2], {"gained": [11]}),
        ("a habit from the first day is not news", [5, 4, 5, 6, 5], {}),
        ("it stays: told once", [0, 0, 0, 0, 5, 5, 5], {"gained": [4]}),
        ("gone: told once, after two windows", [6, 6, 6, 6, 0, 0, 0, 0], {"lost": [5]}),
        ("gone, but it never came often", [1, 0, 1, 0, 0, 0, 0, 0], {}),
        ("back after it was lost", [6, 6, 6, 6, 0, 0, 0, 4], {"lost": [5], "returning": [7]}),
        ("back for a day only", [6, 6, 6, 6, 0, 0, 0, 1], {"lost": [5]}),
        ("lost, back, lost again", [7, 7, 7, 7, 0, 0, 7, 7, 7, 0, 0], {"lost": [5, 10], "returning": [6]}),
        ("away for one window by chance", [2, 3, 2, 3, 0, 2], {}),
    ],
)
def test_histories_made_by_hand(name: str, hits: list[int], expected: dict[str, list[int]]) -> None:
    """One category that changes beside one that is there every fourth day."""
    got = found(*[(h, 2) for h in hits])
    assert {kind: [w for w, c in at if c == 0] for kind, at in got.items() if at} == expected, name
    assert all(c == 0 for at in got.values() for _, c in at)


def test_what_everybody_does_is_no_gain() -> None:
    hits = [(0, 2)] * 8 + [(5, 2)]
    season = np.ones((9, 2))
    season[8, 0] = 400.0  # odds of the category on anybody's visit day, against usual
    assert found(*hits)["gained"] == [(8, 0)]
    assert found(*hits, trend=season)["gained"] == []


def test_what_everybody_stops_is_no_loss() -> None:
    hits = [(6, 2)] * 4 + [(0, 2)] * 2
    over = np.ones((6, 2))
    over[4:, 0] = 0.001
    assert found(*hits)["lost"] and not found(*hits, trend=over)["lost"]


@settings(max_examples=60)
@given(st.integers(1, 12), st.integers(1, 30), st.data())
def test_chances_are_those_of_whole_numbers(late: int, early: int, data: st.DataObject) -> None:
    days = late + early
    total = data.draw(st.integers(0, days))
    odds = data.draw(st.floats(0.05, 20.0))
    chances = hit_chances(late, days, np.array([total]), np.array([odds]))[0]
    assert chances.sum() == pytest.approx(1.0)
    at_least = chances[::-1].cumsum()[::-1]
    for x in range(late + 1):
        assert at_least[x] == pytest.approx(slow_chance(x, total, late, days, odds), abs=1e-9)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=12))
def test_discoveries_are_benjamini_hochbergs(rows: list[tuple[float, bool]]) -> None:
    p, family = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    ranked = sorted(p[family])
    limits = [v for i, v in enumerate(ranked, start=1) if v <= 0.05 * i / len(ranked)]
    expected = family & (p <= limits[-1]) if limits else np.zeros(len(p), bool)
    assert discoveries(p, family, 0.05).tolist() == expected.tolist()


def test_where_nothing_changes_few_windows_list_anything() -> None:
    """400 users, 30 categories of very different frequency, 10 windows: at most 5 % of windows may list a gain, or a loss."""
    rng = np.random.default_rng(4)
    listed = np.zeros(3)
    for _ in range(400):
        days = rng.integers(3, 12, 10)
        rates = rng.beta(0.4, 1.6, 30)
        hits = rng.binomial(days[:, None], rates)
        got = changes(hits, days, np.ones(hits.shape), **HOW)  # type: ignore[arg-type]
        listed += [mask.any(axis=1).sum() for mask in got]
    shares = listed / (400 * 9)
    assert shares.max() <= 0.05
    assert shares[0] > 0.001, "a test that never says anything proves nothing"

"""Which windows a night has to make again, against all windows made again: on bare days, without Spark."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np

from equipoise.features.days import Day, ends_of, open_starts, touched, window_starts

ORIGIN, LENGTH = date(2017, 1, 2), 7


def windows(marks: dict[date, int], as_of: date) -> dict[date, tuple[object, ...]]:
    """Window end → its days before as_of with their marks, and whether it is closed; by walking over every window there is."""
    found: dict[date, tuple[object, ...]] = {}
    start = ORIGIN - timedelta(days=10 * LENGTH)
    while start < as_of:
        end = min(start + timedelta(days=LENGTH), as_of)
        inside = tuple(sorted((d, m) for d, m in marks.items() if start <= d < end))
        if inside:
            found[end] = (inside, end == start + timedelta(days=LENGTH))
        start += timedelta(days=LENGTH)
    return found


def days(marks: dict[date, int], as_of: date) -> dict[date, Day]:
    return {d: Day(m, str(m), "") for d, m in marks.items() if d < as_of}


def test_windows_made_again_and_those_that_stay_are_all_windows() -> None:
    rng = np.random.default_rng(3)
    stayed = 0
    for _ in range(400):
        marks = {ORIGIN + timedelta(days=int(n)): int(rng.integers(5)) for n in rng.integers(-20, 60, 25)}
        last, as_of = (ORIGIN + timedelta(days=int(n)) for n in rng.integers(-5, 60, 2))
        later = {d: m for d, m in marks.items() if rng.random() > 0.05} | {
            ORIGIN + timedelta(days=int(n)): 9 for n in rng.integers(-20, 60, int(rng.integers(3)))
        }
        changed = touched(days(marks, last), days(later, as_of))
        opened = [s for day in (last, as_of) for s in open_starts(day, ORIGIN, LENGTH)]
        starts = {*window_starts(changed, ORIGIN, LENGTH), *opened}
        gone = ends_of(starts, LENGTH, (last, as_of))
        there = {end: rows for end, rows in windows(marks, last).items() if end not in gone}
        stayed += len(there)
        made = windows({d: m for d, m in later.items() if any(s <= d < s + timedelta(days=LENGTH) for s in starts)}, as_of)
        assert set(made) <= set(gone), "what is written lies in what is replaced"
        assert there | made == windows(later, as_of), (last, as_of, changed)
    assert stayed > 400, "a night that makes everything again would pass too"

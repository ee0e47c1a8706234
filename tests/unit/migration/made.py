"""Visit days made by hand and by a small generator with correlated baskets; slow, plain versions of what the library counts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb, log2

import numpy as np
import pyarrow as pa

from equipoise.migration.days import Trend
from equipoise.migration.trajectory import Evidence, Visits, unpacked

EVIDENCE = Evidence(seed=1, permutations=199, min_days=4, min_hits=2, absent_windows=2, level=0.05)
Line = tuple[int, str, float]
"""day, category, weight"""


def batch(users: dict[str, Sequence[Line]], window_days: int = 28) -> pa.RecordBatch:
    """Rows of `packed`: user_id and lines."""
    lines = [[{"day": d, "window": d // window_days, "category": c, "weight": w} for d, c, w in mine] for mine in users.values()]
    one = pa.struct([("day", pa.int32()), ("window", pa.int32()), ("category", pa.string()), ("weight", pa.float64())])
    return pa.RecordBatch.from_arrays([pa.array(list(users)), pa.array(lines, pa.list_(one))], names=["user_id", "lines"])


def visits_of(lines: Sequence[Line], window_days: int = 28) -> Visits:
    ((_, visits),) = unpacked(batch({"u": lines}, window_days))
    return visits


def flat_trend(categories: Sequence[str], windows: int = 60) -> Trend:
    """A population whose taste never changes."""
    names = tuple(sorted(set(categories)))
    return Trend(names, np.ones((windows, len(names))))


def slow_js(a: Sequence[float], b: Sequence[float]) -> float:
    """Σ over categories of the two Kullback-Leibler terms against the middle, in bits."""
    p, q = [x / sum(a) for x in a], [x / sum(b) for x in b]
    total = 0.0
    for x, y in zip(p, q, strict=True):
        m = (x + y) / 2
        total += (x * log2(x / m) if x else 0.0) / 2 + (y * log2(y / m) if y else 0.0) / 2
    return total


def every_split(days: np.ndarray, first: int) -> np.ndarray:
    """Drift of every way to put `first` of the days on one side, sorted: what random splits draw from."""
    n = len(days)
    found = []
    for chosen in combinations(range(n), first):
        rest = [i for i in range(n) if i not in chosen]
        found.append(slow_js(days[list(chosen)].sum(axis=0), days[rest].sum(axis=0)))
    return np.sort(np.array(found))


def slow_chance(at_least: int, total: int, late: int, days: int, odds: float) -> float:
    """P(at least so many of `total` hit days are among the last `late` of `days`), by whole numbers of orders."""
    weight = {x: comb(late, x) * comb(days - late, total - x) * odds**x for x in range(late + 1) if 0 <= total - x <= days - late}
    return sum(w for x, w in weight.items() if x >= at_least) / sum(weight.values())


def baskets(
    rng: np.random.Generator,
    *,
    tastes: Sequence[np.ndarray],
    visits_per_window: float,
    window_days: int = 28,
    lines_per_theme: float = 3.0,
) -> list[Line]:
    """One user's lines, a window per taste: a day has one or two themes drawn from the taste, and several lines of each.

    Lines of a day go together, as those of a real basket do: there are far fewer independent choices than lines.
    """
    lines: list[Line] = []
    for w, taste in enumerate(tastes):
        count = int(np.clip(rng.poisson(visits_per_window), 1, window_days))
        for day in rng.choice(window_days, count, replace=False):
            for theme in rng.choice(len(taste), 1 + int(rng.random() < 0.7), replace=False, p=taste):
                weight = 1.0 + rng.poisson(lines_per_theme)
                lines.append((w * window_days + int(day), f"c{theme:02d}", float(weight)))
    return lines

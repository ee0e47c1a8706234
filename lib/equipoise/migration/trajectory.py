"""One user's way through the windows, as an Arrow function over packed visit days."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from equipoise.migration.changes import changes
from equipoise.migration.days import Trend
from equipoise.migration.drift import TIE_BITS, change_point, generator, js_bits, permutation_noise
from equipoise.tables.vocabulary import UNKNOWN

MOVED = pa.schema(
    [
        ("user_id", pa.string()),
        ("window", pa.int32()),
        ("days", pa.int32()),
        ("previous_window", pa.int32()),
        ("previous_days", pa.int32()),
        ("drift_js_bits", pa.float64()),
        ("noise_mean_bits", pa.float64()),
        ("noise_p95_bits", pa.float64()),
        ("migrated", pa.bool_()),
        ("change_point", pa.bool_()),
        ("gained", pa.list_(pa.string())),
        ("lost", pa.list_(pa.string())),
        ("returning", pa.list_(pa.string())),
    ]
)
MOVED_DDL = (
    "user_id STRING, window INT, days INT, previous_window INT, previous_days INT, drift_js_bits DOUBLE, noise_mean_bits DOUBLE, "
    "noise_p95_bits DOUBLE, migrated BOOLEAN, change_point BOOLEAN, gained ARRAY<STRING>, lost ARRAY<STRING>, "
    "returning ARRAY<STRING>"
)

Batches = Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]


@dataclass(frozen=True)
class Evidence:
    """What counts as evidence; the fields are the settings of the same names in [migration]."""

    seed: int
    permutations: int
    min_days: int
    min_hits: int
    absent_windows: int
    level: float


@dataclass(frozen=True)
class Visits:
    """One user's visit days, oldest first: window (n,) of each day, weight (n, c), categories (c) sorted; active: all windows
    with any weight, those with UNKNOWN alone too."""

    active: NDArray[np.int64]
    window: NDArray[np.int64]
    weight: NDArray[np.float64]
    categories: tuple[str, ...]


def mover(evidence: Evidence, trend: Trend) -> Batches:
    """A function for mapInArrow: MOVED, one row per user × window with weight, from rows of user_id and lines (see `packed`)."""

    def move(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = [row for user, visits in unpacked(batch) for row in trajectory(user, visits, evidence, trend)]
            yield pa.RecordBatch.from_pylist(rows, schema=MOVED)

    return move


def unpacked(batch: pa.RecordBatch) -> Iterator[tuple[str, Visits]]:
    """user_id and visits of each row of user_id and lines."""
    lines = batch.column("lines")
    ends = np.concatenate([[0], np.cumsum(lines.value_lengths().to_numpy())])
    flat = lines.flatten()
    day, window, weight = (flat.field(n).to_numpy(zero_copy_only=False) for n in ("day", "window", "weight"))
    coded = flat.field("category").dictionary_encode()
    names, code = coded.dictionary.to_pylist(), coded.indices.to_numpy(zero_copy_only=False)
    for i, user in enumerate(batch.column("user_id").to_pylist()):
        mine = slice(ends[i], ends[i + 1])
        yield user, _visits(day[mine], window[mine], weight[mine], code[mine], names)


def _visits(day: Any, window: Any, weight: Any, code: Any, names: list[str]) -> Visits:
    """Days and categories in their own order, whatever the order of the lines: sums are the same to the last bit."""
    active = np.unique(window).astype(np.int64)
    used = sorted((names[c], c) for c in np.unique(code) if names[c] != UNKNOWN)
    place = np.full(len(names), -1)
    place[[c for _, c in used]] = np.arange(len(used))
    known = place[code] >= 0
    days, first, row = np.unique(day[known], return_index=True, return_inverse=True)
    matrix = np.zeros((len(days), len(used)))
    matrix[row, place[code[known]]] = weight[known]
    return Visits(active, window[known][first].astype(np.int64), matrix, tuple(name for name, _ in used))


def trajectory(user: str, visits: Visits, evidence: Evidence, trend: Trend) -> list[dict[str, Any]]:
    """MOVED as one dict per active window, oldest first."""
    rows = {int(w): _unmoved(user, int(w)) for w in visits.active}
    windows, number, days = np.unique(visits.window, return_inverse=True, return_counts=True)
    for i, w in enumerate(windows):
        rows[int(w)]["days"] = int(days[i])
        if i:
            rows[int(w)] |= {"previous_window": int(windows[i - 1]), "previous_days": int(days[i - 1])}
            pair = visits.weight[(number == i - 1) | (number == i)]
            rows[int(w)] |= _drift(pair, int(days[i - 1]), int(days[i]), evidence, user, int(w))
    if len(windows) > 1:
        for w, is_one in _change_points(user, visits.weight, windows, days, evidence):
            rows[w]["change_point"] = is_one
        hits = np.zeros((len(windows), len(visits.categories)), dtype=np.int64)
        np.add.at(hits, number, visits.weight > 0)
        how = {"level": evidence.level, "min_hits": evidence.min_hits, "absent_windows": evidence.absent_windows}
        found = changes(hits, days, trend.of(windows, visits.categories), **how)  # type: ignore[arg-type]
        for kind, listed in found._asdict().items():
            for i, c in zip(*np.nonzero(listed), strict=True):
                rows[int(windows[i])][kind].append(visits.categories[c])
    return [rows[w] for w in sorted(rows)]


def _change_points(
    user: str, weight: NDArray[np.float64], windows: NDArray[np.int64], days: NDArray[np.int64], evidence: Evidence
) -> Iterator[tuple[int, bool]]:
    """Window and whether the user's taste changed with it, for windows with enough days before them and from them on."""
    before = days.cumsum()[:-1]
    enough = np.flatnonzero((before >= evidence.min_days) & (len(weight) - before >= evidence.min_days))
    if len(enough):
        found = change_point(weight, before[enough], evidence.permutations, generator(evidence.seed, user, 0))
        yield from ((int(windows[i + 1]), k == found) for k, i in enumerate(enough))


def _unmoved(user: str, window: int) -> dict[str, Any]:
    unknown = [n for n in MOVED.names if n not in ("user_id", "window", "days", "gained", "lost", "returning")]
    lists: dict[str, Any] = {"gained": [], "lost": [], "returning": []}
    return {"user_id": user, "window": window, "days": 0, **dict.fromkeys(unknown), **lists}


def _drift(pair: NDArray[np.float64], before: int, now: int, evidence: Evidence, user: str, window: int) -> dict[str, Any]:
    """Drift between the first `before` days and the other `now`, and its noise where both are enough to say anything."""
    pair = pair[:, pair.sum(axis=0) > 0]
    drift = float(js_bits(pair[:before].sum(axis=0), pair[before:].sum(axis=0)))
    if min(before, now) < evidence.min_days:
        return {"drift_js_bits": drift}
    noise = permutation_noise(pair, before, evidence.permutations, generator(evidence.seed, user, window))
    migrated = drift > noise.p95 + TIE_BITS
    return {"drift_js_bits": drift, "noise_mean_bits": noise.mean, "noise_p95_bits": noise.p95, "migrated": migrated}

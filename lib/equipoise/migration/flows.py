"""Where interest goes next: sums over users of share before × share after, category by category, as an Arrow function."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import coo_matrix

from equipoise.migration.trajectory import Batches, Visits, unpacked
from equipoise.tables.vocabulary import ALL_SEGMENTS as ALL
from equipoise.tables.vocabulary import REST

FLOWS = pa.schema(
    [
        ("segment", pa.string()),
        ("from_category", pa.string()),
        ("to_category", pa.string()),
        ("mass", pa.float64()),
        ("users", pa.int64()),
    ]
)
FLOWS_DDL = "segment STRING, from_category STRING, to_category STRING, mass DOUBLE, users BIGINT"


@dataclass(frozen=True)
class Supported:
    """Per segment, `all` among them, the categories that enough users moved on from; the others are REST."""

    categories: Mapping[str, frozenset[str]]

    @property
    def names(self) -> list[str]:
        """Those of `all`, sorted, and REST behind them: the places of rows and columns."""
        return [*sorted(self.categories.get(ALL, frozenset())), REST]


def flow_counter(supported: Supported) -> Batches:
    """A function for mapInArrow: partial sums, FLOWS, one row per segment × from × to and batch, from `packed` rows and segment.

    mass: sum over users and their pairs of neighbouring active windows of share of `from` × next share of `to`.
    users: those with `from` in a window and `to` in the next. A user counts in `all` and in the own segment, where there is one.
    """

    def count(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            segments = batch.column("segment").to_pylist()
            users = list(zip(segments, (v for _, v in unpacked(batch)), strict=True))
            for segment in sorted({ALL, *(s for s in segments if s is not None)}):
                yield _summed(segment, [v for s, v in users if segment in (ALL, s)], supported)

    return count


def _summed(segment: str, users: list[Visits], supported: Supported) -> pa.RecordBatch:
    names = supported.names
    place = {name: i for i, name in enumerate(names)}
    own = supported.categories.get(segment, frozenset())
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
    for visits in users:
        to = np.array([place.get(c, len(names) - 1) for c in visits.categories], dtype=np.int64)
        start = np.array([place[c] if c in own else len(names) - 1 for c in visits.categories], dtype=np.int64)
        before, after = neighbours(visits)
        (rows, left), (columns, right) = _folded(before, start), _folded(after, to)
        mass = left.T @ right  # (from, to)
        i, j = np.nonzero(mass)
        parts.append((rows[i], columns[j], mass[i, j]))
    at = [np.concatenate([p[k] for p in parts]) if parts else np.zeros(0) for k in range(3)]
    where = (at[0].astype(np.int64), at[1].astype(np.int64))
    shape = (len(names), len(names))
    mass, count = (coo_matrix((v, where), shape=shape).tocsr() for v in (at[2], np.ones(len(at[2]))))
    mass, count = mass.tocoo(), count.tocoo()
    listed = np.array(names, dtype=object)
    columns_out = (
        np.full(mass.nnz, segment, dtype=object),
        listed[mass.row],
        listed[mass.col],
        mass.data,
        count.data.astype(np.int64),
    )
    return pa.RecordBatch.from_arrays([pa.array(c, f.type) for c, f in zip(columns_out, FLOWS, strict=True)], schema=FLOWS)


def neighbours(visits: Visits) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(pairs, c) shares in windows whose next window is active too, and in these next windows."""
    windows, number = np.unique(visits.window, return_inverse=True)
    summed = np.zeros((len(windows), len(visits.categories)))
    np.add.at(summed, number, visits.weight)
    shares = summed / summed.sum(axis=1, keepdims=True)
    first = np.flatnonzero(np.diff(windows) == 1)
    return shares[first], shares[first + 1]


def _folded(shares: NDArray[np.float64], place: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The places that occur, sorted, and the shares (pairs, places) summed over the categories of each."""
    places, column = np.unique(place, return_inverse=True)
    folded = np.zeros((len(shares), len(places)))
    np.add.at(folded.T, column, shares.T)
    return places, folded

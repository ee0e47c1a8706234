"""The learner's examples of a warehouse as one file of arrays, for benchmarks that need neither Spark nor a warehouse.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults tests/benchmarks/examples.py \\
    --settings conf/demo.toml --as-of 2017-11-06 --warehouse warehouse --to examples.npz     (after make demo)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Batch = dict[str, Any]
Ints = NDArray[np.int64]
PLAIN = ("user_id", "cut_day", "tokens", "length", "prior", "features", "label_counts", "label_value")
NARROW = {"tokens": np.uint16, "label_counts": np.float32, "prior": np.float32, "features": np.float32}


@dataclass(frozen=True)
class Examples:
    """Rows of user × cut. columns: PLAIN, one row per example; cells: records of all rows with counts and ends; trends: (cuts,
    C, T) of the cuts in `days`. newest: rows of the validation cut, whose labels are later than all others."""

    columns: dict[str, NDArray[Any]]
    cells: NDArray[Any]
    counts: Ints
    trends: NDArray[np.float32]
    days: Ints
    population: list[float]

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def cut(self) -> Ints:
        """(n,) number of each row's cut, the earliest 0."""
        return np.searchsorted(self.days, self.columns["cut_day"])

    @property
    def user(self) -> Ints:
        """(n,) number of each row's user."""
        return np.unique(self.columns["user_id"], axis=0, return_inverse=True)[1].ravel().astype(np.int64)

    def batch(self, rows: Ints, device: str = "cpu") -> Batch:
        """Rows as the learner's tensors."""
        import torch

        values = self.cells["values"].shape[1]
        ends = np.cumsum(self.counts)
        sizes = self.counts[rows]
        at = np.repeat(ends[rows] - sizes, sizes) + np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        dense = np.zeros((len(rows), len(self.population), values), dtype=np.float32)
        dense[np.repeat(np.arange(len(rows)), sizes), self.cells["position"][at]] = self.cells["values"][at]
        found = {n: self.columns[n][rows] for n in ("prior", "features", "label_counts", "label_value", "user_id")}
        longest = max(1, int(self.columns["length"][rows].max()))
        length = self.columns["length"][rows]
        out = {name: torch.from_numpy(np.array(v)) for name, v in found.items()}
        out["label_value"] = out["label_value"].long()
        out["cells"], out["trends"] = torch.from_numpy(dense), torch.from_numpy(self.trends[self.cut[rows]])
        out["tokens"] = torch.from_numpy(self.columns["tokens"][rows][:, :longest].astype(np.int64))
        out["mask"] = torch.from_numpy((np.arange(longest) < length[:, None]).astype(np.int64))
        return {name: t.to(device) for name, t in out.items()}

    def batches(self, rows: Ints, size: int, device: str = "cpu") -> Iterator[Batch]:
        """All of the rows in their order, `size` at a time."""
        for start in range(0, len(rows), size):
            yield self.batch(rows[start : start + size], device)

    def save(self, path: str) -> None:
        """One compressed file."""
        narrow = {n: c.astype(NARROW.get(n, c.dtype)) for n, c in self.columns.items()}
        rest = {
            "position": self.cells["position"], "values": self.cells["values"].astype(np.float16), "counts": self.counts,
            "trends": self.trends, "days": self.days, "population": np.array(self.population),
        }  # fmt: skip
        np.savez_compressed(path, **narrow, **rest)


def load(path: str) -> Examples:
    """What `save` wrote; cells in half precision."""
    found = dict(np.load(path))
    values = found.pop("values").astype(np.float32)
    cells = np.zeros(len(values), dtype=[("position", "<i4"), ("values", "<f4", (values.shape[1],))])
    cells["position"], cells["values"] = found.pop("position"), values
    rest = {n: found.pop(n) for n in ("counts", "trends", "days", "population")}
    return Examples(found, cells, rest["counts"], rest["trends"], rest["days"], rest["population"].tolist())


def read(files: Sequence[str], population: list[float], max_tokens: int) -> Examples:
    """From Parquet files of feature.examples and feature.examples_validation."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from equipoise.stream import Widths
    from equipoise.stream.columns import Ragged, unpack
    from equipoise.tables.feature import H_FEATURES
    from equipoise.tables.packing import TREND_VALUES

    names = [*PLAIN, "cells", "trends"]
    whole = pa.concat_tables([pq.read_table(f, columns=names) for f in sorted(files)])
    widths = Widths(max_tokens, len(population), len(H_FEATURES))
    arrays: Any = unpack({n: whole[n].cast(whole[n].type).combine_chunks() for n in names}, widths)
    cells, cut = arrays.pop("cells"), arrays["cut_day"]
    assert isinstance(cells, Ragged)
    days, first = np.unique(cut, return_index=True)
    trends = arrays.pop("trends")[first].reshape(len(days), len(population), len(TREND_VALUES))
    return Examples({n: np.asarray(arrays[n]) for n in PLAIN}, cells.flat(), cells.counts, np.array(trends), days, population)


def sampled(of: Examples, users: int, seed: int) -> Examples:
    """The examples of so many users."""
    number = of.user
    kept = np.random.default_rng(seed).permutation(number.max() + 1)[:users]
    rows = np.flatnonzero(np.isin(number, kept))
    ends = np.cumsum(of.counts)
    cells = np.concatenate([of.cells[ends[r] - of.counts[r] : ends[r]] for r in rows])
    return replace(of, columns={n: c[rows] for n, c in of.columns.items()}, cells=cells, counts=of.counts[rows])


def main() -> None:
    """Writes the file."""
    from pyspark.sql import SparkSession

    from equipoise.settings import parse_command_line
    from equipoise.store import Store

    words = sys.argv[1:]
    place = words.index("--to") if "--to" in words else -1
    if place < 0 or place + 1 >= len(words):
        raise SystemExit("--to FILE: missing; expected where the arrays go, such as --to examples.npz")
    target = words[place + 1]
    s = parse_command_line(words[:place] + words[place + 2 :], needs_as_of=True).settings
    store = Store(SparkSession.builder.appName("examples").getOrCreate(), str(Path(s.warehouse).resolve()))
    spec = store.read("feature.example_spec").orderBy("position").collect()
    tables = ("feature.examples", "feature.examples_validation")
    files = [f for t in tables for f in store.files(t, store.version(t) or 0)]
    found = read(files, [float(r["population_share"]) for r in spec], s.encoder.max_tokens)
    found.save(target)
    sys.stdout.write(f"{target}: {len(found):,} examples of {found.user.max() + 1:,} users at {len(found.days)} cuts\n")


if __name__ == "__main__":
    main()

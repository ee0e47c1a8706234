"""Measures → rows of gold.evaluation: every method, its interval, its difference from the main baseline, per user group."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from equipoise.evaluate.arrays import Floats, Ints
from equipoise.evaluate.bootstrap import Measure, averaged, interval, resampled
from equipoise.tables.gold import EVALUATION
from equipoise.tables.stamps import STAMPS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

EVERYBODY = "all"
MIN_GROUP = 30
"""Users below which a group's figures are noise and are left out (and counted in the log)."""


LEADING = {
    "items": "ndcg",
    "leaves": "ndcg",
    "explore": "explore_slot_precision",
    "interests": "kl_bits",
    "categories": "ap",
    "new_items": "ndcg",
    "value": "auc",
    "campaigns": "auc",
}
"""The metric that is told while the job runs; of kl_bits less is better."""

KEPT = {
    "items": ("ndcg",),
    "leaves": ("ndcg",),
    "interests": ("kl_bits", "ndcg"),
    "interests_utc": ("kl_bits", "ndcg"),
    "items_utc": ("ndcg",),
    "categories": ("ap", "auc", "entry_ap"),
    "new_items": ("ndcg", "recall"),
    "value": ("auc", "ngini"),
    "other_shop": ("ndcg",),
    "label_share": ("kl_bits", "visit_bits", "ap"),
}
"""Metrics whose resampled values are kept, over all users, by length of history and over those seen lately: see `Base`."""

KEPT_GROUPS = (EVERYBODY, "history=", "visited=")


@dataclass(frozen=True)
class Base:
    """Everybody that resamples draw from, whether a comparison has them or not: how many, and a mark of who they are.

    Rows of one mark hold their values on the same resamples, whatever their task and origin, so that any two can be paired.
    """

    users: int
    mark: str

    @staticmethod
    def of(ids: NDArray[Any], resamples: int, seed: int) -> Base:
        """Users with these ids, drawn so often by a seed."""
        digest = hashlib.sha256("\n".join([str(resamples), str(seed), *map(str, ids)]).encode())
        return Base(len(ids), digest.hexdigest()[:16])


@dataclass(frozen=True)
class Row:
    """One row of gold.evaluation without source and stamps."""

    task: str
    method: str
    metric: str
    cutoff: int
    split: str
    origin: str
    user_group: str
    value: float
    ci_low: float | None
    ci_high: float | None
    n: int
    seeds: int | None
    resampled: str | None = None
    draws: Floats | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Method:
    """One method on a comparison's rows; `runs`: its measures once per training seed; `seeds`: None when nothing is trained."""

    name: str
    runs: tuple[tuple[Measure, ...], ...]
    seeds: int | None = None

    @staticmethod
    def fixed(name: str, measures: Sequence[Measure]) -> Method:
        """A method without a training seed."""
        return Method(name, (tuple(measures),))

    def measures(self) -> list[Measure]:
        """The measures, averaged over the seeds."""
        return [m[0] if len(m) == 1 else averaged(m) for m in zip(*self.runs, strict=True)]


@dataclass(frozen=True)
class Comparison:
    """Methods on the same rows of users.

    unit: user number of each row (a user may have several rows, such as windows).
    baseline: method that differences are taken from; None: no differences.
    """

    task: str
    origin: str
    unit: Ints
    methods: tuple[Method, ...]
    baseline: str | None = None
    split: str = "test"
    groups: Mapping[str, Ints] = field(default_factory=dict)


def rows(comparison: Comparison, *, resamples: int, seed: int, base: Base | None = None) -> list[Row]:
    """All rows of a comparison: over all users, then per group of at least MIN_GROUP of them; undefined values are left out.

    Groups hold user numbers as `unit` does. With `base` these are places among its users: leading metrics then keep their
    resamples. Without it only the users of the comparison are drawn.
    """
    how = (resamples, seed, base)
    out = _rows_of(comparison, EVERYBODY, np.arange(len(comparison.unit)), *how)
    for name, members in sorted(comparison.groups.items()):
        kept = np.flatnonzero(np.isin(comparison.unit, members))
        if len(np.unique(comparison.unit[kept])) >= MIN_GROUP:
            out += _rows_of(comparison, name, kept, *how)
    return out


def standing(found: Sequence[Row]) -> list[str]:
    """A task's methods over all users by its leading metric, best first, a line each; nothing for a task without one."""
    mine = [r for r in found if r.user_group == EVERYBODY and r.metric == LEADING.get(r.task)]
    sign = 1 if mine and mine[0].metric == "kl_bits" else -1
    lines = []
    for place, row in enumerate(sorted(mine, key=lambda r: sign * r.value), start=1):
        name = f"{row.metric}@{row.cutoff}" if row.cutoff else row.metric
        ends = "" if row.ci_low is None or row.ci_high is None else f" [{row.ci_low:.4f}, {row.ci_high:.4f}]"
        seeds = "" if row.seeds is None else f", {row.seeds} training seed(s)"
        lines.append(f"  {place}. {name} {row.value:.4f}{ends}  {row.method} (n {row.n:,}{seeds})")
    return lines


def _rows_of(comparison: Comparison, group: str, kept: Ints, resamples: int, seed: int, base: Base | None) -> list[Row]:
    unit = comparison.unit[kept] if base else np.unique(comparison.unit[kept], return_inverse=True)[1]
    owned = [(method, measure.take(kept)) for method in comparison.methods for measure in method.measures()]
    if not owned or not len(kept):
        return []
    values = [m.value() for _, m in owned]
    again = resampled([m for _, m in owned], unit, resamples, seed, base.users if base else None)
    keeps = KEPT.get(comparison.task, ()) if base and group.startswith(KEPT_GROUPS) else ()
    place = {(method.name, m.metric, m.cutoff): i for i, (method, m) in enumerate(owned)}
    out: list[Row] = []

    def add(
        method: Method, metric: str, measure: Measure, value: float, ends: tuple[float, float] | None, drawn: Floats | None = None
    ) -> None:
        low, high = ends or (None, None)
        where = (comparison.task, method.name, metric, measure.cutoff, comparison.split, comparison.origin, group)
        mark = base.mark if base and drawn is not None else None
        if not np.isnan(value):
            out.append(Row(*where, value, low, high, int(measure.known().sum()), method.seeds, mark, drawn))

    for i, (method, measure) in enumerate(owned):
        add(method, measure.metric, measure, values[i], interval(again[:, i]), again[:, i] if measure.metric in keeps else None)
        j = place.get((comparison.baseline or "", measure.metric, measure.cutoff))
        if group == EVERYBODY and j is not None and method.name != comparison.baseline:
            name = f"{measure.metric}_minus_{comparison.baseline}"
            add(method, name, measure, values[i] - values[j], interval(again[:, i] - again[:, j]))
        if len(method.runs) > 1:
            spread = _spread(method, measure, kept)
            add(method, f"{measure.metric}_seed_sd", measure, spread, None)
    return out


def _spread(method: Method, measure: Measure, kept: Ints) -> float:
    """Standard deviation (n − 1) of a measure over the method's seeds."""
    alike = [m.take(kept).value() for run in method.runs for m in run if (m.metric, m.cutoff) == (measure.metric, measure.cutoff)]
    return float(np.std(alike, ddof=1))


def small_groups(groups: Mapping[str, Ints], unit: Ints) -> int:
    """How many groups have fewer than MIN_GROUP users among the rows: they are left out."""
    return sum(len(np.intersect1d(members, unit)) < MIN_GROUP for members in groups.values())


def frame(spark: SparkSession, rows: Sequence[Row], source: str) -> DataFrame:
    """gold.evaluation without its stamps."""
    kinds = {"STRING": pa.string(), "INT": pa.int32(), "BIGINT": pa.int64(), "DOUBLE": pa.float64()}
    kinds["ARRAY<FLOAT>"] = pa.list_(pa.float32())
    columns = [c for c in EVALUATION.columns if c not in STAMPS]
    records = [{"source": source, **{f.name: getattr(row, f.name) for f in fields(row)}} for row in rows]
    return spark.createDataFrame(pa.Table.from_pylist(records, pa.schema([(c.name, kinds[c.type]) for c in columns])))

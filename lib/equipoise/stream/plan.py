"""Which rank reads which row group of a pinned file list, and how many steps an epoch has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from equipoise.errors import StreamError

FOREIGN_METADATA = ("_common_metadata", "_metadata")
"""Petastorm unpickles the first and believes the row groups of the second (etl/dataset_metadata.py); ours has neither."""

URL_MARKS = ("#", "?")
"""Petastorm parses each path as a URL and would cut it here."""


@dataclass(frozen=True)
class RowGroup:
    """One Parquet row group: its file, its place in the file, its rows by the footer."""

    path: str
    index: int
    rows: int


@dataclass(frozen=True)
class StreamPlan:
    """Who reads what: row group i of the sorted file list belongs to rank i mod world_size.

    `steps` full batches exist on every rank, so ranks that run exactly so many never wait for one another.
    """

    files: tuple[str, ...]
    groups: tuple[RowGroup, ...]
    world_size: int
    batch_size: int
    rows_per_rank: tuple[int, ...]
    steps: int

    @property
    def rows(self) -> int:
        """Rows of the whole list."""
        return sum(self.rows_per_rank)

    def assigned(self, rank: int) -> tuple[RowGroup, ...]:
        """Row groups of one rank, in list order."""
        return self.groups[rank :: self.world_size]


def plan(files: Sequence[str], world_size: int, batch_size: int) -> StreamPlan:
    """The plan for a pinned list of local Parquet files, from their footers alone.

    `batch_size` is per rank. `steps` is 0 where a rank has less than one full batch; `require_steps` refuses that.

    Raises:
        StreamError: empty list, a file twice, a missing or foreign file, or Petastorm metadata beside the files.
    """
    if world_size < 1 or batch_size < 1:
        raise StreamError(f"world_size = {world_size} and batch_size = {batch_size} must both be at least 1")
    ordered = _checked(files)
    groups = tuple(g for path in ordered for g in _row_groups(path))
    per_rank = tuple(sum(g.rows for g in groups[r::world_size]) for r in range(world_size))
    return StreamPlan(ordered, groups, world_size, batch_size, per_rank, min(rows // batch_size for rows in per_rank))


def require_steps(plan: StreamPlan) -> int:
    """Steps per rank and epoch.

    Raises:
        StreamError: when a rank has no full batch, so that no step is possible on all ranks.
    """
    if plan.steps < 1:
        raise StreamError(
            f"no training step is possible: rows per rank are {list(plan.rows_per_rank)} in {len(plan.groups)} row groups, "
            f"a batch takes {plan.batch_size}; expected at least one full batch per rank; lower training.batch_size or "
            "training.processes, or write more examples"
        )
    return plan.steps


def _checked(files: Sequence[str]) -> tuple[str, ...]:
    if not files:
        raise StreamError("the file list is empty; expected the files of one pinned table version; build the examples first")
    ordered = tuple(sorted(files))
    twice = sorted({f for f in ordered if ordered.count(f) > 1})
    remote = [f for f in ordered if "://" in f or not Path(f).is_absolute()]
    marked = [f for f in ordered if any(m in f for m in URL_MARKS)]
    lost = [f for f in ordered if f not in remote and not Path(f).is_file()]
    for wrong, what, way_out in (
        (twice, "listed twice", "pass each file of the version once"),
        (remote, "not an absolute local path", "copy the files to a disk that all ranks mount"),
        (marked, f"with {' or '.join(URL_MARKS)} in the path, which Petastorm takes for part of a URL", "move the warehouse"),
        (lost, "not there", "the version was vacuumed or moved; build the examples again"),
    ):
        if wrong:
            raise StreamError(f"{len(wrong)} of {len(ordered)} files {what}, such as {wrong[0]!r}; {way_out}")
    _refuse_foreign_metadata(ordered)
    return ordered


def _refuse_foreign_metadata(files: Sequence[str]) -> None:
    folders = sorted({str(Path(f).parent) for f in files})
    found = [str(Path(d) / name) for d in folders for name in FOREIGN_METADATA if (Path(d) / name).exists()]
    if found:
        raise StreamError(
            f"{found[0]!r} lies beside the examples; Petastorm would unpickle or believe it; expected data files only; "
            "find out who wrote it, and delete it"
        )


def _row_groups(path: str) -> list[RowGroup]:
    try:
        footer = pq.read_metadata(path)
    except (OSError, ValueError) as error:
        raise StreamError(f"{path!r} is not a readable Parquet file: {error}; build the examples again") from error
    if any(footer.row_group(i).num_rows == 0 for i in range(footer.num_row_groups)):
        raise StreamError(f"{path!r} has a row group without rows, which the reader passes over; build the examples again")
    return [RowGroup(path, i, footer.row_group(i).num_rows) for i in range(footer.num_row_groups)]

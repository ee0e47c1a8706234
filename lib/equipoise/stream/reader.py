"""One epoch of training examples from a pinned file list, as torch batches. Nothing else imports Petastorm."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from petastorm import make_batch_reader
from petastorm.workers_pool import EmptyResultError

from equipoise.errors import StreamError
from equipoise.stream.columns import LEARNER_COLUMNS, Arrays, Batch, Widths, in_order, taken, to_batch, unpack
from equipoise.stream.plan import StreamPlan, plan, require_steps
from equipoise.stream.prefetch import Prefetcher

# pyarrow 14 warns at each of the legacy calls that Petastorm makes and hands out.
for _module in (r"petastorm\b", r"equipoise\.stream\b"):
    warnings.filterwarnings("ignore", category=FutureWarning, module=_module)


WAIT_SECONDS = 0.0005


def order_seed(seed: int, epoch: int) -> int:
    """Seed of one epoch's order, ≥ 1: Petastorm takes 0 for unseeded, and seed + epoch would repeat orders across seeds."""
    return 1 + int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0] % (2**31 - 2))


class ExampleStream:
    """One epoch of one rank's examples: batches in an order that only (seed, epoch, rank, files) decide.

    Row groups are dealt to ranks by Petastorm (group i to rank i mod world_size), read without its thread pool, which loses
    groups without an error, shuffled in a buffer of `buffer_rows` rows, and cut into batches in one
    thread of our own. With `drop_last` exactly the plan's `steps` full batches come, the same number on every rank; without
    it every row comes, the last batch being short. Either way the iteration ends only after the rows that were read equal the
    rows in the Parquet footers.

    A batch: tokens (b, s) int64, mask (b, s) int64, items (b, e), types (b, e) int64, ages (b, e), prior (b, C), cells (b, C, K),
    trends (b, C, T), features (b, F),
    label_counts (b, C) float32,
    label_value (b,) int64, label_spend (b,) float64; user_id (b, 16) uint8 and cut_day (b,) int64 when asked for.

    Use it in a `with`, which ends thread and reader. `skip_batches` leaves out the first batches of the epoch: that is resume.

    Raises:
        StreamError: from the plan's checks, and while iterating when rows are lost or do not look as packed.
    """

    def __init__(
        self,
        files: Sequence[str],
        *,
        rank: int,
        world_size: int,
        batch_size: int,
        seed: int,
        epoch: int,
        widths: Widths,
        columns: Sequence[str] = LEARNER_COLUMNS,
        drop_last: bool = True,
        skip_batches: int = 0,
        buffer_rows: int = 2048,
        prefetch_batches: int = 4,
    ) -> None:
        if not 0 <= rank < world_size:
            raise StreamError(f"rank = {rank} must be at least 0 and below world_size = {world_size}")
        self.plan: StreamPlan = plan(files, world_size, batch_size)
        self._rank = rank
        self._seed = order_seed(seed, epoch)
        self._widths = widths
        self._columns = tuple(columns)
        self._limit = require_steps(self.plan) if drop_last else None
        self._skip = skip_batches
        self._buffer_rows = max(buffer_rows, batch_size)
        self._depth = prefetch_batches
        self._running: Prefetcher[Batch] | None = None

    def __enter__(self) -> ExampleStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[Batch]:
        if self._running is not None:
            raise StreamError("this stream was already read; one stream is one epoch; open another for the next")
        self._running = Prefetcher(self._batches(), self._depth)
        return iter(self._running)

    def close(self) -> None:
        """Ends the thread and the reader; harmless when they have ended."""
        if self._running is not None:
            self._running.close()

    def _batches(self) -> Iterator[Batch]:
        size, made = self.plan.batch_size, 0
        shuffle = np.random.default_rng([self._seed, self._rank])
        held: list[Arrays] = []
        groups = self._groups()
        for arrays in groups:
            held.append(arrays)
            if sum(_rows(a) for a in held) < self._buffer_rows:
                continue
            block = _permuted(held, shuffle)
            full = _rows(block) // size * size
            held = [taken(block, slice(full, None))]
            yield from self._emit(block, full, made)
            made += full // size
        if held:
            block = _permuted(held, shuffle)
            yield from self._emit(block, _rows(block), made)

    def _emit(self, block: Arrays, stop: int, made: int) -> Iterator[Batch]:
        """Batches from the first `stop` rows of a block, of which `made` came before in this epoch."""
        size = self.plan.batch_size
        for place, start in enumerate(range(0, stop, size), start=made):
            if place >= self._skip and (self._limit is None or place < self._limit):
                yield to_batch(taken(block, slice(start, min(start + size, stop))), self._widths)

    def _groups(self) -> Iterator[Arrays]:
        """The rank's row groups as read; ends with the row check."""
        mine = self.plan.assigned(self._rank)
        expected, seen = sum(g.rows for g in mine), 0
        for raw in _read(self.plan, self._rank, self._seed, self._columns):
            arrays = unpack(raw, self._widths)
            seen += _rows(arrays)
            if _rows(arrays):
                yield arrays
        if seen != expected:
            raise StreamError(
                f"rank {self._rank} read {seen:,} rows, but the footers of its {len(mine)} row groups hold {expected:,}; "
                "expected every row exactly once; the reader lost or repeated row groups: do not use this epoch, run again"
            )


def _read(plan: StreamPlan, rank: int, seed: int, columns: Sequence[str]) -> Iterator[Mapping[str, pa.Array]]:
    """Petastorm's row groups of one rank. Asks for as many as the plan knows and no more: past the end its pool can wait forever
    (dummy_pool.get_results sleeps until the ventilator, which may have just finished, brings something)."""
    groups = len(plan.assigned(rank))
    if groups == 0:
        return
    shards = min(plan.world_size, len(plan.groups))  # Petastorm refuses more shards than row groups; the ranks beyond have none
    reader: Any = make_batch_reader(
        [f"file://{path}" for path in plan.files],
        schema_fields=[f"^{name}$" for name in columns],
        reader_pool_type="dummy",
        num_epochs=1,
        seed=seed,
        shuffle_rows=False,
        shuffle_row_groups=True,
        cur_shard=rank,
        shard_count=shards,
    )
    reader._results_queue_reader = _Tables()
    reader._workers_pool._ventilator._max_ventilation_queue_size = groups  # their names alone: nothing is read ahead by it
    try:
        _check_opened(reader, plan, columns)
        for _, group in zip(range(groups), reader, strict=False):
            yield {name: group[name].combine_chunks() for name in columns}
    finally:
        reader.stop()
        reader.join()


class _Tables:
    """Hands out row groups as Petastorm's worker read them, as Arrow tables: its own reader would make a Python object of every
    packed value, and its pool would sleep a tenth of a second whenever the thread that names the next group is behind."""

    batched_output = True

    def read_next(self, pool: Any, schema: Any, ngram: Any) -> pa.Table:
        while not (pool._ventilator_queue or pool._results_queue or pool._ventilator.completed()):
            time.sleep(WAIT_SECONDS)
        try:
            return pool.get_results()
        except EmptyResultError:
            raise StopIteration from None


def _check_opened(reader: Any, plan: StreamPlan, columns: Sequence[str]) -> None:
    opened = sorted({piece.path for piece in reader.dataset.pieces})
    foreign = sorted(set(opened) - set(plan.files))
    if foreign or len(opened) != len(plan.files):
        raise StreamError(
            f"the reader opened {len(opened)} files, {len(foreign)} of them {foreign[:1]} not on the list of {len(plan.files)}; "
            "expected the list and nothing else; report it with the file list"
        )
    missing = sorted(set(columns) - set(reader.schema.fields))
    if missing:
        raise StreamError(f"the examples lack columns {missing}; found {sorted(reader.schema.fields)}; build the examples again")


def _rows(arrays: Arrays) -> int:
    return len(next(iter(arrays.values())))


def _permuted(blocks: list[Arrays], shuffle: np.random.Generator) -> Arrays:
    return in_order(blocks, shuffle.permutation(sum(_rows(b) for b in blocks)))

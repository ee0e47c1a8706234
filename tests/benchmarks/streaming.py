"""The training stream against a plain pyarrow loop over the same files, and how long a training step waits for it.

The plain loop reads row group by row group, turns each column into a tensor without a copy where it can, and cuts batches: it
shuffles nothing, checks nothing and knows no ranks. Both in turns, in one process.

python -m tests.benchmarks.streaming [--rows 400000] [--full-rows 16000] [--repeats 5] [--steps 30]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from equipoise.inference.hardware import half_of
from equipoise.models import build
from equipoise.models.methods import Method
from equipoise.settings.model import resolve
from equipoise.stream import ExampleStream, Widths
from equipoise.stream.columns import taken, to_batch, unpack
from equipoise.tables.packing import CELL_VALUES, TREND_VALUES, cell_type, event_record
from equipoise.training.launch import HEAD_COLUMNS
from equipoise.training.loop import Training
from equipoise.training.options import Options
from equipoise.training.ranks import alone
from tests.small_models import MINILM

WIDTHS = Widths(tokens=64, categories=300, features=12)
FILES, GROUP, BATCH = 8, 5000, 256
CELLS, EVENTS = 60, 50
SMALL = ("tokens", "length", "label_value", "label_spend")
TEXT, TOWER = ("tokens", "length", *HEAD_COLUMNS), ("events", *HEAD_COLUMNS)


def write(folder: Path, rows: int, columns: Sequence[str]) -> list[str]:
    """Examples as feature.examples packs them, in FILES files."""
    folder.mkdir()
    draw = np.random.default_rng(1)
    paths = []
    for place in range(FILES):
        n = rows // FILES
        lengths = draw.integers(20, WIDTHS.tokens + 1, n)
        cells = np.zeros((n, CELLS), dtype=cell_type())
        cells["position"] = np.argsort(draw.random((n, WIDTHS.categories)), axis=1)[:, :CELLS]
        cells["values"] = draw.gamma(1.0, 9.0, (n, CELLS, len(CELL_VALUES)))
        events = np.zeros((n, EVENTS), dtype=event_record())
        events["item"], events["type"] = draw.integers(1, 10**9, (n, EVENTS)), 8
        events["age"] = -np.sort(-draw.integers(1, 300, (n, EVENTS)))
        tokens = draw.integers(1000, 20_000, (n, WIDTHS.tokens)) * (np.arange(WIDTHS.tokens) < lengths[:, None])
        made: dict[str, Any] = {
            "tokens": packed(tokens.astype("<i4")),
            "length": pa.array(lengths, pa.int32()),
            "prior": packed(draw.gamma(0.1, 9.0, (n, WIDTHS.categories)).astype("<f4")),
            "cells": packed(cells),
            "events": packed(events),
            "trends": packed(draw.random((n, WIDTHS.categories * len(TREND_VALUES))).astype("<f4")),
            "features": packed(draw.gamma(1.0, 30.0, (n, WIDTHS.features)).astype("<f4")),
            "label_counts": packed(draw.poisson(0.1, (n, WIDTHS.categories)).astype("<f4")),
            "label_value": pa.array(draw.integers(0, 3, n), pa.int32()),
            "label_spend": pa.array(draw.gamma(1.0, 30.0, n)),
        }
        paths.append(str(folder / f"part-{place}.parquet"))
        table = pa.table({name: made[name] for name in dict.fromkeys((*columns, "label_value"))})
        pq.write_table(table, paths[-1], row_group_size=GROUP)
    return paths


def packed(values: NDArray[Any]) -> pa.Array:
    return pa.array([row.tobytes() for row in values], pa.binary())


def plain(files: Sequence[str], columns: Sequence[str], batch: int) -> Iterator[dict[str, Any]]:
    """Row group by row group: columns of one width as tensors of their buffers, the others by the same unpacking as the
    stream's."""
    for path in files:
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=list(columns))
            arrays = unpack({name: table[name].combine_chunks() for name in columns}, WIDTHS)
            for start in range(0, table.num_rows, batch):
                yield to_batch(taken(arrays, slice(start, start + batch)), WIDTHS)


def streamed(files: Sequence[str], columns: Sequence[str], batch: int) -> Iterator[dict[str, Any]]:
    """One epoch of the stream."""
    place: dict[str, Any] = {"rank": 0, "world_size": 1, "seed": 1, "epoch": 0, "drop_last": False}
    with ExampleStream(files, batch_size=batch, widths=WIDTHS, columns=columns, **place) as found:
        yield from found


def seconds(work: Callable[[], Iterator[dict[str, Any]]], rows: int) -> float:
    """Wall time of all of it; every row must come."""
    began, seen = time.perf_counter(), 0
    for batch in work():
        seen += len(batch["label_value"])
    assert seen == rows, (seen, rows)
    return time.perf_counter() - began


def ratios(files: Sequence[str], columns: Sequence[str], rows: int, repeats: int) -> list[float]:
    """Rows a second of the stream ÷ those of the plain loop, in turns after one to warm up."""
    found = []
    for _ in range(repeats + 1):
        ours = seconds(lambda: streamed(files, columns, BATCH), rows)
        found.append(seconds(lambda: plain(files, columns, BATCH), rows) / ours)
    return found[1:]


class Clock:
    """Time spent waiting for batches after the first."""

    def __init__(self) -> None:
        self.waited = 0.0

    def around(self, batches: Any) -> Iterator[Any]:
        found = iter(batches)
        yield next(found)
        while True:
            began = time.perf_counter()
            try:
                batch = next(found)
            except StopIteration:
                return
            self.waited += time.perf_counter() - began
            yield batch


def waiting(files: Sequence[str], steps: int) -> float:
    """Share of the steps' time that the real training of the real encoder, batches of 32, waits for the stream."""
    method, clock = Method("lora", total_steps=steps), Clock()
    population = [1.0 / WIDTHS.categories] * WIDTHS.categories
    model = build(
        resolve(MINILM, Path()), features=12, population=population, dirichlet=5.0, sharpening=1.0, method=method, seed=1
    )
    model.encoder.autocast = half_of("auto", "cpu")

    @contextmanager
    def epoch(number: int, skip: int) -> Iterator[Any]:
        place: dict[str, Any] = {"rank": 0, "world_size": 1, "seed": 1, "epoch": number, "skip_batches": skip}
        with ExampleStream(files, batch_size=32, widths=WIDTHS, columns=TEXT, **place) as found:
            yield clock.around(found)

    @contextmanager
    def validation() -> Iterator[Any]:
        yield iter([])

    options = Options(
        seed=1, epochs=1, batch_size=32, learning_rate=5e-4, head_learning_rate=2e-3, weight_decay=0.01, warmup_share=0.1,
        clip_norm=1.0, category_weight=1.0, visit_weight=0.1, value_weight=1.0, next_item_weight=0.0, behaviour_weight=0.0,
        evaluations_per_epoch=1, patience=9, checkpoint_every=10**9, max_seconds=1e9, max_steps=steps,
    )  # fmt: skip
    training = Training(
        model, train_batches=epoch, validation_batches=validation, steps_per_epoch=10**6, options=options, ranks=alone()
    )
    training.run()
    return clock.waited / (clock.waited + training._step_seconds)


def told(found: Sequence[float]) -> str:
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--full-rows", type=int, default=16_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30)
    wish = parser.parse_args()
    lines = [
        f"{torch.get_num_threads()} threads, {wish.repeats} turns, batches of {BATCH}",
        "| columns | stream ÷ plain loop |",
        "|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        cases = {
            f"tokens and three numbers, {wish.rows:,} rows": (SMALL, wish.rows),
            f"text route, {wish.full_rows:,} rows": (TEXT, wish.full_rows),
            f"tower route, {wish.full_rows:,} rows": (TOWER, wish.full_rows),
        }
        for place, (name, (columns, rows)) in enumerate(cases.items()):
            files = write(Path(folder) / str(place), rows, columns)
            lines.append(f"| {name} | {told(ratios(files, columns, rows, wish.repeats))} |")
        files = write(Path(folder) / "steps", 32 * (wish.steps + 8), TEXT)
        shares = [waiting(files, wish.steps) for _ in range(3)]
        lines.append(
            f"\nA step waits {' / '.join(f'{s:.2%}' for s in shares)} of its time for data ({wish.steps} steps, LoRA on MiniLM)"
        )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

"""What a night of features costs that brings one new day after 300, against counting everything anew: the demo's users, and
several times as many under other ids. After every turn all tables of both ways are compared, row by row.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults --driver-memory 3g tests/benchmarks/nights.py \\
    --settings conf/demo.toml --as-of 2017-11-02 [--copies 1 8] [--turns 3] [--plain]     (after ingest_events)
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from equipoise.job.features import COUNTED, EXAMPLES  # noqa: E402
from equipoise.job.run import run  # noqa: E402
from equipoise.settings import parse_command_line  # noqa: E402
from equipoise.settings.model import last_boundary  # noqa: E402
from equipoise.spark.session import session  # noqa: E402
from equipoise.store import Store  # noqa: E402
from equipoise.tables import CATALOGUE  # noqa: E402
from equipoise.tables.packing import cell_type  # noqa: E402

WITHIN = 1e-6
"""Floats so far apart, absolutely or relatively, are equal."""

LATE_DAYS = 3
PACKED = {"prior": "<f4", "trends": "<f4", "features": "<f4", "label_counts": "<f4", "cells": cell_type()}
"""Type of what lies in a packed column; the others are compared byte by byte."""


@dataclass
class Ways:
    """Two warehouses with the same silver tables: one goes on from night to night, one counts everything anew."""

    spark: SparkSession
    source: Store
    folder: Path
    copies: int
    settings: str
    seconds: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.mine, self.theirs = (Store(self.spark, str(self.folder / f"{name} {self.copies}")) for name in ("on", "anew"))
        for store in (self.mine, self.theirs):
            for name in ("silver.items", "silver.item_categories"):
                self.put(store, name, self.source.read(name), "all")

    def put(self, store: Store, name: str, frame: DataFrame, mark: str) -> None:
        for source in [r["source"] for r in frame.select("source").distinct().collect()]:
            part = frame.filter(F.col("source") == source)
            store.replace(part, name, {"source": source}, fingerprint=mark, job="nights")

    def events(self, as_of: date, late: bool) -> DataFrame:
        """What had come by the night of as_of; `late`: as many more as there are users, on the third day before it."""
        known = self.source.read("silver.events").filter(F.col("event_date") < F.lit(as_of))
        if late:
            some = known.filter(F.col("event_date") == F.lit(as_of - timedelta(days=2 * LATE_DAYS)))
            moved = some.withColumns(
                {
                    "event_date": F.date_add("event_date", LATE_DAYS),
                    "event_ts": F.col("event_ts") + F.expr(f"INTERVAL {LATE_DAYS} DAYS"),
                    "event_id": F.md5("event_id"),
                }
            )
            known = known.unionByName(moved)
        copied = known.withColumn("copy", F.explode(F.sequence(F.lit(0), F.lit(self.copies - 1))))
        ids = {
            c: F.when(F.col("copy") == 0, F.col(c)).otherwise(F.md5(F.concat_ws("/", c, "copy"))) for c in ("user_id", "event_id")
        }
        return copied.withColumns(ids).drop("copy")

    def job(self, store: Store, as_of: date, *flags: str) -> float:
        """Seconds of build_features."""
        module, path = job()
        argv = ["--settings", self.settings, "--warehouse", store.root, "--as-of", str(as_of), *flags]
        began = time.monotonic()
        code = run(module.JOB, module.run, argv, path)
        if code:
            sys.exit(code)
        return time.monotonic() - began

    def night(self, as_of: date, kind: str, *, mine_first: bool, late: bool = False) -> None:
        """Both ways of one night, timed, and the tables of both compared."""
        events = self.events(as_of, late)
        for store in (self.mine, self.theirs):
            self.put(store, "silver.events", events, f"{as_of} {late}")
        ways = {"mine": (self.mine, ("--features.incremental=true",)), "theirs": (self.theirs, ("--features.incremental=false",))}
        took = {}
        for name in ("mine", "theirs") if mine_first else ("theirs", "mine"):
            store, flags = ways[name]
            took[name] = self.job(store, as_of, *flags)
        found = {n: unequal(self.mine, self.theirs, n, as_of) for n in (*COUNTED, *EXAMPLES)}
        wrong = {n: (rows, bad) for n, (rows, bad) in found.items() if bad}
        if wrong:
            sys.exit(f"{as_of} {kind}: rows that differ, of all: {wrong}")
        rows = sum(n for n, _ in found.values())
        self.seconds.setdefault(kind, []).append((took["mine"], took["theirs"]))
        say(
            f"{self.copies} ×, {as_of}, {kind}: {took['mine']:.1f} s, anew {took['theirs']:.1f} s, "
            f"ratio {took['mine'] / took['theirs']:.3f}; {rows:,} rows of {len(found)} tables equal"
        )


def job() -> tuple[ModuleType, Path]:
    path = ROOT / "jobs" / "build_features.py"
    spec = importlib.util.spec_from_file_location("build_features", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, path


def unequal(mine: Store, theirs: Store, name: str, as_of: date) -> tuple[int, int]:
    """Rows of the second, and rows that only one has or whose values differ."""
    table = CATALOGUE[name]
    frames = [store.read(name) for store in (mine, theirs)]
    if "as_of" in table.column_names:
        frames = [f.filter(F.col("as_of") == F.lit(as_of)) for f in frames]
    binary = [c.name for c in table.columns if c.type == "BINARY"]
    if binary:
        return packed_unequal(*(f.orderBy(*table.key).toPandas() for f in frames))
    rest = [c for c in table.column_names if c not in table.key]
    left, right = (
        f.select(*table.key, F.struct(F.lit(1).alias("there"), *rest).alias(n)) for f, n in zip(frames, "ab", strict=True)
    )
    differs = reduce(lambda x, y: x | y, (_differs(c.name, c.type) for c in table.columns if c.name in rest), F.lit(False))
    gone = F.col("a").isNull() | F.col("b").isNull()
    both = left.join(right, list(table.key), "full_outer")
    row = both.agg(
        F.count("b").alias("rows"), F.sum((gone | F.coalesce(differs, F.lit(True))).cast("long")).alias("bad")
    ).collect()[0]
    return int(row["rows"]), int(row["bad"] or 0)


def _differs(name: str, kind: str) -> Column:
    a, b = F.col(f"a.{name}"), F.col(f"b.{name}")
    if kind == "DOUBLE":
        return ~(a.eqNullSafe(b) | F.coalesce(_close(a, b), F.lit(False)))
    if kind in ("ARRAY<DOUBLE>", "ARRAY<FLOAT>"):
        return (F.size(a) != F.size(b)) | F.exists(F.zip_with(a, b, lambda x, y: ~_close(x, y)), lambda far: far)
    return ~a.eqNullSafe(b)


def _close(a: Column, b: Column) -> Column:
    return F.abs(a - b) <= WITHIN * F.greatest(F.lit(1.0), F.abs(b))


def packed_unequal(a: pd.DataFrame, b: pd.DataFrame) -> tuple[int, int]:
    """The same for packed examples, which have as many rows whatever the number of users."""
    if len(a) != len(b):
        return len(b), abs(len(a) - len(b))
    bad = np.zeros(len(a), dtype=bool)
    for column in a.columns:
        bad |= [not _same(x, y, PACKED.get(column)) for x, y in zip(a[column], b[column], strict=True)]
    return len(b), int(bad.sum())


def _same(x: Any, y: Any, kind: Any) -> bool:
    if kind is None or not isinstance(x, bytes | bytearray):
        return bool(x == y) or (isinstance(x, float) and abs(x - y) <= WITHIN * max(1.0, abs(y)))
    left, right = np.frombuffer(x, kind), np.frombuffer(y, kind)
    if len(left) != len(right):
        return False
    if left.dtype.names:
        return bool(
            (left["position"] == right["position"]).all() and np.allclose(left["values"], right["values"], WITHIN, WITHIN)
        )
    return bool(np.allclose(left, right, WITHIN, WITHIN))


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def told(found: list[tuple[float, float]]) -> str:
    ratios = [a / b for a, b in found]
    mine, theirs = (statistics.median(s) for s in zip(*found, strict=True))
    return (
        f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}) | {mine:.1f} s | {theirs:.1f} s | {len(found)}"
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--plain", action="store_true", help="only nights with one new day")
    parser.add_argument("--folder", default=None)
    wish, rest = parser.parse_known_args()
    invocation = parse_command_line(rest, needs_as_of=True)
    settings, first = invocation.settings, invocation.as_of
    spark = session("equipoise nights")
    lines = [
        "| users | night | cost ÷ counting anew, median (least to most) | seconds | anew | turns |",
        "|---|---|---|---|---|---|",
    ]
    for copies in wish.copies:
        folder = Path(tempfile.mkdtemp(dir=wish.folder, prefix="nights-"))
        try:
            ways = Ways(spark, Store(spark, settings.warehouse), folder, copies, str(invocation.settings_path))
            ways.night(first, "first", mine_first=True)
            day = first
            for turn in range(wish.turns):
                day += timedelta(days=1)
                ways.night(day, "one new day", mine_first=bool(turn % 2))
            if not wish.plain:
                day = last_boundary(settings.windows.origin, settings.windows.days, day) + timedelta(days=settings.windows.days)
                ways.night(day, "cuts move", mine_first=True)
                day += timedelta(days=2 * LATE_DAYS)
                ways.night(day, "days that were missed", mine_first=False)
                ways.night(day, "late events, 3 days old", mine_first=True, late=True)
            users = ways.mine.read("feature.user_profile").filter(F.col("as_of") == F.lit(day)).count()
            lines += [f"| {users:,} | {kind} | {told(found)} |" for kind, found in ways.seconds.items() if kind != "first"]
        finally:
            shutil.rmtree(folder)
    say("\n".join(lines))


if __name__ == "__main__":
    main()

"""Segmenting 1, 4 and 16 times the user base: time against once, and the memory of all processes at its peak, in turns.

A user base k times as large is the warehouse's own k times over, each time under other ids; the value is learnt from a sample of
segments.value_users of them, as always. The whole of `segment_users` is timed but for reading and writing Delta.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults --driver-memory 3g tests/benchmarks/segments.py \\
    --settings conf/demo.toml --as-of 2017-11-06     (after make demo)
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.segments.categories import category_values
from equipoise.segments.groups import interest_groups
from equipoise.segments.history import day_number, packed
from equipoise.segments.table import user_segments
from equipoise.segments.valued import How, published
from equipoise.settings import parse_command_line
from equipoise.store import Store

TIMES, TURNS = (1, 4, 16), 2


def resident(pid: int) -> int:
    """Bytes that a process and all below it hold."""
    children: dict[int, list[int]] = {}
    pages: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                pages[int(folder.name)] = int((folder / "statm").read_text().split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(folder.name))
    todo, total = [pid], 0
    while todo:
        now = todo.pop()
        total += pages.get(now, 0)
        todo += children.get(now, [])
    return total * os.sysconf("SC_PAGE_SIZE")


class Peak:
    """Highest `resident` of the process tree while the block runs, looked at four times a second."""

    def __enter__(self) -> Peak:
        self.bytes, self._stop = 0, threading.Event()
        root = os.getppid() if "spark-submit" in Path(f"/proc/{os.getppid()}/cmdline").read_text() else os.getpid()
        root = os.getppid() if "SparkSubmit" in Path(f"/proc/{os.getppid()}/cmdline").read_text() else root

        def look() -> None:
            while not self._stop.wait(0.25):
                self.bytes = max(self.bytes, resident(root))

        self._thread = threading.Thread(target=look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def times(frame: DataFrame, number: int) -> DataFrame:
    """The rows `number` times, each time under other user ids."""
    copies = frame.sparkSession.range(number).select(F.col("id").cast("string").alias("copy"))
    copied = frame.crossJoin(F.broadcast(copies)).withColumn("user_id", F.concat_ws("#", "copy", "user_id"))
    return copied.drop("copy")


def main(say: Callable[[str], object]) -> None:
    """Measures a warehouse after score_users, and prints a table."""
    asked = parse_command_line(sys.argv[1:], needs_as_of=True)
    s, as_of = asked.settings, asked.as_of
    assert as_of is not None
    store = Store(SparkSession.builder.appName("segments").getOrCreate(), str(Path(s.warehouse).resolve()))
    names = ("feature.user_profile", "feature.user_vectors", "gold.user_interests")
    dated = [store.read(n).filter(F.col("as_of") == F.lit(as_of)).drop("vector") for n in names]
    given = [*dated, store.read("feature.daily_counts").filter(F.col("event_date") < F.lit(as_of))]
    at, windows = day_number(as_of), s.windows
    how = How(
        as_of=at, horizon_days=s.segments.horizon_days, churn_days=s.segments.churn_days, ladder=s.segments.ladder,
        amounts=s.source.has_amounts, cuts=s.segments.value_cuts, seed=s.segments.value_seed,
        threshold_cuts=tuple(at - windows.days * k for k in range(2, 2 + s.training.training_cuts)),
    )  # fmt: skip
    users = dated[0].count()
    took: dict[int, list[float]] = {n: [] for n in TIMES}
    held: dict[int, int] = dict.fromkeys(TIMES, 0)
    for turn in range(TURNS + 1):
        for number in TIMES if turn else (1,):  # the first turn warms up
            profile, vectors, interests, daily = (times(f, number) for f in given)
            started = time.monotonic()
            with Peak() as peak:
                days = packed(daily, as_of=as_of, trip_types=["purchase"]).persist()
                worth, _ = published(
                    days,
                    profile,
                    vectors,
                    how,
                    users=users * number,
                    most=s.segments.value_users,
                    language=False,
                    say=lambda _: None,
                )
                groups = interest_groups(interests, k=s.segments.interest_groups, seed=s.segments.kmeans_seed)
                table = user_segments(profile, worth, groups, as_of=as_of, horizon_days=28, threshold=None, kmeans_seed=1)
                values = category_values(interests, daily, as_of=as_of, origin=windows.origin, window_days=windows.days)
                for frame in (table, values):
                    frame.write.format("noop").mode("overwrite").save()
                days.unpersist(blocking=True)
            if turn:
                took[number].append(time.monotonic() - started)
            if turn == 1:  # the sizes rise; afterwards the heap of the largest is still held
                held[number] = peak.bytes
    one = took[1]
    say(f"{users:,} users once, learnt from {s.segments.value_users:,} at most; {TURNS} turns")
    say("| user base | time against once, median (least to most) | most memory of all processes |")
    say("|---|---|---|")
    for number in TIMES:
        ratios = [a / b for a, b in zip(took[number], one, strict=True)]
        say(f"| {number} × | {median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}) | {held[number] / 2**20:,.0f} MiB |")


if __name__ == "__main__":
    main(lambda line: sys.stdout.write(f"{line}\n"))

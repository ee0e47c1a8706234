"""The aggregation behind feature.daily_counts and feature.category_shares: Spark, as the job does it, beside DuckDB, and at ten
times the events. From Parquet to written Parquet, both with two threads, in turns; results must be equal.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults --driver-memory 3g \\
    tests/benchmarks/features_scale.py --settings conf/demo.toml --as-of 2017-11-06 [--copies 4 40] [--turns 3]

After ingest_events and bash .ci/readers.sh.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.features.daily import daily_counts
from equipoise.features.shares import category_shares
from equipoise.settings import Settings, parse_command_line
from equipoise.spark.session import session
from equipoise.store import Store

ROOT = Path(__file__).resolve().parents[2]
DUCKDB = ROOT / ".venv-readers" / "bin" / "python"
COLUMNS = ("user_id", "item_id", "event_type", "event_date", "quantity", "amount")
WITHIN = 1e-6


def copy_events(spark: SparkSession, source: Store, folder: Path, copies: int, as_of: date) -> int:
    """The events before as_of so many times over under other users' ids, as Parquet; their number."""
    past = source.read("silver.events").filter(F.col("event_date") < F.lit(as_of)).select(*COLUMNS)
    many = past.withColumn("copy", F.explode(F.sequence(F.lit(0), F.lit(copies - 1))))
    named = F.when(F.col("copy") == 0, F.col("user_id")).otherwise(F.md5(F.concat_ws("/", "user_id", "copy")))
    many.withColumn("user_id", named).drop("copy").write.parquet(str(folder / "events"))
    source.read("silver.item_categories").select("item_id", "category", "weight").coalesce(1).write.parquet(
        str(folder / "places")
    )
    return spark.read.parquet(str(folder / "events")).count()


def by_spark(spark: SparkSession, folder: Path, s: Settings, as_of: date) -> float:
    """Seconds; leaves spark_daily and spark_shares."""
    began = time.perf_counter()
    daily = daily_counts(spark.read.parquet(str(folder / "events")), spark.read.parquet(str(folder / "places"))).persist()
    write(daily, folder / "spark_daily")
    shares = category_shares(
        daily,
        origin=s.windows.origin,
        window_days=s.windows.days,
        as_of=as_of,
        event_weights=s.interests.event_weights,
        half_life_days=s.interests.half_life_days,
    )
    write(shares, folder / "spark_shares")
    took = time.perf_counter() - began
    daily.unpersist()
    return took


def write(frame: DataFrame, folder: Path) -> None:
    frame.write.mode("overwrite").parquet(str(folder))


def sql(s: Settings, as_of: date) -> dict[str, str]:
    """The same two tables as statements for DuckDB; {folder} stands for the folder."""
    days, origin = s.windows.days, f"DATE '{s.windows.origin}'"
    boundary = s.windows.origin + timedelta(days=(as_of - s.windows.origin).days // days * days)
    weight = " ".join(f"WHEN '{t}' THEN {w!r}::DOUBLE" for t, w in sorted(s.interests.event_weights.items()))
    half_life = float(s.interests.half_life_days)
    daily = """
        SELECT user_id, event_date,
               coalesce(category, CASE WHEN e.item_id IS NULL THEN '(none)' ELSE 'UNKNOWN' END) AS category, event_type,
               sum(coalesce(weight, 1.0::DOUBLE)) AS events,
               sum(coalesce(quantity, 0.0::DOUBLE) * coalesce(weight, 1.0::DOUBLE)) AS quantity,
               sum(coalesce(amount, 0.0::DOUBLE) * coalesce(weight, 1.0::DOUBLE)) AS amount
        FROM read_parquet('{folder}/events/*.parquet') e
        LEFT JOIN read_parquet('{folder}/places/*.parquet') p ON e.item_id = p.item_id
        GROUP BY ALL"""
    shares = f"""
        WITH placed AS (
            SELECT user_id, category, events, event_date, CASE event_type {weight} ELSE 0.0::DOUBLE END AS per_event,
                   least({origin} + CAST((floor((event_date - {origin}) / {days}.0) + 1) * {days} AS INTEGER), DATE '{as_of}')
                       AS window_end
            FROM daily WHERE category <> '(none)'),
        counted AS (
            SELECT user_id, window_end, category,
                   sum(events * per_event * pow(2.0::DOUBLE, -(window_end - event_date) / {half_life!r}::DOUBLE)) AS weight,
                   sum(events) AS events
            FROM placed WHERE per_event > 0 GROUP BY ALL)
        SELECT user_id, window_end,
               CASE WHEN window_end <= DATE '{boundary}' THEN {days} ELSE {(as_of - boundary).days} END AS window_days, category,
               weight, weight / sum(weight) OVER (PARTITION BY user_id, window_end) AS share, events,
               window_end <= DATE '{boundary}' AS closed
        FROM counted WHERE weight > 0"""
    copy = "COPY ({0}) TO '{{folder}}/{1}' (FORMAT parquet, COMPRESSION snappy)"
    return {
        "daily": f"CREATE OR REPLACE TABLE daily AS {daily}",
        "write daily": copy.format("FROM daily", "duck_daily.parquet"),
        "write shares": copy.format(shares, "duck_shares.parquet"),
    }


DUCK = """
import json, sys, time
import duckdb
given = json.loads(sys.argv[1])
db = duckdb.connect(given["folder"] + "/duck.db")
db.execute("SET threads = 2")
db.execute("SET memory_limit = '3GB'")
began = time.perf_counter()
for statement in given["statements"]:
    db.execute(statement)
print(json.dumps(time.perf_counter() - began))
"""
COMPARE = """
import json, sys
import duckdb
given = json.loads(sys.argv[1])
db = duckdb.connect()
db.execute("SET threads = 2")
db.execute("SET memory_limit = '6GB'")
db.execute("SET temp_directory = '" + given["folder"] + "/spill'")
found = {}
for name, keys, values in given["tables"]:
    close = " AND ".join(f"abs(a.{v} - b.{v}) <= %r * greatest(1, abs(b.{v}))" % given["within"] for v in values)
    a, b = (f"read_parquet('{given['folder']}/{p}')" for p in (f"spark_{name}/*.parquet", f"duck_{name}.parquet"))
    rows = [db.execute(f"SELECT count(*) FROM {side}").fetchone()[0] for side in (a, b)]
    same = db.execute(f"SELECT count(*) FROM {a} a JOIN {b} b USING ({', '.join(keys)}) WHERE {close}").fetchone()[0]
    found[name] = [*rows, same]
print(json.dumps(found))
"""
TABLES = (
    ("daily", ("user_id", "event_date", "category", "event_type"), ("events", "quantity", "amount")),
    ("shares", ("user_id", "window_end", "window_days", "category", "closed"), ("weight", "share", "events")),
)


def duckdb(script: str, **given: Any) -> Any:
    """What a script says on its last line, in the environment that has DuckDB."""
    ended = subprocess.run([str(DUCKDB), "-c", script, json.dumps(given)], capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(ended.stderr)
    return json.loads(ended.stdout.splitlines()[-1])


def by_duckdb(folder: Path, statements: dict[str, str]) -> float:
    """Seconds; leaves duck_daily and duck_shares. Its table of daily counts is on disk, as Spark's may be."""
    (folder / "duck.db").unlink(missing_ok=True)
    return float(duckdb(DUCK, folder=str(folder), statements=[s.format(folder=folder) for s in statements.values()]))


def check_equal(folder: Path) -> str:
    """Rows of both tables; ends the process where they are not the same."""
    found = duckdb(COMPARE, folder=str(folder), tables=TABLES, within=WITHIN)
    wrong = {name: counts for name, counts in found.items() if len(set(counts)) > 1}
    if wrong:
        sys.exit(f"rows of Spark, of DuckDB, and the same in both: {wrong}")
    return ", ".join(f"{counts[0]:,} {name}" for name, counts in found.items())


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def told(found: list[float], digits: int = 1) -> str:
    return f"{statistics.median(found):.{digits}f} ({min(found):.{digits}f} to {max(found):.{digits}f})"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--copies", type=int, nargs="+", default=[4, 40])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--folder", default=None)
    wish, rest = parser.parse_known_args()
    if not DUCKDB.exists():
        sys.exit(f"{DUCKDB} is not there; run bash .ci/readers.sh")
    invocation = parse_command_line(rest, needs_as_of=True)
    s, as_of, spark = invocation.settings, invocation.as_of, session("equipoise features_scale")
    lines = ["| events | rows of both | Spark, s | DuckDB, s | Spark ÷ DuckDB |", "|---|---|---|---|---|"]
    medians: list[tuple[int, float]] = []
    for copies in wish.copies:
        folder = Path(tempfile.mkdtemp(dir=wish.folder, prefix="features-"))
        try:
            events = copy_events(spark, Store(spark, s.warehouse), folder, copies, as_of)
            ours, duck = [], []
            for turn in range(wish.turns):
                ours.append(by_spark(spark, folder, s, as_of))
                duck.append(by_duckdb(folder, sql(s, as_of)))
                say(f"{events:,} events, turn {turn + 1}: Spark {ours[-1]:.1f} s, DuckDB {duck[-1]:.1f} s")
            rows = check_equal(folder)
        finally:
            shutil.rmtree(folder)
        ratios = [a / b for a, b in zip(ours, duck, strict=True)]
        medians.append((events, statistics.median(ours)))
        lines.append(f"| {events:,} | {rows} | {told(ours)} | {told(duck)} | {told(ratios, 2)} |")
    say("\n".join(lines))
    for (few, quick), (many, slow) in pairwise(medians):
        say(f"{many / few:.1f} times the events take Spark {slow / quick:.1f} times as long")


if __name__ == "__main__":
    main()

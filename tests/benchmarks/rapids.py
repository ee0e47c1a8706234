"""build_features on the cores of a machine and on its GPU by RAPIDS: seconds, and whether all tables are equal, row by row.

python -m tests.benchmarks.rapids --settings conf/demo.toml --as-of 2017-11-06 [--copies 1 8] [--cores 16] [--memory 24g] \\
    [--conf KEY=VALUE …]     (after ingest_events and .ci/rapids.sh; needs a GPU)
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import pyspark
from pyspark.sql import SparkSession

from equipoise.job.features import COUNTED, EXAMPLES
from equipoise.settings import parse_command_line
from equipoise.store import Store
from tests.benchmarks.nights import Ways, say, unequal
from tests.conftest import ROOT, small_session
from tests.integration.test_gpu_plans import JAR

ON_GPU = {
    "spark.plugins": "com.nvidia.spark.SQLPlugin",
    "spark.rapids.sql.concurrentGpuTasks": "4",
    "spark.rapids.memory.pinnedPool.size": "4g",
    "spark.rapids.memory.gpu.allocFraction": "0.5",
    "spark.rapids.sql.explain": "NONE",
}
"""What conf/spark/rapids.conf has beside a cluster's own keys, which hang a session on one machine."""

DONE = re.compile(r"^\[build_features\] done in ([\d.,]+) s", re.M)


def main() -> None:
    """Prints a table: copies of the shop's users, way, seconds of the job, ratio; and what differs."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--copies", type=int, nargs="+", default=[1])
    parser.add_argument("--cores", type=int, default=8)
    parser.add_argument("--memory", default="16g")
    parser.add_argument("--conf", action="append", default=[])
    parser.add_argument("--folder", default=None)
    wish, rest = parser.parse_known_args()
    invocation = parse_command_line(rest, needs_as_of=True)
    settings, as_of = invocation.settings, invocation.as_of
    assert as_of is not None
    lines = ["| copies | events | cores, s | GPU, s | cores ÷ GPU | rows | rows that differ |", "|---|---|---|---|---|---|---|"]
    wrong = False
    for copies in wish.copies:
        folder = Path(tempfile.mkdtemp(dir=wish.folder, prefix="rapids-"))
        try:
            spark = _plain(folder, wish.cores, wish.memory)
            ways = Ways(spark, Store(spark, settings.warehouse), folder, copies, str(invocation.settings_path))
            events = ways.events(as_of, late=False)
            for store in (ways.mine, ways.theirs):
                ways.put(store, "silver.events", events, str(as_of))
            number = ways.mine.read("silver.events").count()
            spark.stop()
            gpu = {**ON_GPU, **dict(pair.split("=", 1) for pair in wish.conf)}
            took = {}
            for name, store, keys in (("GPU", ways.mine, gpu), ("cores", ways.theirs, {})):
                took[name] = _job(store.root, invocation.settings_path, as_of, keys, wish.cores, wish.memory)
                say(f"{copies} ×, {number:,} events, {name}: {took[name]:.0f} s")
            spark = _plain(folder, wish.cores, wish.memory)
            mine, theirs = (Store(spark, store.root) for store in (ways.mine, ways.theirs))
            found = {name: unequal(mine, theirs, name, as_of) for name in (*COUNTED, *EXAMPLES)}
            spark.stop()
            bad = {name: rows for name, rows in found.items() if rows[1]}
            for name, (rows, off) in bad.items():
                say(f"{copies} ×, {name}: {off:,} of {rows:,} rows differ")
            wrong |= bool(bad)
            total, apart = (sum(part) for part in zip(*found.values(), strict=True))
            times = f"{took['cores']:.0f} | {took['GPU']:.0f} | {took['cores'] / took['GPU']:.2f}"
            lines.append(f"| {copies} | {number:,} | {times} | {total:,} | {apart:,} |")
        finally:
            shutil.rmtree(folder)
    say("\n".join(lines))
    sys.exit(int(wrong))


def _plain(folder: Path, cores: int, memory: str) -> SparkSession:
    """A session without the plugin: it makes the events, and compares the tables that both ways wrote."""
    return small_session(f"local[{cores}]", folder / "spark-warehouse", **{"spark.driver.memory": memory})


def _job(warehouse: str, settings: Path, as_of: date, keys: dict[str, str], cores: int, memory: str) -> float:
    """Seconds of build_features in an application of its own, as it says them."""
    submit = [str(Path(pyspark.__file__).parent / "bin" / "spark-submit"), "--properties-file", "conf/spark/local.conf"]
    submit += ["--load-spark-defaults", "--master", f"local[{cores}]", "--driver-memory", memory]
    submit += ["--driver-class-path", str(JAR)] if keys else []
    for key, value in keys.items():
        submit += ["--conf", f"{key}={value}"]
    submit += ["jobs/build_features.py", "--settings", str(settings), "--as-of", str(as_of), "--warehouse", warehouse]
    ran = subprocess.run(submit, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    told = DONE.search(ran.stdout)  # spark-submit puts both streams of a Python job on this one
    if ran.returncode or told is None:
        sys.exit(f"build_features ended with {ran.returncode}:\n{ran.stdout[-6000:]}")
    say("".join(line for line in ran.stdout.splitlines(keepends=True) if " rows in " in line))
    return float(told[1].replace(",", ""))


if __name__ == "__main__":
    main()

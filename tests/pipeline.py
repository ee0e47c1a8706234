"""Runs jobs as a platform does (spark-submit in a process of its own) and compares warehouses row for row."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession

from equipoise.job.chain import ORDER
from equipoise.store import Store
from equipoise.tables import CATALOGUE

ROOT = Path(__file__).resolve().parent.parent
AS_OF = "2017-11-06"
FLOAT_TOLERANCE = 1e-6
JOBS = ORDER
JOB_SECONDS, CHAIN_SECONDS = 900.0, 3600.0
"""A job, and all of them one after another, that take longer are killed."""

SMALL_TRAINING = (
    "--training.sample_examples=128",
    "--training.validation_examples=64",
    "--training.training_cuts=3",
    "--training.pair_steps=100",
    "--training.files_per_rank=1",
    "--training.gate_tolerance_bits=9",
    "--segments.value_cuts=4",
    "--migration.permutations=19",
    "--evaluate.frontier=[0.0,0.5]",
    "--evaluate.resamples=100",
)
"""Less of everything that is done over and over. No short limit of time: on a busy machine it would end one of two runs that are
compared a step before the other. What the gate makes of so few users is chance, and without a model the jobs after it fail."""

SMALL = ("--source.simulated_users=80", "--source.simulated_items=200", *SMALL_TRAINING)


@dataclass(frozen=True)
class Ended:
    """How a job ended: its exit code (negative: killed by that signal), what it said, and its seconds."""

    code: int
    output: str
    seconds: float


def command(job: str, warehouse: Path, *flags: str, settings: str = "conf/simulated.toml", as_of: str = AS_OF) -> list[str]:
    line = ["spark-submit", "--properties-file", "conf/spark/local.conf", "--load-spark-defaults", "--driver-memory", "2g"]
    line += [f"jobs/{job}.py", "--settings", settings, "--warehouse", str(warehouse), f"--report.path={warehouse}/report.html"]
    return [*line, *([] if job == "ingest_events" else ["--as-of", as_of]), *flags]


def environment() -> dict[str, str]:
    venv = ROOT / ".venv" / "bin"
    return {
        **os.environ,
        "PATH": f"{venv}:{os.environ['PATH']}",
        "PYSPARK_PYTHON": str(venv / "python"),
        "PYSPARK_DRIVER_PYTHON": str(venv / "python"),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def submit(job: str, warehouse: Path, *flags: str, kill_after: float | None = None, **more: str) -> Ended:
    """Runs one job; with `kill_after` its whole process group gets SIGKILL after that many seconds."""
    longest = CHAIN_SECONDS if job == "run_all" else JOB_SECONDS
    started = time.monotonic()
    process = subprocess.Popen(
        command(job, warehouse, *flags, **more),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=kill_after if kill_after is not None else longest)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
    return Ended(process.returncode, output, time.monotonic() - started)


def must(ended: Ended, code: int = 0) -> Ended:
    """The same, after checking its exit code."""
    assert ended.code == code, f"exit code {ended.code}, expected {code}\n{ended.output[-4000:]}"
    return ended


def versions(spark: SparkSession, warehouse: Path) -> dict[str, int]:
    """Version of every table that exists outside ops."""
    store = Store(spark, str(warehouse))
    found = {n: store.version(n) for n in CATALOGUE if not n.startswith("ops.")}
    return {n: v for n, v in found.items() if v is not None}


def differences(spark: SparkSession, left: Path, right: Path) -> list[str]:
    """What differs between two warehouses outside ops, one line a table; floats within 1e-6 are equal."""
    found: list[str] = []
    stores = Store(spark, str(left)), Store(spark, str(right))
    for name, table in CATALOGUE.items():
        if name.startswith("ops.") or _copied(*(Path(s.path(name)) for s in stores)):
            continue
        there = [s.version(name) is not None for s in stores]
        if not any(there):
            continue
        if not all(there):
            found.append(f"{name}: only in {'the first' if there[0] else 'the second'}")
            continue
        frames = [s.read(name).orderBy(*table.key).toPandas() for s in stores]
        found += frame_differences(name, *frames)
    return found


def _copied(left: Path, right: Path) -> bool:
    """Whether one table is a copy of the other that nobody wrote to since: the same log to the byte. Data files have names of
    their own and are never changed, so that the same log is the same rows."""
    logs = [{p.name: p.read_bytes() for p in (table / "_delta_log").glob("[!.]*") if p.is_file()} for table in (left, right)]
    return bool(logs[0]) and logs[0] == logs[1]


def frame_differences(name: str, a: pd.DataFrame, b: pd.DataFrame) -> list[str]:
    """What differs between two frames of a table, rows in the same order; floats within 1e-6 are equal."""
    if len(a) != len(b):
        return [f"{name}: {len(a)} rows and {len(b)} rows"]
    return [f"{name}.{column}: values differ" for column in a.columns if not _equal(a[column], b[column])]


def _equal(a: pd.Series, b: pd.Series) -> bool:
    if pd.api.types.is_float_dtype(a):
        return bool(np.allclose(a, b, rtol=0, atol=FLOAT_TOLERANCE, equal_nan=True))
    if len(a) and isinstance(a.iloc[0], np.ndarray | list) and len(a.iloc[0]) and isinstance(a.iloc[0][0], float | np.floating):
        pairs = zip(a, b, strict=True)
        return all(len(x) == len(y) and np.allclose(x, y, rtol=0, atol=FLOAT_TOLERANCE) for x, y in pairs)
    return a.map(_plain).equals(b.map(_plain))


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | list):
        return tuple(value)
    if isinstance(value, dict):
        return tuple(sorted(value.items()))
    return value if value == value else None  # NaN and None alike

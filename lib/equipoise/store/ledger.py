"""The ledger ops.runs: one row per run × attempt, written when the attempt starts and again when it ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from pyspark.sql import functions as F

from equipoise.clock import now
from equipoise.store.store import FORMAT, Store
from equipoise.tables.ops import RUNS


@dataclass(frozen=True)
class Entry:
    """One attempt of one run, as ops.runs has it."""

    run_id: str
    attempt: int
    job: str
    as_of: date | None
    settings_sha256: str
    code_version: str
    inputs: dict[str, int]
    outputs: dict[str, int]
    rows_out: dict[str, int]
    started_at: datetime
    finished_at: datetime | None
    status: str
    message: str | None


class Ledger:
    """Writes entries through a store."""

    def __init__(self, store: Store, spark: Any) -> None:
        self._store = store
        self._spark = spark

    def start(self, entry: Entry) -> Entry:
        """The entry with its attempt number, standing in the table as running."""
        self._store.create("ops.runs")
        earlier = self._store.read("ops.runs").filter(F.col("run_id") == entry.run_id)
        attempt = earlier.agg(F.coalesce(F.max("attempt"), F.lit(0)).alias("n")).collect()[0]["n"] + 1
        numbered = replace(entry, attempt=int(attempt))
        self._write(numbered, "append", {})
        return numbered

    def left_by(self, run_id: str) -> dict[str, int]:
        """Version of each output as a finished attempt of the run left it; empty where none finished."""
        if self._store.version("ops.runs") is None:
            return {}
        done = self._store.read("ops.runs").filter((F.col("run_id") == run_id) & (F.col("status") == "done"))
        rows = done.orderBy(F.desc("attempt")).limit(1).collect()
        return {name: int(version) for name, version in rows[0]["outputs"].items()} if rows else {}

    def finish(self, entry: Entry) -> None:
        """The attempt's row, replaced by how it ended."""
        where = f"run_id = '{entry.run_id}' AND attempt = {entry.attempt}"
        self._write(replace(entry, finished_at=now()), "overwrite", {"replaceWhere": where})

    def _write(self, entry: Entry, mode: str, options: dict[str, str]) -> None:
        frame = self._spark.createDataFrame([tuple(getattr(entry, c) for c in RUNS.column_names)], RUNS.struct_type())
        frame.coalesce(1).write.format(FORMAT).mode(mode).options(**options).save(self._store.path("ops.runs"))

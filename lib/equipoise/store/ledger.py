"""The ledger ops.runs: one row per run × attempt, written when the attempt starts and again when it ends."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from pyspark.sql import functions as F

from equipoise.clock import now
from equipoise.errors import ConflictError
from equipoise.store.store import FORMAT, Store, is_conflict
from equipoise.tables.ops import RUNS

TRIES = 10
"""Of a write of a row: the table has no partitions, so that a row of any other run that is added meanwhile is a conflict."""

LONGEST_WAIT_S = 2.0


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

    def as_of(self, run_id: str) -> date | None:
        """As-of date of a run; None where none of the name is known, or it takes no date."""
        if self._store.version("ops.runs") is None:
            return None
        rows = self._store.read("ops.runs").filter(F.col("run_id") == run_id).select("as_of").limit(1).collect()
        return rows[0]["as_of"] if rows else None

    def finish(self, entry: Entry) -> None:
        """The attempt's row, replaced by how it ended.

        Raises:
            ConflictError: when other jobs wrote in the table each time that it was tried.
        """
        where = f"run_id = '{entry.run_id}' AND attempt = {entry.attempt}"
        self._write(replace(entry, finished_at=now()), "overwrite", {"replaceWhere": where})

    def _write(self, entry: Entry, mode: str, options: dict[str, str]) -> None:
        for tried in range(1, TRIES + 1):
            try:
                self._save(entry, mode, options)
                return
            except Exception as error:  # Spark's errors have no common class
                if not is_conflict(error):
                    raise
                if tried == TRIES:
                    raise ConflictError(
                        f"ops.runs: other jobs wrote in it each of the {TRIES} times that the row of {entry.job} "
                        f"{entry.run_id[:8]} ({entry.status}) was to be written; its tables are as they are; run again, what is "
                        "there is skipped"
                    ) from error
            time.sleep(random.uniform(0.0, min(LONGEST_WAIT_S, 0.1 * 2**tried)))  # at random, so that two do not meet again

    def _save(self, entry: Entry, mode: str, options: dict[str, str]) -> None:
        frame = self._spark.createDataFrame([tuple(getattr(entry, c) for c in RUNS.column_names)], RUNS.struct_type())
        frame.coalesce(1).write.format(FORMAT).mode(mode).options(**options).save(self._store.path("ops.runs"))

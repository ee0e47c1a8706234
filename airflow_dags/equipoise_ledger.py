"""What ops.runs says of a job, read without Spark: the truth where exit codes are lost, as in cluster deploy mode."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

ENDED_WELL = ("done", "skipped")


@dataclass(frozen=True)
class Attempt:
    """One row of ops.runs."""

    run_id: str
    attempt: int
    job: str
    as_of: date | None
    started_at: datetime
    status: str
    message: str | None

    @property
    def key(self) -> tuple[str, int]:
        return self.run_id, self.attempt

    def __str__(self) -> str:
        run = f"{self.job} {self.as_of or ''} run {self.run_id[:8]} attempt {self.attempt}"
        return f"{run}: {self.status} ({self.message or 'no message'})"


def drifted(monitors: str, before: date) -> list[str]:
    """What the newest night before a date says has drifted, so that it asks for a fine-tuning; none where none was watched."""
    from deltalake import DeltaTable

    place = monitors if "://" in monitors else str(Path(monitors).absolute())
    if not DeltaTable.is_deltatable(place):
        return []
    columns = ["as_of", "monitor", "subject", "message", "asks_training"]
    rows = DeltaTable(place).to_pyarrow_table(columns=columns, filters=[("as_of", "<", before)]).to_pylist()
    newest = max((r["as_of"] for r in rows), default=None)
    asked = [r for r in rows if r["as_of"] == newest and r["asks_training"]]
    return [f"{r['monitor']} {r['subject']} as of {newest}: {r['message']}" for r in asked]


def attempts(ledger: str, job: str, as_of: date | None) -> list[Attempt]:
    """Every attempt of a job for a date (None: for any, or for none), oldest first; none where no job has run yet."""
    from deltalake import DeltaTable  # not at import: the DAG file is parsed every few seconds

    place = ledger if "://" in ledger else str(Path(ledger).absolute())
    if not DeltaTable.is_deltatable(place):
        return []
    columns = [*Attempt.__dataclass_fields__]
    rows: list[dict[str, Any]] = DeltaTable(place).to_pyarrow_table(columns=columns, filters=[("job", "=", job)]).to_pylist()
    found = [Attempt(**row) for row in rows if as_of is None or row["as_of"] == as_of]
    return sorted(found, key=lambda a: (a.started_at, a.attempt))

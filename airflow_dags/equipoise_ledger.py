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

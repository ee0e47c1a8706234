"""In place of spark-submit: writes the row of ops.runs that a job would write. PLAN: {job: [status of try 1, of try 2, …]}.

Fails where the worker's Spark or Python paths reach it.
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from datetime import date, datetime, timezone
from pathlib import Path

import pyarrow as pa
from deltalake import write_deltalake

CODES = {"done": 0, "skipped": 0, "failed": 1, "settings": 2, "gated": 3, "lost": 0}
"""Exit code by status; "lost" is a driver that reports success and never reached the ledger."""


def main(argv: list[str]) -> int:
    """The exit code that the job would end with."""
    job = next(Path(a).stem for a in argv if a.endswith(".py"))
    warehouse = Path(argv[argv.index("--warehouse") + 1])
    as_of = date.fromisoformat(argv[argv.index("--as-of") + 1]) if "--as-of" in argv else None
    tries = Path(os.environ["TRIES"]) / job
    number = len(tries.read_text().splitlines()) if tries.exists() else 0
    with tries.open("a") as file:
        file.write(f"{as_of}\n")
    if reached := [name for name in ("SPARK_HOME", "PYTHONPATH") if name in os.environ]:
        sys.stderr.write(f"{', '.join(reached)} of the worker reached the job\n")
        return CODES["failed"]
    plan = json.loads(os.environ["PLAN"]).get(job, ["done"])
    status = plan[min(number, len(plan) - 1)]
    if status not in ("settings", "lost"):
        _write(warehouse, job, as_of, status)
    return CODES[status]


def _write(warehouse: Path, job: str, as_of: date | None, status: str) -> None:
    fields = [("run_id", pa.string()), ("attempt", pa.int32()), ("job", pa.string()), ("as_of", pa.date32())]
    fields += [("started_at", pa.timestamp("us", "UTC")), ("status", pa.string()), ("message", pa.string())]
    row = {"run_id": uuid.uuid4().hex, "attempt": 1, "job": job, "as_of": as_of, "started_at": datetime.now(timezone.utc)}
    table = pa.Table.from_pylist([{**row, "status": status, "message": "told by the plan"}], schema=pa.schema(fields))
    write_deltalake(str(warehouse / "ops" / "runs"), table, mode="append")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

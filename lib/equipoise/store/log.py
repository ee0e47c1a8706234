"""What a table's transaction log says: versions, idempotence marks and the last commit of a slice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

FOREIGN_CHANGES = ("RESTORE", "DELETE", "UPDATE", "TRUNCATE", "MERGE")
"""Operations that may change a slice behind our back; after one, a slice's fingerprint is not trusted."""


@dataclass(frozen=True)
class Commit:
    """One commit that this suite made: what it wrote and from which fingerprint."""

    version: int
    slice: str
    fingerprint: str
    rows: int


def snapshot(spark: SparkSession, path: str) -> Any:
    """The newest state of the log, read without a Spark job."""
    jvm: Any = spark._jvm
    log = jvm.org.apache.spark.sql.delta.DeltaLog.forTable(spark._jsparkSession, path)
    none = jvm.scala.Option.empty()
    return log.update(False, none, none)


def version(spark: SparkSession, path: str) -> int | None:
    """Newest version, or None where there is no table."""
    found = int(snapshot(spark, path).version())
    return None if found < 0 else found


def transaction_version(spark: SparkSession, path: str, app_id: str) -> int:
    """Highest txnVersion the table has seen from `app_id`; 0 when none."""
    mark = snapshot(spark, path).transactions().get(app_id)
    return int(mark.get()) if mark.isDefined() else 0


def last_commit(spark: SparkSession, path: str, slice_text: str) -> Commit | None:
    """The newest of our commits of a slice, or None: there is none, it cannot be trusted, or the log no longer has it."""
    jvm: Any = spark._jvm
    current = snapshot(spark, path)
    log = current.deltaLog()
    names, store, hadoop = jvm.org.apache.spark.sql.delta.util.FileNames, log.store(), log.newDeltaHadoopConf()
    for number in range(int(current.version()), -1, -1):
        try:
            lines = store.read(names.unsafeDeltaFile(log.logPath(), number), hadoop)
        except Py4JJavaError as error:
            if "FileNotFound" in str(error.java_exception):
                return None
            raise
        info = _commit_info(lines)
        mark = _mark(info.get("userMetadata"))
        if mark is None:
            if info.get("operation") in FOREIGN_CHANGES:
                return None
            continue
        if mark["slice"] == slice_text or mark["slice"] == "{}":
            rows = int(info.get("operationMetrics", {}).get("numOutputRows", 0))
            return Commit(number, mark["slice"], mark["fingerprint"], rows)
    return None


def _commit_info(lines: Any) -> dict[str, Any]:
    """The action that says who made a commit; Delta writes it first, so that a long commit is not read to its end."""
    for at in range(lines.size()):
        line = str(lines.apply(at))
        if line.startswith('{"commitInfo"'):
            found: dict[str, Any] = json.loads(line)["commitInfo"]
            return found
    return {}


def metadata(slice_text: str, fingerprint: str, job: str) -> str:
    """The userMetadata of a commit."""
    return json.dumps({"slice": slice_text, "fingerprint": fingerprint, "job": job}, sort_keys=True)


def _mark(text: str | None) -> dict[str, str] | None:
    try:
        found = json.loads(text or "")
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) and {"slice", "fingerprint"} <= set(found) else None

"""What a table's transaction log says: versions, idempotence marks and the last commit of a slice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from equipoise.errors import StoreError

FOREIGN_CHANGES = ("RESTORE", "DELETE", "UPDATE", "TRUNCATE", "MERGE")
"""Operations that may change a slice behind our back; after one, a slice's fingerprint is not trusted."""

UPKEEP = ("OPTIMIZE", "SET TBLPROPERTIES", "VACUUM START", "VACUUM END")
"""Operations that leave every row as it was."""


@dataclass(frozen=True)
class Commit:
    """One commit that this suite made: what it wrote and from which fingerprint."""

    version: int
    slice: str
    fingerprint: str
    rows: int


_WHOLE: set[tuple[str, int]] = set()
"""Path and version of commits that were seen to be whole."""


def snapshot(spark: SparkSession, path: str) -> Any:
    """The newest state of the log, read without a Spark job.

    Raises:
        StoreError: when the newest commit is empty or cut off. A machine that lost its power can leave it so, and to Delta an
            empty commit is one that changed nothing: the rows that it brought would be missed by nobody.
    """
    current = _current(spark, path)
    number = int(current.version())
    if number >= 0 and (path, number) not in _WHOLE:
        _require_whole(path, number, _lines(spark._jvm, current.deltaLog(), number))
        _WHOLE.add((path, number))
    return current


def _current(spark: SparkSession, path: str) -> Any:
    jvm: Any = spark._jvm
    none = jvm.scala.Option.empty()
    return jvm.org.apache.spark.sql.delta.DeltaLog.forTable(spark._jsparkSession, path).update(False, none, none)


def foreign(spark: SparkSession, path: str) -> tuple[int, str] | None:
    """Newest version of somebody else's table, and what stands for its rows: its id and the version at which they last changed.
    None where there is no table."""
    current = _current(spark, path)
    newest = int(current.version())
    if newest < 0:
        return None
    rows = _rows_version(_commits_of(spark, current))
    return newest, f"{current.metadata().id()} {newest if rows is None else rows}"


def _require_whole(path: str, number: int, lines: Any) -> None:
    if lines is None:  # cleaned away behind a checkpoint
        return
    last = str(lines.apply(lines.size() - 1)) if lines.size() else ""
    try:
        whole = bool(json.loads(last)) and bool(_commit_info(lines))
    except json.JSONDecodeError:
        whole = False
    if not whole:
        name = f"{number:020d}"
        raise StoreError(
            f"the newest commit of {path!r}, _delta_log/{name}.json, is empty or cut off: the machine stopped while it was "
            f"written; put it back, or delete it and {name}.crc with their hidden .crc files, which takes that one write back, "
            "and run its job again; nothing was read or written"
        )


def version(spark: SparkSession, path: str) -> int | None:
    """Newest version, or None where there is no table."""
    found = int(snapshot(spark, path).version())
    return None if found < 0 else found


def rows_version(spark: SparkSession, path: str, below: int | None = None) -> int | None:
    """The newest version, of those below a number, that may hold other rows than the one before it; None where there is none.

    What is decided by the rows, such as whether a job has to run, goes by this one; what is read, by the newest: upkeep may
    delete the files of the versions before it.
    """
    return _rows_version(_commits(spark, path), below)


def _rows_version(commits: Iterator[tuple[int, Any]], below: int | None = None) -> int | None:
    found = None
    for number, lines in commits:
        if below is not None and number >= below:
            continue
        found, info = number, _commit_info(lines)
        if info.get("operation") not in UPKEEP:
            break
    return found


def transaction_version(spark: SparkSession, path: str, app_id: str) -> int:
    """Highest txnVersion the table has seen from `app_id`; 0 when none."""
    mark = snapshot(spark, path).transactions().get(app_id)
    return int(mark.get()) if mark.isDefined() else 0


def last_commit(spark: SparkSession, path: str, slice_text: str) -> Commit | None:
    """The newest of our commits of a slice, or None: there is none, it cannot be trusted, or the log no longer has it."""
    for number, info in _newest_first(spark, path):
        mark = _mark(info.get("userMetadata"))
        if mark is None:
            if info.get("operation") in FOREIGN_CHANGES:
                return None
            continue
        if mark["slice"] == slice_text or mark["slice"] == "{}":
            return _commit(number, info, mark)
    return None


def last_commits(spark: SparkSession, path: str) -> dict[str, Commit]:
    """`last_commit` of every slice that has one, in one walk through the log."""
    found: dict[str, Commit] = {}
    for number, info in _newest_first(spark, path):
        mark = _mark(info.get("userMetadata"))
        if (mark is None and info.get("operation") in FOREIGN_CHANGES) or (mark and mark["slice"] == "{}"):
            break
        if mark:
            found.setdefault(mark["slice"], _commit(number, info, mark))
    return found


def _commit(number: int, info: dict[str, Any], mark: dict[str, str]) -> Commit:
    rows = int(info.get("operationMetrics", {}).get("numOutputRows", 0))
    return Commit(number, mark["slice"], mark["fingerprint"], rows)


def writer(spark: SparkSession, path: str) -> str | None:
    """The job that made our newest commit of a table, or None."""
    marks = (_mark(info.get("userMetadata")) for _, info in _newest_first(spark, path))
    return next((m["job"] for m in marks if m and "job" in m), None)


def added_at(spark: SparkSession, path: str, file_name: str) -> int | None:
    """The version that brought a data file, or None: the log no longer has it."""
    for number, lines in _commits(spark, path):
        if any(str(line).startswith('{"add"') and file_name in str(line) for line in map(lines.apply, range(lines.size()))):
            return number
    return None


def _newest_first(spark: SparkSession, path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and commitInfo of every commit, back to the oldest that the log still has."""
    return ((number, _commit_info(lines)) for number, lines in _commits(spark, path))


def _commits(spark: SparkSession, path: str) -> Iterator[tuple[int, Any]]:
    """Number and lines of every commit, newest first."""
    return _commits_of(spark, snapshot(spark, path))


def _commits_of(spark: SparkSession, current: Any) -> Iterator[tuple[int, Any]]:
    log = current.deltaLog()
    for number in range(int(current.version()), -1, -1):
        if (lines := _lines(spark._jvm, log, number)) is None:
            return
        yield number, lines


def _lines(jvm: Any, log: Any, number: int) -> Any:
    """Lines of a commit, or None: the log no longer has it."""
    place = jvm.org.apache.spark.sql.delta.util.FileNames.unsafeDeltaFile(log.logPath(), number)
    try:
        return log.store().read(place, log.newDeltaHadoopConf())
    except Py4JJavaError as error:
        if "FileNotFound" in str(error.java_exception):
            return None
        raise


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

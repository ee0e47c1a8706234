"""The only door to the tables: read at a version, replace a slice, append, upsert; idempotent by fingerprint."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import unquote, urlparse

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, DataFrameWriter, SparkSession
from pyspark.storagelevel import StorageLevel

from equipoise.errors import ConflictError, ContractError, StoreError
from equipoise.places import WRITABLE, is_remote, local
from equipoise.store import log
from equipoise.store.contract import Only, check_rows, conform
from equipoise.store.damage import causes, check_sidecars, unreadable
from equipoise.tables import CATALOGUE, Table

FORMAT = "delta"
SYNTHETIC_NOTE = " SYNTHETIC: a generator made the source of this warehouse."
CONFLICTS = (
    "ConcurrentAppend",
    "ConcurrentDelete",
    "ConcurrentTransaction",
    "ConcurrentWrite",
    "MetadataChanged",
    "ProtocolChanged",
    "DELTA_CONCURRENT",
)


@dataclass(frozen=True)
class Written:
    """What a write left behind: the version that holds it, its rows, and whether it was there already."""

    version: int
    rows: int
    skipped: bool


def slice_text(values: dict[str, object]) -> str:
    """A slice in words, the same for the same slice."""
    return "{" + ", ".join(f"{k}={v}" for k, v in sorted(values.items())) + "}"


def is_kept(frame: DataFrame) -> bool:
    """Whether this very frame is persisted; what is made from one that is, is not."""
    level = frame.storageLevel
    return bool(level.useMemory or level.useDisk)


def partition_columns(table: Table) -> list[str]:
    """Columns whose values get folders of their own: slices by date or source, so that replacing one touches no other, and what
    the table itself names for the same reason."""
    return [] if table.layer == "ops" else [*(c for c in table.slice_by if c in ("as_of", "source")), *table.folders]


class Store:
    """The tables under one warehouse root."""

    def __init__(self, spark: SparkSession, root: str, *, synthetic: bool = False) -> None:
        self._spark = spark
        self.root = root.rstrip("/")
        self._synthetic = synthetic

    @property
    def spark(self) -> SparkSession:
        """The session that the tables are read with."""
        return self._spark

    def path(self, name: str) -> str:
        """Where a table lives."""
        return f"{self.root}/{_table(name).full_name.replace('.', '/')}"

    def version(self, name: str) -> int | None:
        """Newest version, or None where the table was never written."""
        return log.version(self._spark, self.path(name))

    def rows_version(self, name: str, *, last: bool = True, at: int | None = None) -> int | None:
        """Newest version that may hold other rows than the one before, of those up to version `at`; None where the table was
        never written. With `last` false, the one that it took the place of."""
        newest = log.rows_version(self._spark, self.path(name), below=None if at is None else at + 1)
        return newest if last or newest is None else log.rows_version(self._spark, self.path(name), below=newest)

    def create(self, name: str) -> None:
        """An empty table with its constraints and comments, where there is none; one of an earlier version gets the columns it
        lacks, null in its rows until they are written again."""
        table = _table(name)
        if self.version(name) is not None:
            if grown := table.grow_sql(self.path(name), self.read_path(self.path(name)).columns):
                self._change(name, grown)
        else:
            parts = partition_columns(table)
            sql = table.create_sql(self.path(name), SYNTHETIC_NOTE if self._synthetic else "")
            clause = f"USING {FORMAT} PARTITIONED BY ({', '.join(parts)}) COMMENT" if parts else f"USING {FORMAT} COMMENT"
            self._change(name, sql.replace(f"USING {FORMAT} COMMENT", clause, 1))

    def read(self, name: str, version: int | None = None) -> DataFrame:
        """The table, at a version or newest.

        Raises:
            StoreError: when it was never written.
        """
        if self.version(name) is None:
            raise StoreError(f"{name}: no such table under {self.root}; run the job that writes it first")
        return self.read_path(self.path(name), version)

    def read_path(self, path: str, version: int | None = None) -> DataFrame:
        """Somebody's table of our format, by path; for sources."""
        reader = self._spark.read.format(FORMAT)
        return (reader if version is None else reader.option("versionAsOf", version)).load(path)

    def read_pinned(self, path: str) -> DataFrame:
        """Somebody's table of our format, by path, at the version that it has now: read twice, it has the same rows, whatever
        is written to it meanwhile."""
        found = log.foreign(self._spark, path)
        return self.read_path(path, found[0] if found else None)

    def files(self, name: str, version: int) -> list[str]:
        """Sorted data files of one version: local paths, or URIs elsewhere.

        Raises:
            StoreError: when one is not what it was when it was written.
        """
        found = sorted(_local(f) for f in self.read(name, version).inputFiles())
        check_sidecars(found)
        return found

    def fingerprint(self, name: str, values: dict[str, object]) -> str | None:
        """Fingerprint of the slice's last commit, or None when unknown."""
        if self.version(name) is None:
            return None
        commit = log.last_commit(self._spark, self.path(name), slice_text(values))
        return commit.fingerprint if commit else None

    def fingerprints(self, name: str, slices: Sequence[dict[str, object]]) -> list[str | None]:
        """The same of many slices, read from the log once; None also for a slice that its last commit left empty."""
        commits = log.last_commits(self._spark, self.path(name)) if self.version(name) is not None else {}
        found = [commits.get(slice_text(values)) for values in slices]
        return [commit.fingerprint if commit and commit.rows else None for commit in found]

    def replace(
        self,
        frame: DataFrame,
        name: str,
        values: dict[str, object],
        *,
        fingerprint: str,
        job: str,
        keep_partitions: bool = False,
        only: Only | None = None,
        kept: bool = False,
    ) -> Written:
        """The slice now holds exactly the rows of `frame`; the same fingerprint again changes nothing.

        `values` names the slice ({} is the whole table). With `keep_partitions` each partition of the frame becomes one file.
        With `only`, the rows of some days are replaced and the others of the slice stay: what the slice then holds as a whole is
        what the fingerprint stands for. `kept`: the caller has persisted what the frame is made of, and lets go of it afterwards;
        else it is persisted here, so that what is checked is what is written.

        Raises:
            ContractError: when the frame does not keep the table's contract; nothing is written.
            ConflictError: when another run wrote the slice meanwhile.
        """
        table = _table(name)
        self.create(name)
        slice_ = slice_text(values)
        mark = self._mark(name, slice_, job)
        last = log.last_commit(self._spark, self.path(name), slice_)
        if last and last.fingerprint == fingerprint and last.slice == slice_:
            return Written(last.version, last.rows, skipped=True)
        kept = kept or is_kept(frame)
        conformed = conform(frame, table) if kept else conform(frame, table).persist(StorageLevel.MEMORY_AND_DISK)
        try:
            rows = check_rows(conformed, table, values, only)
            ready = conformed if keep_partitions or rows > 2_000_000 else conformed.coalesce(max(1, rows // 500_000 + 1))
            writer = ready.write.format(FORMAT).mode("overwrite").options(**_layout(values, keep_partitions, only))
            version = self._commit(writer, name, slice_, fingerprint, job, mark)
            if only and log.rows_version(self._spark, self.path(name), below=version) != only.upon:
                raise ConflictError(f"{name} {slice_}: another run changed the table since version {only.upon}; run again")
        finally:
            if not kept:
                conformed.unpersist()
        return Written(version, rows, skipped=False)

    def append(self, frame: DataFrame, name: str, *, fingerprint: str, job: str) -> Written:
        """The rows are in the table once, however often this is asked with the same fingerprint."""
        table = _table(name)
        self.create(name)
        slice_ = f"append {job} {fingerprint}"
        mark = self._mark(name, slice_, job)
        last = log.last_commit(self._spark, self.path(name), slice_)
        if last and last.slice == slice_:
            return Written(last.version, last.rows, skipped=True)
        conformed = conform(frame, table).persist(StorageLevel.MEMORY_AND_DISK)
        try:
            rows = check_rows(conformed, table, {})
            writer = conformed.coalesce(1).write.format(FORMAT).mode("append")
            version = self._commit(writer, name, slice_, fingerprint, job, mark)
        finally:
            conformed.unpersist()
        return Written(version, rows, skipped=False)

    def upsert(self, frame: DataFrame, name: str) -> Written:
        """Rows of the frame replace those with the same key, others stay; unchanged rows are not rewritten.

        Raises:
            ContractError: when the frame does not keep the table's contract; nothing is written.
        """
        table = _table(name)
        self.create(name)
        conformed = conform(frame, table).persist(StorageLevel.MEMORY_AND_DISK)
        try:
            rows = check_rows(conformed, table, {})
            on = " AND ".join(f"t.`{k}` = s.`{k}`" for k in table.key)
            rest = [c for c in table.column_names if c not in table.key]
            changed = " OR ".join(f"NOT (t.`{c}` <=> s.`{c}`)" for c in rest) or "false"
            merge = DeltaTable.forPath(self._spark, self.path(name)).alias("t").merge(conformed.alias("s"), on)
            merge.whenMatchedUpdateAll(condition=changed).whenNotMatchedInsertAll().execute()
        except ContractError:
            raise
        except Exception as error:
            raise self._translated(error, name) from error
        finally:
            conformed.unpersist()
        return Written(self.version(name) or 0, rows, skipped=False)

    def _change(self, name: str, sql: str) -> None:
        try:
            self._spark.sql(sql)
        except Exception as error:
            raise self._translated(error, name) from error

    def _mark(self, name: str, slice_: str, job: str) -> tuple[str, int]:
        """txnAppId and the next txnVersion of a slice. To be read before it is looked whether there is anything to write: of two
        writers who both find nothing, the second then has a number that is taken, and not the one after it."""
        app_id = f"{job}/{name}/{slice_}"
        return app_id, log.transaction_version(self._spark, self.path(name), app_id) + 1

    def _commit(self, writer: DataFrameWriter, name: str, slice_: str, fingerprint: str, job: str, mark: tuple[str, int]) -> int:
        """Write and read back that ours is the live one: a repeated txnVersion would be dropped without a word."""
        path, (app_id, number) = self.path(name), mark
        before = log.version(self._spark, path)
        marks = {"txnAppId": app_id, "txnVersion": str(number), "userMetadata": log.metadata(slice_, fingerprint, job)}
        failed: Exception | None = None
        try:
            writer.options(**marks).save(path)
        except Exception as error:  # Spark's errors have no common class
            failed = error  # perhaps only the answer was lost: the log knows
        live = log.last_commit(self._spark, path, slice_)
        landed = log.transaction_version(self._spark, path, app_id) == number and live is not None
        if live is None or not landed or live.fingerprint != fingerprint or live.version <= (before or -1):
            if failed is not None:
                raise self._translated(failed, name) from failed
            raise ConflictError(f"{name} {slice_}: another run wrote this slice at the same time; wait for it, then run again")
        return live.version

    def _translated(self, error: Exception, name: str) -> Exception:
        if is_conflict(error):
            return ConflictError(f"{name}: another run changed this slice at the same time; wait for it, then run again")
        if (told := unreadable(error, self)) is not None:
            return told
        if (folder := _not_writable(self.path(name))) is not None:
            return StoreError(
                f"{name}: {folder!r} cannot be written; {WRITABLE}; see to that and run again, nothing is written twice: "
                f"{_cause(error)}"
            )
        return StoreError(f"{name}: the write failed; run again, nothing is written twice: {_cause(error)}")


def is_conflict(error: Exception) -> bool:
    """Whether another writer's commit is why a write was refused: the same write may go through when it is tried again."""
    text = f"{type(error).__name__}: {error}"
    return any(mark in text for mark in CONFLICTS)


def _layout(values: dict[str, object], keep_partitions: bool, only: Only | None) -> dict[str, str]:
    options = {"maxRecordsPerFile": "0"} if keep_partitions else {}
    parts = [f"`{k}` = {_literal(v)}" for k, v in sorted(values.items())]
    if only:
        parts.append(f"`{only.column}` IN ({', '.join(_literal(d) for d in only.days)})")
    if parts:
        options["replaceWhere"] = " AND ".join(parts)
    return options


def _literal(value: object) -> str:
    if isinstance(value, date):
        return f"DATE'{value.isoformat()}'"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if not all(c.isalnum() or c in "_-." for c in text):
        raise StoreError(f"slice value {text!r}: expected letters, digits, '_', '-' or '.'; rename it")
    return f"'{text}'"


def _table(name: str) -> Table:
    if name not in CATALOGUE:
        raise StoreError(f"{name}: not in the catalogue; expected one of {', '.join(sorted(CATALOGUE))}")
    return CATALOGUE[name]


def _local(url: str) -> str:
    parsed = urlparse(url)
    return unquote(parsed.path) if parsed.scheme in ("", "file") else url


def _not_writable(path: str) -> str | None:
    """The folder in which a table lies or would lie on this machine, where this user may not write there."""
    if is_remote(path):
        return None
    place = Path(local(path))
    there = next(p for p in (place, *place.parents) if p.exists())
    return None if os.access(there, os.W_OK) else str(there)


def _cause(error: Exception) -> str:
    """What failed, and what that came from, without the JVM's stack: where a job is aborted, the reason is the last cause."""
    found = causes(error)
    if not found:
        return str(error)[:2000]
    first, last = found[0], found[-1]
    return first if len(found) == 1 or last in first else f"{first}; caused by {last}"

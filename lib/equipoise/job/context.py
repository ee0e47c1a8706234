"""What a job is, and what it can reach while it runs."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.errors import ConflictError, ContractError, StoreError
from equipoise.places import SCHEME, is_remote
from equipoise.settings import Settings
from equipoise.spark.remote import local_copies
from equipoise.store import Only, Store, is_kept
from equipoise.tables import CATALOGUE

if TYPE_CHECKING:
    from equipoise.training.registry import Registry

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """One verb: what it reads and writes, and which settings can change its result.

    sections: of the settings, but for what `ignores` names as section.key. promotes: a published model may become CURRENT.
    spared: which of `reads` some settings do without. of_registry: what of the published models decides the result.
    earlier: gold tables whose slices that were published before as_of are read too, where there are any.
    """

    name: str
    reads: tuple[str, ...] = ()
    earlier: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    ignores: tuple[str, ...] = ()
    needs_as_of: bool = True
    uses_model: bool = False
    publishes_model: bool = False
    promotes: bool = True
    extra_inputs: Callable[[Settings, Path], dict[str, str]] | None = None
    artifacts: Callable[[Settings], list[str]] | None = None
    spared: Callable[[Settings], tuple[str, ...]] | None = None
    of_registry: Callable[[Settings, Registry, date], dict[str, str]] | None = None

    def under(self, settings: Settings) -> Job:
        """The job as these settings have it: without what they spare it from reading."""
        spared = self.spared(settings) if self.spared else ()
        return replace(self, reads=tuple(name for name in self.reads if name not in spared))


@dataclass
class Context:
    """One run of a job: its settings, pinned inputs and the door to its outputs."""

    job: Job
    settings: Settings
    settings_dir: Path
    spark: SparkSession
    store: Store
    run_id: str
    as_of_or_none: date | None
    inputs: dict[str, int]
    model_id: str | None = None
    registry_or_none: Registry | None = None
    outputs: dict[str, int] = field(default_factory=dict)
    rows_out: dict[str, int] = field(default_factory=dict)
    published: dict[str, dict[date, str]] = field(default_factory=dict)
    """Of each table of Job.earlier: as-of dates published before this one, and the run that made their rows."""
    code_version: str = ""

    @property
    def as_of(self) -> date:
        if self.as_of_or_none is None:
            raise StoreError(f"{self.job.name} asked for as_of but does not take one")
        return self.as_of_or_none

    @property
    def warehouse(self) -> str:
        return self.store.root

    @property
    def home(self) -> str:
        """Folder or URI below which models, trainings under way and locks live."""
        return absolute(self.settings.home)

    @property
    def registry(self) -> Registry:
        if self.registry_or_none is None:
            raise StoreError(f"{self.job.name} asked for the model registry but declares no model")
        return self.registry_or_none

    @property
    def model_path(self) -> str:
        if self.model_id is None:
            raise StoreError(f"{self.job.name} asked for a model but declares none")
        return str(self.registry.path(self.model_id))

    @property
    def synthetic(self) -> bool:
        return self.settings.source.adapter == "simulated"

    def read(self, name: str) -> DataFrame:
        """A declared input at its pinned version."""
        if name not in self.inputs:
            raise StoreError(f"{self.job.name} reads {name} without declaring it; add it to Job.reads")
        return self.store.read(name, self.inputs[name])

    def at_as_of(self, name: str) -> DataFrame:
        """Its rows of this as-of date."""
        return self.read(name).filter(F.col("as_of") == F.lit(self.as_of))

    def read_earlier(self, name: str) -> DataFrame:
        """Its rows of the as-of dates that were published before this one; a slice that was made again since is read as it is
        now. Nothing before the first of them. A table of an earlier version gets the columns it lacks."""
        if name not in self.job.earlier:
            raise StoreError(f"{self.job.name} reads earlier {name} without declaring it; add it to Job.earlier")
        if dates := sorted(self.published[name]):
            self.store.create(name)
            return self.store.read(name).filter(F.col("as_of").isin(dates))
        return self.spark.createDataFrame([], CATALOGUE[name].struct_type())

    def read_latest(self, name: str) -> DataFrame:
        """A table about runs, newest version; not part of the fingerprint."""
        return self.store.read(name)

    def files(self, name: str) -> tuple[list[str], int]:
        """Sorted data files of a declared input's pinned version as paths of this machine, and that version.

        Of a warehouse on another store they are copies, in a folder that all ranks see, until the run ends.
        """
        version = self.inputs[name]
        files = self.store.files(name, version)
        if any(map(is_remote, files)):
            files = local_copies(self.spark, files, self._copies / f"{name}@{version}")
        return files, version

    @property
    def _copies(self) -> Path:
        return self.registry.scratch / self.run_id

    def forget_copies(self) -> None:
        """Deletes what `files` copied."""
        if self.registry_or_none is not None and is_remote(self.warehouse):
            shutil.rmtree(self._copies, ignore_errors=True)

    def replace(
        self,
        name: str,
        frame: DataFrame,
        values: dict[str, object],
        *,
        keep_partitions: bool = False,
        done: bool = True,
        only: Only | None = None,
    ) -> None:
        """The slice of a declared output now holds `frame`; as_of, run_id, model_id and synthetic are added where they lack.

        `only`: of the slice, only the rows of these days are replaced.
        `done` false: the run is about to end at a gate, and the same run again has to come there again instead of being skipped.
        """
        table, kept = CATALOGUE[name], is_kept(frame)
        if name not in self.job.writes or set(values) != set(table.slice_by):
            declared = f"{self.job.writes}, slices by {table.slice_by}"
            raise ContractError(f"{self.job.name} writes {name} {values}; declared: {declared}")
        stamps: dict[str, Any] = {
            "as_of": self.as_of_or_none,
            "run_id": self.run_id,
            "model_id": self.model_id,
            "synthetic": self.synthetic,
        }
        types = {f.name: f.dataType for f in table.struct_type()}
        for column, value in stamps.items():
            if column in types and column not in frame.columns:
                frame = frame.withColumn(column, F.lit(value).cast(types[column]))
        started, mark = time.monotonic(), self.run_id if done else f"{self.run_id} gated"
        mark = self.partly(only.upon) if only else mark
        written = self.store.replace(
            frame, name, values, fingerprint=mark, job=self.job.name, keep_partitions=keep_partitions, only=only, kept=kept
        )
        self.outputs[name] = written.version
        self.rows_out[name] = 0 if written.skipped else written.rows
        part = f" of {len(only.days)} {only.column}s" if only else ""
        how = "unchanged, skipped" if written.skipped else f"{written.rows:,} rows{part} in {time.monotonic() - started:.1f} s"
        self.say(f"{name}: {how} (version {written.version})")

    def partly(self, upon: int) -> str:
        """Mark of a write of this run that replaces part of a table: right only where it directly follows that version."""
        return f"{self.run_id} upon {upon}"

    def keep(self, name: str) -> None:
        """A declared output that is not cut by date stays as an earlier run left it, and counts as this run's too."""
        if name not in self.job.writes or CATALOGUE[name].slice_by:
            raise ContractError(f"{self.job.name} keeps {name}; declared: {self.job.writes}, and nothing sliced can be kept")
        version = self.store.rows_version(name)
        if version is None:
            raise StoreError(f"{self.job.name} keeps {name}, which was never written")
        self.outputs[name], self.rows_out[name] = version, 0
        self.say(f"{name}: kept, nothing that it is made from has changed (version {version})")

    def left(self, name: str) -> DataFrame:
        """A declared output as this run left it, at the newest version: upkeep may have joined its files since.

        Raises:
            ConflictError: when another run changed it meanwhile.
        """
        if self.store.rows_version(name) != self.outputs[name]:
            raise ConflictError(f"{name}: another run changed it after version {self.outputs[name]}; wait for it, then run again")
        return self.store.read(name, self.store.version(name))

    def say(self, text: str) -> None:
        """A line of progress."""
        say(self.job.name, text)

    def progress(self, items: Iterable[T], total: int, label: str) -> Iterator[T]:
        """The items, with a line about every tenth of them, at most one a second."""
        last = time.monotonic()
        for done, item in enumerate(items, start=1):
            yield item
            if done == total or (done % max(1, total // 10) == 0 and time.monotonic() - last >= 1.0):
                last = time.monotonic()
                self.say(f"{label}: {done:,} of {total:,}")


def absolute(place: str) -> str:
    """A path counted from the current folder; a URI as it is."""
    return place if SCHEME.match(place) else str(Path(place).resolve())


def say(job: str, text: str) -> None:
    """A line on standard error, where logs go."""
    sys.stderr.write(f"[{job}] {text}\n")
    sys.stderr.flush()

"""Upkeep of a warehouse: which versions somebody still needs, what may go, and one row per table of what was done."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from pyspark.sql import functions as F

from equipoise.clock import now
from equipoise.errors import ModelError
from equipoise.job.context import Context
from equipoise.models.package import told_meta
from equipoise.store import upkeep
from equipoise.tables import CATALOGUE
from equipoise.tables.maintenance import MAINTENANCE
from equipoise.training.registry import Registry

LAID_OUT = frozenset({"feature.examples", "feature.examples_validation"})
"""Tables whose files are cut for the ranks of a training; joined, they would not be."""

NAME = MAINTENANCE.full_name
Needed = dict[str, dict[int, str]]
"""Table → version → who needs it."""


@dataclass
class Upkeep:
    """One upkeep of all tables; raises nothing for a table that is not there."""

    ctx: Context
    registry: Registry | None
    began: datetime = field(default_factory=now)

    @property
    def retention(self) -> timedelta:
        """How long the files of replaced versions stay."""
        return timedelta(hours=self.ctx.settings.maintenance.retention_hours)

    def needed(self) -> Needed:
        """Versions that the views read, that the CURRENT model learnt from, and that a training which can go on reads."""
        found: Needed = {}
        if self.ctx.store.version("ops.published") is not None:
            published = self.ctx.store.read("ops.published")
            newest = published.groupBy("table_name").agg(
                F.max_by("version", "as_of").alias("version"), F.max("as_of").alias("day")
            )
            for row in newest.collect():
                found.setdefault(row["table_name"], {})[int(row["version"])] = f"the views, as of {row['day']}"
        if self.registry and self.ctx.settings.maintenance.keep_model_inputs and (current := self.registry.named()):
            try:
                versions = told_meta(self.registry.path(current)).table_versions
            except ModelError as error:
                self.ctx.say(f"what the CURRENT model learnt from is not known: {error}")
            else:
                for name, version in versions.items():
                    found.setdefault(name, {})[version] = f"model {current[:8]} (CURRENT)"
        for run, inputs in self._trainings().items():
            for name, version in inputs.items():
                found.setdefault(name, {})[version] = f"training {run[:8]}, which can go on"
        return found

    def _trainings(self) -> dict[str, dict[str, int]]:
        """Inputs of the runs that left a checkpoint."""
        names = [p.name for p in self._left()]
        if not names or self.ctx.store.version("ops.runs") is None:
            return {}
        rows = self.ctx.store.read("ops.runs").filter(F.col("run_id").isin(names)).select("run_id", "inputs").collect()
        return {r["run_id"]: {n: int(v) for n, v in r["inputs"].items()} for r in rows}

    def _left(self) -> list[Path]:
        """What trainings left on the way: checkpoints, packages that were never published."""
        folders = [self.registry.root / name for name in ("_checkpoints", "_staging", "_scratch")] if self.registry else []
        return sorted(p for folder in folders if folder.is_dir() for p in folder.iterdir())

    def clear_trainings(self) -> None:
        """Deletes what trainings left and nothing has touched since the retention."""
        oldest = time.time() - self.retention.total_seconds()
        for place in self._left():
            if max(p.stat().st_mtime for p in (place, *place.rglob("*"))) >= oldest:
                continue
            self.ctx.say(f"{place.parent.name}/{place.name}: left by a training that did not end, older than the retention")
            if not self.ctx.settings.maintenance.dry_run:
                shutil.rmtree(place) if place.is_dir() else place.unlink()

    def keep(self, name: str, needed: dict[int, str]) -> tuple[object, ...]:
        """Joins and deletes files of one table; its row of ops.maintenance."""
        s, spark, path = self.ctx.settings.maintenance, self.ctx.spark, self.ctx.store.path(name)
        before, room = self.ctx.store.version(name), upkeep.bytes_on_disk(spark, path)
        files, small = upkeep.live_files(spark, path), int(s.small_file_mb * 2**20)
        live = files.count()
        if not s.dry_run:
            joins = name not in LAID_OUT and upkeep.scattered(files, small, s.most_small_files)
            if joins and not upkeep.compact(spark, path, small):
                self.ctx.say(f"{name}: another run changed it while its files were being joined; the next upkeep joins them")
            upkeep.keep_removed(spark, path, self.retention)
        held = "; ".join(self._held(path, needed)) or None
        deleted = 0 if held else upkeep.vacuum(spark, path, self.retention, dry_run=s.dry_run)
        left, after = upkeep.live_files(spark, path).count(), upkeep.bytes_on_disk(spark, path)
        if held or deleted or left != live:
            gone = f"{deleted:,} files {'would be ' if s.dry_run else ''}deleted, {(room - after) / 2**20:,.1f} MiB freed"
            self.ctx.say(f"{name}: live files {live:,} → {left:,}, {f'nothing deleted: needed by {held}' if held else gone}")
        version = self.ctx.store.version(name)
        return (self.began, name, before, version, live, left, room, after, deleted, held, s.dry_run, self.ctx.run_id)

    def _held(self, path: str, needed: dict[int, str]) -> Iterator[str]:
        """Who needs a version that was replaced before the retention began; VACUUM cannot spare single versions."""
        for version, who in sorted(needed.items()):
            replaced = upkeep.replaced_at(self.ctx.spark, path, version)
            if replaced is not None and replaced < self.began - self.retention:
                yield f"{who}: version {version}, replaced {replaced:%Y-%m-%d}"

    def run(self) -> None:
        """Every table there is, then what trainings left, then the rows of ops.maintenance."""
        there = [name for name in sorted(CATALOGUE) if self.ctx.store.version(name) is not None]
        self.clear_trainings()
        needed = self.needed()
        rows = [self.keep(name, needed.get(name, {})) for name in self.ctx.progress(there, len(there), "tables")]
        frame = self.ctx.spark.createDataFrame(rows, MAINTENANCE.struct_type())
        self.ctx.store.append(frame, NAME, fingerprint=f"{self.ctx.run_id} {self.began.isoformat()}", job=self.ctx.job.name)
        places = {c: i for i, c in enumerate(MAINTENANCE.column_names)}
        freed = sum(int(str(r[places["bytes_before"]])) - int(str(r[places["bytes_after"]])) for r in rows)
        held = sum(r[places["held_back"]] is not None for r in rows)
        self.ctx.say(f"{len(rows)} tables, {freed / 2**20:,.1f} MiB freed, {held} held back")

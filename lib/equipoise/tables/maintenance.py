"""The table of the upkeep of the tables."""

from __future__ import annotations

from equipoise.tables.schema import Column, Table

MAINTENANCE = Table(
    "ops",
    "maintenance",
    "run of maintain_tables × table",
    "What upkeep did to each table: small files joined, files of versions that nobody needs deleted.",
    key=("started_at", "table_name"),
    slice_by=("run_id",),
    columns=(
        Column("started_at", "TIMESTAMP", "When the upkeep began."),
        Column("table_name", "STRING", "The table."),
        Column("version_before", "BIGINT", "Its version before."),
        Column("version_after", "BIGINT", "Its version after; joining files makes one, with the same rows."),
        Column("live_files_before", "BIGINT", "Data files of the newest version before."),
        Column("live_files_after", "BIGINT", "Data files of the newest version after."),
        Column("bytes_before", "BIGINT", "Room on disk before, every version and the log."),
        Column("bytes_after", "BIGINT", "Room on disk after."),
        Column("files_deleted", "BIGINT", "Files deleted; with maintenance.dry_run, files that would be."),
        Column(
            "held_back",
            "STRING",
            "Who still needs a version whose files are past their retention; nothing was deleted.",
            "nobody",
        ),
        Column("dry_run", "BOOLEAN", "Whether nothing was to be changed."),
        Column("run_id", "STRING", "Fingerprint of the run."),
    ),
)

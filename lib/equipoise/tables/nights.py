"""What a night leaves for the next one to know."""

from __future__ import annotations

from equipoise.tables.schema import Column, Table

FEATURE_STATE = Table(
    "ops",
    "feature_state",
    "job",
    "What the feature tables were last made from, written when all of them are there: the next night counts what differs from it.",
    key=("job",),
    columns=(
        Column("job", "STRING", "The job."),
        Column("run_id", "STRING", "Fingerprint of its run."),
        Column("as_of", "DATE", "Its as-of date."),
        Column("basis", "STRING", "Hash of the settings, the code and the tokenizer that decide every feature."),
        Column(
            "examples",
            "STRING",
            "Hash of the basis, the cuts and the days that the examples were made from; '' where days is empty.",
        ),
        Column("tables", "MAP<STRING, BIGINT>", "Version of every table that is not sliced by as_of, as the run left it."),
        Column(
            "days",
            "ARRAY<STRUCT<event_date: DATE, events: BIGINT, counted: STRING, worded: STRING>>",
            "Days before as_of with an event: number of events, checksum of the events with their items' categories, checksum of "
            "their items' words. Empty where features.incremental was off: no night goes on from that one.",
        ),
    ),
)

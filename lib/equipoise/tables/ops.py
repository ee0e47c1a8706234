"""Tables about the runs themselves."""

from __future__ import annotations

from equipoise.tables.maintenance import MAINTENANCE
from equipoise.tables.monitors import MONITORS
from equipoise.tables.nights import FEATURE_STATE
from equipoise.tables.schema import Column, Table
from equipoise.tables.trials import TRIALS
from equipoise.tables.vocabulary import OUTCOMES, SLOTS, sql_list

RUN_ID = Column("run_id", "STRING", "Fingerprint of the run: inputs' versions, settings, code and model.")

QUARANTINE = Table(
    "ops",
    "quarantine",
    "rejected row",
    "Rows that broke a reject rule, whole, with every rule they broke.",
    key=("source", "input", "row_number"),
    slice_by=("source",),
    columns=(
        Column("source", "STRING", "Name of the source."),
        Column("input", "STRING", "Which input of the source the row came from, such as transactions."),
        Column("row_number", "BIGINT", "Number of the row among the rejected rows of this input, from 1, in order of row_json."),
        Column("rules", "ARRAY<STRING>", "Ids of every rule the row broke, reject and warn alike, sorted."),
        Column("row_json", "STRING", "The raw row as JSON, with the pseudonym in place of the user id."),
        RUN_ID,
    ),
)

QUALITY_METRICS = Table(
    "ops",
    "quality_metrics",
    "run × table × metric",
    "What the quality rules counted.",
    key=("run_id", "table_name", "metric"),
    slice_by=("run_id",),
    columns=(
        RUN_ID,
        Column("table_name", "STRING", "Table or input the metric speaks of."),
        Column("metric", "STRING", "Name of the metric, such as rows_in or rule:duplicate."),
        Column("value", "DOUBLE", "The value."),
        Column("status", "STRING", "ok, warn or fail."),
    ),
)

RUNS = Table(
    "ops",
    "runs",
    "run × attempt",
    "The ledger: what each run read, wrote and how it ended.",
    key=("run_id", "attempt"),
    slice_by=("run_id", "attempt"),
    checks={"status_known": "status IN ('running', 'done', 'skipped', 'failed', 'gated')"},
    columns=(
        RUN_ID,
        Column("attempt", "INT", "1 for the first try of this fingerprint, then 2, 3, …"),
        Column("job", "STRING", "Name of the job."),
        Column("as_of", "DATE", "The as-of date.", "the job has none"),
        Column("settings_sha256", "STRING", "Hash of the settings the job reads."),
        Column("code_version", "STRING", "Hash of the code."),
        Column("inputs", "MAP<STRING, BIGINT>", "Table versions read."),
        Column("outputs", "MAP<STRING, BIGINT>", "Table versions after the run."),
        Column("rows_out", "MAP<STRING, BIGINT>", "Rows written per table; 0 for a slice that was already there."),
        Column("started_at", "TIMESTAMP", "Start, UTC."),
        Column("finished_at", "TIMESTAMP", "End, UTC.", "still running, or killed"),
        Column(
            "status", "STRING", "running (or killed), done, skipped, failed, or gated (stopped by a quality or promotion gate)."
        ),
        Column("message", "STRING", "Why it failed or was skipped.", "nothing to say"),
    ),
)

PUBLISHED = Table(
    "ops",
    "published",
    "as_of × table",
    "Which version of each table the v_current_* views read; written last.",
    key=("as_of", "table_name"),
    slice_by=("as_of",),
    columns=(
        Column("as_of", "DATE", "The as-of date."),
        Column("table_name", "STRING", "The table, as layer.name."),
        Column("version", "BIGINT", "Delta version that holds this as_of's slice whole."),
        RUN_ID,
    ),
)

FEEDBACK = Table(
    "ops",
    "feedback",
    "exposure_id",
    "What was shown of the published lists, and what came of it: one row per place of a list that was shown, written once its days "
    "of response are over.",
    key=("exposure_id",),
    slice_by=("settled_by",),
    checks={
        "outcome_known": f"outcome IN ({sql_list(OUTCOMES)})",
        "slot_known": f"slot IN ({sql_list(SLOTS)})",
        "propensity_is_a_probability": "propensity > 0 AND propensity <= 1.000001",
    },
    columns=(
        Column("exposure_id", "STRING", "event_id of the first exposure of this place of the list in silver.events."),
        Column("as_of", "DATE", "The as-of date of the list in gold.recommendations."),
        Column("user_id", "STRING", "The user's pseudonym."),
        Column("item_id", "STRING", "The item that was shown."),
        Column("category", "STRING", "The category it stood for."),
        Column("rank", "INT", "Its place in the list."),
        Column("slot", "STRING", "exploit or explore."),
        Column("propensity", "DOUBLE", "Probability of the item to be in this list, as logged with it."),
        Column("reason_code", "STRING", "Kind of reason with which it was listed; unseen_category: it was drawn to explore."),
        Column(
            "expected_response",
            "DOUBLE",
            "Probability of a response to the category that was thought of before any feedback.",
            "an exploit row, a category that the model did not know, or a list of a version that did not log it",
        ),
        Column("shown_ts", "TIMESTAMP", "When it was first shown, UTC."),
        Column("outcome", "STRING", "buy, look (anything else that the user did with the item) or ignore."),
        Column("outcome_ts", "TIMESTAMP", "Time of the first event that makes the outcome, UTC.", "ignored"),
        Column("responded", "BOOLEAN", "Whether an event of the knowing types with any item of the category followed."),
        Column("settled_by", "DATE", "The as-of date of the run that first saw the days of response over."),
        RUN_ID,
    ),
)

OPS = (QUARANTINE, QUALITY_METRICS, RUNS, PUBLISHED, FEEDBACK, MONITORS, TRIALS, MAINTENANCE, FEATURE_STATE)

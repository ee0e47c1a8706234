"""The table of the search over hyper-parameters."""

from __future__ import annotations

from equipoise.tables.schema import Column, Table

TRIALS = Table(
    "ops",
    "trials",
    "search × trial × rung",
    "Settings that were tried for fine-tuning, and the validation loss of each. Test windows have no part in it.",
    key=("search_id", "trial", "rung"),
    slice_by=("run_id",),
    checks={"status_known": "status IN ('done', 'failed')"},
    columns=(
        Column("search_id", "STRING", "Hash of what is searched: space, sampler, seed, metric, other settings, inputs, encoder."),
        Column("trial", "INT", "Number of the proposal; 0: the settings as they are."),
        Column("rung", "INT", "Of successive halving, from 0; each trains anew, for more steps."),
        Column("max_steps", "INT", "Steps of the training, at most."),
        Column("params", "MAP<STRING, STRING>", "Setting → value, as JSON."),
        Column("metric", "STRING", "Validation loss that is to be low: category, visit, value or loss; nats."),
        Column("value", "DOUBLE", "That loss.", "the training failed"),
        Column("status", "STRING", "done or failed."),
        Column("message", "STRING", "Why it failed.", "it did not"),
        Column("seconds", "DOUBLE", "Duration of the training."),
        Column("finished_at", "TIMESTAMP", "When it ended."),
        Column("run_id", "STRING", "Fingerprint of the run that trained it."),
    ),
)

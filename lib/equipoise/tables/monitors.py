"""The table of the monitors: is the night's input, and what came of it, as it usually is?"""

from __future__ import annotations

from equipoise.tables.schema import Column, Table
from equipoise.tables.vocabulary import MONITOR_STATES, sql_list
from equipoise.tables.vocabulary import MONITORS as NAMES

UNTOLD = "cannot be told; message says why"
NO_BOUND = "no such bound"

MONITORS = Table(
    "ops",
    "monitors",
    "as_of × day × monitor × subject",
    "What each monitor saw and what it usually sees: input, scores, matured labels, gates, durations.",
    key=("as_of", "day", "monitor", "subject"),
    slice_by=("as_of",),
    checks={"monitor_known": f"monitor IN ({sql_list(NAMES)})", "status_known": f"status IN ({sql_list(MONITOR_STATES)})"},
    columns=(
        Column("as_of", "DATE", "The as-of date."),
        Column("day", "DATE", "The day that is judged: the last one before as_of, or of the input also one of those before it."),
        Column("monitor", "STRING", f"{', '.join(NAMES)}."),
        Column("subject", "STRING", "What it looks at: all, an event type, event type and column, a table, a model, a job."),
        Column("value", "DOUBLE", "What was seen; its unit stands in message.", UNTOLD),
        Column("usual", "DOUBLE", "What was expected.", UNTOLD),
        Column("warn_low", "DOUBLE", "Below it: warn.", NO_BOUND),
        Column("warn_high", "DOUBLE", "Above it: warn.", NO_BOUND),
        Column("fail_low", "DOUBLE", "Below it: fail.", NO_BOUND),
        Column("fail_high", "DOUBLE", "Above it: fail.", NO_BOUND),
        Column("status", "STRING", f"{', '.join(MONITOR_STATES)}; unknown: too little to compare with."),
        Column("message", "STRING", "What was seen, what was expected and what to do."),
        Column("asks_training", "BOOLEAN", "Whether the model should be fine-tuned anew because of it."),
        Column("run_id", "STRING", "Fingerprint of the run."),
    ),
)

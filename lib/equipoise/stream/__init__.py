"""Petastorm over a pinned file list → torch batches; every row once, or an error."""

from __future__ import annotations

from equipoise.stream.columns import IDENTITY_COLUMNS, LEARNER_COLUMNS, Batch, Widths
from equipoise.stream.plan import RowGroup, StreamPlan, plan, require_steps
from equipoise.stream.reader import ExampleStream

__all__ = [
    "IDENTITY_COLUMNS",
    "LEARNER_COLUMNS",
    "Batch",
    "ExampleStream",
    "RowGroup",
    "StreamPlan",
    "Widths",
    "plan",
    "require_steps",
]

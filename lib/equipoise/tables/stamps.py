"""Columns that tables of gold share."""

from __future__ import annotations

from equipoise.tables.feature import AS_OF
from equipoise.tables.ops import RUN_ID
from equipoise.tables.schema import Column

STAMPS = (
    AS_OF,
    RUN_ID,
    Column("model_id", "STRING", "Model behind the row.", "no model had a part in it"),
    Column("synthetic", "BOOLEAN", "True when the source is a generator."),
)
CATEGORY = Column("category", "STRING", "Category.")

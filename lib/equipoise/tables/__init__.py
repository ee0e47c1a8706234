"""The catalogue: every table as data."""

from __future__ import annotations

from equipoise.tables.feature import FEATURE
from equipoise.tables.gold import GOLD
from equipoise.tables.ops import OPS
from equipoise.tables.schema import Column, Table
from equipoise.tables.silver import SILVER

CATALOGUE: dict[str, Table] = {t.full_name: t for t in (*SILVER, *OPS, *FEATURE, *GOLD)}
"""Every table by layer.name."""

__all__ = ["CATALOGUE", "Column", "Table"]

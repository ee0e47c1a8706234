"""The only door to the tables."""

from equipoise.store.contract import Only
from equipoise.store.sql import registration_sql, versioned
from equipoise.store.store import Store, Written

__all__ = ["Only", "Store", "Written", "registration_sql", "versioned"]

"""The only door to the tables."""

from equipoise.store.contract import Only
from equipoise.store.sql import deletion, registration_sql, versioned
from equipoise.store.store import Store, Written, is_kept

__all__ = ["Only", "Store", "Written", "deletion", "is_kept", "registration_sql", "versioned"]

"""How far the tables of features reach that hold one as-of date at a time."""

from __future__ import annotations

from datetime import date

from pyspark.sql import functions as F

from equipoise.errors import StoreError
from equipoise.job.context import Job
from equipoise.store import Store
from equipoise.store.ledger import Ledger
from equipoise.tables import CATALOGUE
from equipoise.tables.nights import FEATURE_STATE

MAKER = "build_features"


def require_reach(store: Store, job: Job, as_of: date) -> None:
    """Lets a job read the feature tables that are not cut by date where they were made for its date, or for a later one: a reader
    leaves out what is on or after its own, and cannot see that days before it are not there.

    Raises:
        StoreError: naming each table that ends before as_of, and the run that mends it.
    """
    whole = [name for name in job.reads if name.startswith("feature.") and not CATALOGUE[name].slice_by]
    if not whole or store.version(FEATURE_STATE.full_name) is None:
        return
    known = store.read(FEATURE_STATE.full_name).filter(F.col("job") == MAKER).select("as_of", "tables").collect()
    ends = {name: _end(store, name, row["as_of"], row["tables"]) for row in known for name in whole if name in row["tables"]}
    if short := {name: end for name, end in ends.items() if end < as_of}:
        told = ", ".join(f"{name} (as of {end})" for name, end in sorted(short.items()))
        raise StoreError(
            f"{job.name} --as-of {as_of}: {told} ends before that date; expected tables of {as_of} or later: an earlier date was "
            f"made again since, or {MAKER} did not run; run {MAKER} --as-of {as_of} first"
        )


def _end(store: Store, name: str, as_of: date, left: dict[str, int]) -> date:
    """As-of date of a table: that of the last night, or of the run that wrote it since and was cut short."""
    if store.rows_version(name) == left[name]:
        return as_of
    mark = store.fingerprint(name, {})
    return (Ledger(store, store.spark).as_of(mark.split()[0]) if mark else None) or as_of

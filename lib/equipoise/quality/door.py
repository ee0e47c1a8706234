"""The door: raw source → rules → quarantine and metrics → gate → silver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from equipoise.errors import SourceError
from equipoise.quality import silver
from equipoise.quality.check import check, fill_missing
from equipoise.quality.counts import METRICS_SCHEMA, Counts, balanced, gate, metrics, tally
from equipoise.quality.outliers import outlier_bounds
from equipoise.quality.pseudonym import pseudonyms
from equipoise.quality.quarantine import quarantine_rows
from equipoise.quality.rules import Limits
from equipoise.sources.canonical import RawInput, RawSource
from equipoise.sources.times import local_date
from equipoise.tables.vocabulary import UNKNOWN

Write = Callable[[str, DataFrame, dict[str, object]], None]
"""(table, frame, slice) → the slice now holds the frame."""


@dataclass(frozen=True)
class Door:
    """How a source is let in. `zone` is where its days end; `key_file` holds the key of the pseudonyms."""

    source: str
    run_id: str
    zone: str
    category_level: int
    has_amounts: bool
    key_file: str
    published_key: bool
    limits: Limits
    max_quarantined_share: float


NEEDED_NO_MORE = ("natural_key", "time_given", "date_only", "unreadable", "quantity_bound", "amount_bound", "item_known")


@dataclass(frozen=True)
class _Checked:
    raw: RawInput
    frame: DataFrame  # every row with its violations, persisted


@dataclass(frozen=True)
class _Judged(_Checked):
    quarantine: DataFrame
    counts: Counts


def ingest(spark: SparkSession, raw: RawSource, door: Door, write: Write, say: Callable[[str], None]) -> list[Counts]:
    """Writes ops.quarantine and ops.quality_metrics, then silver.*; returns the counts of every input.

    Raises:
        SourceError: when the source has no event.
        ContractError: when rows would be lost.
        GateError: when too many rows of an input are bad; silver.* is then untouched.
    """
    checked: list[_Checked] = []
    try:
        for input_ in raw.inputs:
            checked.append(_checked(input_, _catalogue(checked), door))
        judged = [_judged(c, checked) for c in checked]
        for j in judged:
            say(_told(j.counts))
        if not any(j.counts.rows_in for j in judged if j.raw.kind == "events"):
            names = ", ".join(i.name for i in raw.events)
            raise SourceError(f"source {door.source}: no events in {names}; expected at least one row, check the path")
        _write_ops(spark, judged, door, write)
        gate([j.counts for j in judged], door.max_quarantined_share)
        _write_silver(raw, checked, door, write)
        return [j.counts for j in judged]
    finally:
        for c in checked:
            c.frame.unpersist()


def _checked(input_: RawInput, catalogue: DataFrame | None, door: Door) -> _Checked:
    ready = fill_missing(input_.frame, input_.kind)
    if input_.kind == "events":
        ready = _beside_events(ready, catalogue, door)
    rows = check(ready, input_.kind, door.limits)
    if "raw_user" in rows.columns:
        rows = rows.withColumn("user_id", pseudonyms(door.key_file, published_key=door.published_key)(F.col("raw_user")))
    if input_.kind == "events":
        parts = F.concat_ws("\u0001", F.lit(door.source), F.lit(input_.name), "user_id", "natural_key")
        rows = rows.withColumn("event_id", F.substring(F.sha2(parts, 256), 1, 32))
    kept = rows.withColumn("raw", F.when(F.col("rejected"), F.col("raw"))).drop(*NEEDED_NO_MORE)
    return _Checked(input_, kept.persist(StorageLevel.MEMORY_AND_DISK))


def _judged(checked: _Checked, every: list[_Checked]) -> _Judged:
    raw, frame = checked.raw, checked.frame
    counts = tally(frame, raw.name, raw.kind)
    known = _known_users(every) if counts.per_rule["broken_line"] else None
    quarantine = quarantine_rows(frame, raw.name, raw.row_json, known)
    return _Judged(raw, frame, quarantine, balanced(counts, raw.frame if raw.given is None else raw.given, quarantine))


def _beside_events(frame: DataFrame, catalogue: DataFrame | None, door: Door) -> DataFrame:
    """Adds event_date, item_known, department, quantity_bound and amount_bound; the catalogue has one row per item."""
    dated = frame.withColumn("event_date", local_date(F.col("event_ts"), door.zone))
    if catalogue is None:
        placed = dated.withColumns({"item_known": F.lit(True), "department": F.lit(UNKNOWN)})
    else:
        shelf = catalogue.select("item_id", F.col("category_1").alias("department"), F.lit(True).alias("_listed"))
        placed = dated.join(shelf, "item_id", "left").withColumns(
            {
                "item_known": F.col("item_id").isNull() | F.col("_listed").isNotNull(),
                "department": F.coalesce("department", F.lit(UNKNOWN)),
            }
        )
    bounds = outlier_bounds(placed, door.limits)
    return placed.join(F.broadcast(bounds), "department", "left").drop("_listed", "department")


def _catalogue(checked: list[_Checked]) -> DataFrame | None:
    return next((c.frame.filter("NOT rejected") for c in checked if c.raw.kind == "items"), None)


def _known_users(checked: list[_Checked]) -> DataFrame:
    """raw_user, user_id of every row that has a user."""
    holding = [c.frame.filter("raw_user IS NOT NULL").select("raw_user", "user_id") for c in checked if c.raw.kind != "items"]
    return reduce(DataFrame.unionByName, holding).distinct()


def _write_ops(spark: SparkSession, judged: list[_Judged], door: Door, write: Write) -> None:
    whole = reduce(DataFrame.unionByName, [j.quarantine for j in judged])
    write("ops.quarantine", whole.withColumn("source", F.lit(door.source)), {"source": door.source})
    rows = [row for j in judged for row in metrics(j.counts, door.max_quarantined_share)]
    write("ops.quality_metrics", spark.createDataFrame(rows, METRICS_SCHEMA), {"run_id": door.run_id})


def _write_silver(raw: RawSource, checked: list[_Checked], door: Door, write: Write) -> None:
    """Events last: who sees them finds their items and users there."""
    of = {kind: [c.frame for c in checked if c.raw.kind == kind] for kind in ("events", "users")}
    events = silver.events(of["events"], source=door.source, synthetic=raw.synthetic, has_amounts=door.has_amounts)
    items = silver.items(_catalogue(checked), events).persist(StorageLevel.MEMORY_AND_DISK)
    listed = of["users"][0].filter("NOT rejected") if of["users"] else None
    frames = {
        "silver.items": items.drop("categories"),
        "silver.item_categories": silver.item_categories(items, door.category_level),
        "silver.users": silver.users(events, listed),
        "silver.promotions": _promotions(raw, items, door),
        "silver.events": events,
    }
    try:
        for name, frame in frames.items():
            write(name, frame.withColumn("source", F.lit(door.source)), {"source": door.source})
    finally:
        items.unpersist()


def _promotions(raw: RawSource, items: DataFrame, door: Door) -> DataFrame:
    if raw.promotions is None:
        nothing = items.filter("false")
        return nothing.selectExpr(
            "DATE'1970-01-01' AS week_start", "item_id AS store_id", "item_id AS category", "0L AS placements"
        )
    return silver.promotions(raw.promotions, items, door.category_level)


def _told(counts: Counts) -> str:
    broken = ", ".join(f"{r} {n:,}" for r, n in counts.per_rule.items() if n)
    parts = f"{counts.rows_in:,} rows in = {counts.good:,} good + {counts.quarantined:,} quarantined"
    return f"{counts.name}: {parts} ({broken or 'no rule broken'})"

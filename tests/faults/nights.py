"""Nights of nothing but writes, for faults to fall into: two dated tables, one whole one, one that is appended to, one that is
upserted, and what is published of them. What a night holds follows from its number alone.

python -m tests.faults.nights WAREHOUSE LAST [--conf key=value …] [--rows 40] [--retries 0]
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.errors import EquipoiseError
from equipoise.report.publish import published_frame
from equipoise.store import Store
from equipoise.store import upkeep as room
from equipoise.tables import CATALOGUE
from tests.conftest import small_session
from tests.integration.test_store import sequences

FIRST = date(2017, 1, 1)
SEQUENCES, TRENDS, SPEC, METRICS, ITEMS = (
    "feature.sequences",
    "feature.category_trends",
    "feature.example_spec",
    "ops.quality_metrics",
    "silver.item_categories",
)
VIEWED = (SEQUENCES, TRENDS, SPEC, ITEMS)
"""Tables that readers see through ops.published."""

ITEMS_EVER = 30


def day(night: int) -> date:
    return FIRST + timedelta(days=night)


def rows_of(night: int, rows: int) -> int:
    return rows + night % 7


def frame(spark: SparkSession, name: str, night: int, rows: int) -> DataFrame:
    """What a table's slice of a night is."""
    number = rows_of(night, rows)
    if name == SEQUENCES:
        return sequences(spark, number, day(night), text=f"night {night}")
    if name == TRENDS:
        found = [(day(night), day(night), f"c{k}", float(night), 1.0, 2.0) for k in range(number)]
    elif name == SPEC:
        found = [(k, f"c{k}", float(night)) for k in range(number)]  # type: ignore[misc]
    elif name == METRICS:
        found = [(f"night {night}", "silver.events", f"m{k}", float(night), "ok") for k in range(number)]  # type: ignore[misc]
    else:  # ten of the items each night, all of them over three
        found = [_item(k, night) for k in range(ITEMS_EVER) if (k + night) % 3 == 0]  # type: ignore[misc]
    return spark.createDataFrame(found, CATALOGUE[name].struct_type())


def write(store: Store, spark: SparkSession, night: int, rows: int) -> None:
    """One night; each step may be repeated."""
    told = {"fingerprint": f"night {night}", "job": "nights"}
    for name in (SEQUENCES, TRENDS):
        store.replace(frame(spark, name, night, rows), name, {"as_of": day(night)}, **told)
    store.append(frame(spark, METRICS, night, rows), METRICS, **told)
    store.upsert(frame(spark, ITEMS, night, rows), ITEMS)
    store.replace(frame(spark, SPEC, night, rows), SPEC, {}, **told)
    if night % 5 == 4:
        room.compact(spark, store.path(SEQUENCES), 2**20)
    versions = {name: store.version(name) or 0 for name in VIEWED}
    store.replace(published_frame(spark, versions, day(night), "r"), "ops.published", {"as_of": day(night)}, **told)


def last_published(store: Store) -> int:
    """Number of the newest night that readers see; -1 before the first."""
    if store.version("ops.published") is None:
        return -1
    newest = store.read("ops.published").agg(F.max("as_of")).collect()[0][0]
    return (newest - FIRST).days if newest else -1


def mixed(store: Store, spark: SparkSession, rows: int) -> list[str]:
    """What readers see that is not the published night, whole."""
    night = last_published(store)
    if night < 0:
        return []
    versions = {
        r["table_name"]: r["version"] for r in store.read("ops.published").filter(F.col("as_of") == F.lit(day(night))).collect()
    }
    wrong = []
    for name in VIEWED:
        seen = store.read(name, versions[name])
        seen = seen.filter(F.col("as_of") == F.lit(day(night))) if "as_of" in CATALOGUE[name].slice_by else seen
        wanted = frame(spark, name, night, rows) if name != ITEMS else items_after(spark, night)
        if lost_and_doubled(seen, wanted, name) != (0, 0):
            wrong.append(f"{name} at night {night}")
    return wrong


def items_after(spark: SparkSession, night: int) -> DataFrame:
    """The upserted table once a night is done."""
    nights = {k: [n for n in range(night + 1) if (k + n) % 3 == 0] for k in range(ITEMS_EVER)}
    found = [_item(k, max(ns)) for k, ns in nights.items() if ns]
    return spark.createDataFrame(found, CATALOGUE[ITEMS].struct_type())


def _item(number: int, night: int) -> tuple[str, str, str, float, str]:
    return f"i{number}", "MILK", f"night {night}", 1.0, "shop"


def lost_and_doubled(seen: DataFrame, wanted: DataFrame, name: str) -> tuple[int, int]:
    """Wanted rows that are not there, and rows that are there and not wanted or more than once."""
    columns = CATALOGUE[name].column_names
    there, due = (Counter(repr(tuple(r)) for r in f.select(*columns).collect()) for f in (seen, wanted))
    return (due - there).total(), (there - due).total()


def outcome(store: Store, spark: SparkSession, last: int, rows: int) -> tuple[int, int]:
    """Rows lost and doubled over all tables and nights."""
    lost = doubled = 0
    for name in (SEQUENCES, TRENDS, METRICS):
        wanted = frame(spark, name, 0, rows)
        for night in range(1, last + 1):
            wanted = wanted.unionByName(frame(spark, name, night, rows))
        found = lost_and_doubled(store.read(name), wanted, name)
        lost, doubled = lost + found[0], doubled + found[1]
    for name, wanted in ((SPEC, frame(spark, SPEC, last, rows)), (ITEMS, items_after(spark, last))):
        found = lost_and_doubled(store.read(name), wanted, name)
        lost, doubled = lost + found[0], doubled + found[1]
    return lost, doubled


@dataclass
class Nightly:
    """Runs nights as a scheduler does: a failed one again, up to `retries` times."""

    store: Store
    spark: SparkSession
    rows: int
    retries: int
    say: Callable[[str], None]

    def run(self, last: int) -> None:
        for night in range(last_published(self.store) + 1, last + 1):
            for attempt in range(self.retries + 1):
                try:
                    write(self.store, self.spark, night, self.rows)
                    break
                except EquipoiseError as error:
                    self.say(f"FAILED night {night}: {type(error).__name__}: {str(error).splitlines()[0][:160]}")
                    if attempt == self.retries:
                        raise
            self.say(f"DONE {night}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("warehouse")
    parser.add_argument("last", type=int)
    parser.add_argument("--conf", action="append", default=[])
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--retries", type=int, default=0)
    given = parser.parse_args()
    confs = {"spark.driver.memory": "1g"} | dict(c.split("=", 1) for c in given.conf)
    spark = small_session("local[1]", Path(given.warehouse) / "spark-warehouse", **confs)

    def say(text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    say("READY")
    Nightly(Store(spark, given.warehouse), spark, given.rows, given.retries, say).run(given.last)


if __name__ == "__main__":
    main()

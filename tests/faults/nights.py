"""Nights of nothing but writes, for faults to fall into: two dated tables, one whole one, one that is appended to, one that is
upserted, and what is published of them. What a night holds follows from its number alone.

python -m tests.faults.nights WAREHOUSE LAST [--conf key=value …] [--rows 40] [--retries 0]
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.errors import EquipoiseError
from equipoise.report.publish import VIEWS_FILE, published_frame, with_earlier
from equipoise.report.views import latest, views_sql
from equipoise.spark.remote import write_text
from equipoise.store import Store
from equipoise.store import upkeep as room
from equipoise.tables import CATALOGUE
from equipoise.tables.packing import CELL_VALUES
from tests.conftest import small_session

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


Rows = list[tuple[object, ...]]


def rows_due(name: str, night: int, rows: int) -> Rows:
    """What a table's slice of a night is; of the upserted table, what the night brings."""
    number, mark = rows_of(night, rows), f"night {night}"
    if name == SEQUENCES:
        lists = {"item_ids": ["i1"], "event_types": ["purchase"], "age_days": [3], "cells": [1.0] * len(CELL_VALUES)}
        lists |= {"prior_categories": ["MILK"], "prior_weights": [1.0], "cell_categories": ["MILK"]}
        whole = [lists | {"user_id": f"u{k}", "as_of": day(night), "behaviour_text": mark} for k in range(number)]
        return [tuple(one[c] for c in CATALOGUE[name].column_names) for one in whole]
    if name == TRENDS:
        return [(day(night), day(night), f"c{k}", float(night), 1.0, 2.0) for k in range(number)]
    if name == SPEC:
        return [(k, f"c{k}", float(night)) for k in range(number)]
    if name == METRICS:
        return [(mark, "silver.events", f"m{k}", float(night), "ok") for k in range(number)]
    return [_item(k, night) for k in range(ITEMS_EVER) if (k + night) % 3 == 0]  # ten of them each night, all over three


def frame(spark: SparkSession, name: str, night: int, rows: int) -> DataFrame:
    """The same as a frame."""
    return spark.createDataFrame(rows_due(name, night, rows), CATALOGUE[name].struct_type())


def write(store: Store, spark: SparkSession, night: int, rows: int) -> None:
    """One night; each step may be repeated."""
    told = {"fingerprint": f"night {night}", "job": "nights"}
    for name in (SEQUENCES, TRENDS):
        store.replace(frame(spark, name, night, rows), name, {"as_of": day(night)}, **told)
    store.append(frame(spark, METRICS, night, rows), METRICS, **told)
    store.upsert(frame(spark, ITEMS, night, rows), ITEMS)
    store.replace(frame(spark, SPEC, night, rows), SPEC, {}, **told)
    if night % 5 == 4:
        room.compact(spark, store.path(METRICS), 2**20)  # every night left a file of its own there
    versions = {name: store.version(name) or 0 for name in VIEWED}
    store.create("ops.published")
    shown = latest(with_earlier(store.read("ops.published"), versions, day(night)))
    write_text(spark, f"{store.root}/{VIEWS_FILE}", views_sql(store.root, list(VIEWED), shown))
    store.replace(published_frame(spark, versions, day(night), "r"), "ops.published", {"as_of": day(night)}, **told)


def last_published(store: Store) -> int:
    """Number of the newest night that readers see; -1 before the first."""
    if store.version("ops.published") is None:
        return -1
    newest = store.read("ops.published").agg(F.max("as_of")).collect()[0][0]
    return (newest - FIRST).days if newest else -1


def mixed(store: Store, rows: int) -> list[str]:
    """What readers see that is not the published night, whole."""
    night = last_published(store)
    if night < 0:
        return []
    rows_seen = store.read("ops.published").filter(F.col("as_of") == F.lit(day(night))).collect()
    versions = {r["table_name"]: r["version"] for r in rows_seen}
    return [f"{n} at night {night}" for n in VIEWED if wrong_at(store.read(n, versions[n]), n, night, rows) != (0, 0)]


VIEW = re.compile(r"VIEW v_current_\w+ .* As published for (\S+)\.' AS (SELECT .* FROM (\S+) VERSION AS OF \d+.*);")


def through_views(store: Store, spark: SparkSession, rows: int) -> tuple[set[int], list[str]]:
    """The nights that the v_current_* views show, which should be one, and the views that do not show theirs whole."""
    nights, wrong = set(), []
    for line in Path(store.root, VIEWS_FILE).read_text(encoding="utf-8").splitlines():
        if not (found := VIEW.search(line)):
            continue
        shown, query, name = found.groups()
        night = (date.fromisoformat(shown) - FIRST).days
        seen = spark.sql(query.replace(f"FROM {name}", f"FROM delta.`{store.path(name)}`"))
        nights.add(night)
        wrong += [f"{name} at night {night}"] if wrong_at(seen, name, night, rows) != (0, 0) else []
    return nights, wrong


def wrong_at(seen: DataFrame, name: str, night: int, rows: int) -> tuple[int, int]:
    """Rows lost and doubled in a table's slice of a night, or in the whole of a table that has none."""
    seen = seen.filter(F.col("as_of") == F.lit(day(night))) if "as_of" in CATALOGUE[name].slice_by else seen
    return lost_and_doubled(seen, items_after(night) if name == ITEMS else rows_due(name, night, rows), name)


def items_after(night: int) -> Rows:
    """The upserted table once a night is done."""
    nights = {k: [n for n in range(night + 1) if (k + n) % 3 == 0] for k in range(ITEMS_EVER)}
    return [_item(k, max(ns)) for k, ns in nights.items() if ns]


def _item(number: int, night: int) -> tuple[object, ...]:
    return f"i{number}", "MILK", f"night {night}", 1.0, "shop"


def lost_and_doubled(seen: DataFrame, wanted: Rows, name: str) -> tuple[int, int]:
    """Wanted rows that are not there, and rows that are there and not wanted or more than once."""
    there = Counter(repr(tuple(r)) for r in seen.select(*CATALOGUE[name].column_names).collect())
    due = Counter(repr(r) for r in wanted)
    return (due - there).total(), (there - due).total()


def outcome(store: Store, last: int, rows: int) -> tuple[int, int]:
    """Rows lost and doubled over all tables and nights."""
    due = {name: [r for night in range(last + 1) for r in rows_due(name, night, rows)] for name in (SEQUENCES, TRENDS, METRICS)}
    due |= {SPEC: rows_due(SPEC, last, rows), ITEMS: items_after(last)}
    found = [lost_and_doubled(store.read(name), wanted, name) for name, wanted in due.items()]
    return sum(lost for lost, _ in found), sum(doubled for _, doubled in found)


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
                except (EquipoiseError, OSError) as error:  # OSError: of the views, a file beside the tables
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

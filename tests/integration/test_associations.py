"""From events to gold.item_rules: which baskets count, FP-growth against plain loops, repetition, the job."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.associations import mine
from equipoise.associations.baskets import baskets, categories, lines, product_types
from equipoise.associations.mine import Mining, as_frame, itemsets, level_rules
from equipoise.associations.rules import Bounds
from equipoise.errors import EquipoiseError
from equipoise.job.run import run
from equipoise.store import Store
from equipoise.tables import CATALOGUE
from tests.integration.test_job import TOML
from tests.unit.associations import apriori

AS_OF = date(2017, 11, 6)
ROOT = Path(__file__).resolve().parents[2]
Row = tuple[str, int, str, str]
"""user, days before AS_OF, item, event type"""

ITEMS = {
    "cola": ("FOOD", "DRINKS", "COLA"),
    "milk": ("FOOD", "DAIRY", "MILK"),
    "oats": ("FOOD", "GRAIN", "UNKNOWN"),
    "thing": ("UNKNOWN", "UNKNOWN", "UNKNOWN"),
    "diesel": ("FUEL", "FUEL", "DIESEL"),
}


def frame(spark: SparkSession, name: str, rows: Sequence[dict[str, object]]) -> DataFrame:
    table = CATALOGUE[name]
    usual = {"source": "s", "synthetic": True}
    return spark.createDataFrame([tuple((usual | r).get(c) for c in table.column_names) for r in rows], table.struct_type())


def events(spark: SparkSession, rows: Sequence[Row]) -> DataFrame:
    told = [
        {
            "event_id": f"{n:06d}",
            "user_id": user,
            "item_id": item,
            "event_type": kind,
            "event_ts": None,
            "event_date": AS_OF - timedelta(days=ago),
        }
        for n, (user, ago, item, kind) in enumerate(rows)
    ]
    at = F.col("event_date").cast("timestamp")
    kept = [c for c in CATALOGUE["silver.events"].column_names if c != "event_ts"]
    types = {f.name: f for f in CATALOGUE["silver.events"].struct_type()}
    made = spark.createDataFrame(
        [tuple(({"source": "s", "synthetic": True} | r).get(c) for c in kept) for r in told],
        type(CATALOGUE["silver.events"].struct_type())([types[c] for c in kept]),
    )
    return made.withColumn("event_ts", at).select(*CATALOGUE["silver.events"].column_names)


def items(spark: SparkSession, known: dict[str, tuple[str, str, str]] = ITEMS) -> DataFrame:
    rows = [
        {"item_id": i, "title": i, "text": i, **{f"category_{n + 1}": c for n, c in enumerate(levels)}}
        for i, levels in known.items()
    ]
    return frame(spark, "silver.items", rows)


def item_categories(spark: SparkSession, known: dict[str, tuple[str, str, str]] = ITEMS) -> DataFrame:
    rows = [{"item_id": i, "category": c[1], "category_path": " > ".join(c[:2]), "weight": 1.0} for i, c in known.items()]
    return frame(spark, "silver.item_categories", rows)


def test_what_an_item_is_called_on_both_levels(spark: SparkSession) -> None:
    types = product_types(items(spark), ["FUEL"])
    assert {tuple(r) for r in types.collect()} == {("cola", "COLA"), ("milk", "MILK"), ("oats", "GRAIN")}
    found = categories(items(spark), item_categories(spark), [])
    assert {tuple(r) for r in found.collect()} == {
        *(("cola", "DRINKS"), ("milk", "DAIRY")),
        *(("oats", "GRAIN"), ("diesel", "FUEL")),
    }


def test_baskets_are_days_of_trips_before_as_of(spark: SparkSession) -> None:
    rows: list[Row] = [
        *(("u", 1, "cola", "purchase"), ("u", 1, "cola", "purchase"), ("u", 1, "milk", "purchase"), ("u", 1, "oats", "click")),
        *(("v", 1, "milk", "purchase"), ("v", 182, "oats", "purchase"), ("v", 183, "cola", "purchase")),
        *(("v", 0, "cola", "purchase"), ("v", -1, "oats", "purchase"), ("w", 2, "thing", "purchase"), ("w", 2, "diesel", "cart")),
    ]
    log, named = events(spark, rows), product_types(items(spark), ["FUEL"])

    def of(bought: date | None) -> set[tuple[str, int, str]]:
        found = lines(log, named, as_of=AS_OF, days=182, bought=bought).collect()
        return {(r["user_id"], (AS_OF - r["event_date"]).days, r["name"]) for r in found}

    bought = {("u", 1, "COLA"), ("u", 1, "MILK"), ("v", 1, "MILK"), ("v", 182, "GRAIN")}
    assert of(AS_OF - timedelta(days=200)) == bought
    assert of(AS_OF) == of(None) == bought | {("u", 1, "GRAIN")}, "no purchase before as-of: the knowing types make the basket"


def shop(spark: SparkSession, seed: int = 3, days: int = 120) -> tuple[DataFrame, list[frozenset[str]]]:
    """Lines of two users and their baskets: n0 brings n1, the other five names come as they like."""
    rng = np.random.default_rng(seed)
    made: list[tuple[str, date, str]] = []
    held: list[frozenset[str]] = []
    for n in range(2 * days):
        basket = {f"n{j}" for j in np.flatnonzero(rng.random(7) < 0.35)} or {"n6"}
        basket |= {"n1"} if "n0" in basket else set()
        held.append(frozenset(basket))
        made += [(f"u{n % 2}", AS_OF - timedelta(days=1 + n // 2), name) for name in basket]
    return spark.createDataFrame(made, "user_id STRING, event_date DATE, name STRING"), held


def names(spark: SparkSession, known: Sequence[str]) -> DataFrame:
    return spark.createDataFrame([(n,) for n in known], "name STRING")


@pytest.mark.parametrize("least", [1, 12, 60, 241])
def test_itemsets_are_those_of_plain_loops(spark: SparkSession, least: int) -> None:
    rows, held = shop(spark)
    found = baskets(rows, names(spark, [f"n{j}" for j in range(7)]), most=60, seed=1)
    assert itemsets(found, least, 3) == apriori.frequent(held, least, 3)


def test_rules_are_those_of_plain_loops_however_rows_lie(spark: SparkSession) -> None:
    rows, held = shop(spark)
    mining = Mining(min_support=0.05, min_baskets=2, max_basket=60, seed=1)
    bounds = Bounds(min_confidence=0.2, min_lift=1.1, max_items=2, max_rules=100, level=0.05)
    said: list[str] = []
    table = level_rules(rows, "category", mining, bounds, said.append)
    wanted = apriori.rules(held, 12, bounds)
    assert set(zip(table["antecedent"], table["consequent"], strict=True)) == set(wanted) and (("n0",), "n1") in wanted
    assert said[0].startswith("category: 240 baskets, 0 of them cut to 60 names;") and "in at least 12 baskets" in said[0]
    again = level_rules(rows.orderBy(F.desc("name")).repartition(5, "name"), "category", mining, bounds, said.append)
    assert again.equals(table), "the same bits"
    row = {r["consequent"]: r for r in as_frame({"category": table}, rows).collect()}["n1"]
    told = wanted[("n0",), "n1"]
    assert row["antecedent"] == ["n0"] and row["confidence"] == told.confidence == 1.0 and row["conviction"] is None


def test_long_baskets_are_cut_by_a_draw_that_favours_no_name(spark: SparkSession) -> None:
    every = [f"n{j:02d}" for j in range(20)]
    made = [("u", AS_OF - timedelta(days=d), n) for d in range(300) for n in every]
    rows = spark.createDataFrame(made, "user_id STRING, event_date DATE, name STRING")
    found = baskets(rows, names(spark, every), most=5, seed=1)
    kept = [r["items"] for r in found.collect()]
    assert all(len(set(k)) == 5 for k in kept) and {r["size"] for r in found.collect()} == {20}
    counts = np.array([sum(n in k for k in kept) for n in every])
    assert abs(counts - 75).max() < 5 * np.sqrt(300 * 0.25 * 0.75), "a quarter of 300 baskets each"
    other = baskets(rows.repartition(7), names(spark, every), most=5, seed=1).collect()
    assert sorted(sorted(r["items"]) for r in other) == sorted(map(sorted, kept))
    assert sorted(sorted(r["items"]) for r in baskets(rows, names(spark, every), most=5, seed=2).collect()) != sorted(
        map(sorted, kept)
    )


def test_too_many_itemsets_are_refused(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mine, "MOST_ITEMSETS", 5)
    found = baskets(shop(spark)[0], names(spark, [f"n{j}" for j in range(7)]), most=60, seed=1)
    with pytest.raises(EquipoiseError, match=r"more than 5 itemsets of up to 3 names.*raise associations.min_support"):
        itemsets(found, 5, 3)


def test_the_job_writes_its_slice_and_skips_the_second_time(spark: SparkSession, tmp_path: Path) -> None:
    settings = tmp_path / "toy.toml"
    settings.write_text(TOML.format(warehouse=tmp_path / "warehouse"))
    store = Store(spark, str(tmp_path / "warehouse"))
    rng = np.random.default_rng(5)
    rates = {"cola": 0.5, "milk": 0.25, "diesel": 0.5}
    rows: list[Row] = [("u", d, i, "purchase") for d in range(1, 91) for i, rate in rates.items() if rng.random() < rate]
    rows += [("v", d, i, "purchase") for d in range(1, 61) for i in ("milk", "oats")]
    rows += [("w", -d, i, "purchase") for d in range(60) for i in ("cola", "diesel")]
    for name, made in {
        "silver.events": events(spark, rows),
        "silver.items": items(spark),
        "silver.item_categories": item_categories(spark),
    }.items():
        store.replace(made, name, {"source": "s"}, fingerprint="made", job="test")
    path = ROOT / "jobs" / "mine_associations.py"
    job = runpy.run_path(str(path))
    argv = ["--settings", str(settings), "--as-of", AS_OF.isoformat(), "--recommend.exclude_categories", '["FUEL"]']
    assert run(job["JOB"], job["run"], argv, path) == 0
    found = {(r["level"], *r["antecedent"], r["consequent"]): r for r in store.read("gold.item_rules").collect()}
    types, named = ("MILK", "GRAIN"), ("DAIRY", "GRAIN")
    assert set(found) == {(level, *p) for level, q in (("product_type", types), ("category", named)) for p in (q, q[::-1])}
    certain = found["category", "GRAIN", "DAIRY"]
    assert certain["baskets_both"] == 60 and certain["confidence"] == 1.0 and certain["conviction"] is None
    assert certain["as_of"] == AS_OF and certain["model_id"] is None and certain["synthetic"]
    version = store.version("gold.item_rules")
    assert run(job["JOB"], job["run"], [*argv, "--recommend.k", "20"], path) == 0
    assert store.version("gold.item_rules") == version, "the length of lists has no part in it"
    assert run(job["JOB"], job["run"], [*argv, "--associations.min_baskets", "61"], path) == 0
    assert store.read("gold.item_rules").count() == 0, "60 baskets are too few now"

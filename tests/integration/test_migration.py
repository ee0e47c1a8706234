"""Migration from counted days to its tables: hand-made users, planted shifts on the generator, repetition, the job."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.errors import ContractError
from equipoise.job.run import run
from equipoise.migration.days import packed, trend_of, visit_days
from equipoise.migration.table import interest_migration
from equipoise.migration.transitions import category_transitions, check_segments, flows, supported
from equipoise.store import Store
from equipoise.tables import CATALOGUE
from tests.integration.test_job import TOML
from tests.unit.migration.made import EVIDENCE, baskets

ORIGIN, DAYS = date(2017, 1, 2), 28
AS_OF = ORIGIN + timedelta(days=10 * DAYS)
ROOT = Path(__file__).resolve().parents[2]
Row = tuple[str, int, str, float]
"""user, day from the origin, category, events"""


def daily(spark: SparkSession, rows: Sequence[Row], event_type: str = "purchase") -> DataFrame:
    made = [(u, ORIGIN + timedelta(days=d), c, event_type, e, 0.0, 0.0) for u, d, c, e in rows]
    return spark.createDataFrame(made, CATALOGUE["feature.daily_counts"].struct_type())


def visits_of(spark: SparkSession, rows: Sequence[Row], as_of: date = AS_OF) -> DataFrame:
    return visit_days(daily(spark, rows), origin=ORIGIN, window_days=DAYS, as_of=as_of, event_weights={"purchase": 1.0})


def moved(visits: DataFrame) -> list[dict[str, Any]]:
    table = interest_migration(packed(visits), trend_of(visits, support=20.0), EVIDENCE, origin=ORIGIN, window_days=DAYS)
    return [r.asDict() for r in table.orderBy("user_id", "window_start").collect()]


def people() -> list[Row]:
    """The users that the edges of the definition are about."""
    steady = [("steady", w * DAYS + d, c, 1.0) for w in range(10) for d in range(0, 24, 4) for c in ("milk", "bread")]
    turned = [("turned", w * DAYS + d, "milk" if w < 5 else "wine", 1.0) for w in range(10) for d in range(0, 24, 3)]
    away = [("away", w * DAYS + d, "milk", 1.0) for w in (0, 1, 6) for d in range(0, 24, 4)]
    mixed = [("mixed", d, "UNKNOWN" if d < DAYS else "milk", 1.0) for d in range(0, 2 * DAYS, 5)]
    late = [("late", 10 * DAYS + 1, "milk", 9.0), ("late", -3, "milk", 9.0)]
    return [
        *(*steady, *turned, *away, *mixed, *late),
        *(("once", 30, "milk", 1.0), ("nameless", 30, "UNKNOWN", 2.0), ("nameless", 60, "UNKNOWN", 1.0)),
    ]


def test_users_at_the_edges(spark: SparkSession) -> None:
    rows = moved(visits_of(spark, people()))
    by_user: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_user.setdefault(row["user_id"], []).append(row)
    assert sorted(by_user) == ["away", "mixed", "nameless", "once", "steady", "turned"], (
        "open windows and before the origin: none"
    )
    assert {u: len(r) for u, r in by_user.items()} == {
        "away": 3,
        "mixed": 2,
        "nameless": 2,
        "once": 1,
        "steady": 10,
        "turned": 10,
    }

    assert by_user["steady"][0]["drift_js_bits"] is None and by_user["steady"][0]["migrated"] is None
    assert all(r["drift_js_bits"] == 0.0 and r["migrated"] is False for r in by_user["steady"][1:])
    assert not any(r[k] for r in by_user["steady"] for k in ("gained", "lost", "returning"))

    turn = by_user["turned"][5]
    assert turn["window_start"] == ORIGIN + timedelta(days=5 * DAYS) and turn["days"] == turn["previous_days"] == 8
    assert turn["drift_js_bits"] == 1.0 and turn["noise_p95_bits"] < 1.0 and turn["migrated"] is True
    assert [r["migrated"] for r in by_user["turned"]] == [None, *[False] * 4, True, *[False] * 4]
    assert [(i, r["gained"], r["lost"]) for i, r in enumerate(by_user["turned"]) if r["gained"] or r["lost"]] == [
        (5, ["wine"], []),
        (6, [], ["milk"]),
    ]

    assert [r["window_start"] for r in by_user["turned"] if r["change_point"]] == [turn["window_start"]]
    assert by_user["turned"][0]["change_point"] is None, "nothing lies before the first window"
    assert not any(r["change_point"] for r in by_user["steady"])

    last = by_user["away"][2]
    assert last["previous_start"] == ORIGIN + timedelta(days=DAYS), "the latest active window, not the one before"
    assert last["days"] == 6 and not last["returning"], "windows without any visit are no absence"
    assert by_user["once"][0]["days"] == 1 and by_user["once"][0]["drift_js_bits"] is None
    assert [(r["days"], r["drift_js_bits"]) for r in by_user["nameless"]] == [(0, None), (0, None)]
    assert by_user["mixed"][0]["days"] == 0 and by_user["mixed"][1]["previous_start"] is None


def test_no_closed_window_gives_no_rows(spark: SparkSession) -> None:
    visits = visits_of(spark, people(), as_of=ORIGIN + timedelta(days=DAYS - 1))
    assert moved(visits) == []
    kept = supported(visits, segments(spark, ["steady"]), min_support=1)
    assert category_transitions(flows(packed(visits), segments(spark, []), kept), pseudo_all=1.0, pseudo_segment=1.0).count() == 0


def test_rows_are_the_same_however_partitioned_and_whoever_else_is_there(spark: SparkSession) -> None:
    rng = np.random.default_rng(6)
    rows = [
        (f"u{i}", *line) for i in range(12) for line in baskets(rng, tastes=rng.dirichlet(np.ones(6), 4), visits_per_window=7)
    ]
    visits = visits_of(spark, rows)
    trend = trend_of(visits, support=20.0)

    def table(frame: DataFrame) -> list[tuple[Any, ...]]:
        made = interest_migration(frame, trend, EVIDENCE, origin=ORIGIN, window_days=DAYS)
        return sorted(tuple(r) for r in made.collect())

    once = table(packed(visits))
    assert table(packed(visits.orderBy(F.desc("category"))).repartition(5)) == once
    assert table(packed(visits.filter("user_id = 'u3'"))) == [r for r in once if r[0] == "u3"]
    other = interest_migration(
        packed(visits), trend, EVIDENCE.__class__(**vars(EVIDENCE) | {"seed": 2}), origin=ORIGIN, window_days=DAYS
    )
    assert {r["noise_p95_bits"] for r in other.collect()} != {r[8] for r in once}


def segments(spark: SparkSession, users: Sequence[str], names: Sequence[str] = ("buy",), model: str | None = "m1") -> DataFrame:
    made = [(u, names[i % len(names)], model) for i, u in enumerate(users)]
    return spark.createDataFrame(made, "user_id STRING, segment STRING, model_id STRING")


def test_transitions_by_hand(spark: SparkSession) -> None:
    """Two users over two windows. a: milk to half milk, half wine; b: wine to wine; c is there once and has no next window."""
    rows = [("a", 1, "milk", 4.0), ("a", 29, "milk", 2.0), ("a", 33, "wine", 2.0), ("b", 1, "wine", 1.0), ("b", 29, "wine", 7.0)]
    visits = visits_of(spark, [*rows, ("c", 1, "tea", 1.0), ("c", 60, "tea", 1.0)])
    who = segments(spark, ["a", "b", "c"], ("buy", "O"))
    kept = supported(visits, who, min_support=1)
    assert kept.categories == {"all": {"milk", "wine"}, "buy": {"milk"}, "O": {"wine"}}
    table = category_transitions(flows(packed(visits), who, kept), pseudo_all=2.0, pseudo_segment=1.0)
    got = {(r["segment"], r["from_category"], r["to_category"]): r for r in table.collect()}
    milk, wine = 0.25, 0.75  # of the two next windows
    assert got["all", "milk", "milk"]["probability"] == pytest.approx((0.5 + 2 * milk) / 3)
    assert got["all", "milk", "wine"]["probability"] == pytest.approx((0.5 + 2 * wine) / 3)
    assert got["all", "wine", "wine"]["probability"] == pytest.approx((1 + 2 * wine) / 3)
    assert got["all", "wine", "(rest)"]["probability"] == pytest.approx(2 * milk / 3), "what shrinkage gives and nobody took"
    assert got["all", "wine", "(rest)"]["users"] == 0 and ("all", "wine", "milk") not in got
    assert got["buy", "milk", "milk"]["probability"] == pytest.approx((0.5 + (0.5 + 2 * milk) / 3) / 2)
    assert got["O", "wine", "wine"]["probability"] == pytest.approx((1 + (1 + 2 * wine) / 3) / 2)
    assert {r["users"] for k, r in got.items() if k[2] != "(rest)"} == {1}


def test_what_is_rare_is_folded_and_every_row_sums_to_one(spark: SparkSession) -> None:
    rng = np.random.default_rng(8)
    taste = np.array([0.4, 0.3, 0.2, 0.06, 0.03, 0.01])
    people = {f"u{i:02d}": baskets(rng, tastes=[taste] * 4, visits_per_window=3, window_days=DAYS) for i in range(60)}
    visits = visits_of(spark, [(u, *line) for u, lines in people.items() for line in lines])
    who = segments(spark, sorted(people), ("O", "buy", "buy"))
    kept = supported(visits, who, min_support=25)
    table = category_transitions(flows(packed(visits), who, kept), pseudo_all=5.0, pseudo_segment=5.0).toPandas()
    sums = table.groupby(["segment", "from_category"])[["probability", "population_share"]].sum()
    assert np.allclose(sums, 1.0) and set(table["segment"]) == {"all", "O", "buy"}
    listed = table.groupby("segment")["from_category"].agg(set)
    assert "(rest)" in listed["all"] and "c05" not in listed["all"] and {"c00", "c01"} <= listed["all"]
    assert len(listed["O"]) < len(listed["all"]), "20 users of a segment are fewer than 60"
    assert not table.duplicated(["segment", "from_category", "to_category"]).any()
    # users against a plain count of who had `from` in a window and `to` in the next
    where = visits.toPandas()
    windows = where.groupby(["user_id", "window"])["category"].agg(set)
    plain = {u for (u, w), had in windows.items() if "c00" in had and "c01" in (windows.get((u, w + 1)) or set())}
    row = table[(table["segment"] == "all") & (table["from_category"] == "c00") & (table["to_category"] == "c01")]
    assert row["users"].item() == len(plain)


def test_segments_of_two_models_are_refused(spark: SparkSession) -> None:
    assert check_segments(segments(spark, ["a", "b"])) == "m1"
    assert check_segments(segments(spark, ["a"], model=None)) is None
    with pytest.raises(ContractError, match=r"comes from 2 models \(m1, m2\)"):
        check_segments(segments(spark, ["a"]).union(segments(spark, ["b"], model="m2")))
    with pytest.raises(ContractError, match="has no users at this as_of"):
        check_segments(segments(spark, []))


def test_the_job_writes_its_slices_and_skips_the_second_time(spark: SparkSession, tmp_path: Path) -> None:
    settings = tmp_path / "toy.toml"
    settings.write_text(TOML.format(warehouse=tmp_path / "warehouse"))
    store = Store(spark, str(tmp_path / "warehouse"))
    users = sorted({u for u, *_ in people()})
    values = {"p_o": 0.0, "p_interest": 0.0, "p_buy": 1.0, "horizon_days": 28, "reason": "r", "run_id": "r", "synthetic": True}
    values |= {"value_model": "behaviour", "drivers": F.array()}
    rows = segments(spark, users)
    for column in CATALOGUE["gold.user_segments"].columns:
        if column.name not in rows.columns:
            value = AS_OF if column.name == "as_of" else values.get(column.name)
            rows = rows.withColumn(column.name, (value if isinstance(value, Column) else F.lit(value)).cast(column.type))
    store.replace(rows, "gold.user_segments", {"as_of": AS_OF}, fingerprint="made", job="test")
    store.replace(daily(spark, people()), "feature.daily_counts", {}, fingerprint="made", job="test")
    path = ROOT / "jobs" / "track_migration.py"
    job = runpy.run_path(str(path))
    argv = ["--settings", str(settings), "--as-of", AS_OF.isoformat(), "--migration.min_support", "2"]
    assert run(job["JOB"], job["run"], argv, path) == 0
    moves, flows = store.read("gold.interest_migration"), store.read("gold.category_transitions")
    assert moves.count() == 28 and moves.filter("migrated").count() == 1
    assert moves.filter(F.col("synthetic") & F.col("model_id").isNull() & (F.col("as_of") == F.lit(AS_OF))).count() == 28
    assert flows.filter("model_id = 'm1'").count() == flows.count() > 0
    versions = [store.version(name) for name in job["JOB"].writes]
    assert run(job["JOB"], job["run"], [*argv, "--interests.half_life_days", "7"], path) == 0
    assert [store.version(name) for name in job["JOB"].writes] == versions, "the half-life has no part in it"
    assert run(job["JOB"], job["run"], [*argv, "--migration.min_days", "9"], path) == 0
    assert store.read("gold.interest_migration").filter("migrated").count() == 0, "8 visit days are too few now"

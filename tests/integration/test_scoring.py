"""Whole-base scoring in Spark with the real encoder, against the predictor alone in this process."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyspark.sql import DataFrame, SparkSession

from equipoise.errors import ContractError
from equipoise.inference.interface import EVENTS_IN, FEATURES_IN
from equipoise.inference.predictor import Predictor
from equipoise.inference.udf import _spread, encode_texts, item_table, score_users, threads_per_worker, trends_at, with_items
from equipoise.inference.worker import Setup
from equipoise.job.run import run
from equipoise.models import TowerOptions
from equipoise.settings.model import resolve
from equipoise.store import Store
from equipoise.tables.packing import CELL_VALUES, TREND_VALUES, item_keys
from equipoise.tables.vocabulary import EVENT_TYPES
from equipoise.training.registry import Registry
from tests.conftest import ROOT
from tests.small_models import CATEGORIES, FEATURE_NAMES, ITEMS, MINILM, WORDS, publish, tiny_bert

AS_OF, EARLIER = date(2017, 11, 6), date(2017, 10, 9)
USERS = 50
TOML = """
warehouse = "{warehouse}"
[source]
adapter = "simulated"
name = "simulated"
[identity]
key_file = "key"
[windows]
origin = 2017-01-02
[interests]
top_predicted = 2
[scoring]
buffer_rows = 16
tokens_per_batch = 256
bfloat16 = "off"
"""

Row = dict[str, object]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(tmp_path_factory.mktemp("scoring") / "model", resolve(MINILM, Path()))


def some_users(n: int = USERS, seed: int = 1) -> list[Row]:
    """Texts of very different length, so that sorting by length moves nearly every row."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for i in range(n):
        names = sorted(str(c) for c in rng.choice([*CATEGORIES, "NEW"], int(rng.integers(0, 7)), replace=False))
        rows.append(
            {
                "user_id": f"u{i:03d}",
                "behaviour_text": " ".join(rng.choice(WORDS, int(rng.integers(0, 50)))),
                "prior_categories": names,
                "prior_weights": rng.gamma(1.0, 10.0, len(names)).tolist(),
                "cell_categories": names,
                "cells": rng.gamma(1.0, 5.0, len(names) * len(CELL_VALUES)).tolist(),
                "features": rng.gamma(1.0, 30.0, len(FEATURE_NAMES)).tolist(),
            }
        )
    return rows


PRIOR = "prior_categories ARRAY<STRING>, prior_weights ARRAY<DOUBLE>, cell_categories ARRAY<STRING>, cells ARRAY<FLOAT>"
PRIOR_NAMES = ("prior_categories", "prior_weights", "cell_categories", "cells")
TRENDS = tuple((0.1 * k, 0.05 * k, 0.01 * k) for k in range(len(CATEGORIES)))
USER_DDL = f"user_id STRING, behaviour_text STRING, {PRIOR}, features ARRAY<DOUBLE>"


def user_frame(spark: SparkSession, rows: list[Row]) -> DataFrame:
    names = ["user_id", *FEATURES_IN.names]
    return spark.createDataFrame([tuple(r[n] for n in names) for r in rows], USER_DDL)


def setup(model: Path) -> Setup:
    return Setup(str(model), bfloat16="off", workers=2, tokens_per_batch=256, buffer_rows=16, trends=TRENDS)


def test_spark_gives_each_user_what_the_predictor_alone_gives(spark: SparkSession, model: Path) -> None:
    rows = some_users()
    got = {r["user_id"]: r.asDict() for r in score_users(user_frame(spark, rows).repartition(5), setup(model)).collect()}
    alone = (
        Predictor.load(model, bfloat16="off", trends=TRENDS)
        .predict(pa.RecordBatch.from_pylist(rows, schema=FEATURES_IN))
        .to_pylist()
    )
    assert sorted(got) == [r["user_id"] for r in rows]
    for row, want in zip(rows, alone, strict=True):
        for name, value in want.items():
            assert got[row["user_id"]][name] == pytest.approx(value, abs=1e-4 if name == "expected_spend" else 1e-5), (row, name)


def test_the_order_of_the_input_changes_no_bit(spark: SparkSession, model: Path) -> None:
    rows = some_users()
    mixed = [rows[i] for i in np.random.default_rng(9).permutation(len(rows))]
    first = score_users(user_frame(spark, rows), setup(model)).orderBy("user_id").collect()
    second = score_users(user_frame(spark, mixed).repartition(7), setup(model)).orderBy("user_id").collect()
    assert first == second


def test_a_tower_scores_with_the_vectors_of_all_items(spark: SparkSession, tmp_path: Path) -> None:
    """Items that came after training have vectors too: those of the table, through a file that is gone afterwards."""
    options = TowerOptions("gru", width=8, layers=1, attention_heads=2, dropout=0.0, events=4)
    tower = publish(tmp_path / "tower", str(tiny_bert(tmp_path / "bert")), tower=options)
    draw = np.random.default_rng(5)
    rows: list[Row] = [
        {**row, "item_ids": draw.choice([*ITEMS, "new"], 3).tolist(), "event_types": ["view"] * 3, "age_days": [9, 4, 1]}
        for row in some_users()
    ]
    catalogue = [(item, f"{WORDS[k % 5]} {'' if k < 5 else WORDS[k]}") for k, item in enumerate([*ITEMS, "new"])]
    items = spark.createDataFrame(catalogue, "item_id STRING, text STRING")
    vectors = encode_texts(items, setup(tower), max_tokens=8).drop("text")
    frame = spark.createDataFrame(
        [tuple(r[n] for n in ("user_id", *FEATURES_IN.names, *EVENTS_IN.names)) for r in rows],
        f"{USER_DDL}, item_ids ARRAY<STRING>, event_types ARRAY<STRING>, age_days ARRAY<INT>",
    )
    with with_items(setup(tower), "tower", vectors, tmp_path / "scratch") as ready:
        assert Path(ready.items).is_file()
        got = {r["user_id"]: r.asDict() for r in score_users(frame.repartition(5), ready).collect()}
        batch = pa.RecordBatch.from_pylist(rows, schema=pa.schema([*FEATURES_IN, *EVENTS_IN]))
        alone = Predictor.load(tower, bfloat16="off", trends=TRENDS, items=ready.items).predict(batch).to_pylist()
    assert not list((tmp_path / "scratch").iterdir())
    for row, want in zip(rows, alone, strict=True):
        assert got[row["user_id"]]["vector"] == pytest.approx(want["vector"], abs=1e-5)
        assert got[row["user_id"]]["p_buy"] == pytest.approx(want["p_buy"], abs=1e-5)
    known = item_table(vectors)
    assert len(known) == len(catalogue) and bool(known.known(torch.from_numpy(item_keys(pa.array(["new"])))).all())
    by_text = {r["item_id"]: r["vector"] for r in vectors.collect()}
    for item in ("i0", "new"):
        assert known(torch.from_numpy(item_keys(pa.array([item]))))[0].tolist() == pytest.approx(by_text[item], abs=1e-6)
    with with_items(setup(tower), "text", vectors, tmp_path / "none") as same:
        assert same == setup(tower) and not (tmp_path / "none").exists()


def test_a_bare_encoder_makes_the_vectors_of_a_published_one(spark: SparkSession, model: Path) -> None:
    """An untrained adapter changes nothing: the package's own encoder directory says what the package says."""
    items = spark.createDataFrame([(f"i{k}", w) for k, w in enumerate(WORDS)], "item_id STRING, text STRING")
    bare = replace(setup(model), model_path=str(model / "encoder"), pretrained=True)
    found = {r["item_id"]: r["vector"] for r in encode_texts(items, bare, max_tokens=16).collect()}
    for row in encode_texts(items, setup(model), max_tokens=16).collect():
        assert found[row["item_id"]] == pytest.approx(row["vector"], abs=1e-5)
    with pytest.raises(Exception, match="a bare encoder does not say how many tokens to read; give max_tokens"):
        encode_texts(items, bare).collect()


def test_items_with_the_same_text_share_one_vector(spark: SparkSession, model: Path) -> None:
    texts = ["milk", "frozen pizza with cheese and beef", "", "wine beer", None]
    items = [(f"i{k:02d}", texts[k % 5]) for k in range(37)]
    out = encode_texts(spark.createDataFrame(items, "item_id STRING, text STRING"), setup(model)).orderBy("item_id").collect()
    assert [(r.item_id, r.text) for r in out] == items, "every item once"
    alone = Predictor.load(model, bfloat16="off").encode([t or "" for t in texts])
    for k, row in enumerate(out):
        assert row.text_sha256 == hashlib.sha256((texts[k % 5] or "").encode()).hexdigest()
        assert row.vector == pytest.approx(alone[k % 5].tolist(), abs=1e-5)
        assert row.vector == out[k % 5].vector, "to the bit: it was encoded once"


def test_rows_that_already_lie_by_the_key_still_go_to_every_worker(spark: SparkSession) -> None:
    """Spark drops a repartition that it holds for done, and would then give all small partitions to one worker."""
    workers = int(spark.conf.get("spark.sql.shuffle.partitions") or 0)
    by_key = spark.range(4000).selectExpr("CAST(id AS STRING) AS user_id").groupBy("user_id").count()

    def count(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pydict({"rows": [sum(b.num_rows for b in batches)]})

    rows = [r["rows"] for r in _spread(by_key, Setup("", workers=workers), "user_id").mapInArrow(count, "rows LONG").collect()]
    assert len(rows) == workers and sum(rows) == 4000 and min(rows) > 0.8 * 4000 / workers


@pytest.mark.parametrize(("workers", "threads"), [(1, 2), (2, 1), (8, 1)])
def test_workers_share_the_cores(spark: SparkSession, workers: int, threads: int) -> None:
    assert threads_per_worker(spark, workers) == threads  # the session has two cores


def test_trends_come_in_the_order_of_the_model_and_of_one_day_alone(spark: SparkSession) -> None:
    others = [(AS_OF, EARLIER, "BEER", 1.0, 1.0, 1.0), (EARLIER, EARLIER, "WINE", 1.0, 1.0, 1.0)]
    rows = [(AS_OF, AS_OF, "MILK", 0.5, 0.25, 0.125), *others]
    frame = spark.createDataFrame(
        rows, f"as_of DATE, cut DATE, category STRING, {', '.join(f'{name} DOUBLE' for name in TREND_VALUES)}"
    )
    assert trends_at(frame, AS_OF, ["WINE", "MILK"]) == ((0.0, 0.0, 0.0), (0.5, 0.25, 0.125))
    with pytest.raises(ContractError, match=r"knows 2 categories, such as 'DRAMA', and none of the \d+ .*another catalogue"):
        trends_at(frame, AS_OF, ["DRAMA", "WESTERN"])
    with pytest.raises(ContractError, match=r"no rows at 2016-01-01; run build_features --as-of 2016-01-01 first"):
        trends_at(frame, date(2016, 1, 1), ["MILK"])


def job() -> ModuleType:
    spec = importlib.util.spec_from_file_location("score_users", ROOT / "jobs" / "score_users.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fill(spark: SparkSession, root: Path, rows: list[Row]) -> Store:
    """The upstream tables at two dates; the last user has a profile but no sequence; one item text comes twice."""
    store = Store(spark, str(root))
    features = ", ".join(f"{n} DOUBLE" for n in FEATURE_NAMES)
    counts = ", ".join(f"n_{t} BIGINT" for t in EVENT_TYPES)
    for day in (EARLIER, AS_OF):
        profile = [(r["user_id"], day, *r["features"], None, *[1] * len(EVENT_TYPES)) for r in rows]  # type: ignore[misc]
        frame = spark.createDataFrame(profile, f"user_id STRING, as_of DATE, {features}, monetary DOUBLE, {counts}")
        store.replace(frame, "feature.user_profile", {"as_of": day}, fingerprint="f", job="t")
        made = [(r["user_id"], day, r["behaviour_text"], [], [], [], *(r[name] for name in PRIOR_NAMES)) for r in rows[:-1]]
        kinds = "item_ids ARRAY<STRING>, event_types ARRAY<STRING>, age_days ARRAY<INT>"
        ddl = f"user_id STRING, as_of DATE, behaviour_text STRING, {kinds}, {PRIOR}"
        store.replace(spark.createDataFrame(made, ddl), "feature.sequences", {"as_of": day}, fingerprint="f", job="t")
        trends = [(day, cut, c, *t) for cut in (EARLIER, day) for c, t in zip(CATEGORIES, TRENDS, strict=True) if cut <= day]
        ddl = f"as_of DATE, cut DATE, category STRING, {', '.join(f'{name} DOUBLE' for name in TREND_VALUES)}"
        frame = spark.createDataFrame(sorted(set(trends)), ddl)
        store.replace(frame, "feature.category_trends", {"as_of": day}, fingerprint="f", job="t")
    daily = [("u000", EARLIER, "MILK", "purchase", 1.0, 1.0, 1.0), ("u000", AS_OF, "WINE", "purchase", 1.0, 1.0, 1.0)]
    ddl = "user_id STRING, event_date DATE, category STRING, event_type STRING, events DOUBLE, quantity DOUBLE, amount DOUBLE"
    store.replace(spark.createDataFrame(daily, ddl), "feature.daily_counts", {}, fingerprint="f", job="t")
    items = [(f"i{k}", "t", "a", "b", "c", None, ("milk", "beef", "milk")[k], "simulated") for k in range(3)]
    names = ("item_id", "title", "category_1", "category_2", "category_3", "brand", "text", "source")
    store.replace(
        spark.createDataFrame(items, ", ".join(f"{n} STRING" for n in names)),
        "silver.items",
        {"source": "simulated"},
        fingerprint="f",
        job="t",
    )
    return store


def test_the_job_fills_its_three_tables_and_repeats_itself(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = some_users()
    store = fill(spark, tmp_path / "warehouse", rows)
    registry = Registry(f"{store.root}/models/encoder")
    registry.publish(publish(registry.staging("model-under-test"), str(tiny_bert(tmp_path / "bert"))), "model-under-test")
    registry.promote("model-under-test")
    settings = tmp_path / "settings.toml"
    settings.write_text(TOML.format(warehouse=tmp_path / "warehouse"))
    argv = ["--settings", str(settings), "--as-of", str(AS_OF)]
    module = job()
    assert run(module.JOB, module.run, argv, Path("score_users.py")) == 0, capsys.readouterr().err

    vectors = store.read("feature.user_vectors").collect()
    assert sorted(r.user_id for r in vectors) == [r["user_id"] for r in rows], "the one without a sequence too"
    assert {(r.as_of, r.model_id) for r in vectors} == {(AS_OF, "model-under-test")}
    assert {r.item_id for r in store.read("feature.item_vectors").collect()} == {"i0", "i1", "i2"}
    interests = store.read("gold.user_interests").collect()
    by_user = {u: [r for r in interests if r.user_id == u] for u in (r.user_id for r in vectors)}
    assert all(abs(sum(r.target_share for r in of) - 1) < 1e-9 for of in by_user.values())
    probability = {(r.user_id, c): p for r in vectors for c, p in zip(CATEGORIES, r.category_probabilities, strict=True)}
    assert all(r.predicted_share == pytest.approx(probability.get((r.user_id, r.category), 0.0), abs=1e-9) for r in interests)
    milk = {r.user_id: r.reason for r in interests if r.category == "MILK"}
    assert milk.get("u000", "known to the user").endswith("known to the user")
    wine = [r.reason for r in by_user["u000"] if r.category == "WINE"]
    assert all("unseen" in reason for reason in wine), "what is bought at as_of is not known before it"

    versions = {name: store.version(name) for name in module.JOB.writes}
    assert run(module.JOB, module.run, argv, Path("score_users.py")) == 0
    assert {name: store.version(name) for name in module.JOB.writes} == versions
    capsys.readouterr()
    assert run(module.JOB, module.run, [*argv[:-1], "2017-01-03"], Path("score_users.py")) == 1
    assert "has no users at 2017-01-03; run build_features --as-of 2017-01-03 first" in capsys.readouterr().err

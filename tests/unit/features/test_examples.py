"""Drawing, vocabulary, sparse rows and packed files of training examples."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from equipoise.errors import EquipoiseError
from equipoise.features.examples import check_size, draw, examples, items_of, names_of, packed, trends_by_day, vocabulary
from equipoise.features.pack import Dense
from equipoise.tables.feature import H_FEATURES
from equipoise.tables.packing import CELL_VALUES, cell_type, event_record
from tests.small_models import tiny_bert
from tests.unit.features.world import day, table, user

CUT, LATER = day("02-27"), day("03-27")
PAIRS = "user_id STRING, cut DATE"
WEIGHTS = "user_id STRING, cut DATE, category STRING, weight DOUBLE"
LABELS = "user_id STRING, cut DATE, label_counts MAP<STRING, DOUBLE>, label_spend DOUBLE, n_buy BIGINT, n_interest BIGINT"
FEATURES = [name for name, _ in H_FEATURES]


def drawn_rows(spark: SparkSession, pairs: list[tuple[str, date]], partitions: int, seed: int) -> set[tuple[str, date, int]]:
    frame = spark.createDataFrame(pairs, PAIRS).repartition(partitions)
    return {(r["user_id"], r["cut"], r["file"]) for r in draw(frame, size=90, files=4, seed=seed).collect()}


def test_a_draw_is_a_function_of_the_seed_alone(spark: SparkSession) -> None:
    pairs = [(user(f"u{i}"), CUT + timedelta(days=28 * c)) for i in range(60) for c in range(3)]
    first = drawn_rows(spark, pairs, 1, seed=1)
    assert first == drawn_rows(spark, pairs[::-1], 3, seed=1)
    assert len(first) == 88 and {f for *_, f in first} == {0, 1, 2, 3}, "90 drawn, 2 left out for files of 22"
    assert Counter(f for *_, f in first) == dict.fromkeys(range(4), 22)
    assert len(first & drawn_rows(spark, pairs, 1, seed=2)) < 70, "another seed, another sample"
    per_file = Counter((f, c) for _, c, f in first)
    assert min(per_file[f, CUT + timedelta(days=28 * c)] for f in range(4) for c in range(3)) >= 2, "every file holds every cut"


def test_all_when_there_are_fewer(spark: SparkSession) -> None:
    pairs = [(user(f"u{i}"), CUT) for i in range(9)]
    frame = draw(spark.createDataFrame(pairs, PAIRS), size=90, files=3, seed=1)
    assert {(r["user_id"], r["cut"]) for r in frame.collect()} == set(pairs)


def test_vocabulary_by_hand(spark: SparkSession) -> None:
    """Label events A 3, B 1; C only in history. Jeffreys: (n + 1/2) / (4 + 3/2)."""
    labels = spark.createDataFrame(
        [("u", CUT, {"B": 1.0, "A": 1.0}, 0.0, 0, 0), ("v", LATER, {"A": 2.0}, 0.0, 0, 0), ("w", CUT, {}, 0.0, 0, 0)], LABELS
    )
    weights = spark.createDataFrame([("u", LATER, "C", 0.1), ("v", LATER, "C", 0.2), ("v", LATER, "A", 0.2)], WEIGHTS)
    found = table(vocabulary(labels, weights), "position")
    assert found == {
        0: {"category": "A", "population_share": round(3.5 / 5.5, 9)},
        1: {"category": "B", "population_share": round(1.5 / 5.5, 9)},
        2: {"category": "C", "population_share": round(0.5 / 5.5, 9)},
    }


EVENTS = {True: (["i", "j"], ["view", "purchase"], [9, 1]), False: ([], [], [])}


def test_rows_and_files(spark: SparkSession, tmp_path: Path) -> None:
    u, v, w = user("u"), user("v"), user("w")
    drawn = spark.createDataFrame(
        [(u, CUT, 0, 1), (v, CUT, 1, 0), (w, CUT, 1, 1), (u, LATER, 0, 0)], f"{PAIRS}, file INT, place INT"
    )
    everybody = [(who, cut) for who in (u, v, w) for cut in (CUT, LATER)]
    profiles = spark.createDataFrame(
        [(*pair, *[float(i + j) for j in range(12)]) for i, pair in enumerate(everybody)],
        f"{PAIRS}, {', '.join(f'{n} DOUBLE' for n in FEATURES)}",
    )
    texts = spark.createDataFrame(
        [
            (*pair, "often cheese", ["B", "NEW"], [float(k) for k in range(2 * len(CELL_VALUES))], *EVENTS[pair[0] == u])
            for pair in everybody
        ],
        f"{PAIRS}, behaviour_text STRING, cell_categories ARRAY<STRING>, cells ARRAY<FLOAT>, item_ids ARRAY<STRING>, "
        "event_types ARRAY<STRING>, age_days ARRAY<INT>",
    )
    weights = spark.createDataFrame(
        [(u, CUT, "B", 2.0), (u, CUT, "A", 1.0), (u, CUT, "NEW", 5.0), (u, LATER, "A", 9.0), (w, LATER, "B", 7.0)], WEIGHTS
    )
    labels = spark.createDataFrame(
        [
            (u, CUT, {"B": 3.0, "NEW": 4.0}, 8.0, 1, 0),  # NEW is outside the vocabulary: not counted
            (v, CUT, {"A": 1.0}, 2.0, 1, 0),
            (v, LATER, {"A": 1.0}, 2.0, 1, 0),  # not drawn
        ],
        LABELS,
    )
    spec = spark.createDataFrame([(0, "A", 0.5), (1, "B", 0.5)], "position INT, category STRING, population_share DOUBLE")
    rows = examples(
        drawn,
        profiles=profiles,
        texts=texts,
        weights=weights,
        labels=labels,
        values=labels,
        spec=spec,
        ladder="spend",
        threshold=5.0,
    ).persist()
    found = table(rows, "user_id", "cut")
    shown = ("prior_positions", "prior_weights", "label_positions", "label_events", "label_value", "label_spend")
    assert {k: tuple(row[c] for c in shown) for k, row in found.items()} == {
        (u, CUT): ([0, 1], [1.0, 2.0], [1], [3.0], 2, 8.0),
        (v, CUT): ([], [], [0], [1.0], 1, 2.0),
        (w, CUT): ([], [], [], [], 0, 0.0),  # no history that counts, nothing in the window
        (u, LATER): ([0], [9.0], [], [], 0, 0.0),
    }
    catalogue = spark.createDataFrame([("i", "item i", 7), ("k", "item k", 8)], "item_id STRING, text STRING, other INT")
    listed = {r["item_id"]: r["text"] for r in items_of(rows, catalogue).collect()}
    assert listed == {"i": "item i", "j": ""}, "every item of the sequences, no other"
    trend = spark.createDataFrame(
        [(CUT, "B", 0.5, 0.25, 0.125), (CUT, "NEW", 1.0, 1.0, 1.0), (LATER, "A", 0.75, 0.0, 0.0)],
        "cut DATE, category STRING, visitors_share DOUBLE, visitors_share_before DOUBLE, entry_rate DOUBLE",
    )
    dense = Dense(names_of(spec), trends_by_day(trend, names_of(spec)))
    assert (dense.categories, dense.width) == (("A", "B"), 2)
    frame = packed(rows, encoder_path=str(tiny_bert(tmp_path / "bert")), max_tokens=8, dense=dense, files=3)
    done = frame.withColumn("file", F.spark_partition_id()).collect()
    assert [(r["file"], bytes(r["user_id"]).hex()) for r in done if r["cut_day"] == 17_224] == [(0, u), (1, v), (1, w)]
    assert [r["cut_day"] for r in done if r["file"] == 0] == [17_252, 17_224], "sorted by place"
    by_key = {(bytes(r["user_id"]).hex(), date(1970, 1, 1) + timedelta(days=r["cut_day"])): r for r in done}
    assert {k: r["file"] for k, r in by_key.items()} == {(u, CUT): 0, (v, CUT): 1, (w, CUT): 1, (u, LATER): 0}
    assert frame.rdd.getNumPartitions() == 3
    row = by_key[u, CUT]
    assert np.frombuffer(row["prior"], "<f4").tolist() == [1.0, 2.0]
    cell = np.frombuffer(row["cells"], cell_type())
    assert cell["position"].tolist() == [1] and cell["values"].tolist() == [[float(k) for k in range(len(CELL_VALUES))]]
    assert np.frombuffer(row["trends"], "<f4").tolist() == [0.0, 0.0, 0.0, 0.5, 0.25, 0.125]
    assert np.frombuffer(by_key[u, LATER]["trends"], "<f4").tolist() == [0.75, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert np.frombuffer(row["label_counts"], "<f4").tolist() == [0.0, 3.0]
    assert np.frombuffer(row["features"], "<f4").tolist() == [float(j) for j in range(12)]
    events = np.frombuffer(row["events"], event_record())
    assert events["age"].tolist() == [9, 1] and len(set(events["item"])) == len(set(events["type"])) == 2
    assert len(by_key[v, CUT]["events"]) == 0
    assert len(row["tokens"]) == 32 and 0 < row["length"] <= 8


def test_sizes_that_cannot_be() -> None:
    with pytest.raises(EquipoiseError, match=r"training: 7 examples for 8 files .*; lower training\.files_per_rank"):
        check_size(7, 8, 64, 50, 300, "training")
    check_size(4096, 8, 64, 50, 303, "training")
    with pytest.raises(EquipoiseError, match=r"raise training\.files_per_rank so that there are at least 216 files"):
        check_size(1_000_000, 8, 64, 50, 300, "training")

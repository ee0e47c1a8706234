"""One log in five formats gives the same rows; users may stand deep inside; several categories share an item."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession

from equipoise.errors import SourceError
from equipoise.quality.counts import Counts
from equipoise.quality.door import Door, ingest
from equipoise.quality.rules import Limits
from equipoise.settings.model import FileInput, Source
from equipoise.sources import files
from equipoise.sources.canonical import RawSource
from equipoise.sources.paths import content_hashes, local_files, remote_hashes
from equipoise.sources.read import source_hashes
from equipoise.store import Store, log

ROWS = [
    {"who": f"w{n % 3}", "what": f"i{n % 4}", "how": "look", "at": f"2017-05-{n + 1:02d}T12:00:00Z", "cost": n * 1.5}
    for n in range(12)
]
COLUMNS = {"user_id": "who", "item_id": "what", "event_type": "how", "time": "at", "amount": "cost", "channel": "'web'"}
VALUES = {"event_type": {"look": "view"}}
ZONES = files.Zones("UTC", "UTC")


def through(
    spark: SparkSession, raw: RawSource, tmp_path: Path, level: int = 1
) -> tuple[dict[str, list[dict[str, Any]]], list[Counts]]:
    """What the door writes, by table, and its counts."""
    key = tmp_path / "key"
    key.write_text("k" * 16)
    door = Door("x", "run", "UTC", level, True, str(key), False, Limits(date(2018, 1, 1), 1e6, 1e5, 20.0), 1.0)
    written: dict[str, list[dict[str, Any]]] = {}

    def write(name: str, frame: DataFrame, slice_: dict[str, object]) -> None:
        written[name] = [r.asDict(recursive=True) for r in frame.collect()]

    return written, ingest(spark, raw, door, write, lambda text: None)


def no_delta(path: str) -> DataFrame:
    raise AssertionError(path)


def write_format(spark: SparkSession, store: Store, folder: Path, format_: str) -> str:
    table = pd.DataFrame(ROWS)
    path = folder / f"log {format_}"
    path.mkdir()
    if format_ in ("csv", "tsv"):
        for part in (0, 1):
            table.iloc[part::2].to_csv(path / f"{part}.{format_}", index=False, sep="," if format_ == "csv" else "\t")
    elif format_ == "jsonl":
        (path / "a.jsonl").write_text("\n".join(json.dumps(r) for r in ROWS))
    elif format_ == "parquet":
        table.to_parquet(path / "a.parquet")
    else:
        spark.createDataFrame(table).write.format("delta").save(str(path / "t"))
        return str(path / "t")
    (path / "_SUCCESS").write_text("")
    return str(path)


def test_five_formats_one_result(spark: SparkSession, store: Store, tmp_path: Path) -> None:
    found = {}
    for format_ in ("csv", "tsv", "jsonl", "parquet", "delta"):
        path = write_format(spark, store, tmp_path, format_)
        m = files.FileMap(path, COLUMNS, format_, VALUES)  # type: ignore[arg-type]
        raw = RawSource((files.events(spark, m, ZONES, store.read_path),))
        found[format_] = sorted(map(str, through(spark, raw, tmp_path)[0]["silver.events"]))
    assert len(found["csv"]) == 12
    assert all(rows == found["csv"] for rows in found.values())
    assert "'event_type': 'view'" in found["csv"][0] and "'channel': 'web'" in found["csv"][0]


def test_nested_json_and_own_keys(spark: SparkSession, tmp_path: Path) -> None:
    rows = [
        {"user": {"id": "deep-1", "geo": "x"}, "do": "view", "thing": {"sku": "a"}, "ts": 1493640000000, "no": 1},
        {"user": {"id": "deep-1", "geo": "x"}, "do": "view", "thing": {"sku": "a"}, "ts": 1493640000000, "no": 2},
        {"user": {"id": "deep-2", "geo": "y"}, "do": "dance", "thing": {"sku": "a"}, "ts": 1493640000000, "no": 3},
    ]
    log = tmp_path / "log.jsonl"
    log.write_text(
        "\n".join([*[json.dumps(r) for r in rows], '{"user": {"id": "torn-3", "geo": "z"}, "do": "vi', "deep-1 was here"])
    )
    columns = {"user_id": "$.user.id", "item_id": "$.thing.sku", "event_type": "do", "time": "ts", "natural_key": "no"}
    m = files.FileMap(str(log), columns, "jsonl", time_format="epoch_ms")
    written, counts = through(spark, RawSource((files.events(spark, m, ZONES, no_delta),)), tmp_path)
    assert [r["event_ts"] for r in written["silver.events"]] == [datetime.fromtimestamp(1493640000, UTC).replace(tzinfo=None)] * 2
    assert len({r["event_id"] for r in written["silver.events"]}) == 2, "the numbers tell them apart"
    assert counts[0].per_rule["event_type_unknown"] == 1 and counts[0].per_rule["broken_line"] == 2
    shown = [r["row_json"] for r in written["ops.quarantine"]]
    assert len(shown) == 3
    assert not any(word in text for text in shown for word in ("deep-1", "deep-2", "torn-3"))
    dancer = next(json.loads(t) for t in shown if "dance" in t)
    assert json.loads(dancer["user"])["geo"] == "y"
    assert any(" was here" in t for t in shown)


def test_a_deep_user_of_a_typed_table_is_hidden_too(spark: SparkSession, tmp_path: Path) -> None:
    path = str(tmp_path / "t")
    made = ["named_struct('id', 'deep-1', 'geo', 'x') AS user", "map('k', 1) AS more", "'dance' AS do"]
    spark.range(1).selectExpr(*made, "TIMESTAMP'2017-05-01 12:00:00' AS at").write.parquet(path)
    m = files.FileMap(path, {"user_id": "$.user.id", "event_type": "do", "time": "at"}, "parquet")
    written, _ = through(spark, RawSource((files.events(spark, m, ZONES, no_delta),)), tmp_path)
    row = json.loads(written["ops.quarantine"][0]["row_json"])
    assert len(row["user"]["id"]) == 32 and row["user"]["geo"] == "x"
    assert row["more"] == [{"key": "k", "value": 1}]


def test_several_categories_weigh_the_same(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("u,i,t\n1,m1,2017-05-01\n1,m2,2017-05-01\n1,m4,2017-05-01\n")
    (tmp_path / "items.csv").write_text(
        "i,name,genres,year\nm1,One,Drama|Sci-Fi|Drama,1990\nm2,Two,,1991\nm3,Three,War,\nm3,Again,War,\n"
    )
    e = files.FileMap(str(tmp_path / "log.csv"), {"user_id": "u", "item_id": "i", "event_type": "'rate'", "time": "t"})
    columns = {"item_id": "i", "title": "name", "categories": "genres", "year": "year"}
    i = files.FileMap(str(tmp_path / "items.csv"), columns, list_separator="|")
    raw = RawSource((files.events(spark, e, ZONES, no_delta),), files.items(spark, i, 1, no_delta))
    written, counts = through(spark, raw, tmp_path)
    categories = sorted((r["item_id"], r["category"], r["weight"]) for r in written["silver.item_categories"])
    assert categories == [
        ("m1", "Drama", 0.5),
        ("m1", "Sci-Fi", 0.5),
        ("m2", "UNKNOWN", 1.0),
        ("m3", "War", 1.0),
        ("m4", "UNKNOWN", 1.0),
    ]
    texts = {r["item_id"]: (r["text"], r["category_1"]) for r in written["silver.items"]}
    assert texts["m1"] == ("One, Drama|Sci-Fi|Drama, 1990", "Drama")
    assert texts["m2"] == ("Two, 1991", "UNKNOWN")
    assert {c.name: (c.rows_in, c.good, c.quarantined) for c in counts} == {"items": (4, 3, 1), "events": (3, 3, 0)}
    assert json.loads(written["ops.quarantine"][0]["row_json"])["i"] == "m3"
    assert [str(r["event_ts"]) for r in written["silver.events"]] == ["2017-05-01 23:59:59.999999"] * 3


@pytest.mark.parametrize("format_", ["parquet", "jsonl"])
def test_a_real_list_of_categories_is_one(spark: SparkSession, tmp_path: Path, format_: str) -> None:
    (tmp_path / "log.csv").write_text("u,i,t\n1,m1,2017-05-01\n")
    rows = [("m1", ["Drama", " Sci-Fi ", "Drama"]), ("m2", [])]
    path = tmp_path / f"items.{format_}"
    if format_ == "jsonl":
        more = {"i": "m3", "genres": "War Drama"}
        path.write_text("\n".join(json.dumps(r) for r in [*({"i": i, "genres": g} for i, g in rows), more]))
    else:
        spark.createDataFrame(rows, "i string, genres array<string>").write.parquet(str(path))
    e = files.FileMap(str(tmp_path / "log.csv"), {"user_id": "u", "item_id": "i", "event_type": "'rate'", "time": "t"})
    i = files.FileMap(str(path), {"item_id": "i", "categories": "genres"}, format_)  # type: ignore[arg-type]
    raw = RawSource((files.events(spark, e, ZONES, no_delta),), files.items(spark, i, 1, no_delta))
    written, _ = through(spark, raw, tmp_path)
    found = {(r["item_id"], r["category"]) for r in written["silver.item_categories"]}
    expected = {("m1", "Drama"), ("m1", "Sci-Fi"), ("m2", "UNKNOWN")}
    assert found == (expected | {("m3", "War"), ("m3", "Drama")} if format_ == "jsonl" else expected)
    assert {r["item_id"]: r["text"] for r in written["silver.items"]}["m1"] == "Drama, Sci-Fi"


def test_a_list_of_structs_names_the_field_to_map(spark: SparkSession, tmp_path: Path) -> None:
    path = str(tmp_path / "items")
    spark.createDataFrame([("m1", [("Drama",)])], "i string, genres array<struct<name: string>>").write.parquet(path)
    with pytest.raises(SourceError, match=r"list of struct<name:string>; .* such as '\$\.categories\.name'"):
        files.items(spark, files.FileMap(path, {"item_id": "i", "categories": "genres"}, "parquet"), 1, no_delta)


def test_events_without_their_own_key_get_the_usual_one(spark: SparkSession, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("u,i,t,no\n1,a,2017-05-01,\n1,b,2017-05-01, \n1,b,2017-05-01,\n1,b,2017-05-01,7\n")
    columns = {"user_id": "u", "item_id": "i", "event_type": "'view'", "time": "t", "natural_key": "no"}
    raw = RawSource((files.events(spark, files.FileMap(str(log), columns), ZONES, no_delta),))
    written, (counts,) = through(spark, raw, tmp_path)
    assert len({r["event_id"] for r in written["silver.events"]}) == len(written["silver.events"]) == 3
    assert counts.per_rule["duplicate"] == 1, "the third is the second again"


def test_a_delta_table_is_read_at_one_version_and_known_by_its_rows(spark: SparkSession, store: Store, tmp_path: Path) -> None:
    path = write_format(spark, store, tmp_path, "delta")
    input_ = FileInput(path=path, format="delta", columns=COLUMNS)
    source = Source(adapter="files", name="shop", events=input_)

    def known() -> dict[str, str]:
        return source_hashes(spark, source, tmp_path, log.foreign)

    seen, before = store.read_pinned(path), known()
    table = f"delta.`{path}`"
    spark.sql(f"OPTIMIZE {table} ZORDER BY (who)")
    assert known() == before and list(before) == ["source.events"]
    spark.sql(f"INSERT INTO {table} SELECT * FROM {table} LIMIT 1")
    after = known()
    assert seen.count() == 12 and store.read_pinned(path).count() == 13 and after != before
    spark.sql(f"RESTORE TABLE {table} TO VERSION AS OF 0")
    assert known() not in (before, after), "no file came, and still other rows are there"
    gone = Source(adapter="files", name="shop", events=input_.model_copy(update={"path": str(tmp_path / "gone")}))
    with pytest.raises(SourceError, match=r"gone: no Delta table; expected the folder of one"):
        source_hashes(spark, gone, tmp_path, log.foreign)


def test_users_bring_their_answers(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("u,i,t\n1,a,2017-05-01\n2,a,2017-05-01\n")
    (tmp_path / "users.csv").write_text("u,age,town\n1,30,\n3,40,Rome\n")
    e = files.FileMap(str(tmp_path / "log.csv"), {"user_id": "u", "item_id": "i", "event_type": "'view'", "time": "t"})
    u = files.FileMap(str(tmp_path / "users.csv"), {"user_id": "u", "age": "age", "town": "town"})
    raw = RawSource((files.events(spark, e, ZONES, no_delta),), None, files.users(spark, u, no_delta))
    written, _ = through(spark, raw, tmp_path)
    assert sorted(str(dict(sorted(r["attributes"].items()))) for r in written["silver.users"]) == [
        "{'age': '30'}",
        "{'age': '40', 'town': 'Rome'}",
        "{}",
    ]


@pytest.mark.parametrize("where", ["local", "remote"])
def test_a_changed_file_changes_the_fingerprint(spark: SparkSession, tmp_path: Path, where: str) -> None:
    log = tmp_path / "log"
    log.mkdir()
    (log / "a.csv").write_text("1")

    def hashes() -> dict[str, str]:
        return content_hashes(local_files(str(log))) if where == "local" else remote_hashes(spark, log.as_uri())

    before = hashes()
    assert hashes() == before
    (log / "a.csv").write_text("12")
    assert hashes() != before
    assert set(hashes()) == set(before)
